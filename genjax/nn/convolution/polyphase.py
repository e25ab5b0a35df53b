"""Strided convolutions as convolutions of stride 1: space to depth.

With stride s and kernel size r, the s^2 phases of the (padded) input become channels; the kernel, padded to a multiple
R s, becomes one of size R = ceil(r / s) on those channels. Nothing is computed but for the kernel's padding, and
neither the gradients' zeros (a transposed convolution multiplies s^2 times too often) nor their strided windows remain.
"""

import math

import jax.numpy as jnp

from genjax.nn.convolution.plain import pad
from genjax.nn.convolution.window import Window
from genjax.typing import Array


def phase_window(window: Window) -> Window:
    """The window of the convolution between `phases` and `kernel_phases`: stride 1 and no padding."""
    return window._replace(strides=(1, 1), padding=((0, 0), (0, 0)))


def phase_size(kernel_size: tuple[int, ...], window: Window) -> tuple[int, ...]:
    """Size of the kernel between phases."""
    return tuple(-(-k // s) for k, s in zip(kernel_size, window.strides, strict=True))


def phases(x: Array, kernel_size: tuple[int, ...], window: Window, output_size: tuple[int, ...]) -> Array:
    """float[B,H,W,C] -> float[B,H'+R-1,W'+R-1,s*s*C], padded as the window says."""
    strides = window.strides
    sizes = _padded(kernel_size, window, output_size)
    parts = zip(window.padding, sizes, x.shape[1:3], strict=True)
    x = pad(x, [(low, n - low - old) for (low, _), n, old in parts])
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // strides[0], strides[0], width // strides[1], strides[1], channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(
        batch, height // strides[0], width // strides[1], math.prod(strides) * channels
    )


def from_phases(
    y: Array,
    kernel_size: tuple[int, ...],
    window: Window,
    output_size: tuple[int, ...],
    size: tuple[int, ...],
) -> Array:
    """The transpose of `phases`: float[B,H'+R-1,W'+R-1,s*s*C] -> float[B,*size,C]."""
    strides = window.strides
    batch, rows, columns, _ = y.shape
    y = y.reshape(batch, rows, columns, *strides, -1).transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(batch, rows * strides[0], columns * strides[1], -1)
    parts = zip(window.padding, y.shape[1:3], size, strict=True)
    return pad(y, [(-low, n - (padded - low)) for (low, _), padded, n in parts])


def kernel_phases(kernel: Array, window: Window) -> Array:
    """float[r,r,C,O] -> float[R,R,s*s*C,O]."""
    (p, q), strides = phase_size(kernel.shape[:2], window), window.strides
    pads = ((0, p * strides[0] - kernel.shape[0]), (0, q * strides[1] - kernel.shape[1]), (0, 0), (0, 0))
    kernel = jnp.pad(kernel, pads).reshape(p, strides[0], q, strides[1], *kernel.shape[2:])
    return kernel.transpose(0, 2, 1, 3, 4, 5).reshape(p, q, -1, kernel.shape[-1])


def from_kernel_phases(kernel: Array, window: Window, size: tuple[int, ...]) -> Array:
    """The transpose of `kernel_phases`: ``float[R,R,s*s*C,O] -> float[*size,C,O]``."""
    (p, q), strides = kernel.shape[:2], window.strides
    kernel = kernel.reshape(p, q, *strides, -1, kernel.shape[-1]).transpose(0, 2, 1, 3, 4, 5)
    kernel = kernel.reshape(p * strides[0], q * strides[1], *kernel.shape[4:])
    return kernel[: size[0], : size[1]]


def _padded(kernel_size: tuple[int, ...], window: Window, output_size: tuple[int, ...]) -> tuple[int, ...]:
    parts = zip(window.strides, output_size, phase_size(kernel_size, window), strict=True)
    return tuple(s * (n + r - 1) for s, n, r in parts)
