"""Adaptive projected guidance (APG)."""

import jax.numpy as jnp
from jaxtyping import Float

from genjax.diffusion.guidance.base import Scale, at, inner
from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.process import expand
from genjax.typing import Array


def projected(
    conditional: Denoiser,
    unconditional: Denoiser,
    scale: Scale,
    parallel: Scale = 0.0,
    radius: Scale = jnp.inf,
) -> Denoiser:
    """Classifier-free guidance without the part that is parallel to the estimate, which oversaturates.

    Works on x0_hat, where the paper finds it works best. Its momentum is left out: a denoiser remembers
    nothing.

    Args:
        conditional: the denoiser of x_t float[B, ...] that is told the condition.
        unconditional: the denoiser that is told none.
        scale: as in `classifier_free`; 1 (bit for bit) is the conditional denoiser.
        parallel: how much of the parallel part to keep (eta); 1 with no radius is `classifier_free`.
        radius: the longest difference of conditional and unconditional estimate, as a norm over an example;
            longer ones are shortened to it. Above 0, inf for no bound.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import guidance
        >>> conditional = lambda x, t: x + jnp.array([[1.0, 0.0]])
        >>> unconditional = lambda x, t: x + jnp.array([[0.0, -1.0]])
        >>> guidance.projected(conditional, unconditional, 3.0)(jnp.zeros((1, 2)), jnp.array(0.5))  # else [[3, 2]]
        Array([[1., 2.]], dtype=float32)

    References:
        Sadat et al., "Eliminating Oversaturation and Artifacts of High Guidance Scales in Diffusion Models"
        (2024).
    """

    def denoise(x_t: Float[Array, "B *shape"], t: Array) -> Float[Array, "B *shape"]:
        estimate = conditional(x_t, t)
        difference = estimate - unconditional(x_t, t)
        square, bound = inner(difference, difference), expand(at(radius, t), x_t)
        # Both are replaced where they are not used: the square root of 0 and a radius of inf have no gradient.
        long = square > bound**2
        shortened = jnp.where(long, bound, 1) / jnp.sqrt(jnp.where(long, square, 1))
        difference = shortened * difference
        square = inner(estimate, estimate)
        along = jnp.where(square > 0, inner(difference, estimate) / jnp.where(square > 0, square, 1), 0)
        update = difference - (1 - expand(at(parallel, t), x_t)) * along * estimate
        return (estimate + expand(at(scale, t) - 1, x_t) * update).astype(estimate.dtype)

    return denoise
