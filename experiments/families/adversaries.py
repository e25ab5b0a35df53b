"""Discriminators and their games, as the configs of several families name them."""

from collections.abc import Callable
from typing import Literal

from genjax.losses import adversarial
from genjax.losses.adversarial import AdversarialLoss

Game = Literal["non_saturating", "minimax", "hinge", "least_squares"]

GAMES: dict[str, Callable[[], AdversarialLoss]] = {
    "non_saturating": adversarial.non_saturating,
    "minimax": adversarial.minimax,
    "hinge": adversarial.hinge,
    "least_squares": adversarial.least_squares,
}
