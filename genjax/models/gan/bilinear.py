"""Halving and doubling of feature maps by bilinear interpolation."""

import jax.numpy as jnp
from jax import lax

from genjax.typing import Array


def bilinear_upsample(x: Array) -> Array:
    """float[B,H,W,C] -> float[B,2H,2W,C]: a new pixel is 3/4 of the pixel it lies in and 1/4 of the nearer neighbour,
    in each direction; at the border the pixel is its own neighbour.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.models.gan.bilinear import bilinear_upsample
        >>> bilinear_upsample(jnp.array([0.0, 4.0]).reshape(1, 1, 2, 1))[0, 0, :, 0].tolist()
        [0.0, 1.0, 3.0, 4.0]
    """
    return _double(_double(x, 1), 2)


def bilinear_downsample(x: Array) -> Array:
    """float[B,H,W,C] -> float[B,H/2,W/2,C]: in each direction (1, 3, 3, 1) / 8 of four pixels, those at the border
    repeated; H and W must be even. Inside it is the adjoint of `bilinear_upsample`, up to the factor 4.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.models.gan.bilinear import bilinear_downsample
        >>> bilinear_downsample(jnp.array([0.0, 0.0, 8.0, 8.0] * 2).reshape(1, 2, 4, 1))[0, :, :, 0].tolist()
        [[1.0, 7.0]]
    """
    return _halve(_halve(x, 1), 2)


def _double(x: Array, axis: int) -> Array:
    before, after = _neighbours(x, axis)
    pair = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis=axis + 1)
    return pair.reshape(*x.shape[:axis], -1, *x.shape[axis + 1 :])


def _halve(x: Array, axis: int) -> Array:
    size = x.shape[axis]
    before, after = _neighbours(x, axis)
    low, high = (lax.slice_in_dim(a, i, size, 2, axis) for a, i in ((x, 0), (x, 1)))
    outer = lax.slice_in_dim(before, 0, size, 2, axis) + lax.slice_in_dim(after, 1, size, 2, axis)
    return 0.375 * (low + high) + 0.125 * outer


def _neighbours(x: Array, axis: int) -> tuple[Array, Array]:
    """The arrays whose element i is the one before, and the one after, element i of `x`."""
    size = x.shape[axis]
    first, last = (lax.slice_in_dim(x, i, i + 1, axis=axis) for i in (0, size - 1))
    before = jnp.concatenate([first, lax.slice_in_dim(x, 0, size - 1, axis=axis)], axis)
    return before, jnp.concatenate([lax.slice_in_dim(x, 1, size, axis=axis), last], axis)
