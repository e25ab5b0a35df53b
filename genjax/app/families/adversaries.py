"""Discriminators and their games, as the configs of several families name them."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import optax

from genjax.app.families.family import optimizer
from genjax.losses import adversarial
from genjax.losses.adversarial import AdversarialLoss

if TYPE_CHECKING:
    from genjax.app.config import OptimizerConfig

Game = Literal["non_saturating", "minimax", "hinge", "least_squares", "wasserstein", "relativistic"]

GAMES: dict[str, Callable[[], AdversarialLoss]] = {
    "non_saturating": adversarial.non_saturating,
    "minimax": adversarial.minimax,
    "hinge": adversarial.hinge,
    "least_squares": adversarial.least_squares,
    "wasserstein": adversarial.wasserstein,
    "relativistic": adversarial.relativistic,
}


def discriminator_optimizer(
    config: "OptimizerConfig", steps: int, rate: float
) -> optax.GradientTransformation:
    """As the other network's, with `rate` times its learning rate."""
    return optimizer(dataclasses.replace(config, learning_rate=rate * config.learning_rate), steps)
