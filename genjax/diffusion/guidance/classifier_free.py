"""Classifier-free guidance."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from genjax.diffusion.guidance.base import Scale, at
from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.process import expand
from genjax.typing import Array


def classifier_free(conditional: Denoiser, unconditional: Denoiser, scale: Scale) -> Denoiser:
    """Classifier-free guidance: ``unconditional + scale (conditional - unconditional)``.

    x0_hat is affine in the predicted noise (and in v), so guiding x0_hat is guiding those.

    Args:
        conditional: the denoiser of x_t float[B, ...] that is told the condition.
        unconditional: the denoiser that is told none, or a negative one.
        scale: 0 is the unconditional denoiser, 1 (bit for bit) the conditional one, above 1 amplifies the
            condition. Scalar, one for each example, or a function of the time that gives either: then, where
            the scale is 1 for all examples, the unconditional denoiser is not evaluated (see `interval`).

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import guidance
        >>> conditional, unconditional = (lambda x, t: 0 * x + 1.0), (lambda x, t: 0 * x + 0.5)
        >>> scale = jnp.array([0.0, 1.0, 3.0])  # one for each example
        >>> guidance.classifier_free(conditional, unconditional, scale)(jnp.zeros((3, 1)), jnp.array(0.5))
        Array([[0.5],
               [1. ],
               [2. ]], dtype=float32)

    References:
        Ho and Salimans, "Classifier-Free Diffusion Guidance" (2022), equation 6, where scale is 1 + w.
    """

    def denoise(x_t: Float[Array, "B *shape"], t: Array) -> Float[Array, "B *shape"]:
        with_condition = conditional(x_t, t)
        w = at(scale, t) - 1

        def guided() -> Array:
            return extrapolate(with_condition, unconditional(x_t, t), w)

        if not callable(scale):
            return guided()
        return jax.lax.cond(jnp.any(w != 0), guided, lambda: with_condition)

    return denoise


def extrapolate(
    estimate: Float[Array, "B *shape"], other: Float[Array, "B *shape"], w: Array
) -> Float[Array, "B *shape"]:
    """``estimate + w (estimate - other)``, in the precision of the estimate."""
    return (estimate + expand(w, estimate) * (estimate - other)).astype(estimate.dtype)
