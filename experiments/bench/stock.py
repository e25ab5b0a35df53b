"""The layers of flax.linen in place of genjax.nn's: the same parameters and, up to rounding, the same numbers."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from genjax.nn import Conv, ConvTranspose, GroupNorm, SelfAttention
from genjax.nn.normalization import num_groups
from genjax.typing import Array


def with_stock_layers(function: Any) -> Callable:
    """The function, with every layer that is called while it runs replaced."""

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        with nn.intercept_methods(_stock_layer):
            return function(*args)

    return run


def _stock_layer(call: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
    layer = _STOCK.get(type(context.module))
    if layer is None or context.method_name != "__call__" or context.module.is_initializing():
        return call(*args, **kwargs)
    return layer(context.module, *args, **kwargs)


def _parent(stock: type[nn.Module]) -> Callable:
    """For a layer that is a subclass of a stock one and has its attributes; what it sets otherwise is its own."""

    def run(module: nn.Module, x: Array) -> Any:
        fields = {field.name for field in dataclasses.fields(stock)} - {"parent", "name"}
        own = {name for name in fields if getattr(type(module), name, None) is not getattr(stock, name, None)}
        layer = stock(**{name: getattr(module, name) for name in fields - own}, parent=None)
        return layer.apply({"params": module.variables["params"]}, x)

    return run


def _group_norm(module: GroupNorm, x: Array, scale: Array | None = None, shift: Array | None = None) -> Array:
    layer = nn.GroupNorm(num_groups(x.shape[-1]), epsilon=module.epsilon, dtype=module.dtype, parent=None)
    y: Any = layer.apply({"params": module.variables["params"]}, x)
    if scale is not None:
        y = y * (1 + scale)[:, None, None]
    if shift is not None:
        y = y + shift[:, None, None]
    return y.astype(module.dtype or x.dtype)


def _attention(module: SelfAttention, x: Array) -> Array:
    params = module.variables["params"]
    batch, height, width, channels = x.shape
    heads = max(1, channels // module.head_channels)

    def apply(layer: nn.Module, name: str, x: Array) -> Any:
        return layer.apply({"params": params[name]}, x)

    norm = nn.GroupNorm(num_groups(channels), epsilon=1e-5, dtype=module.dtype, parent=None)
    h = apply(norm, "norm", x).reshape(batch, height * width, channels)
    qkv = apply(nn.Dense(3 * channels, dtype=module.dtype, parent=None), "qkv", h)
    query, key, value = jnp.moveaxis(qkv.reshape(*h.shape[:2], 3, heads, channels // heads), 2, 0)
    h = nn.dot_product_attention(query, key, value, force_fp32_for_softmax=True).reshape(h.shape)
    h = apply(nn.Dense(channels, dtype=module.dtype, parent=None), "out", h)
    return x + h.reshape(x.shape).astype(x.dtype)


_STOCK: dict[type, Callable] = {
    Conv: _parent(nn.Conv),
    ConvTranspose: _parent(nn.ConvTranspose),
    GroupNorm: _group_norm,
    SelfAttention: _attention,
}
"""Layer of genjax.nn (no subclass of it) -> the same with flax.linen: ``(module, *args) -> result``."""
