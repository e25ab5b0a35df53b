"""Where arrays live: the device mesh, the layout of states and batches on it.

The mesh has two axes. Both spread the batch; "fsdp" also spreads the parameters (ZeRO 3):
each device keeps a part of every large array of the state and XLA gathers it where it is used.

References:
    Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models" (2020).
"""

from collections.abc import Mapping

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from genjax.typing import DATA_AXIS, PyTree, UserError

FSDP_AXIS = "fsdp"


def make_mesh(fsdp: int = 1, num_devices: int | None = None) -> Mesh:
    """A mesh over the first `num_devices` devices (None: all of all processes), as [devices / fsdp, fsdp].

    Devices are in process order, so that the contiguous share of a batch that a process loads lies on its own devices.

    Raises:
        UserError: if there are fewer devices than asked for, or `fsdp` does not divide their number.
    """
    devices = jax.devices()
    count = len(devices) if num_devices is None else num_devices
    if not 1 <= count <= len(devices):
        raise UserError(
            f"num_devices={count}: there are {len(devices)} devices, valid are 1 to {len(devices)}"
        )
    if fsdp < 1 or count % fsdp:
        valid = [n for n in range(1, count + 1) if count % n == 0]
        raise UserError(f"fsdp={fsdp} does not divide the number of devices, {count}; valid are {valid}")
    return Mesh(np.array(devices[:count]).reshape(count // fsdp, fsdp), (DATA_AXIS, FSDP_AXIS))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device has all of the array."""
    return NamedSharding(mesh, P())


def batch_sharding(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Axis number `axis`, the examples, is spread over all devices."""
    return NamedSharding(mesh, P(*[None] * axis, (DATA_AXIS, FSDP_AXIS)))


def state_sharding(state: PyTree, mesh: Mesh, min_size: int = 2**14) -> PyTree:
    """The layout of a state: arrays of `min_size` elements or more are split along their longest divisible axis.

    Args:
        state: pytree of arrays or `jax.ShapeDtypeStruct`.
        mesh: with axes "data" and "fsdp".
        min_size: smaller arrays are replicated: gathering them costs more than they weigh.

    Returns:
        The pytree of `NamedSharding`.
    """
    parts = mesh.shape[FSDP_AXIS]

    def layout(x: jax.ShapeDtypeStruct) -> NamedSharding:
        divisible = [axis for axis, size in enumerate(x.shape) if size % parts == 0]
        if parts == 1 or x.size < min_size or not divisible:
            return replicated(mesh)
        longest = max(divisible, key=lambda axis: x.shape[axis])
        return NamedSharding(mesh, P(*[None] * longest, FSDP_AXIS))

    return jax.tree.map(layout, state)


def shapes(tree: PyTree, mesh: Mesh) -> PyTree:
    """Shapes and types of arrays that lie on the devices of the mesh, for functions to be traced with.

    Traced with these, a jitted function is not traced once more where a program on the same mesh calls it.
    """
    everywhere = replicated(mesh)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), tree)


def place(tree: PyTree, shardings: PyTree) -> PyTree:
    """Lay out arrays that every process holds whole, in new buffers (they may be donated)."""

    def put(x: jax.Array, sharding: NamedSharding) -> jax.Array:
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            data = np.array(jax.random.key_data(x))
            placed = jax.make_array_from_callback(data.shape, sharding, lambda part: data[part])
            return jax.random.wrap_key_data(placed, impl=jax.random.key_impl(x))
        host = np.array(x)
        return jax.make_array_from_callback(host.shape, sharding, lambda part: host[part])

    return jax.tree.map(put, tree, shardings)


def place_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """The global batch, arrays of shape [B,...], of which this process holds the contiguous share `batch`."""
    sharding = batch_sharding(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, x) for name, x in batch.items()}


def round_up(batch_size: int, mesh: Mesh) -> int:
    """The next batch size that divides evenly over the devices of the mesh."""
    return -(-batch_size // mesh.size) * mesh.size


def check_batch_size(batch_size: int, mesh: Mesh, name: str = "batch_size") -> None:
    """Raises UserError unless the batch divides evenly over the devices of the mesh."""
    if batch_size < 1 or batch_size % mesh.size:
        raise UserError(
            f"{name}={batch_size} must be a positive multiple of the number of devices, {mesh.size}"
        )
