"""Random valid scheduler configurations, run here and with the class of `diffusers` that they are of, in float64.

    python -m tests.parity.scheduler_configs --num 2000 --seed 0

prints how many were equal, and how many were refused or not comparable, by reason; it ends with exit code 1 if one was
wrong. docs/samplers.md has the table of the last run, and says what differs by design. Some of what is compared is
configured around there:

* Both sides evaluate a network that is told sigma / alpha. Which number each class gives to its network is compared
  apart: some classes round it.
* DDIMScheduler is asked to derive the noise from the bounded x_0; it and PNDMScheduler step by T // K whatever their
  grid is, so before each step they are told that T // K is the distance to the next time.
* The last step, to clean data, adds no noise here; DDPMScheduler is given zeros for it.
* IPNDMScheduler takes x_0 to be 0 where alpha is 0; both begin a little later.
* Where the last sigma comes twice, UniPCMultistepScheduler evaluates the network once more and corrects the last state;
  its corrector is switched off there.
"""

import argparse
import collections
import contextlib
import functools
import sys
import time
import warnings
from unittest import mock

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from genjax.diffusion import denoiser, prediction, trajectory
from genjax.diffusion.interop import CLASSES, FIELDS, from_diffusers_config, spacing
from genjax.diffusion.samplers import normal
from genjax.diffusion.schedules import Discrete
from genjax.typing import UserError
from tests.parity.common import float64

SHAPE = (2, 2, 2, 1)
MOST_STEPS = 61
SCALED = ("Euler", "Heun", "KDPM2", "LMS", "EDM")
TWO_STAGES = ("Heun", "KDPM2", "FlowMatchHeun")
IN_STEPS = ("DDIM", "DDPM", "PNDM", "LCM", "TCD")
TOLERANCE = 1e-6
_NUM_TRAIN = 10, 13, 24, 50, 61, 97, 128, 200, 333, 499, 500, 750, 1024, 1100
_WEIGHTS = np.random.default_rng(0).normal(size=(4, 4)) / 2


def network(x, level):
    """Nonlinear, mixes pixels, depends on arctan(sigma / alpha); numpy or jax."""
    np_ = jnp if isinstance(x, jax.Array) else np
    flat = x.reshape(-1, 4) @ _WEIGHTS
    return np_.tanh(flat + np_.cos(3 * level)).reshape(x.shape)


# ---------------------------------------------------------------------------------------------- drawing


def draw(rng, name=None):
    """A class, a valid configuration of it and a number of steps."""
    name = name or rng.choice([name for name in CLASSES if "Parallel" not in name])
    own, config = FIELDS[name], {}

    def maybe(field, choices, p=0.5):
        if field in own and rng.random() < p:
            choice = choices[rng.integers(len(choices))]
            config[field] = choice.item() if isinstance(choice, np.generic) else choice

    num_train = int(rng.choice([*_NUM_TRAIN, 1000, 1000, 1000, 1000, 1000]))
    if "num_train_timesteps" in own and (num_train != 1000 or name.startswith("CM")):
        config["num_train_timesteps"] = num_train
    num_steps = int(rng.integers(1, min(60, num_train) + 1))
    maybe("beta_schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
    if name == "DDPMScheduler":
        maybe("beta_schedule", ["sigmoid"], 0.1)
    if name == "HeunDiscreteScheduler":
        maybe("beta_schedule", ["exp"], 0.1)
    if rng.random() < 0.5 and "beta_start" in own:
        config |= {"beta_start": 0.00085, "beta_end": 0.012}
    maybe(
        "trained_betas", [np.linspace(1e-3, 0.05, num_train).tolist()], 0.1 if name != "IPNDMScheduler" else 0
    )
    steps = "LCM" in name or "TCD" in name
    if steps:
        original = int(rng.integers(1, min(60, num_train) + 1))
        config["original_inference_steps"] = original
        num_steps = int(rng.integers(1, original + 1))
    predictions = ["epsilon", "v_prediction", "sample"]
    if name in (
        "KDPM2DiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
    ):
        predictions.remove("sample")  # not written there
    if name.startswith(("EDM", "PNDM")):
        predictions.remove("sample")
    if not name.startswith("SCM"):
        maybe("prediction_type", predictions)
    maybe("timestep_spacing", ["linspace", "leading", "trailing"], 0.7 if not steps else 0)
    maybe("steps_offset", [1], 0.4 if not steps else 0)
    maybe("set_alpha_to_one", [True, False])
    maybe("clip_sample", [True, False])
    maybe("clip_sample_range", [1.0, 2.0], 0.3)
    maybe("thresholding", [True], 0.2)
    maybe("sample_max_value", [1.0, 1.5], 0.4)
    maybe("rescale_betas_zero_snr", [True], 0.3)
    if name == "DDPMScheduler":
        maybe("variance_type", ["fixed_small", "fixed_small_log", "fixed_large", "learned_range"], 0.6)
    maybe("skip_prk_steps", [True, False], 0.8)
    maybe("timestep_scaling", [10.0, 3.0])
    maybe("interpolation_type", ["linear", "log_linear"], 0.2)
    maybe("timestep_type", ["continuous"], 0.3)
    ramps = [r for r in own if r.startswith("use_") and r.endswith(("sigmas", "lambdas")) and "flow" not in r]
    if ramps and rng.random() < 0.5:
        config[str(rng.choice(ramps))] = True
        if "sigma_min" in own and rng.random() < 0.4:
            config |= {
                "sigma_min": float(rng.choice([0.002, 0.1])),
                "sigma_max": float(rng.choice([5.0, 80.0, 700.0])),
            }
    elif rng.random() < 0.3 and "use_flow_sigmas" in own:
        config |= {"use_flow_sigmas": True, "prediction_type": str(rng.choice(["flow_prediction", "sample"]))}
        maybe("flow_shift", [3.0])
        maybe("shift_terminal", [0.1], 0.3)
    maybe("final_sigmas_type", ["zero", "sigma_min"])
    maybe("solver_order", [1, 2, 3], 0.8)
    maybe("lower_order_final", [True, False])
    maybe("euler_at_final", [True], 0.3)
    if name.startswith("DPMSolver"):
        maybe("algorithm_type", ["dpmsolver++", "dpmsolver", "sde-dpmsolver++"], 0.8)
        if config.get("algorithm_type") == "dpmsolver":
            config["final_sigmas_type"] = "sigma_min"
        maybe("lambda_min_clipped", [-5.1, -3.0], 0.2)
    if name.startswith("EDMDPM"):
        maybe("algorithm_type", ["dpmsolver++", "sde-dpmsolver++"])
    if name.startswith(("DPMSolver", "EDMDPM")):
        maybe("solver_type", ["midpoint", "heun"])
    if name.startswith("UniPC"):
        maybe("solver_type", ["bh1", "bh2"])
        maybe("predict_x0", [True, False], 0.4)
    if name.startswith("EDM"):
        config |= {"sigma_max": float(rng.choice([80.0, 20.0]))}
        maybe("sigma_schedule", ["karras", "exponential"])
        maybe("sigma_data", [0.5, 1.0])
        maybe("rho", [7.0, 5.0])
    if name.startswith("CM"):
        config["num_train_timesteps"] = num_train = int(rng.integers(10, 1101))
        num_steps = min(num_steps, num_train)
        maybe("clip_denoised", [True, False])
    if name.startswith("FlowMatch"):
        maybe("shift", [3.0, 0.5])
        maybe("use_dynamic_shifting", [True], 0.3)
        maybe("time_shift_type", ["exponential", "linear"])
        maybe("shift_terminal", [0.1], 0.2)
        maybe("stochastic_sampling", [True], 0.3)
    if name.startswith("ScoreSde"):
        config |= {"sigma_max": 50.0, "correct_steps": int(rng.integers(0, 3))}
    if rng.random() < 0.3:  # fields of another class, as from_config leaves them
        other = str(rng.choice(list(FIELDS)))
        config |= {k: v for k, v in FIELDS[other].items() if k not in own and not k.startswith("sigma_m")}
    return name, config, num_steps


# ---------------------------------------------------------------------------------------------- theirs


class NotComparable(Exception):
    """Why the class of `diffusers` gives nothing to compare with."""


def level_of(scheduler, name, i, t):
    """arctan(sigma / alpha) at which a scheduler has its network evaluated now."""
    if name.startswith(IN_STEPS):
        alpha_bar = float(scheduler.alphas_cumprod[int(t)])
        return np.arctan2((1 - alpha_bar) ** 0.5, alpha_bar**0.5)
    if name.startswith("IPNDM"):
        return np.arctan2(float(scheduler.betas[i]), float(scheduler.alphas[i]))
    if name.startswith("SCM"):
        return float(scheduler.timesteps[i])
    index = scheduler.step_index or 0
    sigma = scheduler.sigmas[index]
    if name.startswith("KDPM2") and not scheduler.state_in_first_order:
        sigma = scheduler.sigmas_interpol[index - ("Ancestral" in name)]
    sigma = float(sigma)
    if name.startswith("FlowMatch") or getattr(scheduler.config, "use_flow_sigmas", False):
        return np.arctan2(sigma, 1 - sigma)
    return np.arctan(sigma)


def their_states(cls, name, config, mu, num_steps, described, times, x_T, noise):
    """Their scheduler, and its states at the times of the grid, as x_t = alpha x_0 + sigma noise."""
    import torch

    current = [0, 0]  # step, draw

    def draws(*args, **kwargs):
        step = noise[min(current[0], num_steps - 1)]
        if name == "DDPMScheduler" and current[0] == num_steps - 1:
            step = np.zeros_like(step)
        return torch.from_numpy(step)

    module = sys.modules[cls.__module__]
    module.randn_tensor, before = draws, getattr(module, "randn_tensor", None)
    try:
        scheduler = cls.from_config(config)
        scheduler.set_timesteps(
            num_steps,
            **({"mu": mu} if mu is not None else {}),
            **({"max_timesteps": np.pi / 2} if name.startswith("SCM") else {}),
            **({"intermediate_timesteps": None} if name.startswith("SCM") and num_steps != 2 else {}),
        )
        if name.startswith("ScoreSde"):
            return scheduler, _run_score_sde(scheduler, module, num_steps, x_T, noise)
        if hasattr(scheduler, "set_begin_index") and not name.startswith(IN_STEPS):
            scheduler.set_begin_index(0)
        return _run(scheduler, name, num_steps, described, times, x_T, current)
    finally:
        module.randn_tensor = before


def _run(scheduler, name, num_steps, described, times, x_T, current):
    import torch

    alphas = levels(described.schedule, times)[0]
    scale = name.startswith(SCALED)
    if name.startswith("IPNDM"):
        late = float(times[0]) * np.pi / 2
        scheduler.betas[0], scheduler.alphas[0] = np.sin(late), np.cos(late)
    data = scheduler.config.sigma_data if name.startswith("SCM") else 1.0
    x, states = torch.from_numpy(data * x_T / (alphas[0] if scale else 1)), [x_T]
    timesteps = list(scheduler.timesteps)
    if name.startswith("SCM"):
        timesteps = timesteps[:-1]
    two, extra = name.startswith(TWO_STAGES), {}
    if name.startswith("DDIM"):
        extra = {"use_clipped_model_output": True}
    steps = (
        np.rint(np.asarray(times) * described.schedule.table.size - 1)
        if name.startswith(("DDIM", "PNDM"))
        else None
    )
    if name.startswith("UniPC") and times[-1] == times[-2]:
        scheduler.disable_corrector = [num_steps - 2]
    plms = name.startswith("PNDM") and scheduler.config.skip_prk_steps
    for i, t in enumerate(timesteps):
        current[0] = i // 2 if two else i
        given = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        output = torch.from_numpy(data * network(given.numpy() / data, level_of(scheduler, name, i, t)))
        if steps is not None and (plms or name.startswith("DDIM")):
            at = max(i - 1, 0) if plms else i
            last = at == num_steps - 1
            gap = int(steps[at]) + 1 if last else int(steps[at] - steps[at + 1])
            scheduler.register_to_config(num_train_timesteps=gap)
            scheduler.num_inference_steps = 1
        x = scheduler.step(output, t, x, **extra).prev_sample
        if plms and i == 0 and len(timesteps) > 1:
            continue
        if (i + 1) % (2 if two else 1) == 0 or i + 1 == len(timesteps):
            states.append(x.numpy() * (alphas[len(states)] if scale else 1) / data)
    return scheduler, np.stack(states)


def _run_score_sde(scheduler, module, num_steps, x_T, noise):
    """One sample at a time: they average the norms of a batch."""
    import torch

    scheduler.set_sigmas(num_steps)
    trajectories = []
    for b in range(SHAPE[0]):
        x = torch.from_numpy(x_T[b : b + 1])
        states = [x]
        for i, t in enumerate(scheduler.timesteps):
            left = iter([*noise[i][1:], noise[i][0]])  # of the corrections, then of the predictor
            module.randn_tensor = lambda *a, left=left, **k: torch.from_numpy(next(left)[b : b + 1])
            sigma = float(scheduler.discrete_sigmas[num_steps - 1 - i])

            def score(x, sigma=sigma):
                return torch.from_numpy(network(x.numpy(), np.arctan(sigma)))

            for _ in range(scheduler.config.correct_steps):
                x = scheduler.step_correct(score(x), x).prev_sample
            last = scheduler.step_pred(score(x), t, x)
            x = last.prev_sample
            states.append(x)
        states[-1] = last.prev_sample_mean
        trajectories.append(np.stack([state.numpy() for state in states]))
    return np.concatenate(trajectories, 1)


# ---------------------------------------------------------------------------------------------- ours


@flax.struct.dataclass
class Padded(Discrete):
    """A table filled up to a length that all have, so that one program serves any number of times T."""

    size: jax.Array = None

    def log_snr(self, t):
        position = jnp.asarray(t, self.table.dtype) * self.size
        within = jnp.interp(jnp.minimum(position, self.size), self._positions(), self.table)
        return within - jnp.where(
            position > 0, jnp.log(jnp.where(position > 0, jnp.minimum(position, 1), 1)), -jnp.inf
        )

    def time(self, log_snr):
        log_snr = jnp.maximum(
            log_snr, jnp.min(jnp.where(self._positions() <= self.size, self.table, jnp.inf))
        )
        position = jnp.interp(log_snr, self.table[::-1], self._positions()[::-1])
        return position * jnp.exp(jnp.minimum(self.table[0] - log_snr, 0)) / self.size


def padded(schedule):
    if not isinstance(schedule, Discrete):
        return schedule
    size = schedule.table.size
    more = schedule.table[-1] - jnp.arange(1.0, 1102 - size + 1)
    return Padded(jnp.concatenate([schedule.table, more]), size=jnp.asarray(float(size)))


def filled(times):
    """A grid with its last time repeated, which makes no step, up to a length that all have."""
    full = np.full(MOST_STEPS, times[-1])
    full[: times.size] = times
    return full


@jax.jit
def _levels(schedule, times):
    return schedule.alpha(times), schedule.sigma(times), schedule.log_snr(times)


def levels(schedule, times):
    """alpha, sigma and the log-SNR at the times of a grid."""
    return [np.asarray(values)[: times.size] for values in _levels(padded(schedule), filled(times))]


_PREDICTIONS = [prediction.eps, prediction.x0, prediction.v, prediction.flow]
_STRUCTURE = """
    solver_order algorithm_type solver_type lower_order_final euler_at_final predict_x0 variance_type skip_prk_steps
    stochastic_sampling sigma_data correct_steps
""".split()  # noqa: SIM905


@functools.cache
def _program(key):
    return jax.jit(_STATES[key])


_STATES = {}


def our_states(name, config, described, times, keys, x_T):
    """Our states at all the times; one program for all configurations that differ in numbers only."""
    value = {**FIELDS[name], **{k: v for k, v in config.items() if k in FIELDS[name]}}.get
    index = _PREDICTIONS.index(described.prediction) if described.prediction in _PREDICTIONS else None
    own = [str(value(field)) for field in _STRUCTURE]
    if value("thresholding"):
        own += ["thresholding", value("dynamic_thresholding_ratio"), value("sample_max_value")]
    elif value("clip_sample"):
        own += ["clip", value("clip_sample_range")]
    if index is None:
        own.append(str(value("prediction_type")))
    if name.startswith(("LCM", "TCD")):  # whose sampler or prediction holds T
        own += [value("num_train_timesteps"), str(value("trained_betas"))[:9], value("timestep_scaling")]
    is_bounded_inside = name.startswith("LCM") and (value("thresholding") or value("clip_sample"))
    if is_bounded_inside:  # whose bound holds the schedule
        own.append(str(sorted(config.items())))
    if name.startswith("DPMSolverSingle"):
        own.append(value("final_sigmas_type"))
    # The last is whether the sampler is told of one more time.
    key = (
        name,
        type(described.schedule).__name__,
        *own,
        value("clip_denoised"),
        described.sampler.init.__qualname__,
    )

    def run(keys, x_T, times, schedule, index):
        def at(predict):
            return lambda t: tuple(predict(schedule, t))

        def predict(_, t):
            if index is None:
                return described.prediction(schedule, t)
            return prediction.Coefficients(*jax.lax.switch(index, [at(p) for p in _PREDICTIONS], t))

        def apply(x, c_noise):
            if name.startswith(("EDM", "CM")):
                level = jnp.arctan(jnp.exp(4 * c_noise))
            else:
                level = jnp.arctan(jnp.exp(-0.5 * schedule.log_snr(c_noise)))
            return network(x, level[0])

        denoise = described.bound(denoiser(apply, schedule, predict))
        return trajectory(keys, x_T, times, denoise, described.sampler, schedule)

    if index is None:
        run = functools.partial(run, index=None)
    _STATES.setdefault(key, run)
    full = filled(times)
    schedule = described.schedule if is_bounded_inside else padded(described.schedule)
    arguments = (keys, jnp.asarray(x_T), jnp.asarray(full), schedule)
    if index is not None:
        arguments = (*arguments, jnp.asarray(index))
    return np.asarray(_program(key)(*arguments))[: times.size]


# ---------------------------------------------------------------------------------------------- comparing


def told_wrong(scheduler, name, config, described, times):
    """By how much the number that our network is told differs from theirs; None where it may."""
    if name.startswith("ScoreSde"):  # told sigma, by its pipeline
        return None
    schedule = described.schedule
    c_noise = -levels(schedule, times)[2] / 8 if name.startswith(("EDM", "CM")) else times
    ours = np.asarray(described.timestep(jnp.asarray(filled(c_noise))), np.float64)[: times.size - 1]
    theirs = np.asarray(scheduler.timesteps, np.float64)
    if name.startswith("PNDM"):
        theirs = (
            theirs[[0, *range(2, len(theirs))]]
            if scheduler.config.skip_prk_steps
            else theirs[[0, 4, 8, *range(12, len(theirs))]]
        )
    theirs = theirs[:: 2 if name.startswith(TWO_STAGES) else 1][: len(ours)]
    if name.startswith("IPNDM"):
        ours, theirs = ours[1:], theirs[1:]
    # Whole steps are told exactly. Sigmas between them are told as what they are here, and are rounded there.
    exact = not any(
        config.get(field) for field in config if field.startswith("use_") and field in FIELDS[name]
    )
    exact &= {**FIELDS[name], **config}.get("timestep_spacing") != "linspace" or name.startswith("DDIM")
    exact |= name.startswith(("EDM", "CM", "FlowMatch", *IN_STEPS, "IPNDM", "SCM"))
    difference = np.abs(ours - theirs).max(initial=0)
    return (
        None if difference < (1e-5 * max(1, theirs.max(initial=1)) if exact else 1.0) else f"{difference:.3g}"
    )


def _keys():
    return jax.random.split(jax.random.key(0), SHAPE[0])


@functools.cache
def noises(draws=None):
    """The noise of every step, or of several draws in each step; see `tests.parity.common.noises`."""
    fold_in = jax.vmap(jax.random.fold_in, (0, None))
    steps = [fold_in(_keys(), i + 1) for i in range(MOST_STEPS)]
    if draws is None:
        return [_normal(step) for step in steps]
    return [[_normal(fold_in(step, j)) for j in range(draws)] for step in steps]


def of_sigmas(sigmas, schedule):
    """As `grids.of_sigmas`, with arrays of a length that all have, so that it is compiled once for every schedule."""
    full = np.full(MOST_STEPS, sigmas[-1])
    full[: len(sigmas)] = sigmas
    return jnp.asarray(np.append(schedule.time(-2 * jnp.log(jnp.asarray(full)))[: len(sigmas)], 0.0))


def _normal(keys):
    return np.asarray(normal(keys, SHAPE[1:], jnp.float64))


def by_design(name, config, num_steps, described, times):
    """Why ours differs from theirs on purpose, or None; docs/samplers.md says more."""
    value = {**FIELDS[name], **config}.get
    log_snr = levels(described.schedule, times)[2] / 2
    lambdas = np.clip(log_snr[np.insert(np.diff(times) != 0, 0, True)], -30, 30)
    steps = np.diff(lambdas)[:-1] if times[-1] == 0 else np.diff(lambdas)
    order = value("solver_order") or 1
    widest = max(
        (lambdas[min(i + order, len(lambdas) - 1)] - lambdas[i] for i in range(len(steps))), default=0
    )
    if num_steps == 1 and (name.startswith("ScoreSde") or value("sigma_schedule") == "exponential"):
        return "a single step begins at sigma_max here"
    if name.startswith("PNDM"):
        if num_steps == 1:
            return "PNDM: a single step has a second evaluation here"
        if value("prediction_type") != "epsilon":
            return "PNDM: theirs mixes v of several times"
        if not value("skip_prk_steps") and num_steps > 3:
            gaps = -np.diff(np.rint(times * described.schedule.table.size))[:-1]
            stride = described.schedule.table.size // num_steps
            if stride % 2 or (gaps != stride).any():
                return "PNDM: with Runge-Kutta, theirs is at other times than half-way and the next"
    if name.startswith("DPMSolverSingle") and value("algorithm_type") == "dpmsolver" and widest > 4.5:
        return "a block of more than 4.5 in lambda has order 1 here"
    corrects_little = name.startswith("UniPC") and (not value("predict_x0") or value("solver_type") == "bh1")
    if corrects_little and steps.max(initial=0) > 4.5:
        return "UniPC: a step of more than 4.5 in lambda is not corrected here"
    if name.startswith(("Heun", "KDPM2", "PNDM")) and lambdas[0] < -np.log(3000):
        return "a step from sigma / alpha > 3000 has order 1 here"
    ends_twice = num_steps > 1 and times[-1] == times[-2]
    ramps = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas")
    falls = order > 1 and value("lower_order_final") and not any(map(value, ramps))
    if name.startswith("UniPC") and ends_twice and falls:
        return "UniPC: a last step of length 0 is not counted where the order falls"
    if name.startswith("DPMSolverSingle") and ends_twice and order > 1:
        low = value("lower_order_final") or num_steps % order != 0
        if not low or (order == 3 and num_steps % 3 == 2):
            return "DPMSolverSinglestep: a last step of length 0 repeats its block there"
    has_second = not (name.startswith("DPMSolverSingle") and value("solver_type") == "midpoint")
    if value("algorithm_type") == "sde-dpmsolver++" and order == 3 and num_steps > 2 and has_second:
        return "sde-dpmsolver++ of order 3: the sign of the second difference"
    if name.startswith("LMS"):
        u = np.exp(-lambdas)
        for i in range(1, len(u) - 1):
            near = np.abs(u[max(0, i - 3) : i] - u[i]) <= 0.1 * abs(u[i + 1] - u[i])
            if near.any():
                return "LMS: an estimate very near to the latest is left out here"
    return None


def compare(diffusers, name, config, num_steps):
    """What came out: "equal", "refused: ...", "by design: ...", "diffusers: ..." or "WRONG: ..."."""
    mu = 0.7 if config.get("use_dynamic_shifting") and "use_dynamic_shifting" in FIELDS[name] else None
    try:
        described = from_diffusers_config({"_class_name": name, **config}, mu)
        times = np.array(described.times(num_steps), np.float64)
    except UserError as error:
        return f"refused: {name}: {error}"
    if name.startswith("IPNDM"):
        times[0] = 1 - 1e-3
    keys = _keys()
    x_T = np.random.default_rng(1).normal(size=SHAPE) * levels(described.schedule, times)[1][0]
    noise = noises(config["correct_steps"] + 1 if name.startswith("ScoreSde") else None)[:num_steps]
    cls = getattr(diffusers, name)
    try:
        with warnings.catch_warnings(), float64(sys.modules[cls.__module__]), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            scheduler, expected = their_states(cls, name, config, mu, num_steps, described, times, x_T, noise)
    except Exception as error:  # whatever it is that they raise
        return f"diffusers: raises {type(error).__name__}: {name}: {str(error)[:60]}"
    if name.startswith("PNDM") and not scheduler.config.skip_prk_steps:
        expected = expected[[0, 4, 8, *range(12, len(expected))]]
    if len(expected) != num_steps + 1:
        return "diffusers: makes one step more than it is asked for"
    why = by_design(name, config, num_steps, described, times)
    if why:
        return f"by design: {why}"
    sigmas = np.asarray(getattr(scheduler, "sigmas", [1.0]), np.float64)
    if np.any(sigmas[1:] > sigmas[:-1] * (1 + 1e-9)):
        return "by design: theirs goes up in noise, from a terminal SNR of 0"
    if not np.isfinite(expected[:-1]).all() or (not np.isfinite(expected).all() and times[-1] != times[-2]):
        return "diffusers: gives NaN"
    actual = our_states(name, config, described, times, keys, x_T)
    if not np.isfinite(expected).all():  # in their last step, which has length 0
        expected[-1] = expected[-2]
    if told := told_wrong(scheduler, name, config, described, times):
        return f"WRONG: {name}: told {told}"
    error = np.abs(actual - expected).max() / max(1, np.abs(expected).max())
    return "equal" if error <= TOLERANCE else f"WRONG: {name}: {error:.2g}"


@contextlib.contextmanager
def in_float64():
    """float64 in jax and, for tensors that are not told a dtype, in torch."""
    import torch

    torch.set_default_dtype(torch.float64)
    try:
        with jax.enable_x64(True), mock.patch.object(spacing, "of_sigmas", of_sigmas):
            yield
    finally:
        torch.set_default_dtype(torch.float32)


def main(arguments=None):
    parser = argparse.ArgumentParser(description="random scheduler configurations against diffusers")
    parser.add_argument("--num", type=int, default=2000, help="how many are drawn (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    parser.add_argument("--start", type=int, default=0, help="number of the first one (default: 0)")
    parser.add_argument("--only", help="one class")
    parser.add_argument("--show", action="store_true", help="print what came out for each")
    options = parser.parse_args(arguments)
    import logging

    import diffusers

    logging.disable(logging.WARNING)
    jax.config.update("jax_disable_most_optimizations", True)
    counts, began = collections.Counter(), time.time()
    with in_float64():
        for i in range(options.start, options.start + options.num):
            name, config, num_steps = draw(np.random.default_rng([options.seed, i]), options.only)
            verdict = compare(diffusers, name, config, num_steps)
            counts[verdict] += 1
            if "WRONG" in verdict or options.show:
                config.pop("trained_betas", None) if len(str(config)) > 2000 else None
                print(i, verdict, num_steps, config, flush=True)
            if i % 100 == 99:
                print(f"{i + 1} in {time.time() - began:.0f} s", file=sys.stderr, flush=True)
    for verdict, count in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"{count:5d}  {verdict}")
    return any(verdict.startswith("WRONG") for verdict in counts)


if __name__ == "__main__":
    sys.exit(main())
