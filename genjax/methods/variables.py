"""Variables of networks that are not parameters, as statistics of batches and vectors of power iterations."""

from typing import Any

import flax.linen as nn

from genjax.nn.batch_norm import STATISTICS
from genjax.typing import PyTree


def run(network: nn.Module, variables: PyTree, *args: Any, **options: Any) -> tuple[Any, PyTree]:
    """What a network makes of the arguments in training, and what its variables beside parameters have become."""
    mutable = [name for name in variables if name != "params"]
    result: tuple[Any, PyTree] = network.apply(variables, *args, train=True, mutable=mutable, **options)
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
