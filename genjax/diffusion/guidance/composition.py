"""Several conditions at once."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from genjax.diffusion.guidance.base import Scale, at
from genjax.diffusion.guidance.classifier_free import classifier_free
from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.process import expand
from genjax.typing import Array, UserError


def compose(
    conditionals: Sequence[Denoiser], unconditional: Denoiser, scales: Sequence[Scale] | Array | np.ndarray
) -> Denoiser:
    """All of several conditions: ``unconditional + sum_i scale_i (conditional_i - unconditional)``.

    Samples from the product of experts p(x) prod_i (p(x | c_i) / p(x))^scale_i as far as adding noise to
    the product is the product of the noisy experts. That is so where the conditions concern different
    pixels, or all experts are Gaussians of the same covariance.

    Args:
        conditionals: one denoiser for each condition.
        scales: one for each condition, each a scalar, one for each example, or a function of the time that
            gives either. A negative one moves away from its condition (a negative prompt). One condition is
            (bit for bit) `classifier_free`.

    Raises:
        UserError: if there is no condition, or not one scale for each.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import guidance
        >>> cat, night, anything = (lambda x, t: 0 * x + 1), (lambda x, t: 0 * x + 3), (lambda x, t: 0 * x)
        >>> cats_by_day = guidance.compose([cat, night], anything, [2.0, -0.5])
        >>> cats_by_day(jnp.zeros((1, 1)), jnp.array(0.5))
        Array([[0.5]], dtype=float32)

    References:
        Liu et al., "Compositional Visual Generation with Composable Diffusion Models" (2022),
        conjunction (AND) and negation (NOT).
    """
    if not conditionals:
        raise UserError("conditionals is empty, it must have at least one denoiser")
    if len(scales) != len(conditionals):
        raise UserError(
            f"scales has length {len(scales)}, it must be that of conditionals, {len(conditionals)}"
        )

    def denoise(x_t: Float[Array, "B *shape"], t: Array) -> Float[Array, "B *shape"]:
        without = unconditional(x_t, t)
        estimate = without
        for conditional, scale in zip(conditionals, scales, strict=True):
            estimate = estimate + expand(at(scale, t), x_t) * (conditional(x_t, t) - without)
        return estimate.astype(without.dtype)

    # Which is exact at scale 1, and leaves out what it does not need.
    return denoise if len(conditionals) > 1 else classifier_free(conditionals[0], unconditional, scales[0])
