"""Values over all devices that a batch is spread over."""

import jax
import jax.numpy as jnp

from genjax.typing import DATA_AXIS, PyTree


def num_devices() -> int:
    """How many devices the data axis has where one is bound (pmap, shard_map); else 1: arrays are global."""
    try:
        return jax.lax.axis_size(DATA_AXIS)
    except NameError:
        return 1


def mean_over_devices(tree: PyTree) -> PyTree:
    """Mean of per-device values over the data axis where one is bound (pmap, shard_map).

    Whole numbers count something, steps or images, that is the same on all devices, and stay as they are.

    Under `jit` on a mesh arrays are global, a mean over the batch is already the mean over all devices, and this is
    the identity: what is written with it works under every backend.
    """
    try:
        jax.lax.axis_index(DATA_AXIS)
    except NameError:
        return tree
    return jax.tree.map(
        lambda x: x if jnp.issubdtype(x.dtype, jnp.integer) else jax.lax.pmean(x, DATA_AXIS), tree
    )
