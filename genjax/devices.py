"""Values over all devices that a batch is spread over."""

import jax
import jax.numpy as jnp

from genjax.typing import DATA_AXIS, Array, PyTree


def num_devices() -> int:
    """How many devices the data axis has where one is bound (pmap, shard_map); else 1: arrays are global.

    Example:
        >>> from genjax import devices
        >>> devices.num_devices()  # no data axis is bound here
        1
    """
    try:
        return jax.lax.axis_size(DATA_AXIS)
    except NameError:
        return 1


def mean_over_devices(tree: PyTree) -> PyTree:
    """Mean of per-device values over the data axis where one is bound (pmap, shard_map).

    Whole numbers count something, steps or images, that is the same on all devices, and stay as they are.

    Under `jit` on a mesh arrays are global, a mean over the batch is already the mean over all devices, and this is
    the identity: what is written with it works under every backend.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax import devices
        >>> metrics = {"loss": jnp.array([1.0, 3.0]), "steps": jnp.array([5, 5])}  # of two devices
        >>> means = jax.vmap(devices.mean_over_devices, axis_name="data")(metrics)
        >>> means["loss"].tolist(), means["steps"].tolist()
        ([2.0, 2.0], [5, 5])
    """
    try:
        jax.lax.axis_index(DATA_AXIS)
    except NameError:
        return tree
    return jax.tree.map(
        lambda x: x if jnp.issubdtype(x.dtype, jnp.integer) else jax.lax.pmean(x, DATA_AXIS), tree
    )


def gather_over_devices(x: Array) -> Array:
    """float or int[B,...] -> [global B,...]: the rows of all devices, in the order of the global batch.

    The identity under `jit` on a mesh, where arrays are global. A sum and not a gather: of its result shard_map knows
    that it is the same on every device, so that it may become part of a state.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax import devices
        >>> rows = jnp.arange(4).reshape(2, 2)  # two devices, two examples each
        >>> jax.vmap(devices.gather_over_devices, axis_name="data")(rows).tolist()
        [[0, 1, 2, 3], [0, 1, 2, 3]]
    """
    try:
        device = jax.lax.axis_index(DATA_AXIS)
    except NameError:
        return x
    whole = jnp.zeros((x.shape[0] * num_devices(), *x.shape[1:]), x.dtype)
    return jax.lax.psum(jax.lax.dynamic_update_slice_in_dim(whole, x, device * x.shape[0], 0), DATA_AXIS)


def own_rows(x: Array) -> Array:
    """float or int[global B,...] -> float or int[B,...]: this device's rows of what `gather_over_devices` gathered.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax import devices
        >>> whole = jnp.array([[0, 1, 2, 3], [0, 1, 2, 3]])  # on both of two devices
        >>> jax.vmap(devices.own_rows, axis_name="data")(whole).tolist()
        [[0, 1], [2, 3]]
    """
    try:
        device = jax.lax.axis_index(DATA_AXIS)
    except NameError:
        return x
    size = x.shape[0] // num_devices()
    return jax.lax.dynamic_slice_in_dim(x, device * size, size)
