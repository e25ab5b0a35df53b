"""The functions of jax.lax on the maps of `genjax.nn.convolution.maps`."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from genjax.nn.convolution import maps
from genjax.nn.convolution.plain import transposed_kernel
from genjax.nn.convolution.window import Window, channels_last
from genjax.typing import Array


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """`jax.lax.conv_general_dilated`, faster on CPU; the same arguments and, up to rounding, the same numbers.

    Fast are float arrays with channels last (``("NHWC", "HWIO", "NHWC")``), strided (`window_strides`) or transposed
    (`lhs_dilation`), and their derivatives of any order, forward and reverse; everything else goes to
    `jax.lax.conv_general_dilated` itself. With channels last, the shapes are
    ``float[B,*S,C], float[*K,C/groups,O] -> float[B,*S',O]``.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax import nn
        >>> x, kernel = jnp.arange(4.0).reshape(1, 4, 1), jnp.array([1.0, 10.0]).reshape(2, 1, 1)
        >>> layout = ("NWC", "WIO", "NWC")
        >>> nn.conv_general_dilated(x, kernel, (1,), "VALID", dimension_numbers=layout).ravel().tolist()
        [10.0, 21.0, 32.0]
    """
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    spatial = lhs.ndim - 2
    ones = (1,) * spatial
    strides, gaps, dilation = (tuple(x or ones) for x in (window_strides, lhs_dilation, rhs_dilation))
    last = numbers.lhs_spec == numbers.out_spec == (0, spatial + 1, *range(1, spatial + 1))
    last = last and numbers.rhs_spec == (spatial + 1, spatial, *range(spatial))
    floating = lhs.dtype == rhs.dtype and jnp.issubdtype(lhs.dtype, jnp.floating)
    simple = batch_group_count == 1 and preferred_element_type is None and 1 <= spatial <= 3
    if last and floating and simple and gaps == ones and _matches(lhs, rhs, feature_group_count):
        if isinstance(padding, str):
            sizes = [(k - 1) * d + 1 for k, d in zip(rhs.shape, dilation, strict=False)]
            padding = lax.padtype_to_pads(lhs.shape[1:-1], sizes, strides, padding)
        window = Window(strides, _pairs(padding), dilation, feature_group_count, precision)
        return maps.convolve(lhs, rhs, window)
    transposed = strides == ones and feature_group_count == 1 and not isinstance(padding, str)
    if last and floating and simple and transposed and _matches(lhs, rhs, 1):
        return _transposed(lhs, rhs, gaps, _pairs(padding), dilation, precision)
    return lax.conv_general_dilated(
        lhs,
        rhs,
        strides,
        padding,
        gaps,
        dilation,
        dimension_numbers,
        feature_group_count,
        batch_group_count,
        precision,
        preferred_element_type,
    )


def _matches(x: Array, kernel: Array, groups: int) -> bool:
    """Whether the shapes go together; `lax.conv_general_dilated` has the errors for those that do not."""
    return (
        x.ndim == kernel.ndim
        and x.shape[-1] == kernel.shape[-2] * groups
        and kernel.shape[-1] % groups == 0
        and 0 not in (*x.shape, *kernel.shape)
    )


def _pairs(padding: Any) -> tuple[tuple[int, int], ...]:
    return tuple((int(low), int(high)) for low, high in padding)


def _transposed(
    x: Array,
    kernel: Array,
    strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    precision: Any,
) -> Array:
    """A convolution of the input with gaps is the input gradient of a strided one."""
    extent = [(k - 1) * d for k, d in zip(kernel.shape, dilation, strict=False)]
    pairs = zip(x.shape[1:-1], strides, padding, extent, strict=True)
    size = tuple((n - 1) * s + 1 + low + high - e for n, s, (low, high), e in pairs)
    adjoint = tuple((e - low, e - high) for e, (low, high) in zip(extent, padding, strict=True))
    return maps.input_gradient(
        x, transposed_kernel(kernel), Window(strides, adjoint, dilation, 1, precision), size
    )


def conv_transpose(
    lhs: Array,
    rhs: Array,
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    rhs_dilation: Sequence[int] | None = None,
    transpose_kernel: bool = False,
    precision: Any = None,
) -> Array:
    """`jax.lax.conv_transpose` with channels last: ``float[B,*S,C], float[*K,C,O] -> float[B,*S',O]``.

    Args:
        lhs: images.
        rhs: kernel; with `transpose_kernel`, ``float[*K,O,C]``, the kernel of the convolution whose input gradient is
            computed.
        strides: enlargement per spatial dimension.
        padding: "SAME" (S' = S * strides), "VALID", or (low, high) zeros around the input with gaps.
        rhs_dilation: distance of the kernel's elements.
        transpose_kernel: see `rhs`.
        precision: as in `jax.lax`.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax import nn
        >>> x, kernel = jnp.array([1.0, 2.0]).reshape(1, 2, 1), jnp.array([1.0, 10.0]).reshape(2, 1, 1)
        >>> nn.conv_transpose(x, kernel, (2,), "SAME").ravel().tolist()
        [10.0, 1.0, 20.0, 2.0]
    """
    spatial = lhs.ndim - 2
    dilation = tuple(rhs_dilation or (1,) * spatial)
    if isinstance(padding, str):
        extents = [(k - 1) * d + 1 for k, d in zip(rhs.shape, dilation, strict=False)]
        padding = [_transpose_padding(k, s, padding) for k, s in zip(extents, strides, strict=True)]
    if transpose_kernel:
        rhs = transposed_kernel(rhs)
    return conv_general_dilated(
        lhs,
        rhs,
        (1,) * spatial,
        padding,
        tuple(strides),
        dilation,
        channels_last(spatial),
        precision=precision,
    )


def _transpose_padding(kernel: int, stride: int, padding: str) -> tuple[int, int]:
    """The zeros that lax.conv_transpose adds on each side."""
    if padding == "SAME":
        total = kernel + stride - 2
        low = kernel - 1 if stride > kernel - 1 else -(-total // 2)
    else:
        total, low = kernel + stride - 2 + max(kernel - stride, 0), kernel - 1
    return low, total - low
