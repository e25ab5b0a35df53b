"""What the parity tests of samplers share: a network, the noise of every step, and other people's loops in float64.

The reference classes keep tables of float32. While `float64` holds, their module's torch and numpy say float64
instead, so that the comparison is sharp and nothing of theirs is edited.
"""

import contextlib
import importlib.util
import pathlib
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import PREDICTIONS, denoiser, schedules, trajectory
from genjax.diffusion.samplers import normal

T = 1000
SHAPE = (2, 3, 3, 1)
BETAS = 1e-4, 0.02
DIFFUSERS_NAMES = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
_WEIGHTS = np.random.default_rng(0).normal(size=(9, 9)) / 3


def network(x, t):
    """Nonlinear, mixes pixels, depends on time; numpy or jax."""
    np_ = jnp if isinstance(x, jax.Array) else np
    flat = x.reshape(SHAPE[0], 9) @ _WEIGHTS
    return np_.tanh(flat + np_.cos(3 * t)).reshape(SHAPE)


def start():
    """Keys and x_T."""
    keys = jax.random.split(jax.random.key(0), SHAPE[0])
    return keys, np.random.default_rng(1).normal(size=SHAPE)


def noises(keys, num_steps, draws=None):
    """The standard normal noise of every step, as the sampling loop and `normal` draw it; [K] arrays.

    With `draws`, those of a sampler that folds 0, ..., draws - 1 into the key of the step; [K][draws] arrays.
    """
    fold_in = jax.vmap(jax.random.fold_in, (0, None))

    def draw(keys):
        return np.asarray(normal(keys, SHAPE[1:], jnp.float64))

    of_steps = [fold_in(keys, i + 1) for i in range(num_steps)]
    if draws is None:
        return [draw(step) for step in of_steps]
    return [[draw(fold_in(step, j)) for j in range(draws)] for step in of_steps]


def ours(sampler, times, prediction="eps", schedule=None):
    """Our states at all the times, on the schedule of `BETAS` unless another one is given; call it under x64."""
    schedule = schedules.linear(T, *BETAS) if schedule is None else schedule
    keys, x_T = start()

    @jax.jit
    def states(keys, x_T, times):
        denoise = denoiser(lambda x, t: network(x, t[:, None]), schedule, PREDICTIONS[prediction])
        return trajectory(keys, x_T, times, denoise, sampler, schedule)

    return np.asarray(states(keys, x_T, jnp.asarray(times)))


class _Double:
    """A module in which float32 is float64."""

    def __init__(self, module):
        self._module = module
        self.float32 = module.float64

    def __getattr__(self, name):
        return getattr(self._module, name)


@contextlib.contextmanager
def float64(module):
    """`module`'s own float32 is float64 while it is constructed and stepped."""
    before = {name: getattr(module, name) for name in ("torch", "np") if hasattr(module, name)}
    try:
        for name, value in before.items():
            setattr(module, name, _Double(value))
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


def diffusers_times(scheduler):
    """The times t in [0, 1], in our count, of a scheduler whose `timesteps` are whole and its `sigmas` set.

    diffusers counts time steps 0..T-1 where t = (step + 1) / T here; a last sigma above 0 is that of step 0.
    """
    times = [(int(t) + 1) / T for t in scheduler.timesteps]
    return np.array([*times, 0.0 if float(scheduler.sigmas[-1]) == 0 else 1 / T])


def diffusers_states(cls, num_steps, step=None, **options):
    """The times of a diffusers scheduler (see `diffusers_times`) and its states at all of them, in float64.

    Args:
        cls: the class of the scheduler; its default betas are `BETAS`.
        step: ``(scheduler, output, t, x, i) -> x_s``, to give it noise.
        options: arguments of the class.
    """
    import torch

    step = step or (lambda scheduler, output, t, x, i: scheduler.step(output, t, x).prev_sample)
    with float64(sys.modules[cls.__module__]):
        scheduler = cls(T, **options)
        scheduler.set_timesteps(num_steps)
        assert scheduler.sigmas.dtype == torch.float64
        times = diffusers_times(scheduler)
        states = [torch.from_numpy(start()[1])]
        for i, t in enumerate(scheduler.timesteps):
            output = torch.from_numpy(network(states[-1].numpy(), times[i]))
            states.append(step(scheduler, output, t, states[-1], i))
    return times, np.stack([state.numpy() for state in states])


def named(function, arguments):
    """``name(a=1, b=2)``, of a function or its name."""
    name = function if isinstance(function, str) else function.__name__
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
