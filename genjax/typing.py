"""The vocabulary of the library: arrays, batches, the state of a run, and what a training method is.

Shapes by letter, everywhere: B batch, H, W, C image height, width, channels, D latent or feature width,
N number of samples, T diffusion steps.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import flax.struct
import jax

Array: TypeAlias = jax.Array
Key: TypeAlias = jax.Array
"""A typed PRNG key (`jax.random.key`), or an array of them."""
PyTree: TypeAlias = Any

Batch: TypeAlias = Mapping[str, Array]
"""One batch of examples.

* ``"image"``: uint8[B,H,W,C] as loaded, float32[B,H,W,C] in [-1, 1] once inside a step.
* ``"label"``: int32[B], where the data set has labels; whatever other fields its records have, by their names.
* ``"_index"``: int32[B], the position of each example in the *global* batch. Randomness that belongs to an example
  derives from ``fold_in(step_key, _index)``, so that it is the same whether the batch is whole, split over devices or
  hosts, or accumulated from micro-batches.
* ``"_mask"``: bool[B], in evaluation only: False on the padding of a ragged last batch.
"""

Condition: TypeAlias = Mapping[str, Array]
"""What a network is told beside its input: arrays by the names they have in a batch. See `genjax.conditions`."""

DATA_AXIS = "data"
"""Name of the device axis over which the examples of a batch are spread (mesh axis, and axis name under pmap)."""

PRESENT = "_present/"
"""Before a PREFIX, the name of a metric of a training step, 0 or 1. Where it is 0, the metrics ``PREFIX/...`` have no
value in that step, as where a phase is not running, and are left out of what is logged."""


class UserError(ValueError):
    """A mistake of the caller: the message names the argument, the value it had and what would be valid.

    The command line prints the message without a traceback and exits with code 2.
    """


class NonFiniteError(RuntimeError):
    """A number that must be finite is not: a loss, a parameter, an image or a score. The message names it.

    The command line prints the message without a traceback and exits with code 1.
    """


@flax.struct.dataclass
class TrainState:
    """All that changes during training, as one pytree; opaque to the loop except for `step`.

    Attributes:
        step: int32[], number of updates done.
        params: trained parameters.
        opt: optimizer state.
        ema: moving average of the parameters, or several (`genjax.methods.averages`); here so that it lives inside jit
            and inside the checkpoint.
        mutable: batch statistics, spectral-norm vectors, code books.
        frozen: first stages and teachers: parameters without an optimizer.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.typing import TrainState
        >>> state = TrainState(step=jnp.array(0), params={"w": jnp.ones(3)}, opt=())
        >>> int(state.replace(step=state.step + 1).step), state.ema
        (1, ())
    """

    step: Array
    params: PyTree
    opt: PyTree
    ema: PyTree = ()
    mutable: PyTree = ()
    frozen: PyTree = ()


class Method(NamedTuple):
    """All that the training loop knows of a generative model: four pure functions.

    Attributes:
        init: ``(key, batch) -> TrainState``.
        step: ``(key, state, batch) -> (TrainState, {name: scalar})``; a metric ``PRESENT + PREFIX`` says whether those
            called ``PREFIX/...`` have values in this step.
        evaluate: ``(key, state, batch) -> {name: float32[B]}``, one value per example.
        sample: ``(keys[N], state, condition) -> float32[N,H,W,C]`` in [-1, 1]; image i depends on ``keys[i]`` and
            on row i of every array in ``condition`` only.
    """

    init: Callable[[Key, Batch], TrainState]
    step: Callable[[Key, TrainState, Batch], tuple[TrainState, dict[str, Array]]]
    evaluate: Callable[[Key, TrainState, Batch], dict[str, Array]]
    sample: Callable[[Key, TrainState, Mapping[str, Array]], Array]
