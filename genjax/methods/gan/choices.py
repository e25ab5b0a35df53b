"""What configs of adversarial networks choose by name: penalties, augmentations, attacks, noise."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from genjax.augmentation import Augmentation, adaptive, diff_augment, pipeline
from genjax.losses import attacks, penalties
from genjax.losses.attacks import Attack
from genjax.losses.penalties import Penalty
from genjax.methods.gan import latent_prior
from genjax.methods.gan.latent_prior import LatentPrior
from genjax.models.gan.conditioning import CONDITIONINGS
from genjax.typing import Array, Key


class PenaltyChoice(NamedTuple):
    """A penalty of the discriminator that can be chosen by name.

    Attributes:
        make: from the weight to the penalty.
        weight: the weight of its paper.
        alone: whether the discriminator must judge each image alone, as for a slope at single images.
    """

    make: Callable[[float], Penalty]
    weight: float
    alone: bool = False


def _shifted(keys: Key, images: Array) -> Array:
    """The augmentation under which the discriminator has to be consistent."""
    shift = diff_augment(("translation",))
    return shift.apply(keys, images, shift.init())


def _both_slopes(weight: float) -> Penalty:
    return penalties.combine(penalties.r1(weight), penalties.r2(weight))


def _balanced_consistency(weight: float) -> Penalty:
    return penalties.balanced_consistency(_shifted, weight, weight)


PENALTIES: dict[str, PenaltyChoice] = {
    "gradient_penalty": PenaltyChoice(penalties.gradient_penalty, 10.0, alone=True),
    "dragan": PenaltyChoice(penalties.dragan, 10.0, alone=True),
    "r1": PenaltyChoice(penalties.r1, 10.0, alone=True),
    "r1_r2": PenaltyChoice(_both_slopes, 10.0, alone=True),
    "lecam": PenaltyChoice(penalties.lecam, 0.3),
    "consistency": PenaltyChoice(lambda weight: penalties.consistency(_shifted, weight), 10.0),
    "balanced_consistency": PenaltyChoice(_balanced_consistency, 10.0),
}
"""Penalties of the discriminator, by name."""

ATTACKS: dict[str, Callable[[float], Attack | None]] = {
    "none": lambda epsilon: None,
    "fgsm": attacks.fgsm,
    "pgd": lambda epsilon: attacks.pgd(epsilon, epsilon / 2, 3),
}
"""Attacks on real images by name: from the largest change of a component to the attack."""

AUGMENTATIONS: dict[str, Callable[[Any], Augmentation | None]] = {
    "none": lambda options: None,
    "diff": lambda options: diff_augment(),
    "adaptive": lambda options: adaptive(pipeline(), speed_images=options.augmentation_images),
}
"""Augmentations by name: from the method's config to the augmentation."""

NOISES: dict[str, Callable[[int], LatentPrior]] = {
    "normal": latent_prior.normal,
    "uniform": latent_prior.uniform,
}
"""Distributions of latent variables by name: from their number to the distribution."""

if TYPE_CHECKING:
    PenaltyName: TypeAlias = str
    AttackName: TypeAlias = str
    AugmentationName: TypeAlias = str
    NoiseName: TypeAlias = str
    ConditioningName: TypeAlias = str
else:  # what is in a table is what can be chosen
    PenaltyName = Literal[("none", *PENALTIES)]
    AttackName, AugmentationName = Literal[tuple(ATTACKS)], Literal[tuple(AUGMENTATIONS)]
    NoiseName, ConditioningName = Literal[tuple(NOISES)], Literal[tuple(CONDITIONINGS)]
