"""What the parity tests of samplers share: a network, the noise of every step, and other people's loops in float64.

The reference classes keep tables of float32. While `float64` holds, their module's torch and numpy say float64
instead, so that the comparison is sharp and nothing of theirs is edited.
"""

import contextlib
import functools
import importlib.util
import inspect
import pathlib
import sys
import types
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

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


def ours(sampler, times, prediction="eps", schedule=None, x_T=None):
    """Our states at all the times, from `start`, on the schedule of `BETAS` unless others are given; under x64."""
    schedule = schedules.linear(T, *BETAS) if schedule is None else schedule
    keys, x_0 = start()

    @jax.jit
    def states(keys, x_T, times):
        denoise = denoiser(lambda x, t: network(x, t[:, None]), schedule, PREDICTIONS[prediction])
        return trajectory(keys, x_T, times, denoise, sampler, schedule)

    return np.asarray(states(keys, x_0 if x_T is None else x_T, jnp.asarray(times)))


class _Double:
    """A module in which float32 is float64, and others of its names have a new meaning."""

    def __init__(self, module, **names):
        self._module = module
        self.float32 = module.float64
        self.__dict__ |= names

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


@functools.cache
def k_diffusion_sampling():
    """k-diffusion's sampling.py alone: of what it imports, what samplers do not need is left out. None if absent."""
    package = importlib.util.find_spec("k_diffusion")
    if package is None or not package.submodule_search_locations:
        return None
    path = pathlib.Path(package.submodule_search_locations[0], "sampling.py")
    stubs = {
        name: types.ModuleType(name)
        for name in ("torchdiffeq", "torchsde", "_k_diffusion", "_k_diffusion.utils")
    }
    stubs["torchdiffeq"].odeint = None
    stubs["_k_diffusion"].utils = stubs["_k_diffusion.utils"]
    stubs["_k_diffusion.utils"].append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]
    spec = importlib.util.spec_from_file_location("_k_diffusion.sampling", path)
    module = importlib.util.module_from_spec(spec)
    stubs = {name: stub for name, stub in stubs.items() if name not in sys.modules}
    sys.modules |= stubs
    try:
        spec.loader.exec_module(module)
    finally:
        for name in stubs:
            del sys.modules[name]
    return module


def k_diffusion_states(name, sigmas, x_T, denoise, noise=(), **arguments):
    """The states of one of k-diffusion's samplers at all the sigmas, in float64.

    Args:
        name: of the function.
        sigmas: [K+1]; x_T is at the first one.
        denoise: ``(x, sigma) -> x_0``, of numpy arrays.
        noise: what it draws, in its order.
        arguments: of the function.
    """
    import torch

    module, states, draws = k_diffusion_sampling(), [], iter(noise)

    def draw(*_):
        return torch.from_numpy(next(draws))

    def model(x, sigma):
        return torch.from_numpy(denoise(x.numpy(), float(sigma[0])))

    if "noise_sampler" in inspect.signature(getattr(module, name)).parameters:
        arguments["noise_sampler"] = draw
    double = _Double(torch, randn_like=draw)
    with mock.patch.object(module, "torch", double):
        last = getattr(module, name)(
            model,
            torch.from_numpy(x_T),
            torch.from_numpy(np.asarray(sigmas, np.float64)),
            callback=lambda state: states.append(state["x"].numpy().copy()),
            disable=True,
            **arguments,
        )
    return np.stack([*states, last.numpy()])
