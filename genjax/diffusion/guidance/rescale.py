"""Guidance that keeps the contrast of what the network predicts."""

import jax.numpy as jnp
from jaxtyping import Float

from genjax.diffusion.guidance.base import Scale, at, inner
from genjax.diffusion.prediction import Denoiser, Prediction, v
from genjax.diffusion.process import expand
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array


def rescale(
    guided: Denoiser,
    conditional: Denoiser,
    schedule: Schedule,
    phi: Scale = 0.7,
    prediction: Prediction = v,
) -> Denoiser:
    """Scales guided predictions towards the standard deviation of conditional ones, against overexposure.

    For instance ``rescale(classifier_free(conditional, unconditional, 7.5), conditional, schedule)``; inside
    `jax.jit` the compiler merges the two equal calls of `conditional`.

    The scaled quantity is not x0_hat but what `prediction` says the network outputs, as in the paper (v)
    and in diffusers' `rescale_noise_cfg` (whatever the pipeline's network outputs; for Stable Diffusion 1
    the noise, `eps`). The choice matters, because x0_hat is not proportional to the others. `prediction.x0`
    scales x0_hat.

    Args:
        guided: the denoiser of x_t float[B, ...] to correct.
        conditional: the denoiser with the condition, without guidance.
        schedule: schedule of x_t.
        phi: how much of the correction to apply, in [0, 1]; 0 is `guided`.
        prediction: the output to scale; any, the network itself may predict something else. Undefined where
            the prediction is, for `eps` at alpha(t) = 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import guidance, prediction, schedules
        >>> conditional, guided = (lambda x, t: x), (lambda x, t: 3 * x)
        >>> scaled = guidance.rescale(guided, conditional, schedules.cosine(), phi=0.5, prediction=prediction.x0)
        >>> scaled(jnp.array([[-1.0, 1.0]]), jnp.array(0.5))  # half-way from 3 to 1
        Array([[-2.,  2.]], dtype=float32)

    References:
        Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (2023), equations 14 to 16.
    """

    def denoise(x_t: Float[Array, "B *shape"], t: Array) -> Float[Array, "B *shape"]:
        estimate = guided(x_t, t)
        # x0_hat = c_skip x_t + c_out F: c_out drops out of a ratio of deviations of F.
        fixed = expand(prediction(schedule, t).c_skip, x_t) * x_t
        output = estimate - fixed
        before, after = _variance(conditional(x_t, t) - fixed), _variance(output)
        varies = (before > 0) & (after > 0)
        ratio = jnp.where(varies, jnp.sqrt(jnp.where(varies, before, 1) / jnp.where(varies, after, 1)), 1)
        change = expand(at(phi, t), x_t) * (ratio - 1)
        return (estimate + change * output).astype(estimate.dtype)

    return denoise


def _variance(x: Array) -> Array:
    """Of each example, [B, 1, ...]."""
    centred = x - jnp.mean(x, axis=tuple(range(1, x.ndim)), keepdims=True)
    return inner(centred, centred) / (x.size // x.shape[0])
