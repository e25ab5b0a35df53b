"""One measurement: all contenders in turn, then what follows from their numbers."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import jax
import tyro

from experiments.bench import baselines, fresh, timing, workloads
from experiments.bench.workloads import Workload
from genjax.app.config import Config
from genjax.train.program import memory
from genjax.typing import UserError

_Several = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]

OURS = "genjax"
WORKLOADS: dict[str, Callable[[Config], Workload]] = {**fresh.WORKLOADS, "data": workloads.feed}


@dataclasses.dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        repeats: Number of rounds. Every contender is measured once in each round.
        seconds: Approximate duration of one measurement.
        against: Built-in baseline; may be given several times. For train: stock (flax.linen's layers), pmap,
            one-step (one step per dispatch), torch (a textbook VAE, or the DCGAN of PyTorch's example). For sample:
            stock, python-loop. For data: streamed.
        baseline: Shell command to compare with; may be given several times. The last line of its output must be a JSON
            object with "images_per_second".
        fresh: Also measure compile time (cold and warm) and peak memory, each in a new process.
    """

    repeats: int = 7
    seconds: float = 1.0
    against: _Several = ()
    baseline: _Several = ()
    fresh: bool = True


def measure(
    subject: str, config: Config, options: Options, commands: Mapping[str, Callable[[], timing.Measurement]]
) -> dict[str, Any]:
    """Measures "train", "sample" or "data", beside `commands` and the baselines of `options.against` that it has.

    Returns:
        Nested results by name. What was measured several times is a dict with median, min and max.

    Raises:
        UserError: the config makes no sense, or a baseline command fails.
    """
    made = {OURS: WORKLOADS[subject](config)}
    built_in = baselines.BUILT_IN[subject]
    made |= {name: built_in[name](config) for name in options.against if name in built_in}
    contenders = {name: timing.timed(s.run, s.images, options.seconds) for name, s in made.items()}
    contenders |= commands
    measured = timing.interleave(contenders, options.repeats)

    rates = {name: timing.column(rows, timing.RATE) for name, rows in measured.items()}
    results: dict[str, Any] = {timing.RATE: timing.summary(rates[OURS])}
    results |= _DERIVED[subject](config, made[OURS], rates[OURS])
    results["memory"] = memory(made[OURS].program)
    results["against"] = {
        name: {
            "ratio": timing.ratio(rates[OURS], rates[name]),
            timing.RATE: timing.summary(rates[name]),
            **_others(measured[name]),
            **({"memory": memory(made[name].program)} if name in made else {}),
        }
        for name in contenders
        if name != OURS
    }
    return results


def check(options: Options, verbs: tuple[str, ...]) -> None:
    """Raises UserError for options that make no sense when the `verbs` are measured."""
    if options.repeats < 1 or options.seconds <= 0:
        raise UserError(
            f"repeats={options.repeats}, seconds={options.seconds}: "
            "repeats must be at least 1, seconds more than 0"
        )
    valid = sorted({name for verb in verbs for name in baselines.BUILT_IN[verb]})
    unknown = [name for name in options.against if name not in valid]
    if unknown:
        raise UserError(f"against={unknown[0]!r}: valid for {' and '.join(verbs)} are {valid}")
    if options.baseline and len(verbs) > 1:
        raise UserError(
            f"baseline={options.baseline[0]!r} needs one thing to be compared with: one of {verbs}"
        )


def _train(config: Config, subject: Workload, rates: list[float]) -> dict[str, Any]:
    size = config.fit.batch_size
    results = {"ms_per_step": timing.summary([1000 * size / rate for rate in rates])}
    flops = (subject.program.compiled.cost_analysis() or {}).get("flops", 0)
    # Elsewhere convolutions are calls of a library, and steps the body of a loop: XLA does not count them.
    if flops > 0 and jax.default_backend() == "cpu" and subject.images == size:
        steps = [jax.device_count() * rate / size for rate in rates]  # flops counts one device
        results["gflop_per_second"] = timing.summary([flops * x / 1e9 for x in steps])
    return results


def _sample(config: Config, subject: Workload, rates: list[float]) -> dict[str, Any]:
    count = workloads.network_evaluations(config)
    return {"network_evaluations_per_second": timing.summary([count * rate for rate in rates])}


_DERIVED: dict[str, Callable[[Config, Workload, list[float]], dict[str, Any]]] = {
    "train": _train,
    "sample": _sample,
    "data": lambda config, subject, rates: {},
}
"""Workload -> what else follows from its rates."""


def _others(rows: list[timing.Measurement]) -> dict[str, Any]:
    """What a baseline reports beside its rate, in every round."""
    names = [name for name in rows[0] if name != timing.RATE and all(name in row for row in rows)]
    return {name: timing.summary(timing.column(rows, name)) for name in names}
