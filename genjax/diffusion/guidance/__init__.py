"""Guidance: functions from denoiser to denoiser. They compose, and no sampler knows of them.

How strongly to guide, `scale`, is an array wherever it occurs, so that changing it recompiles nothing: a
scalar, one for each example, or a function of the time that gives either (`interval` makes one). One idea a
file:

* A condition the network was trained with: `classifier_free`, in one call of the network
  `classifier_free_batched` (and `batched`, which does that for the others too), and what improves on it:
  `interval`, `rescale`, `zero_star`, `projected`.
* Another network: `autoguidance`, `classifier`.
* Several conditions, or negative ones: `compose`.
* The range of the data: `clip`, `dynamic_threshold`.
* A measurement of the sample: `inpaint`; `ddnm`, `dps`, `pigdm` for ``y = A x_0 + noise``, where A is a
  function as in `operators`.
"""

from genjax.diffusion.guidance import operators
from genjax.diffusion.guidance.autoguidance import autoguidance
from genjax.diffusion.guidance.base import Scale
from genjax.diffusion.guidance.batched import batched, classifier_free_batched
from genjax.diffusion.guidance.classifier import classifier
from genjax.diffusion.guidance.classifier_free import classifier_free
from genjax.diffusion.guidance.composition import compose
from genjax.diffusion.guidance.ddnm import ddnm
from genjax.diffusion.guidance.dps import dps
from genjax.diffusion.guidance.inpainting import inpaint
from genjax.diffusion.guidance.interval import interval
from genjax.diffusion.guidance.pigdm import pigdm
from genjax.diffusion.guidance.projected import projected
from genjax.diffusion.guidance.rescale import rescale
from genjax.diffusion.guidance.thresholding import clip, dynamic_threshold
from genjax.diffusion.guidance.zero_star import zero_star

__all__ = [
    "Scale",
    "autoguidance",
    "batched",
    "classifier",
    "classifier_free",
    "classifier_free_batched",
    "clip",
    "compose",
    "ddnm",
    "dps",
    "dynamic_threshold",
    "inpaint",
    "interval",
    "operators",
    "pigdm",
    "projected",
    "rescale",
    "zero_star",
]
