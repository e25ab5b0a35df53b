"""Measuring images: statistics that know no network, feature extractors, and how a number was measured.

* `frechet`: moments of features, and the Fréchet distance between them; `multihost`: moments of several processes.
* `extrapolation`: the Fréchet distance at infinitely many images; `reference_statistics`: moments in files.
* `kernel`: KID and CMMD; `inception_score`; `manifold`: precision, recall, density, coverage; `vendi`: diversity.
* `copying`: tests for copied training images.
* `protocol`: a number and how it was measured; only like is compared with like.
* `extractor`, `digits_classifier`: from images to features and logits.
* `modes`, `neighbours`, `intervals`, `stacked`: mode collapse, near copies, and confidence intervals.
* `purity`: of codes that were found without labels; `robustness`: accuracy under attack.
* `score`: one call from images to numbers, ``genjax.metrics.score.score``.
"""

from genjax.metrics.digits_classifier import load_digits_classifier
from genjax.metrics.extractor import Extractor
from genjax.metrics.frechet import Moments, covariance, distance, frechet_distance, merge, moments, stream
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
    "merge",
    "moments",
    "stream",
]
