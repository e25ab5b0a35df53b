"""Depthwise convolutions, one kernel per channel, as sums of shifted products.

XLA takes the general algorithm with one channel a group, 60 times slower than these sums.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax

from genjax.nn.convolution.blocks import sum_blocks
from genjax.nn.convolution.plain import pad
from genjax.typing import Array

# Rows that are added up in one vectorised pass, before the sum over positions.
_ROWS = 32


def convolve(x: Array, kernel: Array, padding: tuple[tuple[int, int], ...]) -> Array:
    """Stride-1 convolution: float[B,H,W,C], float[h,w,1,C] -> float[B,H',W',C]."""
    h, w = kernel.shape[:2]
    # Columns and channels are one axis: one long vector loop a row.
    x = lax.optimization_barrier(pad(x, padding))
    batch, rows, columns, channels = x.shape
    height, width = rows - h + 1, columns - w + 1
    x = x.reshape(batch, rows, -1)

    def term(i: int, j: int) -> Array:
        weights = jnp.tile(kernel[i, j, 0], width)[None, None]
        return x[:, i : i + height, j * channels : (j + width) * channels] * weights

    y = functools.reduce(jnp.add, [term(i, j) for i, j in np.ndindex(h, w)])
    return y.reshape(batch, height, width, channels)


def kernel_gradient(x: Array, dy: Array, padding: tuple[tuple[int, int], ...]) -> Array:
    """Gradient of `convolve` in the kernel: float[B,H,W,C], float[B,H',W',C] -> float[h,w,1,C]."""
    h, w = (x.shape[1 + i] + sum(padding[i]) - dy.shape[1 + i] + 1 for i in range(2))
    strip = min(_ROWS, dy.shape[1])
    rows = -(-dy.shape[1] // strip) * strip

    def block(x: Array, dy: Array) -> Array:
        missing = (0, rows - dy.shape[1])
        x = lax.optimization_barrier(pad(pad(x, padding), (missing, (0, 0))))
        dy = pad(dy, (missing, (0, 0)))

        def every_strip(array: Array, first: int) -> Array:
            return lax.slice_in_dim(array, first, first + rows - strip + 1, strip, axis=1)

        def partial_sum(i: int, j: int) -> Array:
            shifted = x[:, :, j : j + dy.shape[2]]
            products = [every_strip(shifted, i + r) * every_strip(dy, r) for r in range(strip)]
            return functools.reduce(jnp.add, products)

        # Or XLA would make one reduction over all positions of it, which takes twice as long.
        sums = lax.optimization_barrier([partial_sum(i, j) for i, j in np.ndindex(h, w)])
        return jnp.stack([part.sum((0, 1, 2)) for part in sums]).reshape(h, w, 1, -1)

    return sum_blocks(block, x, dy, x.dtype.itemsize * (x[0].size + dy[0].size))
