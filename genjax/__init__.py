"""genjax: image generation with GANs, VAEs and diffusion models in JAX/Flax.

Importing it, or any sub-package, has no side effect: no device is touched, TensorFlow and Orbax are not imported.

* `genjax.typing`: the vocabulary: batches, the state of a run, what a training method is.
* `genjax.nn`: layers that several networks share.
* `genjax.models`: networks.
* `genjax.augmentation`: differentiable changes of the images that a discriminator sees.
* `genjax.diffusion`: the noise-schedule and sampler core, pure and jittable.
* `genjax.losses`: what is minimised, as functions of arrays; attacks, which maximise.
* `genjax.methods`: training methods, each four pure functions.
* `genjax.train`: the training loop, sharding, checkpoints, logs.
* `genjax.data`: random-access image sources and step-indexed batches.
* `genjax.metrics`: statistics of images and the feature extractors below them.
"""

__version__ = "0.1.0"
