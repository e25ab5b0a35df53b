"""Measures every sampler and writes a page about them: ``python -m experiments.gallery --out docs``."""

import dataclasses
import importlib.util
import pathlib
import sys
from collections.abc import Sequence

import jax
import numpy as np
import tyro
from tqdm import tqdm

from experiments import cli
from experiments.gallery import measure, page
from genjax.app import workdir
from genjax.diffusion import SAMPLERS, SCHEDULES
from genjax.typing import UserError

_MEASURED = tuple(name for name, kind in SAMPLERS.items() if kind.needs == "denoiser")
_PARITY = pathlib.Path(__file__).resolve().parents[2] / "tests" / "parity"


@dataclasses.dataclass(frozen=True)
class Options:
    """Order, cost and error of every sampler that needs a denoiser, measured on a Gaussian mixture in 2-D.

    Attributes:
        out: Folder for samplers.md and samplers.png.
        samplers: Names of samplers. Without it: all samplers.
        schedules: Schedules under which the orders are measured. The errors are measured under the first one.
        budgets: Numbers of evaluations of the network at which errors are measured.
        num: Number of samples.
    """

    out: str = "docs"
    samplers: tuple[str, ...] = _MEASURED
    schedules: tuple[str, ...] = ("vp", "ve", "flow")
    budgets: tuple[int, ...] = (8, 16, 32, 64, 128)
    num: int = 4096


def run(options: Options, steps: Sequence[int] = measure.ORDER_STEPS) -> None:
    """Measures and writes; see `Options`.

    Args:
        options: what is measured and where it is written.
        steps: numbers of steps between which orders are measured.

    Raises:
        UserError: an unknown name.
    """
    for field, known in (("samplers", _MEASURED), ("schedules", SCHEDULES)):
        if unknown := [name for name in getattr(options, field) if name not in known]:
            raise UserError(f"{field} = {unknown[0]!r} must be among {', '.join(known)}")
    measured = {name: _measure(name, options, steps) for name in tqdm(options.samplers, desc="samplers")}
    rng = np.random.default_rng(1)
    direction = np.linspace(0, np.pi, 64)
    sets = [
        measure.draw(rng, options.num) @ np.stack([np.cos(direction), np.sin(direction)]) for _ in range(2)
    ]
    floor = float(np.sqrt(np.mean((np.sort(sets[0], 0) - np.sort(sets[1], 0)) ** 2)))
    page.write(
        pathlib.Path(options.out),
        measured,
        options.budgets,
        compared(),
        command="python -m experiments.gallery",
        where=f"jax {jax.__version__}, {jax.devices()[0].device_kind}, commit {workdir.manifest(0)['git_commit']}",
        low=steps[0],
        high=steps[-1],
        num=options.num,
        floor=floor,
    )


def _measure(name: str, options: Options, steps: Sequence[int]) -> dict[str, measure.Measured]:
    sampler = SAMPLERS[name]()
    first = SCHEDULES[options.schedules[0]]()
    stochastic = measure.is_stochastic(sampler, first)
    evaluations = measure.evaluations_per_step(sampler, first)
    errors = measure.errors(sampler, first, evaluations, stochastic, options.budgets, options.num)
    return {
        schedule: measure.Measured(
            None if stochastic else measure.order(sampler, SCHEDULES[schedule](), steps),
            evaluations,
            stochastic,
            errors,
        )
        for schedule in options.schedules
    }


def compared() -> list[tuple[str, str]]:
    """(ours, theirs) of all comparisons in tests/parity; nothing where the tests are not there."""
    pairs: list[tuple[str, str]] = []
    for path in sorted(_PARITY.glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            continue
        module = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(path.parent))
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(path.parent))
        pairs += getattr(module, "COMPARED", [])
    return pairs


if __name__ == "__main__":
    cli.run(lambda: run(tyro.cli(Options)))
