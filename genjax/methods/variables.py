"""Variables of networks that are not parameters, as statistics of batches and vectors of power iterations."""

from typing import Any

import flax.linen as nn

from genjax.nn.batch_norm import STATISTICS
from genjax.typing import PyTree


def run(network: nn.Module, variables: PyTree, *args: Any, **options: Any) -> tuple[Any, PyTree]:
    """What a network makes of the arguments in training, and its new variables other than parameters."""
    mutable = [name for name in variables if name != "params"]
    result: tuple[Any, PyTree] = network.apply(variables, *args, train=True, mutable=mutable, **options)
    return result


def after(variables: PyTree, changed: PyTree) -> PyTree:
    """The variables of a network that is run a second time in the same step.

    Running statistics are taken after the first time. All else stays, in particular vectors of power iterations: both
    times it is the same network.
    """
    return {**variables, **{name: value for name, value in changed.items() if name == STATISTICS}}


def averaged(variables: PyTree) -> PyTree:
    """The variables of a network that have a moving average: parameters, and the statistics that belong to them."""
    return {name: variables[name] for name in ("params", STATISTICS) if name in variables}
