"""What a network predicts, and nothing else depends on it: four coefficients per kind.

The estimate of the clean data is ``x0_hat = c_skip x_t + c_out F(c_in x_t, c_noise)`` with F the network. A
prediction is a function from a schedule and a time to the four; noise, clean data, velocity, flow and EDM
preconditioning differ in nothing but these.

References:
    Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), equation 7.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.diffusion.process import expand
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array

Network: TypeAlias = Callable[[Array, Array], Array]
"""``(c_in x_t [B, ...], c_noise [B]) -> [B, ...]``: parameters, condition and dropout key are closed over."""

Denoiser: TypeAlias = Callable[[Array, Array], Array]
"""``(x_t [B, ...], t scalar or [B]) -> estimate of x_0 [B, ...]``."""

# Where c_noise is a logarithm, it stays finite where there is no noise, or nothing else.
_LOG_SNR_RANGE = (-60.0, 60.0)


class Coefficients(NamedTuple):
    """``x0_hat = c_skip x_t + c_out F(c_in x_t, c_noise)``; each has the shape of its time."""

    c_skip: Array
    c_out: Array
    c_in: Array
    c_noise: Array


Prediction: TypeAlias = Callable[[Schedule, Array], Coefficients]
"""``(schedule, t) -> Coefficients``."""


def eps(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Coefficients:
    """The network predicts the noise. Undefined where alpha(t) = 0.

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), equation 15.
    """
    t, alpha, sigma = jnp.asarray(t), schedule.alpha(t), schedule.sigma(t)
    return Coefficients(1 / alpha, -sigma / alpha, jnp.ones_like(alpha), t)


def x0(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Coefficients:
    """The network predicts the clean data.

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), section 3.2.
    """
    t, one = jnp.asarray(t), jnp.ones_like(schedule.alpha(t))
    return Coefficients(jnp.zeros_like(one), one, one, t)


def v(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Coefficients:
    """The network predicts the velocity ``v = alpha noise - sigma x_0``.

    The norm is 1 for variance-preserving schedules, for which the paper states it.

    References:
        Salimans and Ho, "Progressive Distillation for Fast Sampling of Diffusion Models" (2022), appendix D.
    """
    t, alpha, sigma = jnp.asarray(t), schedule.alpha(t), schedule.sigma(t)
    norm = alpha**2 + sigma**2
    return Coefficients(alpha / norm, -sigma / norm, jnp.ones_like(alpha), t)


def score(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Coefficients:
    """The network predicts the score, the gradient of log q(x_t): -noise / sigma. Undefined where alpha(t) = 0.

    References:
        Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (2021), equation 7.
    """
    t, alpha, sigma = jnp.asarray(t), schedule.alpha(t), schedule.sigma(t)
    return Coefficients(1 / alpha, sigma**2 / alpha, jnp.ones_like(alpha), t)


def flow(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Coefficients:
    """The network predicts ``noise - x_0``: the velocity of rectified flow, where alpha + sigma is 1.

    References:
        Liu et al., "Flow Straight and Fast" (2023), equation 1, there with the opposite sign; Esser et al., "Scaling
        Rectified Flow Transformers for High-Resolution Image Synthesis" (2024), section 2.
    """
    t, alpha, sigma = jnp.asarray(t), schedule.alpha(t), schedule.sigma(t)
    return Coefficients(1 / (alpha + sigma), -sigma / (alpha + sigma), jnp.ones_like(alpha), t)


def edm(sigma_data: ArrayLike = 0.5) -> Prediction:
    """Input and training target of the network have unit variance; c_noise is a quarter of log(sigma / alpha).

    The paper has alpha = 1; for other schedules its sigma is sigma / alpha, and its x is x_t / alpha.

    Args:
        sigma_data: standard deviation of the data.

    References:
        Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), table 1.
    """

    def coefficients(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Coefficients:
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        signal = alpha * sigma_data
        norm = jnp.sqrt(signal**2 + sigma**2)
        c_noise = -jnp.clip(schedule.log_snr(t), *_LOG_SNR_RANGE) / 8
        return Coefficients(signal * sigma_data / norm**2, sigma * sigma_data / norm, 1 / norm, c_noise)

    return coefficients


PREDICTIONS: dict[str, Prediction] = {
    "eps": eps,
    "x0": x0,
    "v": v,
    "score": score,
    "flow": flow,
    "edm": edm(),
}
"""The predictions, by name."""


def denoiser(network: Network, schedule: Schedule, prediction: Prediction) -> Denoiser:
    """The denoiser that a network is, once we know what it predicts.

    The result has the precision of the schedule and of x_t, whatever the network computes in.

    Args:
        network: called with c_noise of shape [B] always, also when the denoiser is called with a scalar time.
    """

    def denoise(
        x_t: Float[Array, "B *shape"], t: Float[ArrayLike, ""] | Float[ArrayLike, "B"]
    ) -> Float[Array, "B *shape"]:
        c_skip, c_out, c_in, c_noise = prediction(schedule, jnp.broadcast_to(t, x_t.shape[:1]))
        output = network(expand(c_in, x_t) * x_t, c_noise)
        return expand(c_skip, x_t) * x_t + expand(c_out, x_t) * output

    return denoise


def target(
    coefficients: Coefficients,
    schedule: Schedule,
    x_0: Float[Array, "B *shape"],
    noise: Float[Array, "B *shape"],
    t: Float[ArrayLike, ""] | Float[ArrayLike, "B"],
) -> Float[Array, "B *shape"]:
    """What the network should output at ``x_t = alpha x_0 + sigma noise`` for x0_hat to be x_0.

    The noise for `eps`, the clean data for `x0`, ``alpha noise - sigma x_0`` for `v`. In float32 it is
    accurate to 1e-7 / sigma(t); at t = 0 it is undefined for those with c_out = 0 there.

    Args:
        coefficients: those of the prediction at t.
        t: in (0, 1].

    References:
        Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), equation 8.
    """
    c_skip, c_out, _, _ = coefficients
    from_x_0 = (1 - c_skip * schedule.alpha(t)) / c_out
    from_noise = -c_skip * schedule.sigma(t) / c_out
    return expand(from_x_0, x_0) * x_0 + expand(from_noise, x_0) * noise
