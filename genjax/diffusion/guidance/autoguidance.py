"""Autoguidance."""

from genjax.diffusion.guidance.base import Scale
from genjax.diffusion.guidance.classifier_free import classifier_free
from genjax.diffusion.prediction import Denoiser


def autoguidance(denoise: Denoiser, worse: Denoiser, scale: Scale) -> Denoiser:
    """Away from a worse version of the same network: ``worse + scale (denoise - worse)``.

    The formula of `classifier_free`; the difference is in what is left out. Both networks have the same
    condition (or none), so that variety is not lost.

    Args:
        denoise: the denoiser of x_t float[B, ...] that is guided.
        worse: a smaller network, or one trained for less time, with mistakes of the same kind.
        scale: as in `classifier_free`: 1 is `denoise`, above 1 moves away from `worse`.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import guidance
        >>> good, worse = (lambda x, t: 0 * x + 1.0), (lambda x, t: 0 * x + 0.75)
        >>> guidance.autoguidance(good, worse, 2.0)(jnp.zeros((1, 2)), jnp.array(0.5))
        Array([[1.25, 1.25]], dtype=float32)

    References:
        Karras et al., "Guiding a Diffusion Model with a Bad Version of Itself" (2024), section 4.
    """
    return classifier_free(denoise, worse, scale)
