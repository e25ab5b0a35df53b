"""Denoising diffusion null-space model (DDNM)."""

from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.diffusion.guidance.operators import Operator, residual, solve, transpose
from genjax.diffusion.prediction import Denoiser
from genjax.typing import Array


def ddnm(
    denoise: Denoiser,
    operator: Operator,
    measurement: Float[ArrayLike, "..."],
    gram: Float[ArrayLike, ""] | Float[ArrayLike, "B"] | None = None,
) -> Denoiser:
    """Moves the estimate to the nearest point that gives the measurement: ``x0_hat + A^+ (y - A x0_hat)``.

    For measurements without noise, ``y = A x_0``; A^+ is ``A^T (A A^T)^-1``. A sampler whose last step, to
    t = 0, returns the estimate makes samples with A x = y. Nothing is differentiated, so that it costs little
    more than the denoiser. Where A is a mask, this is `inpaint`.

    Args:
        operator: A, linear; see `operators`.
        measurement: y, broadcasts to the shape of A x_t.
        gram: where A A^T is a multiple of the identity, that number (1 / size^2 for ``average_pool(size)``,
            1 for `masked`); else conjugate gradients find A^+.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import guidance
        >>> estimate = jnp.arange(4.0).reshape(1, 2, 2, 1)  # of mean 1.5
        >>> restored = guidance.ddnm(lambda x, t: estimate, guidance.operators.average_pool(2), 2.0, gram=1 / 4)
        >>> restored(estimate, jnp.array(0.5)).ravel()
        Array([0.5, 1.5, 2.5, 3.5], dtype=float32)

    References:
        Wang et al., "Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model" (2023),
        algorithm 1.
    """

    def guided(x_t: Float[Array, "B *shape"], t: Array) -> Float[Array, "B *shape"]:
        estimate = denoise(x_t, t)
        back = transpose(operator, estimate)
        return estimate + back(solve(operator, back, residual(operator, measurement, estimate), gram=gram))

    return guided
