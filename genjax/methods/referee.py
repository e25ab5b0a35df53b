"""A discriminator with all that hangs on it, as one network; and what to do with variables that are not parameters."""

from typing import Any

import flax.linen as nn

from genjax.nn.batch_norm import STATISTICS
from genjax.typing import Array, PyTree


class Referee(nn.Module):
    """A discriminator, and a head on its features where there is one.

    Attributes:
        discriminator: ``(images, label, train=...) -> (logits, features)``.
        head: ``(features, train=...) -> answer``, see `genjax.methods.question`.
    """

    discriminator: nn.Module
    head: nn.Module | None = None

    def __call__(self, images: Array, label: Array | None = None, *, train: bool) -> tuple[Array, Any]:
        """float[B,H,W,C], int32[B] -> logits float[B] or float[B,h,w], and the answer; None without a head."""
        logits, features = self.discriminator(images, label, train=train)  # type: ignore[operator]
        return logits, None if self.head is None else self.head(features, train=train)  # type: ignore[operator]


def run(network: nn.Module, variables: PyTree, *args: Any) -> tuple[Any, PyTree]:
    """What a network makes of the arguments in training, and what its variables beside parameters have become."""
    mutable = [name for name in variables if name != "params"]
    result: tuple[Any, PyTree] = network.apply(variables, *args, train=True, mutable=mutable)
    return result


def after(variables: PyTree, changed: PyTree) -> PyTree:
    """The variables of a network that is run a second time in the same step.

    Running statistics are those after the first time. All else stays, vectors of power iterations above all: both
    times it is the same network.
    """
    return {**variables, **{name: value for name, value in changed.items() if name == STATISTICS}}


def averaged(variables: PyTree) -> PyTree:
    """Those of a network's variables of which a moving average is kept: parameters, and the statistics that belong to
    them."""
    return {name: variables[name] for name in ("params", STATISTICS) if name in variables}
