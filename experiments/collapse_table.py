"""The collapse of finished runs, over seeds: a table with confidence intervals."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from etils import epath

from experiments import run_groups
from genjax.app import workdir
from genjax.metrics.intervals import Interval, mean_interval
from genjax.metrics.modes import collapse_rate
from genjax.typing import UserError

_NEEDED = ("collapse", "modes", "kl", "num_modes", "mode_samples")
_MEANS = ("collapse", "modes", "kl", "class_tv", "duplicates", "memorised", "high_quality", "rho")
"""What the mean is taken of, where all runs have it."""


class Finished(NamedTuple):
    """A run that has been scored.

    Attributes:
        path: its workdir.
        config: its fields by dotted name.
        metrics: the content of its metrics.json.
    """

    path: str
    config: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def seed(self) -> int:
        """Of the training."""
        return self.config["fit.seed"]


def read(path: str) -> Finished:
    """Reads a scored run.

    Raises:
        UserError: there is none, it is not scored, or its score says nothing of collapse.
    """
    directory = epath.Path(path).expanduser()
    config, metrics = (workdir.read_scored(directory / name) for name in (workdir.CONFIG, workdir.METRICS))
    fields = run_groups.flatten(config)
    if "fit.seed" not in fields or "data.dataset" not in fields:
        raise UserError(
            f"{directory / workdir.CONFIG} is not the config of a run: seed or dataset is missing"
        )
    if missing := [name for name in _NEEDED if name not in metrics]:
        raise UserError(
            f"{directory / workdir.METRICS} has no {missing[0]!r}, of dataset={fields['data.dataset']!r}: only runs on "
            "digits have, stacked or not, and on the Gaussians; older scores are made again by "
            "python -m experiments.evaluate"
        )
    return Finished(str(path), fields, metrics)


def summarize(runs: Sequence[Finished], threshold: float) -> list[dict[str, Any]]:
    """One row for each group of runs that differ in nothing but the seed, in the order they are given.

    Returns:
        Rows with "name" (the fields in which groups differ), "seeds", "num_modes", "mode_samples", "collapsed" (the
        collapse rate) and the means over the seeds of `_MEANS`; each of these is {"estimate", "low", "high"}, the last
        two None where there is one seed only.

    Raises:
        UserError: no run, runs on different data or scored on different numbers of samples, or a seed that occurs twice
            in a group.
    """
    if not runs:
        raise UserError("workdirs: at least one run is needed")
    for what, of in {
        "trained on dataset": lambda run: run.config["data.dataset"],
        "scored with mode_samples": lambda run: run.metrics["mode_samples"],
    }.items():
        first = of(runs[0])
        if other := [run for run in runs if of(run) != first]:
            raise UserError(
                f"workdirs: {runs[0].path} was {what}={first!r}, {other[0].path} {what}={of(other[0])!r}; only like is "
                "compared with like"
            )
    groups = run_groups.grouped(runs)
    names = run_groups.names([run_groups.identity(group[0]) for group in groups])
    means = [name for name in _MEANS if all(run.metrics.get(name) is not None for run in runs)]
    return [_row(name, group, means, threshold) for name, group in zip(names, groups, strict=True)]


def _row(name: str, group: list[Finished], means: list[str], threshold: float) -> dict[str, Any]:
    values = {name: [float(run.metrics[name]) for run in group] for name in means}
    rate = collapse_rate(values["collapse"], threshold=threshold)
    return {
        "name": name,
        "seeds": [run.seed for run in group],
        "num_modes": group[0].metrics["num_modes"],
        "mode_samples": group[0].metrics["mode_samples"],
        "collapsed": rate._asdict(),
        **{name: _mean(x) for name, x in values.items()},
    }


def _mean(values: list[float]) -> dict[str, float | None]:
    if len(values) == 1:
        return {"estimate": values[0], "low": None, "high": None}
    interval: Interval = mean_interval(values)
    return interval._asdict()


def markdown(rows: Sequence[dict[str, Any]], threshold: float) -> str:
    """The rows as a table: means with 95 % t intervals, the collapse rate with its 95 % Wilson interval."""
    modes, limit = rows[0]["num_modes"], f"{100 * threshold:g}"
    lines = [
        f"| runs | seeds | collapse, % | runs with {limit} % or more, % | modes of {modes} | KL, nats |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            row["name"],
            str(len(row["seeds"])),
            _cell(row["collapse"], 100.0, "{:.1f}"),
            _cell(row["collapsed"], 100.0, "{:.0f}"),
            _cell(row["modes"], 1.0, "{:.1f}"),
            _cell(row["kl"], 1.0, "{:.3f}") if "kl" in row else "infinite",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(interval: dict[str, float | None], factor: float, form: str) -> str:
    estimate, low, high = (
        None if x is None else form.format(factor * x) for x in (interval[k] for k in Interval._fields)
    )
    return f"{estimate}" if low is None else f"{estimate} [{low}, {high}]"
