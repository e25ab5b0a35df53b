"""Blocks of images, one after the other: what a block needs in between stays in the processor's cache."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from genjax.typing import Array

# Measured: half and twice as much cost 5 to 10 % each.
_BLOCK_BYTES = 8 * 2**20


def map_blocks(function: Callable[[Array], Array], x: Array, bytes_per_image: int) -> Array:
    """``function(x)`` for a function that treats images float[B,...] alone, given what one of them needs in between."""
    count = _count(len(x), bytes_per_image)
    if count == 1:
        return function(x)
    y = lax.map(function, x.reshape(count, -1, *x.shape[1:]))
    return y.reshape(-1, *y.shape[2:])


def sum_blocks(function: Callable[[Array, Array], Array], x: Array, y: Array, bytes_per_image: int) -> Array:
    """``function(x, y)`` for a function that adds up over images float[B,...], given what one needs in between."""
    count = _count(len(x), bytes_per_image)
    if count == 1:
        return function(x, y)
    blocks = tuple(a.reshape(count, -1, *a.shape[1:]) for a in (x, y))
    shape = jax.eval_shape(function, x[:1], y[:1])
    zeros = jnp.zeros(shape.shape, shape.dtype)
    if axes := jax.typeof(x).manual_axis_type.varying:  # inside `jax.shard_map`
        zeros = lax.pcast(zeros, tuple(axes), to="varying")
    return lax.scan(lambda total, pair: (total + function(*pair), None), zeros, blocks)[0]


def _count(batch: int, bytes_per_image: int) -> int:
    """The number of blocks of images: a divisor of the batch."""
    if batch * bytes_per_image <= 3 * _BLOCK_BYTES:
        return 1
    most = min(batch, math.ceil(batch * bytes_per_image / _BLOCK_BYTES))
    return next(count for count in range(most, 0, -1) if batch % count == 0)
