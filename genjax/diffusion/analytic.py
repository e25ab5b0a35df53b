"""Exact denoisers of known distributions: what samplers are measured with."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.process import expand
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array


def gaussian_mixture(
    means: Float[Array, "K D"], stds: Float[Array, "K"], weights: Float[Array, "K"], schedule: Schedule
) -> Denoiser:
    """E[x_0 | x_t] of data from sum_k weights_k N(means_k, stds_k^2 I).

    Given the component k, x_t is normal with mean alpha m_k and variance v_k = alpha^2 s_k^2 + sigma^2, and the
    estimate is m_k + alpha s_k^2 / v_k (x_t - alpha m_k); the components are weighted by how probable x_t makes them.

    Args:
        means: one row a component.
        stds: at least 0.
        weights: positive; scaled to add up to 1.
        schedule: schedule of x_t.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import analytic, schedules
        >>> means, stds, weights = jnp.array([[-1.0], [1.0]]), jnp.zeros(2), jnp.array([0.5, 0.5])
        >>> denoise = analytic.gaussian_mixture(means, stds, weights, schedules.flow())
        >>> estimate = denoise(jnp.array([[0.0], [0.5]]), 0.5)  # of two points: tanh(alpha x_t / sigma^2)
        >>> print(*(f"{x:.3f}" for x in estimate[:, 0]))
        0.000 0.762

    References:
        Bishop, "Pattern Recognition and Machine Learning" (2006), equations 2.113 to 2.117.
    """

    def denoise(
        x_t: Float[Array, "B D"], t: Float[ArrayLike, ""] | Float[ArrayLike, "B"]
    ) -> Float[Array, "B D"]:
        t = jnp.broadcast_to(t, x_t.shape[:1])
        m, s, w = (jnp.asarray(x, x_t.dtype) for x in (means, stds, weights))
        alpha, sigma = (expand(f(t), x_t) for f in (schedule.alpha, schedule.sigma))  # [B, 1]
        variance = alpha**2 * s[None] ** 2 + sigma**2  # [B, K]
        difference = x_t[:, None] - alpha[..., None] * m[None]  # [B, K, D]
        square = jnp.sum(difference**2, -1)
        log_density = -0.5 * (square / variance + m.shape[1] * jnp.log(variance))
        probability = jax.nn.softmax(jnp.log(w)[None] + log_density)
        gain = (alpha * s[None] ** 2 / variance)[..., None]
        return jnp.sum(probability[..., None] * (m[None] + gain * difference), 1)

    return denoise
