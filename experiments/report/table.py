"""Tables of groups: which columns there are, what stands in a cell."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from experiments import scoreboard
from experiments.report.collect import Group, Run
from experiments.report.statistics import over_seeds
from genjax.metrics.intervals import Interval


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        heading: as it is read, with the unit.
        values: values of a group: one number a run.
        written: a number as it stands in a cell.
        spread: how the differences between the seeds are shown: the 95 % interval of the mean, or their range.
        name: in metrics.json, whose "intervals" say how sure it is of the images of a single run; "": nothing does.
    """

    heading: str
    values: Callable[[Group], list[float]]
    written: Callable[[float], str]
    spread: Literal["interval", "range"] = "interval"
    name: str = ""


class Cell(NamedTuple):
    """A mean over seeds.

    Attributes:
        text: the mean, as it is read; "" without values.
        spread: "[low, high]" of a 95 % interval, or "low to high" of a range; of one seed "[low, high] images", if that
            was measured; "" where all seeds are equal.
        value: the mean, for sorting; "" without one.
    """

    text: str
    spread: str
    value: str


_SCORES = {
    "density": "density",
    "coverage": "coverage",
    "inception_score": "Inception Score",
    "modes": "modes",
    "test_nll": "test NLL, nats",
    "test_bits_per_dim": "test bits/dim",
    "test_loss": "test loss",
}
"""Scores that are shown first, in addition to the scoreboard's scores."""

_NO_SCORE = {"step", "num_samples", "num_modes", "mode_samples", "mode_samples_needed", "latent_images"}
_NO_SCORE |= {"ssim_window", "sampling_seconds", "importance_samples", "samples_per_second", "fd_train"}
_NO_SCORE |= {"compile_seconds", "network_evaluations", "peak_memory_bytes", "seconds_per_epoch"}


def plain(x: float) -> str:
    """Three digits that count; thousands are whole."""
    if not math.isfinite(x):
        return "NaN" if math.isnan(x) else "infinite" if x > 0 else "-infinite"
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.3g}"


def magnitude(x: float) -> str:
    """A large number with its prefix: 1.5 T."""
    power = 0 if not math.isfinite(x) or x == 0 else min(6, max(0, int(math.log10(abs(x)) // 3)))
    return f"{plain(x / 1000**power)} {' kMGTPE'[power]}".strip()


def score_column(name: str) -> Column:
    """The column of a score of metrics.json."""
    if name in scoreboard.COLUMNS:
        heading = scoreboard.COLUMNS[name][0]
        written = lambda x: scoreboard.written(name, x) if math.isfinite(x) else plain(x)  # noqa: E731
    else:
        heading, written = _SCORES.get(name, name.replace("_", " ")), plain
    return Column(heading, lambda group: group.values(name), written, name=name)


def score_columns(groups: Sequence[Group]) -> tuple[list[Column], list[Column]]:
    """The columns of scores that any of the groups has: those shown first, and all others."""
    first = dict.fromkeys([*scoreboard.COLUMNS, *_SCORES])
    there = {
        name: None
        for group in groups
        for run in group.runs
        for name, value in run.metrics.items()
        if isinstance(value, int | float) and name not in _NO_SCORE
    }
    shown = [score_column(name) for name in first if name in there]
    return shown, [score_column(name) for name in there if name not in first]


def cost_columns(groups: Sequence[Group]) -> list[Column]:
    """The columns of what training and sampling cost, of which any of the groups has a number."""
    of: dict[str, tuple[Callable[[Group], list[float]], Callable[[float], str]]] = {
        "steps": (lambda g: [float(run.step) for run in g.runs if run.step is not None], plain),
        "training, s": (_each(train_seconds), plain),
        "compilation, s": (lambda g: g.values("compile_seconds", "timing"), plain),
        "first epoch, s": (lambda g: g.values("first_epoch_seconds", "timing"), plain),
        "last epoch, s": (lambda g: g.values("last_epoch_seconds", "timing"), plain),
        "training, FLOPs": (_each(training_flops), magnitude),
        "samples/s": (_each(lambda run: sampling(run, "samples_per_second")), plain),
        "network evaluations an image": (_each(lambda run: sampling(run, "network_evaluations")), plain),
    }
    columns = [Column(heading, values, written, "range") for heading, (values, written) in of.items()]
    return [column for column in columns if any(column.values(group) for group in groups)]


def _each(of: Callable[[Run], float | None]) -> Callable[[Group], list[float]]:
    return lambda group: [x for x in map(of, group.runs) if x is not None]


def train_seconds(run: Run) -> float | None:
    """Seconds of training without compilation; None where only a part of it, after a resume, was timed."""
    seconds, steps = run.timing.get("train_seconds"), run.timing.get("steps")
    whole = run.step is None or steps is None or steps >= run.step
    return float(seconds) if seconds is not None and whole else None


def training_flops(run: Run) -> float | None:
    """Floating-point operations of the whole training: XLA's count for one step, times the steps."""
    flops = run.timing.get("flops_per_step")
    return None if flops is None or run.step is None else float(flops) * run.step


def sampling(run: Run, name: str) -> float | None:
    """What an image costs: as was measured with the score, or in the sweep with as many steps."""
    steps = run.config.get("sampling.num_steps")
    alike = next((entry for entry in run.sweep if entry["num_steps"] == steps), {})
    value = run.metrics.get(name, alike.get(name))
    return None if value is None else float(value)


def cell(column: Column, group: Group) -> Cell:
    """The mean of a column over the seeds of a group."""
    values = column.values(group)
    found = over_seeds(values)
    if found is None:
        return Cell("", "", "")
    mean, low, high = (column.written(x) for x in found)
    least, largest = column.written(min(values)), column.written(max(values))
    if column.spread == "range":
        spread = "" if least == largest else f"{least} to {largest}"
    else:
        spread = "" if math.isnan(found.low) or min(values) == max(values) else f"[{low}, {high}]"
    if len(values) == 1:
        spread = _of_images(column, group)
    return Cell(mean, spread, "" if math.isnan(found.estimate) else repr(float(found.estimate)))


def _of_images(column: Column, group: Group) -> str:
    """The interval over the images of a single run, where it was asked for."""
    found = [run.metrics.get("intervals", {}).get(column.name) for run in group.runs]
    known = [ends for ends in found if ends]
    return f"[{column.written(known[0][0])}, {column.written(known[0][1])}] images" if len(known) == 1 else ""


def ratio(found: Interval) -> Cell:
    """A ratio with its interval, if it has one."""
    spread = "" if math.isnan(found.low) else f"[{plain(found.low)}, {plain(found.high)}]"
    return Cell(plain(found.estimate), spread, repr(found.estimate))


def seeds(group: Group) -> str:
    """How many runs of a group have ended, and how many failed."""
    return f"{len(group.runs)}, {group.failed} failed" if group.failed else f"{len(group.runs)}"
