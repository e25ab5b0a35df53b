"""genjax: image generation with GANs, VAEs and diffusion models in JAX/Flax.

Importing it, or any sub-package, has no side effect: no device is touched, TensorFlow and Orbax are not imported.
Sub-packages are imported when they are first used: ``import genjax; genjax.diffusion.schedules.cosine()``.

* `genjax.load`: a trained run, by its folder.
* `genjax.typing`: the vocabulary: batches, conditions, the state of a run, what a training method is.
* `genjax.conditions`: what a network is told in addition to its input.
* `genjax.nn`: layers that several networks share.
* `genjax.models`: networks.
* `genjax.augmentation`: differentiable changes of the images that a discriminator sees.
* `genjax.diffusion`: the noise-schedule and sampler core, pure and jittable.
* `genjax.losses`: what is minimised, as functions of arrays; attacks, which maximise.
* `genjax.methods`: training methods, each four pure functions.
* `genjax.train`: the training loop, sharding, checkpoints, logs.
* `genjax.data`: random-access image sources and step-indexed batches.
* `genjax.metrics`: statistics of images and the feature extractors below them.
* `genjax.app`: what a trained run needs: configs, tables of networks and methods, checks, workdirs, scores.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genjax.app.run import load as load

__version__ = "0.1.0"

_PARTS = (
    *(
        "app",
        "augmentation",
        "conditions",
        "data",
        "devices",
        "diffusion",
        "losses",
        "methods",
        "metrics",
        "models",
    ),
    *("nn", "random", "ranges", "train", "typing"),
)


def __getattr__(name: str) -> Any:
    if name == "load":
        from genjax.app.run import load

        return load
    if name in _PARTS:
        return importlib.import_module(f"genjax.{name}")
    raise AttributeError(f"module 'genjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PARTS, "load"])
