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

    Example:
        >>> import jax
        >>> from genjax.diffusion import initial_noise, schedules
        >>> keys = jax.random.split(jax.random.key(0), 4)  # one for each sample
        >>> x_T = initial_noise(keys, (8, 8, 3), schedules.edm(sigma_max=80.0))
        >>> x_T.shape, bool(abs(x_T.std() / 80 - 1) < 0.1)
        ((4, 8, 8, 3), True)
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

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, initial_noise, sample, samplers, schedules
        >>> schedule, keys = schedules.cosine(), jax.random.split(jax.random.key(0), 2)
        >>> denoise = lambda x_t, t: 0 * x_t + 0.25  # the data is a single point
        >>> x_T = initial_noise(keys, (3,), schedule)
        >>> sample(keys, x_T, grids.linspace(10), denoise, samplers.ddpm(), schedule)
        Array([[0.25, 0.25, 0.25],
               [0.25, 0.25, 0.25]], dtype=float32)
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
    """As `sample`, but returns the states at all the times, x_T included.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, samplers, schedules, trajectory
        >>> keys, x_T = jax.random.split(jax.random.key(0), 1), jax.numpy.ones((1, 1))
        >>> denoise = lambda x_t, t: 0 * x_t  # the data is 0
        >>> trajectory(keys, x_T, grids.linspace(4), denoise, samplers.ddim(), schedules.flow())[:, 0, 0]
        Array([1.  , 0.75, 0.5 , 0.25, 0.  ], dtype=float32)
    """
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
