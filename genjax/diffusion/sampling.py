"""The only sampling loop.

Sample j draws from ``fold_in(keys[j], position)``: position 0 is its initial noise, position i + 1 is
step i. So the sample of a key is the same whatever batch it is made in.

A time that is repeated makes no step: neither x nor what the sampler remembers changes, and the sampler is not told of
the repetition. So grids that reach a bound early, or end there twice, are as good as those without.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Key

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.samplers.base import Sampler, distinct, normal
from genjax.diffusion.schedules import Schedule
from genjax.random import fold_in
from genjax.typing import Array, PyTree


def initial_noise(
    keys: Key[Array, "N"],
    shape: tuple[int, ...],
    schedule: Schedule,
    t: Float[ArrayLike, ""] = 1.0,
) -> Float[Array, "N *shape"]:
    """What sampling starts from: noise of standard deviation sigma(t).

    Args:
        keys: one key per sample.
        shape: shape of one sample, [H, W, C] for an image.
        t: the first time of the grid.
    """
    sigma = schedule.sigma(t)
    return sigma * normal(fold_in(keys, 0), shape, sigma.dtype)


def sample(
    keys: Key[Array, "N"],
    x_T: Float[Array, "N *shape"],
    times: Float[Array, "K_plus_1"],
    denoise: Denoiser,
    sampler: Sampler,
    schedule: Schedule,
) -> Float[Array, "N *shape"]:
    """Takes x_T through all the times, in one compiled loop.

    Only the number of steps and the shapes are compiled in: call it inside a jitted function whose arguments
    are what may change::

        @jax.jit
        def generate(keys, params, labels, times, schedule, eta):
            denoise = denoiser(lambda x, t: unet.apply(params, x, t, labels), schedule, prediction.eps)
            x_T = initial_noise(keys, (28, 28, 1), schedule)
            return sample(keys, x_T, times, denoise, ddim(eta), schedule)

    Args:
        keys: one key per sample; the same keys may have made x_T by `initial_noise`.
        x_T: the state at ``times[0]``.
        times: decreasing; K steps, or fewer where a time is repeated.
        denoise: called with all samples and a scalar time.

    Returns:
        The state at ``times[-1]``: the samples, if that is 0.
    """
    return _steps(keys, x_T, times, denoise, sampler, schedule, keep=False)[0]


def trajectory(
    keys: Key[Array, "N"],
    x_T: Float[Array, "N *shape"],
    times: Float[Array, "K_plus_1"],
    denoise: Denoiser,
    sampler: Sampler,
    schedule: Schedule,
) -> Float[Array, "K_plus_1 N *shape"]:
    """As `sample`, but returns the states at all the times, x_T included."""
    _, states = _steps(keys, x_T, times, denoise, sampler, schedule, keep=True)
    return jnp.concatenate([x_T[None], states])


def _steps(
    keys: Array, x_T: Array, times: Array, denoise: Denoiser, sampler: Sampler, schedule: Schedule, keep: bool
) -> tuple[Array, PyTree]:
    def step(state, inputs):
        carry, x = state
        i, t, s = inputs
        is_step = s != t
        # What is computed for a repeated time is a step that is always possible, and thrown away: no NaN reaches a
        # gradient.
        t, s = jnp.where(is_step, t, times[0]), jnp.where(is_step, s, 0)
        stepped = sampler.step(fold_in(keys, i + 1), carry, x, t, s, denoise, schedule)
        state = _, x = jax.tree.map(lambda new, old: jnp.where(is_step, new, old), stepped, state)
        return state, x if keep else None

    inputs = (jnp.arange(times.size - 1), times[:-1], times[1:])
    (_, x), states = jax.lax.scan(step, (sampler.init(x_T, distinct(times)), x_T), inputs)
    return x, states
