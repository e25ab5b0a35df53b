"""Which times a model is trained at, and how much each counts.

Times are drawn with one key per example, so that an example's time does not depend on the batch it is in. A
weight is a function ``(schedule, t[B]) -> w[B]``, the factor of the squared error of the network's output.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Float, Key

from genjax.diffusion.schedules import Schedule
from genjax.typing import Array

Weighting: TypeAlias = Callable[[Schedule, Array], Array]
"""``(schedule, t [B]) -> w [B]``."""


def uniform_times(keys: Key[Array, "B"], num_steps: int) -> Float[Array, "B"]:
    """Uniform on {1/T, 2/T, ..., 1}, T = `num_steps`: the times of a discrete schedule.

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), algorithm 1.
    """
    steps = jax.vmap(lambda key: jax.random.randint(key, (), 1, num_steps + 1))(keys)
    return steps / num_steps


def continuous_times(keys: Key[Array, "B"]) -> Float[Array, "B"]:
    """Uniform on (0, 1]; 0, where there is nothing to predict, is left out.

    References:
        Kingma et al., "Variational Diffusion Models" (2021), equation 17.
    """
    return 1 - jax.vmap(jax.random.uniform)(keys)


def simple(schedule: Schedule, t: Float[Array, "B"]) -> Float[Array, "B"]:
    """1 for every time: with the prediction `eps` it is DDPM's simplified objective.

    References:
        Ho et al., "Denoising Diffusion Probabilistic Models" (2020), equation 14.
    """
    del schedule
    return jnp.ones_like(t)
