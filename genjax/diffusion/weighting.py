"""How much a training time counts.

A weight is the factor of the squared error of the network's *output*. Papers state most weights for the error of
x0_hat; since ``x0_hat = c_skip x_t + c_out F``, that error is c_out times the error of the output, and a weight w of
the one is w c_out^2 of the other. So a weight means the same whatever the network predicts (`simple` excepted).

To add one: a function (or a constructor of one) here, and a line in `WEIGHTINGS`.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.diffusion.prediction import Coefficients
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array

Weighting: TypeAlias = Callable[[Schedule, Array, Coefficients], Array]
"""``(schedule, t [B], coefficients of the prediction at t) -> w [B]``, finite for all t in (0, 1]."""

# Beyond, exp(log_snr) times c_out^2 would be inf * 0.
_LOG_SNR_RANGE = (-60.0, 60.0)


def simple(schedule: Schedule, t: Float[Array, "B"], coefficients: Coefficients) -> Float[Array, "B"]:
    """1 for every time: with the prediction `eps` it is DDPM's simplified objective.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import prediction, schedules, weighting
        >>> schedule, t = schedules.flow(), jnp.array([0.25, 0.75])  # SNR 9 and 1 / 9
        >>> weighting.simple(schedule, t, prediction.eps(schedule, t))
        Array([1., 1.], dtype=float32)

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), equation 14.
    """
    del schedule, coefficients
    return jnp.ones_like(t)


def vlb(schedule: Schedule, t: Float[Array, "B"], coefficients: Coefficients) -> Float[Array, "B"]:
    """The variational bound in continuous time: SNR (-d log_snr / dt) / 2 of the error of x0_hat.

    For t uniform on (0, 1) the weighted error, summed over the pixels, is in nats. A schedule with a table has a
    piecewise derivative; at a point of the table it is the derivative of the piece above.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import prediction, schedules, weighting
        >>> schedule, t = schedules.flow(), jnp.array([0.25, 0.75])  # SNR 9 and 1 / 9
        >>> weights = weighting.vlb(schedule, t, prediction.eps(schedule, t))  # for eps: -d log_snr / dt / 2
        >>> print(*(f"{w:.3f}" for w in weights))  # of a flow, 1 / (t (1 - t))
        5.333 5.333

    References:
        Kingma et al., "Variational Diffusion Models" (2021), equation 17.
    """
    return 0.5 * _rate(schedule, t) * _snr(schedule, t) * coefficients.c_out**2


def min_snr(gamma: ArrayLike = 5.0) -> Weighting:
    """min(SNR, gamma) of the error of x0_hat: for `eps` 1, but less where there is little noise.

    Args:
        gamma: scalar, above 0.

    Returns:
        ``(schedule, t float[B], coefficients) -> w float[B]``.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import prediction, schedules, weighting
        >>> schedule, t = schedules.flow(), jnp.array([0.25, 0.75])  # SNR 9 and 1 / 9
        >>> print(*(f"{w:.3f}" for w in weighting.min_snr(5.0)(schedule, t, prediction.eps(schedule, t))))
        0.556 1.000

    References:
        Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy" (2023), section 3.4.
    """

    def weight(schedule: Schedule, t: Float[Array, "B"], coefficients: Coefficients) -> Float[Array, "B"]:
        return jnp.minimum(_snr(schedule, t), gamma) * coefficients.c_out**2

    return weight


def soft_min_snr(gamma: ArrayLike = 5.0) -> Weighting:
    """SNR gamma / (SNR + gamma) of the error of x0_hat: `min_snr` without its corner.

    With gamma = 1 / sigma_data^2 it is 1 / (sigma^2 + sigma_data^2), sigma standing for sigma / alpha.

    Args:
        gamma: scalar, above 0.

    Returns:
        ``(schedule, t float[B], coefficients) -> w float[B]``.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import prediction, schedules, weighting
        >>> schedule, t = schedules.flow(), jnp.array([0.25, 0.75])  # SNR 9 and 1 / 9
        >>> print(*(f"{w:.3f}" for w in weighting.soft_min_snr(5.0)(schedule, t, prediction.eps(schedule, t))))
        0.357 0.978

    References:
        Crowson et al., "Scalable High-Resolution Pixel-Space Image Synthesis with Hourglass Diffusion Transformers"
        (2024), the section on loss weighting.
    """

    def weight(schedule: Schedule, t: Float[Array, "B"], coefficients: Coefficients) -> Float[Array, "B"]:
        snr = _snr(schedule, t)
        return snr * (gamma / (snr + gamma)) * coefficients.c_out**2

    return weight


def edm(sigma_data: ArrayLike = 0.5) -> Weighting:
    """(sigma^2 + sigma_data^2) / (sigma sigma_data)^2 of the error of x0_hat: with the prediction `edm`, 1.

    The paper's sigma is sigma / alpha of other schedules.

    Args:
        sigma_data: standard deviation of the data; the prediction's own. Scalar.

    Returns:
        ``(schedule, t float[B], coefficients) -> w float[B]``.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import prediction, schedules, weighting
        >>> schedule, t = schedules.flow(), jnp.array([0.25, 0.75])  # SNR 9 and 1 / 9
        >>> weights = weighting.edm(0.5)(schedule, t, prediction.edm(0.5)(schedule, t))
        >>> print(*(f"{w:.3f}" for w in weights))  # sigma_data is the same in both
        1.000 1.000

    References:
        Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), table 1.
    """

    def weight(schedule: Schedule, t: Float[Array, "B"], coefficients: Coefficients) -> Float[Array, "B"]:
        return (_snr(schedule, t) + 1 / jnp.square(sigma_data)) * coefficients.c_out**2

    return weight


def sigmoid(bias: ArrayLike = 2.0) -> Weighting:
    """The bound (`vlb`) times sigmoid(bias - log_snr): less where there is little noise, all of it where there is much.

    Like the bound, for t uniform it does not depend on the schedule. Falling in log_snr, it is the bound for data
    with added noise.

    Args:
        bias: the log-SNR at which half the bound is left; scalar.

    Returns:
        ``(schedule, t float[B], coefficients) -> w float[B]``.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import prediction, schedules, weighting
        >>> schedule, t = schedules.flow(), jnp.array([0.25, 0.75])  # SNR 9 and 1 / 9
        >>> coefficients = prediction.v(schedule, t)
        >>> share = weighting.sigmoid(0.0)(schedule, t, coefficients) / weighting.vlb(schedule, t, coefficients)
        >>> print(*(f"{x:.2f}" for x in share))  # 1 / (1 + SNR)
        0.10 0.90

    References:
        Kingma and Gao, "Understanding Diffusion Objectives as the ELBO with Simple Data Augmentation" (2023),
        equation 2, and its sigmoid weighting, with k = bias.
    """

    def weight(schedule: Schedule, t: Float[Array, "B"], coefficients: Coefficients) -> Float[Array, "B"]:
        return vlb(schedule, t, coefficients) * jax.nn.sigmoid(bias - schedule.log_snr(t))

    return weight


WEIGHTINGS: dict[str, Weighting] = {
    "simple": simple,
    "vlb": vlb,
    "min_snr": min_snr(),
    "soft_min_snr": soft_min_snr(),
    "edm": edm(),
    "sigmoid": sigmoid(),
}
"""The weights, by name."""


def _snr(schedule: Schedule, t: Array) -> Array:
    return jnp.exp(jnp.clip(schedule.log_snr(t), *_LOG_SNR_RANGE))


def _rate(schedule: Schedule, t: Array) -> Array:
    """-d log_snr / dt."""
    return -jax.jvp(schedule.log_snr, (t,), (jnp.ones_like(t),))[1]
