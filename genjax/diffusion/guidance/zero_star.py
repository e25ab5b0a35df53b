"""CFG-Zero*: classifier-free guidance for flows."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.diffusion.guidance.base import Scale, at, inner
from genjax.diffusion.prediction import Denoiser, flow
from genjax.diffusion.process import expand
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array


def zero_star(
    conditional: Denoiser,
    unconditional: Denoiser,
    scale: Scale,
    schedule: Schedule,
    zero_above: Float[ArrayLike, ""] | Float[ArrayLike, "B"] = 1.0,
) -> Denoiser:
    """``s v_u + scale (v_c - s v_u)``, s such that s v_u is nearest to v_c, and no motion in the first steps.

    v is the velocity noise - x_0 of the straight path that x_t / (alpha + sigma) follows, for a flow x_t
    itself. The factor is ``s = <v_c, v_u> / |v_u|^2``, one for each example.

    Args:
        scale: as in `classifier_free`; 1 (bit for bit) is the conditional denoiser.
        schedule: any; the paper's is a flow.
        zero_above: at later times the velocity is 0, so that a sampler leaves a flow's state as it is; in
            [0, 1]. With the default this never happens. To leave out the first of K equal steps, anything
            in [1 - 1/K, 1).

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import guidance, schedules
        >>> conditional, unconditional = (lambda x, t: 0 * x + 1), (lambda x, t: 0 * x + 2)
        >>> guided = guidance.zero_star(conditional, unconditional, 3.0, schedules.flow(), zero_above=0.9)
        >>> guided(jnp.full((1, 1), 0.0), jnp.array(0.5)), guided(jnp.full((1, 1), 0.25), jnp.array(1.0))  # x stays
        (Array([[1.]], dtype=float32), Array([[0.25]], dtype=float32))

    References:
        Fan et al., "CFG-Zero*: Improved Classifier-Free Guidance for Flow Matching Models" (2025), sections
        4.1 (optimized scale) and 4.2 (zero-init).
    """

    def denoise(x_t: Float[Array, "B *shape"], t: Array) -> Float[Array, "B *shape"]:
        with_condition = conditional(x_t, t)
        still = expand(flow(schedule, t).c_skip, x_t) * x_t  # the estimate whose velocity is 0
        # Velocities times c_out, a factor that s does not depend on; so nothing divides by sigma.
        v_c, v_u = with_condition - still, unconditional(x_t, t) - still
        square = inner(v_u, v_u)
        s = jnp.where(square > 0, inner(v_c, v_u) / jnp.where(square > 0, square, 1), 1)
        guided = with_condition + expand(at(scale, t) - 1, x_t) * (v_c - s * v_u)
        moves = jnp.broadcast_to(expand(t <= zero_above, x_t), x_t.shape)
        return jnp.where(moves, guided, still).astype(with_condition.dtype)

    return denoise
