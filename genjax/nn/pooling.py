"""Pooling over windows."""

import functools
from collections.abc import Sequence
from itertools import product

import flax.linen as nn
import jax.numpy as jnp

from genjax.typing import Array


def max_pool(
    inputs: Array,
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
) -> Array:
    """`flax.linen.max_pool`: the same numbers; on CPU several times faster where windows do not overlap.

    The gradient goes to the first of equal maxima, as there.

    Args:
        inputs: float[B,*S,C].
        window_shape: size of the window per spatial dimension.
        strides: steps of the window; 1 if left out.
        padding: "VALID", "SAME" or (low, high) per spatial dimension.
    """
    strides = tuple(strides or (1,) * len(window_shape))
    if strides != tuple(window_shape) or padding != "VALID" or inputs.ndim != len(strides) + 2:
        return nn.max_pool(inputs, tuple(window_shape), strides, padding)
    # Whole windows only, as "VALID" has it.
    ends = [n // s * s for n, s in zip(inputs.shape[1:-1], strides, strict=True)]

    def taken(position: tuple[int, ...]) -> Array:
        """The element at that position of every window."""
        steps = zip(position, ends, strides, strict=True)
        return inputs[(slice(None), *(slice(first, end, s) for first, end, s in steps))]

    first, *others = (taken(position) for position in product(*map(range, strides)))
    return functools.reduce(lambda a, b: jnp.where((b > a) | jnp.isnan(b), b, a), others, first)
