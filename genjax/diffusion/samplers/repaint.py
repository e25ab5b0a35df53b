"""RePaint: inpainting by resampling, with any sampler."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.process import add_noise, noise_added
from genjax.diffusion.samplers.base import Sampler, normal
from genjax.diffusion.schedules import Schedule
from genjax.random import fold_in
from genjax.typing import Array, PyTree, UserError


def repaint(sampler: Sampler, known: Float[ArrayLike, "..."], mask: ArrayLike) -> Sampler:
    """A sampler whose samples agree with `known` where `mask` is 1. Stochastic, one evaluation a step down.

    After each step of `sampler`, the known region is replaced by a fresh draw of q(x_s | known); at s = 0 it is
    `known`, bit for bit. Where the times rise (`repaint_times`), the step is a draw of the forward process
    q(x_s | x_t), without an evaluation, and `sampler` forgets what it remembers. Orders of convergence are not
    defined: the result depends on the noise.

    Args:
        sampler: any. `ddpm` in the paper.
        known: clean data, of as many axes as x, broadcast to its shape.
        mask: 1 where `known` is known, 0 where not, between for a mixture; of as many axes as x.

    Raises:
        UserError: when sampling, if `known` or `mask` does not have as many axes as x.

    Example:
        >>> import jax
        >>> from genjax.diffusion import grids, sample, samplers, schedules
        >>> known, mask = jax.numpy.array([[0.5, 0.0]]), jax.numpy.array([[1, 0]])  # the first component is known
        >>> sampler, x_T = samplers.repaint(samplers.ddpm(), known, mask), jax.numpy.ones((1, 2))
        >>> times = samplers.repaint_times(grids.linspace(4), jump_length=2, jump_samples=2)
        >>> sample(jax.random.key(0)[None], x_T, times, lambda x, t: 0 * x - 1, sampler, schedules.cosine())
        Array([[ 0.5, -1. ]], dtype=float32)

    References:
        Lugmayr et al., "RePaint: Inpainting using Denoising Diffusion Probabilistic Models" (2022), algorithm 1
        and equation 8. Its line 5 gives the noise of the known region the factor 1 - alpha_bar; here it is the
        root of that, as in equation 8a.
    """

    def init(x_T: Array, times: Array) -> PyTree:
        return jnp.zeros((), jnp.int32), times, sampler.init(x_T, times)

    def step(
        keys: Array, carry: PyTree, x: Array, t: Array, s: Array, denoise: Denoiser, schedule: Schedule
    ) -> tuple[PyTree, Array]:
        for name, value in (("known", known), ("mask", mask)):
            if jnp.ndim(value) != x.ndim:
                raise UserError(
                    f"{name} has {jnp.ndim(value)} axes and must have as many as x, which has {x.ndim}"
                )
        i, times, inner = carry
        noise = normal(fold_in(keys, 1), x.shape[1:], x.dtype)

        def down() -> tuple[PyTree, Array]:
            after, x_s = sampler.step(fold_in(keys, 0), inner, x, t, s, denoise, schedule)
            known_s = add_noise(schedule, jnp.broadcast_to(jnp.asarray(known), x.shape), noise, s)
            weight = jnp.asarray(mask).astype(x.dtype)
            return after, (weight * known_s + (1 - weight) * x_s).astype(x.dtype)

        def up() -> tuple[PyTree, Array]:
            std = schedule.sigma(s) * jnp.sqrt(noise_added(schedule, s, t))
            # To the sampler the next step is the first one, and its grid begins there.
            fresh = sampler.init(x, jnp.roll(times, -(i + 1)))
            return fresh, (schedule.alpha(s) / schedule.alpha(t) * x + std * noise).astype(x.dtype)

        inner, x_s = jax.lax.cond(s < t, down, up)
        return (i + 1, times, inner), x_s

    return Sampler(init, step)


def repaint_times(
    times: Float[Array, "K_plus_1"], jump_length: int = 10, jump_samples: int = 10
) -> Float[Array, "L"]:
    """A grid that goes through every stretch of `jump_length` steps `jump_samples` times.

    Whenever the number of steps that are left is 1 more than a multiple of `jump_length` for the first time,
    the grid goes `jump_length` steps back up and down again, `jump_samples` - 1 times; not in the first
    stretch.

    Args:
        times: decreasing, K + 1 of them.
        jump_length: j of the paper, at least 1.
        jump_samples: r of the paper, at least 1; 1 returns `times`.

    Raises:
        UserError: if `jump_length` or `jump_samples` is less than 1.

    Example:
        >>> from genjax.diffusion import grids, samplers
        >>> samplers.repaint_times(grids.linspace(4), jump_length=2, jump_samples=2)
        Array([1.  , 0.75, 0.5 , 0.25, 0.5 , 0.75, 0.5 , 0.25, 0.  ], dtype=float32)

    References:
        Lugmayr et al., "RePaint: Inpainting using Denoising Diffusion Probabilistic Models" (2022),
        section 4.2 and its reference code.
    """
    for name, value in (("jump_length", jump_length), ("jump_samples", jump_samples)):
        if value < 1:
            raise UserError(f"{name} = {value} must be at least 1")
    num_steps = times.size - 1
    left = [num_steps]  # steps to the end
    jumps = {1 + j: jump_samples - 1 for j in range(0, num_steps - jump_length, jump_length)}
    while left[-1] > 0:
        left.append(left[-1] - 1)
        if jumps.get(left[-1], 0) > 0:
            jumps[left[-1]] -= 1
            left.extend(range(left[-1] + 1, left[-1] + jump_length + 1))
    return times[num_steps - np.array(left)]
