"""Layers whose weights may be normalised: a network says where, its user says how."""

from collections.abc import Callable
from typing import Any, TypeAlias

import flax.linen as nn

from genjax.typing import Array

WeightNorm: TypeAlias = Callable[[nn.Module], Callable[..., Array]]
"""Wraps a layer; the result is called with `train`: `genjax.nn.spectral_norm.SpectralNorm`, or a partial of it."""


def apply_layer(weight_norm: WeightNorm | None, layer: Any, x: Array, train: bool) -> Array:
    """``layer(x)`` of x float[B,...], or what the wrapped layer makes of it."""
    y: Array = layer(x) if weight_norm is None else weight_norm(layer)(x, train=train)
    return y
