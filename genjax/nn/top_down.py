"""What a hierarchy of latent variables is built of: residual branches, and the networks of one group."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from genjax.losses.gaussian import Gaussian
from genjax.nn.convolution import Conv
from genjax.nn.materialize import materialize
from genjax.typing import Array

# Standard deviations stay in (e^-4, e^4), relative to the prior's in a residual posterior.
_MAX_LOG_VARIANCE = 8.0


class Residual(nn.Module):
    """A bottleneck of convolutions 1x1, 3x3, 3x3, 1x1, each after a SiLU, without normalisation.

    Attributes:
        channels: channels of the output.
        hidden: channels in between.
        scale: standard deviation of the last kernel at the start, in units of the usual one.
        dtype: type of the computation; parameters are float32.

    References:
        Child, "Very Deep VAEs Generalize Autoregressive Models and Can Outperform Them on Images" (2021), section 4.
    """

    channels: int
    hidden: int
    scale: float
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """float[B,H,W,C] -> float[B,H,W,channels]: what is to be added, not the sum."""
        # On a single pixel a 3x3 kernel has eight weights that see zeros only.
        inner = (1, 1) if x.shape[1:3] == (1, 1) else (3, 3)
        for i, size in enumerate([(1, 1), inner, inner]):
            x = Conv(self.hidden, size, dtype=self.dtype, name=f"conv_{i}")(nn.silu(x))
        init = _scaled(self.scale)
        return Conv(self.channels, (1, 1), dtype=self.dtype, kernel_init=init, name="conv_3")(nn.silu(x))


class TopDownGroup(nn.Module):
    """The networks of one group of latent variables: float[B,h,w,channels] on features float[B,h,w,C].

    Attributes:
        channels: channels of the group.
        width: channels C of the features.
        hidden: bottleneck of the residual branches.
        scale: see `Residual`.
        residual_posterior: the posterior is relative to the prior.
        dtype: type of the computation.
        remat: recompute what is inside of residual branches in the backward pass.

    References:
        Child, "Very Deep VAEs Generalize Autoregressive Models and Can Outperform Them on Images" (2021), section 4;
        Vahdat and Kautz, "NVAE: A Deep Hierarchical Variational Autoencoder" (2020), section 3.2, for
        `residual_posterior`.
    """

    channels: int
    width: int
    hidden: int
    scale: float
    residual_posterior: bool = True
    dtype: jnp.dtype | None = None
    remat: bool = False

    def setup(self) -> None:
        parameters = 2 * self.channels
        zeros = nn.initializers.zeros
        residual = nn.remat(Residual) if self.remat else Residual
        self.block = residual(self.width, self.hidden, self.scale, self.dtype)
        # The prior starts as a standard normal distribution.
        self.to_prior = Conv(parameters, (1, 1), kernel_init=zeros, dtype=self.dtype)
        self.to_posterior = residual(parameters, self.hidden, 1.0, self.dtype)
        self.from_z = Conv(self.width, (1, 1), kernel_init=_scaled(self.scale), dtype=self.dtype)

    def prior(self, h: Array) -> tuple[Array, Gaussian]:
        """The features after a residual block, and p(z_l | z_<l) from them."""
        h = materialize(h + self.block(h))
        return h, _bounded(self.to_prior(nn.silu(h)))

    def posterior(self, h: Array, features: Array, prior: Gaussian) -> Gaussian:
        """q(z_l | z_<l, x): mean and log-variance, or with `residual_posterior` what the prior's are shifted by."""
        q = _bounded(self.to_posterior(jnp.concatenate([h, features], axis=-1)))
        if not self.residual_posterior:
            return q
        return Gaussian(prior.mean + q.mean, prior.log_variance + q.log_variance)

    def add(self, h: Array, z: Array) -> Array:
        """The features, with z in them."""
        return materialize(h + self.from_z(z))


def _scaled(scale: float) -> Any:
    """The usual initial kernel, times `scale`."""
    return nn.initializers.variance_scaling(scale**2, "fan_in", "truncated_normal")


def _bounded(parameters: Array) -> Gaussian:
    """float[B,h,w,2C] -> a normal distribution whose log-variance approaches its bounds softly, as in NVAE."""
    mean, log_variance = jnp.split(parameters.astype(jnp.float32), 2, axis=-1)
    return Gaussian(mean, _MAX_LOG_VARIANCE * jnp.tanh(log_variance / _MAX_LOG_VARIANCE))
