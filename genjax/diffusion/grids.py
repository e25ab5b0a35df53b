"""The times at which a sampler steps: K + 1 for K steps, decreasing from t = 1 (noise) to t = 0 (clean)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from genjax.typing import Array, UserError


def linspace(num_steps: int) -> Float[Array, "K_plus_1"]:
    """Equal steps in t; the network is evaluated at 1, 1 - 1/K, ..., 1/K ("trailing" spacing).

    Where K divides the T of a discrete schedule, the times are among those it was trained at.

    Raises:
        UserError: if `num_steps` is less than 1.

    References:
        Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (2023), table 2.
    """
    if num_steps < 1:
        raise UserError(f"num_steps = {num_steps} must be at least 1")
    return jnp.asarray(np.linspace(1, 0, num_steps + 1))
