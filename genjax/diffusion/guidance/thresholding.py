"""Thresholding: keeps the estimate in the range that data has."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.process import expand
from genjax.typing import Array, UserError


def clip(denoise: Denoiser, low: float = -1.0, high: float = 1.0) -> Denoiser:
    """Clips the estimate of the clean data to the range that data has (static thresholding).

    Samplers derive the noise from the clipped estimate, so that x_t = alpha x0_hat + sigma noise still holds.

    Args:
        denoise: the denoiser of x_t float[B, ...] to bound.
        low: least value of data.
        high: largest value of data.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import guidance
        >>> guidance.clip(lambda x_t, t: 3 * x_t)(jnp.array([[-1.0, 0.25, 1.0]]), jnp.array(0.5))
        Array([[-1.  ,  0.75,  1.  ]], dtype=float32)

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), reference code (`clip_denoised`).
    """

    def clipped(x_t: Float[Array, "B *shape"], t: Array) -> Float[Array, "B *shape"]:
        return jnp.clip(denoise(x_t, t), low, high)

    return clipped


def dynamic_threshold(
    denoise: Denoiser,
    quantile: Float[ArrayLike, ""] | Float[ArrayLike, "B"] = 0.995,
    maximum: Float[ArrayLike, ""] | Float[ArrayLike, "B"] = jnp.inf,
) -> Denoiser:
    """Clips each estimate to its own range [-s, s], s >= 1, and divides by s: for large guidance scales.

    s is a quantile of the example's ``|x0_hat|``, kept in [1, `maximum`]; data is in [-1, 1]. Unlike
    `clip`, it also draws in the values that are not clipped.

    Args:
        denoise: the denoiser of x_t float[B, ...] to bound.
        quantile: in [0, 1]; 1 is the largest value, so that nothing is clipped and all is scaled.
        maximum: at least 1, where it is `clip`, which is what diffusers' default amounts to.

    Raises:
        UserError: if a concrete `quantile` or `maximum` is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import guidance
        >>> bounded = guidance.dynamic_threshold(lambda x_t, t: x_t, quantile=1.0)
        >>> bounded(jnp.array([[-2.0, 1.0], [0.5, 0.25]]), jnp.array(0.5))  # the first is divided by 2
        Array([[-1.  ,  0.5 ],
               [ 0.5 ,  0.25]], dtype=float32)

    References:
        Saharia et al., "Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding"
        (2022), section 2.3 (Imagen).
    """
    concrete = int | float | np.ndarray | np.generic
    if isinstance(quantile, concrete) and not np.all((quantile >= 0) & (quantile <= 1)):
        raise UserError(f"quantile = {quantile} must be in [0, 1]")
    if isinstance(maximum, concrete) and not np.all(maximum >= 1):
        raise UserError(f"maximum = {maximum} must be at least 1")

    def thresholded(x_t: Float[Array, "B *shape"], t: Array) -> Float[Array, "B *shape"]:
        estimate = denoise(x_t, t)
        sizes = jnp.abs(estimate).reshape(estimate.shape[0], -1)
        quantiles = jnp.broadcast_to(jnp.asarray(quantile, sizes.dtype), sizes.shape[:1])
        s = expand(jnp.clip(jax.vmap(jnp.quantile)(sizes, quantiles), 1, maximum), estimate)
        return (jnp.clip(estimate, -s, s) / s).astype(estimate.dtype)

    return thresholded
