"""Guidance: functions from denoiser to denoiser. They compose, and no sampler knows of them."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.process import expand
from genjax.typing import Array


def classifier_free(
    conditional: Denoiser,
    unconditional: Denoiser,
    scale: Float[ArrayLike, ""] | Float[ArrayLike, "B"],
) -> Denoiser:
    """Classifier-free guidance: ``unconditional + scale (conditional - unconditional)``.

    x0_hat is affine in the predicted noise (and in v), so guiding x0_hat is guiding those.

    Args:
        scale: 0 is the unconditional denoiser, 1 (bit for bit) the conditional one, above 1 amplifies the
            condition. Scalar, or one for each example.

    References:
        Ho and Salimans, "Classifier-Free Diffusion Guidance" (2022), equation 6, where scale is 1 + w.
    """

    def denoise(x_t: Float[Array, "B *shape"], t: Array) -> Float[Array, "B *shape"]:
        with_condition = conditional(x_t, t)
        w = expand(jnp.asarray(scale) - 1, x_t)
        return with_condition + w * (with_condition - unconditional(x_t, t))

    return denoise


def clip(denoise: Denoiser, low: float = -1.0, high: float = 1.0) -> Denoiser:
    """Clips the estimate of the clean data to the range that data has (static thresholding).

    Samplers derive the noise from the clipped estimate, so that x_t = alpha x0_hat + sigma noise still holds.

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), reference code (`clip_denoised`).
    """

    def clipped(x_t: Float[Array, "B *shape"], t: Array) -> Float[Array, "B *shape"]:
        return jnp.clip(denoise(x_t, t), low, high)

    return clipped
