"""A small diffusion transformer, as somebody would add one: Peebles and Xie, "Scalable Diffusion Models with
Transformers" (2023), in short."""

import dataclasses
from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp

from genjax.conditions import label_or_null
from genjax.models.kind import NetworkKind, num_classes, options
from genjax.nn import sinusoidal_embedding
from genjax.ranges import Count, Range
from genjax.typing import Array, Condition, UserError


class DiT(nn.Module):
    """Patches, transformer blocks with adaptive normalisation that starts at zero, patches back."""

    width: int = 64
    depth: int = 2
    heads: int = 2
    patch: int = 2
    num_classes: int | None = None

    @nn.compact
    def __call__(
        self,
        x: Array,
        c_noise: Array,
        condition: Condition | None = None,
        *,
        dropout_index: Array | None = None,
    ) -> Array:
        batch, height, width, channels = x.shape
        told = nn.Dense(self.width)(sinusoidal_embedding(1000.0 * c_noise, self.width))
        if self.num_classes is not None:
            label = label_or_null(condition, "label", self.num_classes, batch)
            told = told + nn.Embed(self.num_classes + 1, self.width)(label)
        told = nn.silu(told)[:, None]
        h = nn.Conv(self.width, (self.patch,) * 2, self.patch)(x).reshape(batch, -1, self.width)
        places = sinusoidal_embedding(jnp.arange(h.shape[1], dtype=jnp.float32), self.width)
        h = h + places[None]
        zeros = nn.initializers.zeros
        for _ in range(self.depth):
            shift, scale, gate, shift_2, scale_2, gate_2 = jnp.split(
                nn.Dense(6 * self.width, kernel_init=zeros)(told), 6, axis=-1
            )
            y = nn.LayerNorm(use_bias=False, use_scale=False)(h) * (1 + scale) + shift
            h = h + gate * nn.MultiHeadDotProductAttention(self.heads)(y)
            y = nn.LayerNorm(use_bias=False, use_scale=False)(h) * (1 + scale_2) + shift_2
            h = h + gate_2 * nn.Dense(self.width)(nn.gelu(nn.Dense(4 * self.width)(y)))
        h = nn.Dense(self.patch**2 * channels)(nn.LayerNorm()(h))
        rows, columns = height // self.patch, width // self.patch
        h = h.reshape(batch, rows, columns, self.patch, self.patch, channels).swapaxes(2, 3)
        return h.reshape(x.shape)


@dataclasses.dataclass(frozen=True)
class DiTConfig:
    """The network: a small diffusion transformer.

    Attributes:
        width: Width of the tokens.
        depth: Number of blocks.
        heads: Heads of the attention.
        patch: Side of a patch.
    """

    width: Annotated[int, Range("[2, inf)")] = 64
    depth: Count = 2
    heads: Count = 2
    patch: Count = 2


def _build(config: DiTConfig, image_shape, conditions) -> DiT:
    return DiT(**options(config), num_classes=num_classes(conditions))


def _check(config: DiTConfig, image_shape) -> None:
    if image_shape[0] % config.patch or image_shape[1] % config.patch:
        raise UserError(f"model.patch={config.patch} does not divide images of {image_shape[:2]} pixels")


NETWORK = NetworkKind(DiTConfig, {"denoiser": _build}, conditions=("label",), check=_check)
