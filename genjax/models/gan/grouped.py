"""Convolutions in groups, one convolution a group: XLA's own have tens of times slower gradients on CPU."""

from typing import Any

import jax.numpy as jnp

from genjax.nn.convolution import Conv, conv_general_dilated
from genjax.typing import Array


def convolve_groups(lhs: Array, rhs: Array, *args: Any, feature_group_count: int = 1, **kwargs: Any) -> Array:
    """`genjax.nn.conv_general_dilated` with channels last, the groups one after the other.

    Args:
        lhs: float[B,*S,C].
        rhs: ``float[*K,C/groups,O]``.
        *args: as there, and so the keyword arguments.
        feature_group_count: number of groups; divides C and O.
        **kwargs: see above.

    Returns:
        float[B,*S',O].
    """
    pairs = zip(*(jnp.split(x, feature_group_count, axis=-1) for x in (lhs, rhs)), strict=True)
    return jnp.concatenate([conv_general_dilated(x, kernel, *args, **kwargs) for x, kernel in pairs], axis=-1)


class GroupedConv(Conv):
    """`genjax.nn.Conv`: the same attributes, parameters and, up to rounding, numbers.

    Example:
        >>> import flax.linen, jax, jax.numpy as jnp
        >>> from genjax.models.gan.grouped import GroupedConv
        >>> init = flax.linen.initializers.ones
        >>> layer = GroupedConv(2, (1, 1), feature_group_count=2, kernel_init=init)
        >>> x = jnp.arange(4.0).reshape(1, 1, 1, 4)
        >>> jax.jit(layer.init_with_output)(jax.random.key(0), x)[0].ravel().tolist()  # 0 + 1 and 2 + 3
        [1.0, 5.0]
    """

    conv_general_dilated_cls: Any = lambda: convolve_groups
