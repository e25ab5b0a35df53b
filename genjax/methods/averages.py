"""Moving averages of parameters: which ones are kept is an argument of a method."""

from collections.abc import Callable
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from genjax.typing import Array, PyTree, TrainState, UserError


class Average(NamedTuple):
    """How the parameters of many steps are averaged. The average is `TrainState.ema`.

    Attributes:
        init: ``params -> average``, before the first update.
        update: ``(average, params, number) -> average``, where `params` are what update number `number`, an int32[]
            that counts from 1, has made.
    """

    init: Callable[[PyTree], PyTree]
    update: Callable[[PyTree, PyTree, Array], PyTree]


@flax.struct.dataclass
class Several:
    """Several averages of the same parameters.

    Attributes:
        first: images are made and losses are evaluated with this one.
        others: by name.
    """

    first: PyTree
    others: dict[str, PyTree]


def exponential(decay: float = 0.999) -> Average:
    """Exponential moving average, with a decay that grows from 2 / 11 at the first update to `decay`; see `ema`.

    Raises:
        UserError: `decay` is not in [0, 1).

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.methods import averages
        >>> average = averages.exponential(decay=0.999)
        >>> mean = average.init({"w": jnp.array(0.0)})
        >>> print(f"{average.update(mean, {'w': jnp.array(11.0)}, 1)['w']:.3f}")  # the first decay is 2 / 11
        9.000
    """
    if not 0 <= decay < 1:
        raise UserError(f"decay={decay}: valid are [0, 1)")
    return Average(_copy, lambda average, params, number: ema(average, params, number, decay))


def several(first: Average, **others: Average) -> Average:
    """Several averages at once: `first` makes images, `others` stand beside it in `Several`.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.methods import averages
        >>> average = averages.several(averages.exponential(0.999), last=averages.exponential(0.0))
        >>> means = average.update(average.init(jnp.array(0.0)), jnp.array(11.0), 1)
        >>> print(f"{means.first:.1f} {means.others['last']:.1f}")
        9.0 11.0
    """

    def init(params: PyTree) -> Several:
        return Several(first.init(params), {name: other.init(params) for name, other in others.items()})

    def update(average: Several, params: PyTree, number: Array) -> Several:
        kept = {name: other.update(average.others[name], params, number) for name, other in others.items()}
        return Several(first.update(average.first, params, number), kept)

    return Average(init, update)


def averaged(state: TrainState) -> PyTree:
    """The averaged parameters of a state, with which images are made: the first of several averages.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> from genjax.methods import averages, update
        >>> average = averages.several(averages.exponential(0.999), last=averages.exponential(0.0))
        >>> state = update.start({"w": jnp.array(3.0)}, optax.sgd(0.1), average)
        >>> float(averages.averaged(state)["w"])
        3.0
    """
    return state.ema.first if isinstance(state.ema, Several) else state.ema


def ema(average: PyTree, params: PyTree, step: Array, decay: float) -> PyTree:
    """Exponential moving average, with a decay that grows to `decay` so that early steps are forgotten.

    Args:
        average: the average so far.
        params: parameters after update number `step`.
        step: int32[], number of updates done, this one included.
        decay: in [0, 1); the decay in use is ``min(decay, (1 + step) / (10 + step))``, 2 / 11 at the first update.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.methods import averages
        >>> for step in (1, 100_000):  # decays of 2 / 11 and 0.9
        ...     print(f"{averages.ema(jnp.array(0.0), jnp.array(11.0), step, decay=0.9):.3f}")
        9.000
        1.100
    """
    rate = 1.0 - jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda a, p: a + rate * (p - a), average, params)


def _copy(params: PyTree) -> PyTree:
    # Donated buffers may not be given to a program twice.
    return jax.tree.map(jnp.copy, params)
