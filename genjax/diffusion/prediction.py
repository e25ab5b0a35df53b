"""What a network predicts, and nothing else depends on it: four coefficients per kind.

The estimate of the clean data is ``x0_hat = c_skip x_t + c_out F(c_in x_t, c_noise)`` with F the network. A
prediction is a function from a schedule and a time to the four; noise, clean data, velocity, flow and the
preconditionings of EDM and of consistency models differ in nothing but these.

c_noise is how a network is told the noise level. It is of order 1: the time t in [0, 1], or a quarter of
log(sigma / alpha), in [-7.5, 7.5]. Each prediction says which. A factor that its embedding needs is the network's own.

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
    """``x0_hat = c_skip x_t + c_out F(c_in x_t, c_noise)``; each has the shape of its time.

    Attributes:
        c_skip: factor of x_t in x0_hat.
        c_out: factor of the network's output in x0_hat. 0 where the network has no say.
        c_in: factor of x_t as the network sees it.
        c_noise: the noise level as the network sees it, of order 1: at most 7.5 in size.
    """

    c_skip: Array
    c_out: Array
    c_in: Array
    c_noise: Array


Prediction: TypeAlias = Callable[[Schedule, Array], Coefficients]
"""``(schedule, t) -> Coefficients``."""


def eps(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Coefficients:
    """The network predicts the noise. Undefined where alpha(t) = 0. c_noise is t.

    Example:
        >>> from genjax.diffusion import prediction, schedules
        >>> coefficients = prediction.eps(schedules.flow(), 0.25)  # alpha = 0.75, sigma = 0.25
        >>> {name: round(float(value), 3) for name, value in coefficients._asdict().items()}
        {'c_skip': 1.333, 'c_out': -0.333, 'c_in': 1.0, 'c_noise': 0.25}

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), equation 15.
    """
    t, alpha, sigma = jnp.asarray(t), schedule.alpha(t), schedule.sigma(t)
    return Coefficients(1 / alpha, -sigma / alpha, jnp.ones_like(alpha), t)


def x0(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Coefficients:
    """The network predicts the clean data. c_noise is t.

    Example:
        >>> from genjax.diffusion import prediction, schedules
        >>> coefficients = prediction.x0(schedules.flow(), 0.25)  # alpha = 0.75, sigma = 0.25
        >>> {name: round(float(value), 3) for name, value in coefficients._asdict().items()}
        {'c_skip': 0.0, 'c_out': 1.0, 'c_in': 1.0, 'c_noise': 0.25}

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), section 3.2.
    """
    t, one = jnp.asarray(t), jnp.ones_like(schedule.alpha(t))
    return Coefficients(jnp.zeros_like(one), one, one, t)


def v(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Coefficients:
    """The network predicts the velocity ``v = alpha noise - sigma x_0``.

    The norm is 1 for variance-preserving schedules, for which the paper states it. c_noise is t.

    Example:
        >>> from genjax.diffusion import prediction, schedules
        >>> coefficients = prediction.v(schedules.flow(), 0.25)  # alpha = 0.75, sigma = 0.25
        >>> {name: round(float(value), 3) for name, value in coefficients._asdict().items()}
        {'c_skip': 1.2, 'c_out': -0.4, 'c_in': 1.0, 'c_noise': 0.25}

    References:
        Salimans and Ho, "Progressive Distillation for Fast Sampling of Diffusion Models" (2022), appendix D.
    """
    t, alpha, sigma = jnp.asarray(t), schedule.alpha(t), schedule.sigma(t)
    norm = alpha**2 + sigma**2
    return Coefficients(alpha / norm, -sigma / norm, jnp.ones_like(alpha), t)


def score(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Coefficients:
    """The network predicts the score, the gradient of log q(x_t): -noise / sigma. Undefined where alpha(t) = 0.

    c_noise is t.

    Example:
        >>> from genjax.diffusion import prediction, schedules
        >>> coefficients = prediction.score(schedules.flow(), 0.25)  # alpha = 0.75, sigma = 0.25
        >>> {name: round(float(value), 3) for name, value in coefficients._asdict().items()}
        {'c_skip': 1.333, 'c_out': 0.083, 'c_in': 1.0, 'c_noise': 0.25}

    References:
        Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (2021), equation 7.
    """
    t, alpha, sigma = jnp.asarray(t), schedule.alpha(t), schedule.sigma(t)
    return Coefficients(1 / alpha, sigma**2 / alpha, jnp.ones_like(alpha), t)


def flow(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Coefficients:
    """The network predicts ``noise - x_0``: the velocity of rectified flow, where alpha + sigma is 1.

    c_noise is t.

    Example:
        >>> from genjax.diffusion import prediction, schedules
        >>> coefficients = prediction.flow(schedules.flow(), 0.25)  # alpha = 0.75, sigma = 0.25
        >>> {name: round(float(value), 3) for name, value in coefficients._asdict().items()}
        {'c_skip': 1.0, 'c_out': -0.25, 'c_in': 1.0, 'c_noise': 0.25}

    References:
        Liu et al., "Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow" (2023),
        equation 1, there with the opposite sign; Esser et al., "Scaling Rectified Flow Transformers for
        High-Resolution Image Synthesis" (2024), section 2.
    """
    t, alpha, sigma = jnp.asarray(t), schedule.alpha(t), schedule.sigma(t)
    return Coefficients(1 / (alpha + sigma), -sigma / (alpha + sigma), jnp.ones_like(alpha), t)


def edm(sigma_data: ArrayLike = 0.5) -> Prediction:
    """Input and training target of the network have unit variance; c_noise is a quarter of log(sigma / alpha).

    The paper has alpha = 1; for other schedules its sigma is sigma / alpha, and its x is x_t / alpha.

    Args:
        sigma_data: standard deviation of the data.

    Returns:
        The prediction, ``(schedule, t float[...]) -> Coefficients``, each of the shape of t.

    Example:
        >>> from genjax.diffusion import prediction, schedules
        >>> coefficients = prediction.edm(sigma_data=1.0)(schedules.flow(), 0.75)  # sigma / alpha = 3
        >>> {name: round(float(value), 3) for name, value in coefficients._asdict().items()}
        {'c_skip': 0.4, 'c_out': 0.949, 'c_in': 1.265, 'c_noise': 0.275}

    References:
        Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), table 1.
    """

    def coefficients(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Coefficients:
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        signal = alpha * sigma_data
        norm = jnp.sqrt(signal**2 + sigma**2)
        return Coefficients(
            signal * sigma_data / norm**2,
            sigma * sigma_data / norm,
            1 / norm,
            _quarter_log_sigma(schedule, t),
        )

    return coefficients


def consistency_edm(sigma_min: ArrayLike = 0.002, sigma_data: ArrayLike = 0.5) -> Prediction:
    """The prediction of consistency models: as `edm`, but with x0_hat = x_t / alpha at sigma_min.

    The paper has alpha = 1; for other schedules its sigma is sigma / alpha, and its x is x_t / alpha.

    c_noise is a quarter of log(sigma / alpha), as in `edm`. The paper's code hands on 1,000 times as much, 250
    log(sigma): here that factor belongs to the network (it is `TIME_SCALE` of `genjax.models.UNet`).

    Args:
        sigma_min: epsilon of the paper, the least noise; with less, x0_hat is x_t / alpha too.
        sigma_data: standard deviation of the data.

    Returns:
        The prediction, ``(schedule, t float[...]) -> Coefficients``, each of the shape of t.

    Example:
        >>> import math
        >>> from genjax.diffusion import prediction, schedules
        >>> schedule, predict = schedules.edm(), prediction.consistency_edm(sigma_min=0.002, sigma_data=0.5)
        >>> for sigma in (0.002, 0.5):
        ...     c_skip, c_out, _, _ = predict(schedule, schedule.time(-2 * math.log(sigma)))
        ...     print(f"{c_skip:.3f} {c_out:.3f}")
        1.000 0.000
        0.502 0.352

    References:
        Song et al., "Consistency Models" (2023), appendix C, and its reference code for c_noise.
    """

    def coefficients(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Coefficients:
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        signal, above = alpha * sigma_data, jnp.maximum(sigma - alpha * sigma_min, 0)
        norm = jnp.sqrt(signal**2 + sigma**2)
        c_skip = signal * sigma_data / (above**2 + signal**2)
        return Coefficients(c_skip, above * sigma_data / norm, 1 / norm, _quarter_log_sigma(schedule, t))

    return coefficients


def lcm_boundary(
    inner: Prediction = eps, num_steps: int = 1000, scaling: ArrayLike = 10.0, sigma_data: ArrayLike = 0.5
) -> Prediction:
    """The prediction of latent consistency models: as `inner`, but with x0_hat = x_t up to the time 1 / num_steps.

    x0_hat is ``skip x_t + out x0_hat of inner`` with skip = sigma_data^2 / (tau^2 + sigma_data^2), out = tau /
    sqrt(tau^2 + sigma_data^2) and tau = scaling (t num_steps - 1), the number of the step from 0 on.

    c_in and c_noise are taken from `inner`: with `eps`, c_noise is t. Undefined where `inner` is.

    Args:
        inner: what the network predicts.
        num_steps: T of the discrete schedule that the model was trained with.
        scaling: factor of the number of the step.
        sigma_data: standard deviation of the data.

    Returns:
        The prediction, ``(schedule, t float[...]) -> Coefficients``, each of the shape of t.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import denoiser, prediction, schedules
        >>> predict, network = prediction.lcm_boundary(prediction.x0), lambda x, c_noise: 0 * x + 9.0
        >>> denoise = denoiser(network, schedules.linear(), predict)
        >>> print(*(f"{denoise(jnp.array([[0.4]]), t).item():.2f}" for t in (0.001, 0.9)))  # x_t, and the network
        0.40 9.00

    References:
        Luo et al., "Latent Consistency Models: Synthesizing High-Resolution Images with Few-Step Inference"
        (2023), section 4, and its reference code.
    """

    def coefficients(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Coefficients:
        t = jnp.asarray(t)
        c_skip, c_out, c_in, c_noise = inner(schedule, t)
        tau = jnp.asarray(scaling) * jnp.maximum(t * num_steps - 1, 0)
        norm = tau**2 + jnp.asarray(sigma_data) ** 2
        skip, out = jnp.asarray(sigma_data) ** 2 / norm, tau / jnp.sqrt(norm)
        return Coefficients(skip + out * c_skip, out * c_out, c_in, c_noise)

    return coefficients


def _quarter_log_sigma(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
    """A quarter of log(sigma / alpha)."""
    return -jnp.clip(schedule.log_snr(t), *_LOG_SNR_RANGE) / 8


PREDICTIONS: dict[str, Prediction] = {
    "eps": eps,
    "x0": x0,
    "v": v,
    "score": score,
    "flow": flow,
    "edm": edm(),
    "consistency_edm": consistency_edm(),
    "lcm": lcm_boundary(),
}
"""The predictions, by name."""


def denoiser(network: Network, schedule: Schedule, prediction: Prediction) -> Denoiser:
    """The denoiser that a network is, once we know what it predicts.

    The result has the precision of the schedule and of x_t, whatever the network computes in.

    Args:
        network: called with c_noise of shape [B] always, also when the denoiser is called with a scalar time.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import add_noise, denoiser, prediction, schedules
        >>> schedule, x_0, noise = schedules.cosine(), jnp.array([[0.5]]), jnp.array([[2.0]])
        >>> network = lambda x, c_noise: noise  # it predicts the noise without an error
        >>> denoise = denoiser(network, schedule, prediction.eps)
        >>> print(f"{denoise(add_noise(schedule, x_0, noise, 0.7), 0.7).item():.3f}")
        0.500
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
    accurate to 1e-7 / sigma(t).

    Where c_out is 0, no output makes x0_hat x_0, and the target is not finite. For most predictions that is at t = 0
    alone. For `consistency_edm` and `lcm_boundary` it is up to their least noise, and a little above it their targets
    have no bound: such networks are not trained by denoising, but compared with themselves or with a teacher.

    Args:
        coefficients: what the prediction gives at t.
        t: in (0, 1].

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import prediction, schedules, target
        >>> schedule, x_0, noise = schedules.shifted_cosine(), jnp.array([[1.0]]), jnp.array([[3.0]])
        >>> for predict in (prediction.eps, prediction.x0, prediction.v, prediction.flow):
        ...     print(f"{target(predict(schedule, 0.5), schedule, x_0, noise, 0.5).item():.3f}")
        3.000
        1.000
        1.414
        2.000

    References:
        Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), equation 8.
    """
    c_skip, c_out, _, _ = coefficients
    from_x_0 = (1 - c_skip * schedule.alpha(t)) / c_out
    from_noise = -c_skip * schedule.sigma(t) / c_out
    return expand(from_x_0, x_0) * x_0 + expand(from_noise, x_0) * noise
