"""`genjax.models.UNet` in PyTorch: layers by Linen's names, and what is done with them. No jax in here."""

import math
from collections.abc import Callable
from typing import Any

from experiments.bench import specs


def unet(spec: specs.UNet) -> tuple[Any, Callable[..., Any]]:
    """The layers, a `ModuleDict`, and ``(images, times, labels or None) -> predictions``."""
    from torch.nn import functional as F

    widths = [spec.channels * m for m in spec.multipliers]
    layers = _layers(spec, widths)

    def res(h: Any, embedding: Any, name: str, resample: Callable = lambda x: x) -> Any:
        return _block(layers[name], h, embedding, resample)

    def attend(h: Any, name: str) -> Any:
        return attention(layers[name], h, spec.head_channels) if name in layers else h

    def forward(x: Any, time: Any, label: Any = None) -> Any:
        embedding = layers["time_2"](F.silu(layers["time_1"](_sinusoids(1000.0 * time, spec.channels))))
        if label is not None:
            embedding = embedding + layers["class"](label)
        h = layers["conv_in"](x)
        skips = [h]
        for level in range(len(widths)):
            if level:
                h = res(h, embedding, f"down_{level}_resample", lambda x: F.avg_pool2d(x, 2))
                skips.append(h)
            for i in range(spec.blocks):
                h = attend(res(h, embedding, f"down_{level}_{i}"), f"down_{level}_{i}_attention")
                skips.append(h)
        h = res(h, embedding, "middle_0")
        h = res(attend(h, "middle_attention"), embedding, "middle_1")
        for level in reversed(range(len(widths))):
            for i in range(spec.blocks + 1):
                h = res(_joined(h, skips.pop()), embedding, f"up_{level}_{i}")
                h = attend(h, f"up_{level}_{i}_attention")
            if level:
                h = res(h, embedding, f"up_{level}_resample", lambda x: F.interpolate(x, scale_factor=2))
        return layers["conv_out"](F.silu(layers["norm_out"](h)))

    return layers, forward


def attention_layers(channels: int) -> Any:
    """What `attention` needs."""
    from torch import nn

    return nn.ModuleDict(
        {
            "norm": group_norm(channels),
            "qkv": nn.Linear(channels, 3 * channels),
            "out": nn.Linear(channels, channels),
        }
    )


def attention(layers: Any, x: Any, head_channels: int) -> Any:
    """`genjax.nn.SelfAttention` of [B,C,H,W]."""
    from torch.nn import functional as F

    batch, channels, height, width = x.shape
    heads = max(1, channels // head_channels)
    h = layers["norm"](x).permute(0, 2, 3, 1).reshape(batch, height * width, channels)
    qkv = layers["qkv"](h).reshape(batch, height * width, 3, heads, channels // heads)
    h = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4))
    h = layers["out"](h.transpose(1, 2).reshape(batch, height * width, channels))
    return x + h.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


def group_norm(channels: int) -> Any:
    """The layer with the groups of `genjax.nn.GroupNorm`."""
    from torch import nn

    most = max(1, min(32, channels // 4))
    groups = next(groups for groups in range(most, 0, -1) if channels % groups == 0)
    return nn.GroupNorm(groups, channels, eps=1e-5)


def _layers(spec: specs.UNet, widths: list[int]) -> Any:
    from torch import nn

    embedding = 4 * spec.channels
    layers = nn.ModuleDict(
        {
            "conv_in": nn.Conv2d(spec.image[-1], spec.channels, 3, padding=1),
            "time_1": nn.Linear(spec.channels, embedding),
            "time_2": nn.Linear(embedding, embedding),
            "norm_out": group_norm(widths[0]),
            "conv_out": nn.Conv2d(widths[0], spec.image[-1], 3, padding=1),
            "middle_attention": attention_layers(widths[-1]),
        }
    )
    if spec.num_classes is not None:
        layers["class"] = nn.Embedding(spec.num_classes + 1, embedding)

    def res(before: int, after: int, name: str) -> int:
        layers[name] = nn.ModuleDict(
            {
                "norm_1": group_norm(before),
                "conv_1": nn.Conv2d(before, after, 3, padding=1),
                "embed": nn.Linear(embedding, 2 * after),
                "norm_2": group_norm(after),
                "conv_2": nn.Conv2d(after, after, 3, padding=1),
                **({} if before == after else {"shortcut": nn.Conv2d(before, after, 1)}),
            }
        )
        return after

    def attend(level: int, name: str) -> None:
        if spec.image[0] >> level in spec.attention:
            layers[f"{name}_attention"] = attention_layers(widths[level])

    channels = spec.channels
    skips = [channels]
    for level, width in enumerate(widths):
        if level:
            skips.append(res(channels, channels, f"down_{level}_resample"))
        for i in range(spec.blocks):
            channels = res(channels, width, f"down_{level}_{i}")
            attend(level, f"down_{level}_{i}")
            skips.append(channels)
    for name in ("middle_0", "middle_1"):
        res(channels, channels, name)
    for level, width in reversed(list(enumerate(widths))):
        for i in range(spec.blocks + 1):
            channels = res(channels + skips.pop(), width, f"up_{level}_{i}")
            attend(level, f"up_{level}_{i}")
        if level:
            res(width, width, f"up_{level}_resample")
    return layers


def _block(layers: Any, x: Any, embedding: Any, resample: Callable) -> Any:
    import torch
    from torch.nn import functional as F

    h = resample(F.silu(layers["norm_1"](x)))
    x = resample(x)
    h = layers["conv_1"](h)
    scale, shift = layers["embed"](F.silu(embedding))[:, :, None, None].chunk(2, 1)
    h = F.silu(torch.addcmul(shift, layers["norm_2"](h), 1 + scale))
    h = layers["conv_2"](h)
    return (layers["shortcut"](x) if "shortcut" in layers else x) + h


def _joined(h: Any, skip: Any) -> Any:
    import torch

    return torch.cat([h, skip], 1)


def _sinusoids(x: Any, width: int) -> Any:
    import torch

    half = width // 2
    frequencies = torch.exp(-math.log(10_000.0) * torch.arange(half, dtype=torch.float32) / half)
    angles = x[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], 1)
