"""A convolution and its gradients as JAX itself derives them."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
from jax import lax

from genjax.nn.convolution.window import Form, Window, channels_last
from genjax.typing import Array


def plain(a: Array, b: Array, *, form: Form, window: Window, size: tuple[int, ...]) -> Array:
    """The map by `lax.conv_general_dilated` or its transposes; `genjax.nn.convolution.maps` says the shapes."""

    def convolution(x: Array, kernel: Array) -> Array:
        return lax.conv_general_dilated(
            x,
            kernel,
            window.strides,
            window.padding,
            rhs_dilation=window.dilation,
            dimension_numbers=channels_last(len(window.strides)),
            feature_group_count=window.groups,
            precision=window.precision,
        )

    if form == "output":
        return convolution(a, b)
    # Like `a` but for its shape: inside `jax.shard_map` it varies over the same axes.
    missing = jax.typeof(a).update(shape=output_shape(a.shape, b.shape, form, window, size))
    if form == "input":
        return jax.linear_transpose(lambda x: convolution(x, b), missing)(a)[0]
    return jax.linear_transpose(lambda kernel: convolution(a, kernel), missing)(b)[0]


def output_shape(
    a: tuple[int, ...], b: tuple[int, ...], form: Form, window: Window, size: tuple[int, ...]
) -> tuple[int, ...]:
    """Shape of the map's result, from the shapes of its arguments."""
    if form == "output":
        return (a[0], *size, b[-1])
    if form == "input":
        return (a[0], *size, b[-2] * window.groups)
    return (*size, a[-1] // window.groups, b[-1])


def pad(x: Array, padding: Iterable[tuple[int, int]]) -> Array:
    """Adds (low, high) zeros around the spatial dimensions of float[B,*S,C]; negative crops."""
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((*pair, 0) for pair in padding), (0, 0, 0)])


def transposed_kernel(kernel: Array) -> Array:
    """``float[*K,C,O] -> float[*K,O,C]``: flipped, for the convolution that is the input gradient at stride 1."""
    return jnp.swapaxes(jnp.flip(kernel, range(kernel.ndim - 2)), -1, -2)
