"""Variational autoencoders with one group of latent variables, built of an encoder and a decoder.

Any encoder ``(x [B,H,W,C], condition) -> features [B,F]`` goes with any decoder ``(z [B,D], condition) -> outputs
[B,H,W,P]``: perceptrons are in `genjax.models.vae.mlp`, convolutions in `genjax.models.vae.conv`. A conditional model
is told the label in both. What a condition is, says `genjax.conditions`.

References:
    Sohn, Lee and Yan, "Learning Structured Output Representation using Deep Conditional Generative Models" (2015), for
    conditional models.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import flax.linen as nn
import jax.numpy as jnp

from genjax.losses import gaussian
from genjax.losses.gaussian import Gaussian
from genjax.models.kind import NetworkKind
from genjax.nn import flows
from genjax.nn.latent import LatentGroup
from genjax.typing import Array, Condition, Key, UserError

Halves: TypeAlias = Callable[[Any, tuple[int, int, int], Mapping[str, Any]], tuple[nn.Module, nn.Module]]
"""``(config, (H, W, P) of the outputs, conditions) -> (encoder, decoder)``."""


class VAE(nn.Module):
    """A variational autoencoder.

    Attributes:
        encoder: ``(x, condition) -> float[B,F]``.
        decoder: ``(z, condition) -> float[B,H,W,P]``, the parameters of a likelihood.
        latent: D, number of latent variables.
        posterior_flow: see `genjax.nn.flows`; makes the posterior more than a normal distribution, with the encoder's
            features as context.
        prior_flow: makes the prior more than a standard normal distribution.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax import models
        >>> from genjax.models.vae.mlp import MLPDecoder, MLPEncoder
        >>> network = models.VAE(MLPEncoder((16,)), MLPDecoder((8, 8, 1), (16,)), latent=2)
        >>> keys, x = jax.random.split(jax.random.key(0), 3), jnp.zeros((3, 8, 8, 1))
        >>> (outputs, (group,)), _ = jax.eval_shape(network.init_with_output, jax.random.key(0), keys, x)
        >>> outputs.shape, group.z.shape, group.kl.shape
        ((3, 8, 8, 1), (3, 2), (3,))

    References:
        Kingma and Welling, "Auto-Encoding Variational Bayes" (2014); Rezende, Mohamed and Wierstra, "Stochastic
        Backpropagation and Approximate Inference in Deep Generative Models" (2014); Kingma et al., "Improving
        Variational Inference with Inverse Autoregressive Flow" (2016), for `posterior_flow`.
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

    def __call__(
        self, keys: Key, x: Array, condition: Condition | None = None
    ) -> tuple[Array, tuple[LatentGroup]]:
        """As `infer`."""
        return self.infer(keys, x, condition)

    def infer(
        self, keys: Key, x: Array, condition: Condition | None = None
    ) -> tuple[Array, tuple[LatentGroup]]:
        """Key[B], float[B,H,W,C] in [-1, 1] -> outputs float[B,H,W,P], and the one group."""
        features = self.encoder(x, condition)
        posterior = self._gaussian(features)
        prior = gaussian.standard(posterior.mean.shape, posterior.mean.dtype)
        group = flows.with_flows(keys, posterior, prior, self.posterior_flow, self.prior_flow, features)
        return self.decoder(group.z, condition), (group,)

    def generate(
        self, keys: Key, condition: Condition | None = None, temperature: float | Array = 1.0
    ) -> Array:
        """Outputs float[B,H,W,P] for latent variables drawn from the prior."""
        prior = gaussian.standard((keys.shape[0], self.latent))
        return self.decoder(flows.sample(keys, prior, self.prior_flow, temperature=temperature), condition)

    def encode(self, x: Array, condition: Condition | None = None) -> Array:
        """float[B,D]: the mean of the posterior, or what its flow makes of it."""
        features = self.encoder(x, condition)
        mean = self._gaussian(features).mean
        return mean if self.posterior_flow is None else self.posterior_flow.forward(mean, features)[0]

    def decode(self, z: Array, condition: Condition | None = None) -> Array:
        """Outputs float[B,H,W,P]."""
        return self.decoder(z, condition)

    def posterior(self, x: Array, condition: Condition | None = None) -> Gaussian:
        """float[B,D] each: mean and log-variance, before any flow."""
        return self._gaussian(self.encoder(x, condition))

    def _gaussian(self, features: Array) -> Gaussian:
        return Gaussian(*jnp.split(self.parameters(features), 2, axis=-1))


class SharedScale(nn.Module):
    """A decoder of means, and one learned standard deviation for all pixels, for `losses.likelihood.gaussian_learned`.

    Attributes:
        decoder: ``(z, condition) -> float[B,H,W,C]``.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.vae.mlp import MLPDecoder
        >>> from genjax.models.vae.vae import SharedScale
        >>> decoder, z = SharedScale(MLPDecoder((8, 8, 3), (16,))), jnp.zeros((2, 4))
        >>> y, variables = jax.eval_shape(decoder.init_with_output, jax.random.key(0), z, None)
        >>> y.shape, variables["params"]["log_scale"].shape  # three means and three log-scales; one number is learned
        ((2, 8, 8, 6), ())

    References:
        Rybkin et al., "Simple and Effective VAE Training with Calibrated Decoders" (2021), section 3.
    """

    decoder: nn.Module

    @nn.compact
    def __call__(self, z: Array, condition: Condition | None) -> Array:
        """float[B,D] -> float[B,H,W,2C]: means, logarithms of the scale."""
        mean: Any = self.decoder(z, condition)
        log_scale = self.param("log_scale", nn.initializers.zeros, ())
        return jnp.concatenate([mean, jnp.broadcast_to(log_scale, mean.shape)], axis=-1)


POSTERIOR_FLOWS: dict[str, Callable[[int], nn.Module | None]] = {
    "none": lambda steps: None,
    "iaf": lambda steps: flows.InverseAutoregressive(steps=steps),
    "realnvp": lambda steps: flows.RealNVP(couplings=steps),
}
"""Flows of the posterior by name, from their number of steps."""

PRIOR_FLOWS: dict[str, Callable[[int], nn.Module | None]] = {
    "none": lambda steps: None,
    "maf": lambda steps: flows.Inverse(flows.InverseAutoregressive(steps=steps)),
    "realnvp": lambda steps: flows.RealNVP(couplings=steps),
}
"""Flows of the prior by name, from their number of steps."""

if TYPE_CHECKING:
    PosteriorFlow = PriorFlow = str
else:
    PosteriorFlow, PriorFlow = Literal[tuple(POSTERIOR_FLOWS)], Literal[tuple(PRIOR_FLOWS)]


def one_code(config_class: type, halves: Halves, small: Mapping[str, Any]) -> NetworkKind:
    """The kind of a network with one code.

    Args:
        config_class: of its configs, with at least ``latent``, ``posterior_flow``, ``prior_flow`` and ``flow_steps``.
        halves: makes encoder and decoder.
        small: see `NetworkKind`.
    """

    def build(
        config: Any, outputs: tuple[int, int, int], shared_scale: bool, conditions: Mapping[str, Any]
    ) -> VAE:
        encoder, decoder = halves(config, outputs, conditions)
        return VAE(
            encoder,
            SharedScale(decoder) if shared_scale else decoder,
            config.latent,
            posterior_flow=POSTERIOR_FLOWS[config.posterior_flow](config.flow_steps),
            prior_flow=PRIOR_FLOWS[config.prior_flow](config.flow_steps),
        )

    roles: dict[str, Callable[..., Any]] = {"vae": build, "encoder_decoder": halves}
    return NetworkKind(config_class, roles, conditions=("label",), check=_check, small=small)


def _check(config: Any, image_shape: tuple[int, int, int]) -> None:
    size = math.prod(image_shape)
    if config.latent > size:
        raise UserError(f"model.latent={config.latent}: images have {size} components, valid are 1..{size}")
