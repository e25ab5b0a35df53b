"""What several processes have computed, together or each from its own images."""

import functools
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import UInt32

from genjax.metrics.frechet import Moments, merge
from genjax.typing import UserError


def fetch(arrays: Any) -> Any:
    """The arrays of a pytree as NumPy's, also where an array is spread over the devices of several processes.

    All of these have to call it then, and all get the whole.
    """

    def whole(x: jax.Array) -> np.ndarray:
        return np.asarray(x if x.is_fully_addressable else multihost_utils.process_allgather(x, tiled=True))

    return jax.tree.map(whole, arrays)


def merge_processes(m: Moments) -> Moments:
    """Moments of the features of all processes, the same bits on each of them.

    All have to call it. They are merged in the order of the processes; another number of processes gives the same up to
    rounding in float64. Between processes they travel as bits, because JAX would round float64 to float32.

    Args:
        m: of this process's features, at least one of them.
    """
    if jax.process_count() == 1:
        return m
    gathered = np.asarray(multihost_utils.process_allgather(pack(m)))
    return functools.reduce(merge, [unpack(bits, len(m.mean)) for bits in gathered])


def pack(m: Moments) -> UInt32[np.ndarray, "_"]:
    """The moments as 32-bit words, uint32[2 + 2 D + 2 D^2]: no rounding where float64 is not enabled."""
    count = np.array([m.count], np.int64).view(np.uint32)
    return np.concatenate([count, *(np.ascontiguousarray(x).ravel().view(np.uint32) for x in (m.mean, m.m2))])


def unpack(bits: UInt32[np.ndarray, "_"], width: int) -> Moments:
    """What `pack` packed, uint32[2 + 2 D + 2 D^2] for a `width` of D, bit for bit.

    Raises:
        UserError: if the array is not one of moments of this width.
    """
    if len(bits) != 2 + 2 * width + 2 * width**2:
        raise UserError(
            f"bits has {len(bits)} words: moments of width {width} have {2 + 2 * width + 2 * width**2}"
        )
    count, rest = bits[:2].copy().view(np.int64), bits[2:].copy().view(np.float64)
    return Moments(int(count[0]), rest[:width], rest[width:].reshape(width, width))
