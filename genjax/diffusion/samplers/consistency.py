"""Sampling from consistency models, and what makes a network one."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.diffusion.prediction import Coefficients, Denoiser, Prediction
from genjax.diffusion.process import expand
from genjax.diffusion.samplers.base import Sampler, normal, stateless
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array


def consistency(sigma_min: ArrayLike = 0.0) -> Sampler:
    """Multistep consistency sampling: the estimate of x_0, with new noise up to s. Stochastic.

    One evaluation a step. For denoisers that jump to the end of the ODE's trajectory (consistency and latent
    consistency models) rather than to the mean of x_0 given x_t. With such a one, every step is exact; with the
    mean, the samples vary too little, however many steps there are.

    Args:
        sigma_min: the noise, as sigma / alpha, that the estimates of the model still have: new noise makes up
            the difference to sigma(s). 0 for latent consistency models; epsilon of the paper, the `sigma_min`
            of `consistency_edm`, for consistency models.

    References:
        Song et al., "Consistency Models" (2023), algorithm 1; Luo et al., "Latent Consistency Models:
        Synthesizing High-Resolution Images with Few-Step Inference" (2023), algorithm 3.
    """

    def step(
        keys: Array, carry: tuple[()], x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[tuple[()], Array]:
        alpha, sigma = schedule.alpha(s), schedule.sigma(s)
        left = alpha * sigma_min / jnp.where(sigma > 0, sigma, 1)
        is_above = left < 1  # sqrt has no derivative at 0
        std = jnp.where(is_above, sigma * jnp.sqrt(jnp.where(is_above, 1 - left**2, 1)), 0)
        return carry, (alpha * denoise(x, t) + std * normal(keys, x.shape[1:], x.dtype)).astype(x.dtype)

    return Sampler(stateless, step)


def lcm_boundary(
    denoise: Denoiser, num_steps: int = 1000, scaling: ArrayLike = 10.0, sigma_data: ArrayLike = 0.5
) -> Denoiser:
    """The boundary condition of latent consistency models: at the first time, the denoiser returns its input.

    It is c_skip x_t + c_out x0_hat with c_skip = sigma_data^2 / (tau^2 + sigma_data^2), c_out = tau /
    sqrt(tau^2 + sigma_data^2) and tau = scaling (t num_steps - 1), the number of the step from 0 on.

    Args:
        num_steps: T of the discrete schedule that the model was trained with.
        scaling: of the number of the step.
        sigma_data: standard deviation of the data.

    References:
        Luo et al., "Latent Consistency Models: Synthesizing High-Resolution Images with Few-Step Inference"
        (2023), section 4, and its reference code.
    """

    def bounded(x_t: Float[Array, "B *shape"], t: Array) -> Float[Array, "B *shape"]:
        tau = jnp.asarray(scaling) * jnp.maximum(t * num_steps - 1, 0)
        norm = tau**2 + jnp.asarray(sigma_data) ** 2
        c_skip, c_out = jnp.asarray(sigma_data) ** 2 / norm, tau / jnp.sqrt(norm)
        return expand(c_out, x_t) * denoise(x_t, t) + expand(c_skip, x_t) * x_t

    return bounded


def consistency_edm(sigma_min: ArrayLike = 0.002, sigma_data: ArrayLike = 0.5) -> Prediction:
    """The prediction of consistency models: as `prediction.edm`, but with x0_hat = x_t / alpha at sigma_min.

    The paper has alpha = 1; for other schedules its sigma is sigma / alpha, and its x is x_t / alpha. c_noise
    is 250 log(sigma / alpha).

    Args:
        sigma_min: epsilon of the paper, the least noise; with less, x0_hat is x_t / alpha too.
        sigma_data: standard deviation of the data.

    References:
        Song et al., "Consistency Models" (2023), appendix C, and its reference code for c_noise.
    """

    def coefficients(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Coefficients:
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        signal, above = alpha * sigma_data, jnp.maximum(sigma - alpha * sigma_min, 0)
        norm = jnp.sqrt(signal**2 + sigma**2)
        c_skip = signal * sigma_data / (above**2 + signal**2)
        c_noise = -125 * jnp.clip(schedule.log_snr(t), -60, 60)
        return Coefficients(c_skip, above * sigma_data / norm, 1 / norm, c_noise)

    return coefficients
