"""A convolution and its gradients as JAX itself derives them."""

import jax
from jax import lax

from genjax.nn.convolution.window import Form, Window
from genjax.typing import Array


def plain(a: Array, b: Array, *, form: Form, window: Window, size: tuple[int, ...]) -> Array:
    """The map by `lax.conv_general_dilated` or its transposes, as JAX itself derives them."""

    def convolution(x: Array, kernel: Array) -> Array:
        letters = "DHW"[-len(window.strides) :] if len(window.strides) <= 3 else ""
        numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
        return lax.conv_general_dilated(
            x,
            kernel,
            window.strides,
            window.padding,
            rhs_dilation=window.dilation,
            dimension_numbers=numbers,
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
