"""Augmentation of the images that a discriminator sees, real and fake, so that it cannot learn few images by heart.

An `Augmentation` is three pure functions: `init` makes its state, `apply` changes images, `update` hears how sure
the discriminator was of the (augmented) real images::

    augmentation = adaptive(pipeline())
    state = augmentation.init()
    real_logits = critic(augmentation.apply(real_keys, real, state))
    fake_logits = critic(augmentation.apply(fake_keys, fake, state))  # in the generator's step too
    state = augmentation.update(state, jnp.sign(real_logits).mean(), len(real))

* An image's result depends on its own key only, so a batch may be split in any way.
* Gradients of the generator and second derivatives of penalties pass through `apply`. `check_differentiable` refuses
  one through which none would.
* How strong it is, is an array in the state: it changes without a new compilation.
"""

from genjax.augmentation.adaptive import AdaptiveState, adaptive, fixed
from genjax.augmentation.augmentation import Augmentation, none
from genjax.augmentation.check import check_differentiable
from genjax.augmentation.diff_augment import diff_augment
from genjax.augmentation.pipeline import BGC, Pipeline, pipeline

__all__ = [
    "BGC",
    "AdaptiveState",
    "Augmentation",
    "Pipeline",
    "adaptive",
    "check_differentiable",
    "diff_augment",
    "fixed",
    "none",
    "pipeline",
]
