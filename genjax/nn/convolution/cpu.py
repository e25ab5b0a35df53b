"""Which algorithm computes a convolution, or a gradient of one, on CPU.

Measured with jax 0.12 on two AVX-512 cores; `python -m experiments.bench layers` shows what they give here:

* kernel sizes 2 and 3, stride 1, enough channels: Winograd's algorithm. Two to three times as fast, the kernel's
  gradient up to six times.
* strides: by phases, as stride 1.
* kernel size 1: matrix products.
* depthwise: sums of shifted products.
* what is left of gradients: with the layout in which XLA calls its fast routine also inside of loops and conditionals,
  where it leaves the other to a naive one, 20 to 70 times slower.

Everything but 2-D float32 goes the plain way.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from genjax.nn.convolution import depthwise, polyphase, winograd
from genjax.nn.convolution.plain import pad, plain, transposed_kernel
from genjax.nn.convolution.window import Form, Window, channels_last
from genjax.typing import Array

Algorithm: TypeAlias = Callable[..., Array]

_UNIT = (1, 1)
# Below, the transforms cost more than the products that they save.
_WINOGRAD_CHANNELS = 32
_WINOGRAD_TILES = 128


def run(a: Array, b: Array, *, form: Form, window: Window, size: tuple[int, ...]) -> Array:
    """One of the three maps of a convolution: see `genjax.nn.convolution.maps`, which says the shapes for each form."""
    algorithm = _choose(a, b, form, window, size)
    # What computes the arguments is not to be merged into the algorithm, which may read them several times.
    a, b = lax.optimization_barrier((a, b))
    with jax.named_scope(f"convolution_{form}"):
        return algorithm(a, b, form=form, window=window, size=size)


def _choose(a: Array, b: Array, form: Form, window: Window, size: tuple[int, ...]) -> Algorithm:
    if len(size) != 2 or a.dtype != jnp.float32 or 0 in (*a.shape, *b.shape, *size):
        return plain
    if window.dilation != _UNIT or window.precision not in (None, lax.Precision.DEFAULT, lax.Precision.HIGH):
        return plain
    kernel_size = size if form == "kernel" else b.shape[:2]
    channels = (a.shape[-1] // window.groups, b.shape[-1]) if form == "kernel" else b.shape[-2:]
    if window.groups > 1:
        return _depthwise if channels == (1, window.groups) and window.strides == _UNIT else plain
    if polyphase.phase_size(kernel_size, window) == _UNIT:
        return _matmul if window.strides == _UNIT else _by_phases
    if min(channels) >= _WINOGRAD_CHANNELS and _winograd_pays(a, b, form, window, size, kernel_size):
        return _winograd if window.strides == _UNIT else _by_phases
    if form == "kernel":
        return _canonical_kernel_gradient
    return _canonical_input_gradient if form == "input" else plain


def _winograd_pays(
    a: Array, b: Array, form: Form, window: Window, size: tuple[int, ...], kernel_size: tuple[int, ...]
) -> bool:
    """Whether there is a transform for the kernel (of the phases), it saves a third of the products, and there are
    enough tiles to make up for the transform of the kernel."""
    r, other = polyphase.phase_size(kernel_size, window)
    if r != other or r not in winograd.KERNEL_SIZES:
        return False
    output_size = _output_size(a, b, form, size)
    if form == "input":
        tiled = size if window.strides == _UNIT else tuple(n + r - 1 for n in output_size)
    else:
        tiled = output_size
    products = math.prod(window.strides) * winograd.num_products(r, tiled)
    direct = math.prod(output_size) * math.prod(kernel_size)
    return products <= 2 / 3 * direct and len(a) * winograd.num_tiles(tiled) >= _WINOGRAD_TILES


def _output_size(a: Array, b: Array, form: Form, size: tuple[int, ...]) -> tuple[int, ...]:
    return {"output": size, "input": a.shape[1:3], "kernel": b.shape[1:3]}[form]


def _winograd(a: Array, b: Array, *, form: Form, window: Window, size: tuple[int, ...]) -> Array:
    if form == "output":
        return winograd.convolve(a, b, window.padding)
    if form == "kernel":
        return winograd.kernel_gradient(a, b, window.padding)
    return winograd.convolve(a, transposed_kernel(b), _transposed_padding(a, b, window, size))


def _transposed_padding(
    dy: Array, kernel: Array, window: Window, size: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    lows = [r - 1 - low for r, (low, _) in zip(kernel.shape, window.padding, strict=False)]
    sizes = zip(lows, size, dy.shape[1:3], kernel.shape, strict=False)
    return tuple((low, n + r - 1 - old - low) for low, n, old, r in sizes)


def _by_phases(a: Array, b: Array, *, form: Form, window: Window, size: tuple[int, ...]) -> Array:
    kernel_size = size if form == "kernel" else b.shape[:2]
    output_size = _output_size(a, b, form, size)
    inner = polyphase.phase_window(window)
    inner_kernel = polyphase.phase_size(kernel_size, window)
    if form != "input":
        a = polyphase.phases(a, kernel_size, window, output_size)
    if form != "kernel":
        b = polyphase.kernel_phases(b, window)
    if form == "output":
        return run(a, b, form=form, window=inner, size=size)
    if form == "kernel":
        dk = run(a, b, form=form, window=inner, size=inner_kernel)
        return polyphase.from_kernel_phases(dk, window, size)
    inner_size = tuple(n + r - 1 for n, r in zip(output_size, inner_kernel, strict=True))
    dx = run(a, b, form=form, window=inner, size=inner_size)
    return polyphase.from_phases(dx, kernel_size, window, output_size, size)


def _matmul(a: Array, b: Array, *, form: Form, window: Window, size: tuple[int, ...]) -> Array:
    if form == "input":
        return pad(jnp.einsum("bhwo,co->bhwc", a, b[0, 0]), [(-low, -high) for low, high in window.padding])
    a = pad(a, window.padding)
    if form == "output":
        return jnp.einsum("bhwc,co->bhwo", a, b[0, 0])
    return jnp.einsum("bhwc,bhwo->co", a, b)[None, None]


def _depthwise(a: Array, b: Array, *, form: Form, window: Window, size: tuple[int, ...]) -> Array:
    if form == "output":
        return depthwise.convolve(a, b, window.padding)
    if form == "kernel":
        return depthwise.kernel_gradient(a, b, window.padding)
    return depthwise.convolve(a, jnp.flip(b, (0, 1)), _transposed_padding(a, b, window, size))


def _canonical_input_gradient(
    a: Array, b: Array, *, form: Form, window: Window, size: tuple[int, ...]
) -> Array:
    """A convolution with the flipped kernel, made first: folded into the convolution, it is one in another layout."""
    kernel = lax.optimization_barrier(transposed_kernel(b))
    parts = zip(window.strides, window.padding, a.shape[1:3], b.shape[:2], size, strict=True)
    padding = [(r - 1 - low, wanted - 1 + low - (n - 1) * s) for s, (low, _), n, r, wanted in parts]
    return lax.conv_general_dilated(
        a, kernel, _UNIT, padding, lhs_dilation=window.strides, dimension_numbers=channels_last(2)
    )


def _canonical_kernel_gradient(
    a: Array, b: Array, *, form: Form, window: Window, size: tuple[int, ...]
) -> Array:
    """A convolution of images [C,H,W,B] with a kernel [H',W',B,O] that has gaps for strides; or, where O is small and
    matrix products would be narrow, the other way round."""
    parts = list(zip(window.strides, window.padding, a.shape[1:3], b.shape[1:3], size, strict=True))
    swap = window.strides == _UNIT and b.shape[-1] * 8 <= a.shape[-1]
    if swap:
        a, b = b, a
        padding = [(r - 1 - low, old - n + low) for _, (low, _), old, n, r in parts]
    else:
        padding = [(low, r - 1 + (n - 1) * s + 1 - old - low) for s, (low, _), old, n, r in parts]
    y = lax.conv_general_dilated(
        a.transpose(3, 1, 2, 0),
        b.transpose(1, 2, 0, 3),
        _UNIT,
        padding,
        rhs_dilation=window.strides,
        dimension_numbers=channels_last(2),
    )
    return y[:, ::-1, ::-1].transpose(1, 2, 3, 0) if swap else y.transpose(1, 2, 0, 3)
