"""Inpainting."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from genjax.diffusion.prediction import Denoiser
from genjax.typing import Array


def inpaint(
    denoise: Denoiser, known: Float[ArrayLike, "..."], mask: Bool[Array, "..."] | Bool[ArrayLike, "..."]
) -> Denoiser:
    """Replaces the known part of the estimate by what is known.

    A sampler whose last step, to t = 0, returns the estimate (DDIM and DDPM do) keeps known pixels bit for
    bit. Where other guidance is used too, this must come last. The network sees a noisy version of the
    known part at each step, as made from the known pixels by the sampler.

    Args:
        known: broadcasts against x_t, [H, W, C] for the same in all examples.
        mask: bool, broadcasts against x_t; True where `known` is known.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import guidance
        >>> known, mask = jnp.array([0.9, 0.0, 0.0]), jnp.array([True, False, False])
        >>> guidance.inpaint(lambda x_t, t: x_t, known, mask)(jnp.full((1, 3), 0.1), jnp.array(0.5))
        Array([[0.9, 0.1, 0.1]], dtype=float32)

    References:
        Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (2021),
        appendix I.2, where the state is replaced, not the estimate; the estimate is in Wang et al.,
        "Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model" (2023), of which this is
        the case of a mask.
    """

    def inpainted(x_t: Float[Array, "B *shape"], t: Array) -> Float[Array, "B *shape"]:
        estimate = denoise(x_t, t)
        given = jnp.broadcast_to(jnp.asarray(known, estimate.dtype), estimate.shape)
        return jnp.where(jnp.broadcast_to(mask, estimate.shape), given, estimate)

    return inpainted
