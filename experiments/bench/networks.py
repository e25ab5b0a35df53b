"""More networks that are measured, in addition to `genjax.models`, built of `genjax.nn`'s layers."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from experiments.bench import specs
from genjax.models import UNet
from genjax.nn import Conv, ConvTranspose
from genjax.typing import Array

_K4: dict[str, Any] = {"kernel_size": (4, 4), "use_bias": False}


def _normalize(name: str) -> nn.BatchNorm:
    return nn.BatchNorm(use_running_average=False, momentum=0.9, name=name)


class Generator(nn.Module):
    """float[B,D] -> float[B,H,W,C] in [-1, 1]: transposed convolutions, from 4x4 on (Radford et al. 2016)."""

    widths: tuple[int, ...]
    out_channels: int

    @nn.compact
    def __call__(self, z: Array) -> Array:
        h = ConvTranspose(self.widths[0], padding="VALID", **_K4, name="up_0")(z[:, None, None])
        h = nn.relu(_normalize("norm_0")(h))
        for i, width in enumerate(self.widths[1:], 1):
            h = ConvTranspose(width, strides=(2, 2), **_K4, name=f"up_{i}")(h)
            h = nn.relu(_normalize(f"norm_{i}")(h))
        return jnp.tanh(ConvTranspose(self.out_channels, strides=(2, 2), **_K4, name="out")(h))


class Discriminator(nn.Module):
    """float[B,H,W,C] -> float[B]: strided convolutions down to 4x4 (Radford et al. 2016)."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for i, width in enumerate(self.widths):
            x = Conv(width, strides=(2, 2), **_K4, name=f"down_{i}")(x)
            x = nn.leaky_relu(_normalize(f"norm_{i}")(x) if i else x, 0.2)
        return Conv(1, padding="VALID", **_K4, name="out")(x)[:, 0, 0, 0]


class Encoder(nn.Module):
    """float[B,H,W,C] -> mean, log variance, float[B,D] each."""

    widths: tuple[int, int]
    hidden: int
    latent: int

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        for i, width in enumerate(self.widths):
            x = nn.relu(Conv(width, (3, 3), strides=(2, 2), name=f"down_{i}")(x))
        h = nn.relu(nn.Dense(self.hidden, name="hidden")(x.reshape(x.shape[0], -1)))
        return nn.Dense(self.latent, name="mean")(h), nn.Dense(self.latent, name="log_variance")(h)


class Decoder(nn.Module):
    """float[B,D] -> logits float[B,H,W,C]."""

    widths: tuple[int, int]
    image: tuple[int, int, int]

    @nn.compact
    def __call__(self, z: Array) -> Array:
        shape = self.image[0] // 4, self.image[1] // 4, self.widths[-1]
        h = nn.relu(nn.Dense(math.prod(shape), name="hidden")(z)).reshape(-1, *shape)
        for i, width in enumerate(reversed(self.widths)):
            h = nn.relu(ConvTranspose(width, (3, 3), strides=(2, 2), name=f"up_{i}")(h))
        return ConvTranspose(self.image[-1], (3, 3), name="out")(h)


class VAE(nn.Module):
    """Encoder, reparametrisation with given noise, and decoder."""

    spec: specs.VAE

    @nn.compact
    def __call__(self, x: Array, noise: Array) -> tuple[Array, Array, Array]:
        """float[B,H,W,C], float[B,D] -> logits float[B,H,W,C], mean, log variance."""
        s = self.spec
        mean, log_variance = Encoder(s.widths, s.hidden, s.latent, name="encoder")(x)
        z = mean + jnp.exp(0.5 * log_variance) * noise
        return Decoder(s.widths, s.image, name="decoder")(z), mean, log_variance


def unet(spec: specs.UNet) -> UNet:
    """The library's U-Net."""
    return UNet(
        channels=spec.channels,
        multipliers=spec.multipliers,
        blocks=spec.blocks,
        attention=spec.attention,
        head_channels=spec.head_channels,
        num_classes=spec.num_classes,
    )


def dcgan(spec: specs.DCGAN) -> tuple[Generator, Discriminator]:
    """Generator and discriminator."""
    return Generator(spec.generator, spec.image[-1]), Discriminator(spec.discriminator)
