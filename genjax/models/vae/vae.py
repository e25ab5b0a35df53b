"""Variational autoencoders with one group of latent variables, built of an encoder and a decoder.

Any encoder ``(x [B,H,W,C], label) -> features [B,F]`` goes with any decoder ``(z [B,D], label) -> outputs [B,H,W,P]``;
perceptrons and convolutional ones are here. A conditional model (Sohn et al. 2015) sees the label in both.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax.losses import gaussian
from genjax.losses.gaussian import Gaussian
from genjax.nn import Conv, ConvTranspose, flows
from genjax.nn.latent import LatentGroup
from genjax.typing import Array, Key, UserError


class VAE(nn.Module):
    """A variational autoencoder (Kingma & Welling 2014; Rezende et al. 2014).

    Attributes:
        encoder: ``(x, label) -> float[B,F]``.
        decoder: ``(z, label) -> float[B,H,W,P]``, the parameters of a likelihood.
        latent: D, number of latent variables.
        posterior_flow: see `genjax.nn.flows`; makes the posterior more than a normal distribution, with the encoder's
            features as context (Kingma et al. 2016).
        prior_flow: makes the prior more than a standard normal distribution.
    """

    encoder: nn.Module
    decoder: nn.Module
    latent: int
    posterior_flow: nn.Module | None = None
    prior_flow: nn.Module | None = None

    def setup(self) -> None:
        if self.latent < 1:
            raise UserError(f"latent={self.latent}: valid are 1 and more")
        self.parameters = nn.Dense(2 * self.latent)

    def __call__(self, keys: Key, x: Array, label: Array | None = None) -> tuple[Array, tuple[LatentGroup]]:
        """As `infer`."""
        return self.infer(keys, x, label)

    def infer(self, keys: Key, x: Array, label: Array | None = None) -> tuple[Array, tuple[LatentGroup]]:
        """Key[B], float[B,H,W,C] in [-1, 1], int32[B] -> outputs float[B,H,W,P], and the one group."""
        features = self.encoder(x, label)
        posterior = self._gaussian(features)
        prior = gaussian.standard(posterior.mean.shape, posterior.mean.dtype)
        group = flows.with_flows(keys, posterior, prior, self.posterior_flow, self.prior_flow, features)
        return self.decoder(group.z, label), (group,)

    def generate(self, keys: Key, label: Array | None = None, temperature: float | Array = 1.0) -> Array:
        """Outputs float[B,H,W,P] for latent variables drawn from the prior."""
        prior = gaussian.standard((keys.shape[0], self.latent))
        return self.decoder(flows.sample(keys, prior, self.prior_flow, temperature=temperature), label)

    def encode(self, x: Array, label: Array | None = None) -> Array:
        """float[B,D]: the mean of the posterior, or what its flow makes of it."""
        features = self.encoder(x, label)
        mean = self._gaussian(features).mean
        return mean if self.posterior_flow is None else self.posterior_flow.forward(mean, features)[0]

    def decode(self, z: Array, label: Array | None = None) -> Array:
        """Outputs float[B,H,W,P]."""
        return self.decoder(z, label)

    def posterior(self, x: Array, label: Array | None = None) -> Gaussian:
        """float[B,D] each: mean and log-variance, before any flow."""
        return self._gaussian(self.encoder(x, label))

    def _gaussian(self, features: Array) -> Gaussian:
        return Gaussian(*jnp.split(self.parameters(features), 2, axis=-1))


class MLPEncoder(nn.Module):
    """A perceptron on the pixels; without hidden layers, the pixels.

    Attributes:
        hidden: widths of the layers.
        num_classes: of a conditional model.
    """

    hidden: tuple[int, ...] = (512,)
    num_classes: int | None = None

    @nn.compact
    def __call__(self, x: Array, label: Array | None) -> Array:
        """float[B,H,W,C], int32[B] -> float[B,F]."""
        h = _with_label(x.reshape(x.shape[0], -1), label, self.num_classes)
        for i, width in enumerate(self.hidden):
            h = nn.relu(nn.Dense(width, name=f"hidden_{i}")(h))
        return h


class MLPDecoder(nn.Module):
    """A perceptron to the pixels.

    Attributes:
        outputs: (H, W, P) of the outputs.
        hidden: widths of the layers.
        num_classes: of a conditional model.
    """

    outputs: tuple[int, int, int]
    hidden: tuple[int, ...] = (512,)
    num_classes: int | None = None

    @nn.compact
    def __call__(self, z: Array, label: Array | None) -> Array:
        """float[B,D], int32[B] -> float[B,H,W,P]."""
        h = _with_label(z, label, self.num_classes)
        for i, width in enumerate(self.hidden):
            h = nn.relu(nn.Dense(width, name=f"hidden_{i}")(h))
        return nn.Dense(math.prod(self.outputs), name="out")(h).reshape(-1, *self.outputs)


class ConvEncoder(nn.Module):
    """Strided convolutions, each halving the resolution, and a dense layer.

    Attributes:
        channels: widths of the convolutions.
        hidden: width of the dense layer.
        num_classes: of a conditional model: the label's one-hot code joins the image as constant channels.
        kernel: side of the convolutions' kernels.
    """

    channels: tuple[int, ...] = (32, 64)
    hidden: int = 256
    num_classes: int | None = None
    kernel: int = 4

    @nn.compact
    def __call__(self, x: Array, label: Array | None) -> Array:
        """float[B,H,W,C], int32[B] -> float[B,F]."""
        h = _with_label(x, label, self.num_classes)
        for i, width in enumerate(self.channels):
            h = nn.relu(Conv(width, (self.kernel, self.kernel), strides=(2, 2), name=f"down_{i}")(h))
        return nn.relu(nn.Dense(self.hidden, name="hidden")(h.reshape(h.shape[0], -1)))


class ConvDecoder(nn.Module):
    """The mirror image of `ConvEncoder`, with transposed convolutions.

    Attributes:
        outputs: (H, W, P) of the outputs; H and W are multiples of ``2 ** len(channels)``.
        channels: widths, those of the encoder.
        hidden: width of the dense layer; None: only the one to the smallest feature map.
        num_classes: of a conditional model: the label's one-hot code joins the latent variables.
        kernel: side of the convolutions' kernels.
        extra: one more convolution, which does not double the resolution, makes the outputs; else the last one that
            does makes them.
    """

    outputs: tuple[int, int, int]
    channels: tuple[int, ...] = (32, 64)
    hidden: int | None = 256
    num_classes: int | None = None
    kernel: int = 4
    extra: bool = False

    @nn.compact
    def __call__(self, z: Array, label: Array | None) -> Array:
        """float[B,D], int32[B] -> float[B,H,W,P]."""
        height, width, channels = self.outputs
        factor = 2 ** len(self.channels)
        if height % factor or width % factor:
            raise UserError(
                f"channels={self.channels}: {len(self.channels)} halvings need images whose sides are multiples of "
                f"{factor}, not {height}x{width}"
            )
        h = _with_label(z, label, self.num_classes)
        if self.hidden is not None:
            h = nn.relu(nn.Dense(self.hidden, name="hidden")(h))
        first = height // factor, width // factor, self.channels[-1]
        h = nn.relu(nn.Dense(math.prod(first), name="reshape")(h)).reshape(-1, *first)
        kernel = self.kernel, self.kernel
        for i, features in enumerate(reversed(self.channels if self.extra else self.channels[:-1])):
            h = nn.relu(ConvTranspose(features, kernel, strides=(2, 2), name=f"up_{i}")(h))
        return ConvTranspose(channels, kernel, strides=(1, 1) if self.extra else (2, 2), name="out")(h)


class SharedScale(nn.Module):
    """A decoder of means, and one learned standard deviation for all pixels, for `losses.likelihood.gaussian_learned`.

    Attributes:
        decoder: ``(z, label) -> float[B,H,W,C]``.

    References:
        Rybkin et al., "Simple and Effective VAE Training with Calibrated Decoders" (2021), section 3.
    """

    decoder: nn.Module

    @nn.compact
    def __call__(self, z: Array, label: Array | None) -> Array:
        """float[B,D], int32[B] -> float[B,H,W,2C]: means, logarithms of the scale."""
        mean: Any = self.decoder(z, label)
        log_scale = self.param("log_scale", nn.initializers.zeros, ())
        return jnp.concatenate([mean, jnp.broadcast_to(log_scale, mean.shape)], axis=-1)


def _with_label(h: Array, label: Array | None, num_classes: int | None) -> Array:
    """[..., F] -> [..., F + num_classes]: the one-hot code of the label joins the features of a conditional network."""
    if num_classes is None:
        if label is not None:
            raise UserError("label is given, but the network is unconditional (num_classes=None)")
        return h
    if label is None:
        raise UserError(f"label is missing: the network is conditional (num_classes={num_classes})")
    code = jax.nn.one_hot(label, num_classes, dtype=h.dtype)
    code = code.reshape(label.shape[0], *(1,) * (h.ndim - 2), num_classes)
    return jnp.concatenate([h, jnp.broadcast_to(code, (*h.shape[:-1], num_classes))], axis=-1)
