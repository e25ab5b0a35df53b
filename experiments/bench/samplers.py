"""``python -m experiments.bench samplers``: making images, and the same with PyTorch and `diffusers`."""

import dataclasses
import functools
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.bench import libraries, networks, report, specs, tasks, timing
from experiments.bench.libraries import OURS, TORCH
from genjax.diffusion import Sampler, denoiser, grids, initial_noise, prediction, sample, samplers, schedules
from genjax.train.program import Program
from genjax.typing import Array, UserError

_TOLERANCE = 1e-3
_T = 1000


@dataclasses.dataclass(frozen=True)
class Options:
    """Making images with one U-Net, in genjax and with PyTorch and the schedulers of `diffusers`.

    Both get the same weights and the same noise, and must end in the same images. One compiled call makes a batch here;
    there, each step is a call of the network and one of the scheduler.

    Attributes:
        only: Names of samplers. Without it: all samplers.
        network: Name of a U-Net of `bench step`.
        batch_size: Number of images at a time.
        against: Implementations that genjax is compared with: torch.
        repeats: Number of rounds. Every contender is measured once in each round.
        seconds: Approximate duration of one measurement, at least one batch.
    """

    only: tuple[str, ...] = ()
    network: str = "unet-2.5m"
    batch_size: int = 64
    against: tuple[str, ...] = (TORCH,)
    repeats: int = 3
    seconds: float = 1.0


class Case(NamedTuple):
    """A sampler and its number of steps, and what diffusers calls it: class and options."""

    sampler: Sampler
    num_steps: int
    scheduler: str
    options: Mapping[str, Any]


CASES: dict[str, Case] = {
    "ddim-50": Case(samplers.ddim(), 50, "DDIMScheduler", {"clip_sample": False}),
    "dpm-solver-pp-2m-20": Case(
        samplers.dpm_solver_pp_2m(), 20, "DPMSolverMultistepScheduler", {"solver_order": 2}
    ),
}


def bench(
    options: Options, known: Mapping[str, specs.Spec] = specs.SPECS, cases: Mapping[str, Case] = CASES
) -> dict[str, Any]:
    """Measures what the options choose, prints a table and returns nested results.

    Raises:
        UserError: an option makes no sense, or the images differ.
    """
    names = libraries.chosen(options, cases, [options.batch_size])
    spec = known.get(options.network)
    if not isinstance(spec, specs.UNet) or spec.num_classes is not None:
        valid = [n for n, s in known.items() if isinstance(s, specs.UNet) and s.num_classes is None]
        raise UserError(f"network={options.network!r}: valid are {', '.join(valid)}")
    results = {}
    for name in names:
        results[name] = _measure(spec, cases[name], options)
        print(report.table({name: results[name]}), flush=True)
    return results


def _measure(spec: specs.UNet, case: Case, options: Options) -> dict[str, Any]:
    size = options.batch_size
    params = tasks.random_variables(spec, specs.batch(spec, 1))["params"]
    keys = jax.random.split(jax.random.key(0), size)
    x_T = initial_noise(keys, spec.image, schedules.linear())
    network = networks.unet(spec)

    def generate(keys: Array, params: Any, x_T: Array) -> Array:
        schedule = schedules.linear(_T)
        apply: Any = functools.partial(network.apply, {"params": params})
        denoise = denoiser(apply, schedule, prediction.eps)
        return sample(keys, x_T, grids.trailing(case.num_steps, _T), denoise, case.sampler, schedule)

    program = Program(generate, "the sampler")
    arguments = jax.device_put((keys, params, x_T))
    contenders: dict[str, Callable[[], np.ndarray]] = {OURS: lambda: np.asarray(program(*arguments))}
    reason = why_not() if TORCH in options.against else "not asked for"
    if reason is None:
        contenders[TORCH] = _torch(spec, params, np.asarray(x_T), case)
        _check(contenders[OURS](), contenders[TORCH]())

    def repeated(run: Callable[[], np.ndarray], count: int) -> None:
        for _ in range(count):
            run()

    timed = {
        name: timing.timed(functools.partial(repeated, run), size, options.seconds)
        for name, run in contenders.items()
    }
    measured = timing.interleave(timed, options.repeats)
    rates = {name: timing.column(rows, timing.RATE) for name, rows in measured.items()}
    against: dict[str, Any] = {} if reason is None else {TORCH: reason}
    if reason is None:
        ratio = timing.ratio(rates[OURS], rates[TORCH])
        against = {TORCH: {"ratio": ratio, timing.RATE: timing.summary(rates[TORCH])}}
    return {
        timing.RATE: timing.summary(rates[OURS]),
        "compile_seconds": program.compile_seconds,
        "against": against,
    }


def why_not() -> str | None:
    """Why PyTorch and diffusers are not measured; None: they are."""
    if importlib.util.find_spec("diffusers") is None:
        return "diffusers is not installed: pip install -e '.[parity]'"
    return libraries.why_no_torch()


def _check(ours: np.ndarray, theirs: np.ndarray) -> None:
    difference = np.abs(ours - theirs).max() / np.abs(ours).max()
    if not difference <= _TOLERANCE:
        raise UserError(
            f"against={TORCH!r}: its images differ by {difference:.2g} of the largest number, more than "
            f"{_TOLERANCE:g}. What it computes is not the same"
        )


def _torch(spec: specs.UNet, params: Any, x_T: np.ndarray, case: Case) -> Callable[[], np.ndarray]:
    """Makes the images, as float[B,H,W,C]."""
    import diffusers
    import torch

    from experiments.bench import torch_unet, torch_weights

    layers, forward = torch_unet.unet(spec)
    torch_weights.load(layers, params)
    layers.to(memory_format=torch.channels_last).eval()
    scheduler = getattr(diffusers, case.scheduler)(_T, timestep_spacing="trailing", **case.options)
    start = torch_weights.images(x_T)

    def run() -> np.ndarray:
        scheduler.set_timesteps(case.num_steps)
        x = start
        with torch.inference_mode():
            for t in scheduler.timesteps:
                output = forward(x, ((t + 1) / _T).to(torch.float32).expand(len(x)))
                x = scheduler.step(output, t, x).prev_sample
        return x.permute(0, 2, 3, 1).numpy()

    return run
