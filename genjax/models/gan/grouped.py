"""Convolutions in groups, one convolution a group: XLA's own have tens of times slower gradients on CPU."""

from typing import Any

import jax.numpy as jnp

from genjax.nn.convolution import Conv, conv_general_dilated
from genjax.typing import Array


def convolve_groups(lhs: Array, rhs: Array, *args: Any, feature_group_count: int = 1, **kwargs: Any) -> Array:
    """`genjax.nn.conv_general_dilated` with channels last, the groups one after the other."""
    pairs = zip(*(jnp.split(x, feature_group_count, axis=-1) for x in (lhs, rhs)), strict=True)
    return jnp.concatenate([conv_general_dilated(x, kernel, *args, **kwargs) for x, kernel in pairs], axis=-1)


class GroupedConv(Conv):
    """`genjax.nn.Conv`: the same attributes, parameters and, up to rounding, numbers."""

    conv_general_dilated_cls: Any = lambda: convolve_groups
