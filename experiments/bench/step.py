"""``python -m experiments.bench step``: training steps of whole networks, and the same in PyTorch."""

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from experiments.bench import breakdown, fresh, libraries, report, specs, tasks, timing
from experiments.bench.libraries import OURS, STOCK, TORCH
from experiments.bench.stock import with_stock_layers
from genjax.train.program import Program, memory
from genjax.typing import UserError

_TOLERANCES = 1e-4, 1e-3
"""Of the losses before the first and before the second update, relative."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Training steps of whole networks, compared with the same networks of flax.linen's layers and with PyTorch.

    A step is loss, gradients and Adam's update. Contenders start from the same weights, train on the same batch, and
    must agree on the loss before the first and the second update. Prints images/s, ratios, memory, compile time.

    Attributes:
        only: Names of networks. Without it: all networks.
        batch_size: Batch sizes, each of which is measured.
        against: Implementations that genjax is compared with: stock (flax.linen's layers), torch.
        repeats: Number of rounds. Every contender is measured once in each round.
        seconds: Approximate duration of one measurement, at least one step.
        fresh: Also measure compile time (cold and warm) and peak memory, each in a new process.
        profile: Print the time of genjax's step by kind of operation.
    """

    only: tuple[str, ...] = ()
    batch_size: tuple[int, ...] = (64,)
    against: tuple[str, ...] = (STOCK, TORCH)
    repeats: int = 5
    seconds: float = 1.0
    fresh: bool = True
    profile: bool = False


class _Contender(NamedTuple):
    """What is measured, and its losses of one step; `program` is None in PyTorch."""

    run: Callable[[int], object]
    losses: Callable[[], dict[str, float]]
    program: Program | None


def bench(options: Options, known: Mapping[str, specs.Spec] = specs.SPECS) -> dict[str, Any]:
    """Measures what the options choose, prints a table and returns nested results."""
    names = libraries.chosen(options, known, options.batch_size)
    points = [(name, size) for name in names for size in options.batch_size]
    # Before this process takes a device: some accelerators serve one at a time.
    starts = {point: _starts(*point, options) if options.fresh else {} for point in points}
    results: dict[str, Any] = {name: {} for name in names}
    for name, size in points:
        results[name][f"batch {size}"] = {**measure(known[name], size, options), **starts[name, size]}
        print(report.table({name: {f"batch {size}": results[name][f"batch {size}"]}}), flush=True)
    return results


def measure(spec: specs.Spec, size: int, options: Options) -> dict[str, Any]:
    """Nested results of one network and batch size.

    Raises:
        UserError: a contender has other losses than genjax.
    """
    batch = specs.batch(spec, size)
    variables = tasks.random_variables(spec, batch)
    made = {OURS: _jax(spec, variables, batch, lambda step: step)}
    if STOCK in options.against:
        made[STOCK] = _jax(spec, variables, batch, with_stock_layers)
    reason = libraries.why_no_torch() if TORCH in options.against else None
    if TORCH in options.against and reason is None:
        made[TORCH] = _torch(spec, variables, batch)
    check({name: [contender.losses() for _ in _TOLERANCES] for name, contender in made.items()})

    timed = {name: timing.timed(x.run, size, options.seconds) for name, x in made.items()}
    measured = timing.interleave(timed, options.repeats)
    rates = {name: timing.column(rows, timing.RATE) for name, rows in measured.items()}
    results = {name: _numbers(size, rates[name], made[name].program) for name in made}
    against: dict[str, Any] = {
        name: {"ratio": timing.ratio(rates[OURS], rates[name]), **results[name]}
        for name in made
        if name != OURS
    }
    return {
        "parameters": tasks.num_parameters(variables),
        **results[OURS],
        "against": against | ({TORCH: reason} if reason else {}),
        **({"profile": _profile(made[OURS])} if options.profile else {}),
    }


def check(losses: Mapping[str, list[dict[str, float]]]) -> None:
    """Raises UserError where the losses of a contender are not genjax's: it computes something else."""
    for name, theirs in losses.items():
        for i, (a, b, tolerance) in enumerate(zip(losses[OURS], theirs, _TOLERANCES, strict=True)):
            if a.keys() != b.keys() or not all(abs(a[k] - b[k]) <= tolerance * abs(a[k]) for k in a):
                raise UserError(
                    f"against={name!r}: after {i} updates its losses are {b}, those of {OURS} {a}; they may "
                    f"differ by {tolerance:g} relative. What it computes is not the same"
                )


def _jax(spec: specs.Spec, variables: Any, batch: specs.Arrays, context: Callable) -> _Contender:
    subject, losses = tasks.subject(spec, variables, batch, context)
    return _Contender(subject.run, losses, subject.program)


def _torch(spec: specs.Spec, variables: Any, batch: specs.Arrays) -> _Contender:
    from experiments.bench import torch_tasks

    twin = torch_tasks.twin(spec, batch, variables["params"])

    def run(count: int) -> None:
        for _ in range(count):
            twin.losses()

    return _Contender(run, twin.losses, None)


def _numbers(size: int, rates: list[float], program: Program | None) -> dict[str, Any]:
    times = {"ms_per_step": timing.summary([1000 * size / rate for rate in rates])}
    needed = {"memory": memory(program)} if program else {}
    return {timing.RATE: timing.summary(rates), **times, **needed}


def _profile(contender: _Contender) -> dict[str, Any]:
    assert contender.program is not None
    return breakdown.breakdown(contender.run, contender.program)


def _starts(name: str, size: int, options: Options) -> dict[str, Any]:
    """Cold and warm start of genjax (see `fresh.measure`), and the start of PyTorch."""
    with tempfile.TemporaryDirectory() as cache:

        def start(contender: str) -> dict[str, float]:
            return fresh.start("experiments.bench.own_process", contender, name, str(size), cache=cache)

        ours = {state: start(OURS) for state in ("cold", "warm")}
        theirs = TORCH in options.against and libraries.torch_installed()
        return {**ours, **({f"{TORCH}_alone": start(TORCH)} if theirs else {})}
