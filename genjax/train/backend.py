"""The two ways a train step is spread over devices, behind one interface.

* "jit": arrays are global, laid out on a mesh; XLA partitions the step. The default; the only one with FSDP.
* "pmap": every device runs the step on its part of the batch; the method averages gradients itself
  (`genjax.devices.mean_over_devices`).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from genjax.train import sharding
from genjax.train.feed import Feed
from genjax.train.program import Program
from genjax.typing import DATA_AXIS, Array, Batch, Key, PyTree, TrainState, UserError

Step = Callable[[Key, TrainState, Batch], tuple[TrainState, dict[str, Array]]]
Constants = tuple[Key, dict[str, Array]]


class Backend(NamedTuple):
    """How states and items are laid out, and the compiled function that advances a state.

    Attributes:
        layout: pytree of shardings of the portable state, as checkpoints and evaluation see it.
        spread: portable state -> the backend's own layout. The result may be donated.
        portable: the reverse.
        put: numpy item [steps, B / processes, ...] of this process -> device arrays.
        advance: ``(state, constants, item) -> (state, {name: float[steps]})``; donates the state.
        constants: the key of the training and the feed's resident arrays, on the devices. The key is an argument and
            no constant of the program, so that another seed finds the program in jax's cache.
    """

    layout: PyTree
    spread: Callable[[TrainState], TrainState]
    portable: Callable[[TrainState], TrainState]
    put: Callable[[Mapping[str, np.ndarray]], Mapping[str, Array | np.ndarray]]
    advance: Program
    constants: Constants


def make(
    name: str, step: Step, key: Key, feed: Feed, abstract_state: PyTree, mesh: Mesh, fsdp_min_size: int
) -> Backend:
    """The backend called `name`, for arrays of any shape; raises UserError with the valid names for another."""
    if name not in BACKENDS:
        raise UserError(f"backend={name!r}: valid are {sorted(BACKENDS)}")
    return BACKENDS[name](step, key, feed, abstract_state, mesh, fsdp_min_size)


def _jit(step: Step, key: Key, feed: Feed, abstract_state: PyTree, mesh: Mesh, fsdp_min_size: int) -> Backend:
    layout = sharding.state_sharding(abstract_state, mesh, fsdp_min_size)
    everywhere = sharding.replicated(mesh)
    rows = sharding.batch_sharding(mesh, axis=1)

    def put(item: Mapping[str, np.ndarray]) -> dict[str, Array]:
        return {name: jax.make_array_from_process_local_data(rows, x) for name, x in item.items()}

    advance = Program(
        _many(step, feed),
        "the train step",
        donate_argnums=0,
        out_shardings=(layout, everywhere),
    )
    return Backend(
        layout=layout,
        spread=lambda state: state,
        portable=lambda state: state,
        put=put,
        advance=advance,
        constants=(
            sharding.place(key, everywhere),
            {name: jax.device_put(x, everywhere) for name, x in feed.arrays.items()},
        ),
    )


def _pmap(
    step: Step, key: Key, feed: Feed, abstract_state: PyTree, mesh: Mesh, fsdp_min_size: int
) -> Backend:
    if feed.arrays:
        raise UserError("backend='pmap' takes a streamed feed: resident data would be copied at every step")
    if mesh.shape[sharding.FSDP_AXIS] != 1:
        raise UserError("backend='pmap' cannot split parameters: set fsdp to 1, or use backend='jit'")
    devices = [d for d in mesh.devices.flat if d.process_index == jax.process_index()]
    per_device = NamedSharding(Mesh(np.array(devices), (DATA_AXIS,)), P(DATA_AXIS))
    everywhere = sharding.replicated(mesh)

    def spread(state: TrainState) -> TrainState:
        def copies(x: Array) -> Array:
            host = np.array(x.addressable_data(0))[None]
            shape = (len(devices), *x.shape)
            return jax.make_array_from_callback(shape, per_device, lambda part: host)

        return jax.tree.map(copies, state)

    def portable(state: TrainState) -> TrainState:
        hosts = jax.tree.map(lambda x: np.array(x.addressable_data(0)).reshape(x.shape[1:]), state)
        return sharding.place(hosts, jax.tree.map(lambda _: everywhere, hosts))

    def put(item: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        def split(x: np.ndarray) -> np.ndarray:  # [steps, B, ...] -> [devices, steps, B / devices, ...]
            parts = x.reshape(x.shape[0], len(devices), x.shape[1] // len(devices), *x.shape[2:])
            return np.moveaxis(parts, 1, 0)

        return {name: split(x) for name, x in item.items()}

    advance = Program(
        _many(step, feed),
        "the train step",
        transform=jax.pmap,
        axis_name=DATA_AXIS,
        in_axes=(0, None, 0),
        out_axes=(0, None),
        donate_argnums=0,
        devices=devices if jax.process_count() == 1 else None,
    )
    return Backend(
        layout=jax.tree.map(lambda _: everywhere, abstract_state),
        spread=spread,
        portable=portable,
        put=put,
        advance=advance,
        constants=(key, {}),
    )


BACKENDS = {"jit": _jit, "pmap": _pmap}


def _many(
    step: Step, feed: Feed
) -> Callable[[TrainState, Constants, dict], tuple[TrainState, dict[str, Array]]]:
    """All steps of an item in one program: a `scan`, or the plain step where there is one.

    Only accelerators get items of several steps: XLA on CPU computes the gradients of convolutions 40 times slower
    inside a loop.
    """

    def advance(state: TrainState, constants: Constants, item: dict) -> tuple[TrainState, dict[str, Array]]:
        key, arrays = constants

        def one(state: TrainState, item: dict) -> tuple[TrainState, dict[str, Array]]:
            return step(key, state, feed.batch(arrays, item))

        if len(jax.tree.leaves(item)[0]) > 1:
            return jax.lax.scan(one, state, item)
        state, metrics = one(state, jax.tree.map(lambda x: x[0], item))
        return state, jax.tree.map(lambda x: x[None], metrics)

    return advance


def steps_per_dispatch(intervals: list[int], most: int | None = None) -> int:
    """How many steps one dispatch may run: a divisor of all `intervals`, so that every dispatch ends where something
    is due. One on CPU, unless `most` says otherwise; at most 32 elsewhere."""
    limit = most or (1 if jax.default_backend() == "cpu" else 32)
    common = int(np.gcd.reduce([n for n in intervals if n > 0]))
    return max(n for n in range(1, min(limit, common) + 1) if common % n == 0)


def as_float(metrics: dict[str, Any]) -> dict[str, np.ndarray]:
    """Metrics of some steps, [steps] each, on the host, as arrays of that shape of float64; waits for them."""
    return {name: np.asarray(jnp.asarray(x), np.float64) for name, x in metrics.items()}
