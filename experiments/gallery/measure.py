"""What a sampler does to a mixture of Gaussians in two dimensions, for which everything is known exactly."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from genjax.diffusion import Sampler, Schedule, grids, initial_noise, sample
from genjax.diffusion.analytic import gaussian_mixture
from genjax.typing import Array

# Five components of different widths, of unit variance together.
_ANGLES = np.arange(5) * 2 * np.pi / 5
MEANS = 1.25 * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)
STDS = np.array([0.1, 0.15, 0.2, 0.25, 0.3])
WEIGHTS = np.array([0.1, 0.15, 0.2, 0.25, 0.3])

# Whole blocks of singlestep methods, of two and of three steps.
ORDER_STEPS = (60, 96, 132, 192, 252)
# More places in the grid than steps, so that none is one of the last, which many methods take with a lower order.
_SPARE = 8
# Where orders are measured: after the first large step from pure noise, and before the singular end.
_ORDER_SIGMAS = (10.0, 0.15)
_NUM_EXACT = 4096


class Measured(NamedTuple):
    """What was found out about a sampler.

    Attributes:
        order: minus the slope of log error over log steps; None for a stochastic one.
        evaluations: number of evaluations of the network per step, on average over `counted` steps.
        stochastic: whether the keys matter after x_T.
        errors: NFE -> distance from the exact solution, or, of a stochastic one, of distributions.
    """

    order: float | None
    evaluations: float
    stochastic: bool
    errors: dict[float, float]


def denoiser(schedule: Schedule) -> Any:
    """The exact denoiser of the mixture."""
    return gaussian_mixture(jnp.asarray(MEANS), jnp.asarray(STDS), jnp.asarray(WEIGHTS), schedule)


def draw(rng: np.random.Generator, num: int) -> np.ndarray:
    """float[num,2] of the mixture."""
    component = rng.choice(len(WEIGHTS), num, p=WEIGHTS)
    return MEANS[component] + STDS[component, None] * rng.standard_normal((num, 2))


def evaluations_per_step(sampler: Sampler, schedule: Schedule, num_steps: int = 20) -> float:
    """Calls of the denoiser, counted where nothing is compiled."""
    calls = 0
    exact = denoiser(schedule)

    def counting(x: Array, t: Array) -> Array:
        nonlocal calls
        calls += 1
        return exact(x, t)

    keys = jax.random.split(jax.random.key(0), 1)
    with jax.disable_jit():
        x_T = initial_noise(keys, (2,), schedule)
        sample(keys, x_T, grids.linspace(num_steps), counting, sampler, schedule)
    return calls / num_steps


def is_stochastic(sampler: Sampler, schedule: Schedule) -> bool:
    """Whether the same x_T ends elsewhere with other keys."""
    x_T = initial_noise(jax.random.split(jax.random.key(0), 4), (2,), schedule)
    first, second = (
        sample(keys, x_T, grids.linspace(10), denoiser(schedule), sampler, schedule)
        for keys in (jax.random.split(jax.random.key(seed), 4) for seed in (1, 2))
    )
    return not np.array_equal(first, second)


def order(sampler: Sampler, schedule: Schedule, steps: Sequence[int] = ORDER_STEPS) -> float:
    """Minus the slope of log error over log steps, on a grid uniform in log-SNR, in float64.

    It is compared with a solution by the classical Runge-Kutta method with 4,096 steps.
    """
    with jax.enable_x64(True):
        schedule = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), schedule)
        x = jnp.asarray(np.random.default_rng(0).standard_normal((64, 2)))
        first, last = (schedule.time(-2 * np.log(sigma)) for sigma in _ORDER_SIGMAS)
        start = schedule.sigma(first) * x
        exact = flow(start, schedule, first, last)
        run = jax.jit(functools.partial(_steps, sampler, start, schedule, max(steps) + _SPARE, first, last))
        errors = [float(jnp.sqrt(jnp.mean((run(num) - exact) ** 2))) for num in steps]
    return -float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


def _steps(
    sampler: Sampler, x: Array, schedule: Schedule, longest: int, first: Array, last: Array, num: Array
) -> Array:
    """As `genjax.diffusion.sample`, but compiled once for all numbers of steps, and for no stochastic sampler."""
    log_sigmas = -0.5 * jnp.stack([schedule.log_snr(first), schedule.log_snr(last)])
    position = jnp.minimum(jnp.arange(longest + 1) / num, 1)
    times = schedule.time(-2 * (log_sigmas[0] + position * (log_sigmas[1] - log_sigmas[0])))
    keys = jax.random.split(jax.random.key(0), len(x))
    denoise = denoiser(schedule)

    def step(i: Array, state: tuple) -> tuple:
        carry, x = state
        return sampler.step(keys, carry, x, times[i], times[i + 1], denoise, schedule)

    return jax.lax.fori_loop(0, num, step, (sampler.init(x, times), x))[1]


@functools.partial(jax.jit, static_argnames="num_steps")
def flow(x: Array, schedule: Schedule, first: Array, last: Array, num_steps: int = _NUM_EXACT) -> Array:
    """The solution of the probability-flow ODE from one time to another: Runge and Kutta's, in log(sigma / alpha).

    In these coordinates d (x / alpha) / d log(sigma / alpha) = (x - alpha x0_hat) / alpha.
    """
    bounds = -0.5 * jnp.stack([schedule.log_snr(first), schedule.log_snr(last)])
    h = (bounds[1] - bounds[0]) / num_steps
    denoise = denoiser(schedule)

    def slope(scaled: Array, log_sigma: Array) -> Array:
        t = schedule.time(-2 * log_sigma)
        return scaled - denoise(schedule.alpha(t) * scaled, t)

    def step(i: Array, scaled: Array) -> Array:
        at = bounds[0] + i * h
        k1 = slope(scaled, at)
        k2 = slope(scaled + 0.5 * h * k1, at + 0.5 * h)
        k3 = slope(scaled + 0.5 * h * k2, at + 0.5 * h)
        k4 = slope(scaled + h * k3, at + h)
        return scaled + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    return schedule.alpha(last) * jax.lax.fori_loop(0, num_steps, step, x / schedule.alpha(first))


def errors(
    sampler: Sampler,
    schedule: Schedule,
    evaluations: float,
    stochastic: bool,
    budgets: Sequence[int],
    num: int,
) -> dict[float, float]:
    """NFE -> error at t = 0, from noise, on Karras' grid.

    Deterministic: the root mean square distance from the exact solution. Stochastic: the sliced Wasserstein distance of
    `num` samples from as many draws of the mixture.
    """
    rng = np.random.default_rng(0)
    keys = jax.random.split(jax.random.key(0), num)
    x_T = initial_noise(keys, (2,), schedule)
    if stochastic:
        data, directions = draw(rng, num), rng.standard_normal((2, 64))
        directions /= np.linalg.norm(directions, axis=0)
    else:
        exact = flow(x_T, schedule, jnp.ones(()), schedule.time(2 * np.log(1e4)))
    result = {}
    run = jax.jit(lambda times: sample(keys, x_T, times, denoiser(schedule), sampler, schedule))
    for budget in budgets:
        num_steps = max(1, round(budget / evaluations))
        samples = np.asarray(run(grids.karras(num_steps, schedule, sigma_min=0.02)))
        if stochastic:
            gaps = np.sort(samples @ directions, 0) - np.sort(data @ directions, 0)
            error = np.sqrt(np.mean(gaps**2))
        else:
            error = np.sqrt(np.mean((samples - np.asarray(exact)) ** 2))
        result[num_steps * evaluations] = float(error)
    return result
