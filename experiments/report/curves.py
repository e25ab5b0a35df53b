"""The numbers behind the figures: scalars over the seeds of a group, against steps, seconds and evaluations."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.report.collect import Group, Run
from experiments.report.data_sets import at_home
from experiments.report.table import train_seconds
from genjax.metrics.protocol import Protocol
from genjax.typing import UserError

_BUNDLED = "digits_classifier@"
"""How the name of the extractor begins that scores runs while they train."""

POINTS = 200
"""Most points of a curve: more are no wider than a pixel."""


class Curve(NamedTuple):
    """A line in a figure, and the band of the seeds around it.

    Attributes:
        group: number of the group, which sets its colour.
        x: float[N], growing.
        y: float[N], the mean over the seeds.
        low: float[N], the least of the seeds.
        high: float[N], the largest.
    """

    group: int
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray


def scalars(groups: Sequence[Group]) -> list[str]:
    """The names of all that was logged more than once: of the tests first, then losses, then by name."""
    counts: dict[str, int] = {}
    for group in groups:
        for run in group.runs:
            here: dict[str, int] = {}
            for line in run.lines:
                for name in line.keys() - {"step"}:
                    here[name] = here.get(name, 0) + 1
            counts |= {name: max(count, counts.get(name, 0)) for name, count in here.items()}
    several = [name for name, count in counts.items() if count > 1]
    return sorted(several, key=lambda name: (not name.startswith("test/"), not name.endswith("/loss"), name))


def logged(groups: Sequence[Group], name: str) -> list[Curve]:
    """A scalar against the steps that all seeds have logged it at."""
    curves = []
    for i, group in enumerate(groups):
        if found := [values for run in group.runs if (values := run.scalars(name))]:
            curves += _curve(i, found)
    return curves


def by_evaluations(groups: Sequence[Group], score: str) -> dict[str, list[Curve]]:
    """A score against evaluations of the network an image, from the sweeps over sampler steps; of a run without one
    the final score.

    Returns:
        How it was measured, in words -> curves over the seeds, including curves of a single point.
    """
    panels: dict[str, list[Curve]] = {}
    for i, group in enumerate(groups):
        found: dict[str, list[dict[int, float]]] = {}
        for run in group.runs:
            swept: dict[str, dict[int, float]] = {}
            for entry in run.sweep or [run.metrics]:
                if entry.get(score) is not None and "network_evaluations" in entry:
                    panel = swept.setdefault(_panel(run, entry), {})
                    panel[entry["network_evaluations"]] = float(entry[score])
            for name, values in swept.items():
                found.setdefault(name, []).append(values)
        for name, seeds in found.items():
            panels.setdefault(name, []).extend(_curve(i, seeds))
    # Where all images cost the same there is nothing to see.
    return {name: found for name, found in panels.items() if len({x for curve in found for x in curve.x}) > 1}


def _curve(group: int, found: Sequence[Mapping[int, float]]) -> list[Curve]:
    common = sorted(set.intersection(*(set(values) for values in found)))
    if not common:  # of one seed, then
        common, found = sorted(found[0]), found[:1]
    if len(common) > POINTS:
        chosen = np.unique(np.linspace(0, len(common) - 1, POINTS).round().astype(int))
        common = [common[j] for j in chosen]
    y = np.array([[values[x] for x in common] for values in found])
    return [Curve(group, np.array(common, float), y.mean(0), y.min(0), y.max(0))]


def by_seconds(groups: Sequence[Group], score: str) -> dict[str, list[Curve]]:
    """A score against seconds of training, one curve a run, in panels of what was measured alike.

    Runs that were scored while they trained give a curve, all others a point, which is their final score.

    Returns:
        How it was measured, in words -> curves, including curves of a single point.
    """
    panels: dict[str, list[Curve]] = {}
    for i, group in enumerate(groups):
        for run in group.runs:
            found = _trace(run, score) or _final(run, score)
            if found is not None:
                panel, x, y = found
                panels.setdefault(panel, []).append(Curve(i, x, y, y, y))
    return panels


def _trace(run: Run, score: str) -> tuple[str, np.ndarray, np.ndarray] | None:
    values, times = run.scalars(f"test/{score}"), run.timing.get("curve") or []
    if not values or not times:
        return None
    try:
        steps, seconds = np.array(times, float).T
    except ValueError as error:
        raise UserError(f"{run.path}/timing.json: curve holds no pairs of step and seconds") from error
    # What was scored before the first measured time, or after the last, has no time.
    known = [step for step in sorted(values) if steps[0] <= step <= steps[-1]]
    if not known:
        return None
    x = np.interp(known, steps, seconds)
    num = run.config.get("evaluation.score_num")
    # Where there are fewer test images, as many are compared with, and that is what scores depend on.
    return (
        _alike(run, num and min(num, run.data.get("test_records", num))),
        x,
        np.array([values[step] for step in known]),
    )


def _final(run: Run, score: str) -> tuple[str, np.ndarray, np.ndarray] | None:
    value, seconds = run.metrics.get(score), train_seconds(run)
    if value is None or seconds is None or "protocol" not in run.metrics:
        return None
    return _panel(run, run.metrics), np.array([seconds]), np.array([float(value)])


def _panel(run: Run, scores: Mapping[str, Any]) -> str:
    """The panel of a score, from its protocol."""
    if "protocol" not in scores:
        return _alike(run, None)
    protocol = Protocol.parse(scores["protocol"])
    how = "" if protocol.extractor.startswith(_BUNDLED) else f"{protocol.extractor[:40]}, {protocol.resize}"
    return _alike(run, protocol.num_samples, how)


def _alike(run: Run, num: int | None, how: str = "") -> str:
    """What two scores must share to stand in one panel: the images, how many, and, where it is not the bundled
    classifier, what compares them."""
    config = run.config
    size = config.get("data.image_size")
    split = config.get("data.test_split", "test")
    parts = [
        at_home(config.get("data.dataset", "")),
        "" if split == "test" else split,
        "" if size is None else f"{size} pixels",
        "" if config.get("data.binarize", "no") == "no" else "binarised",
        "" if num is None else f"{num:,} images",
        how,
    ]
    return ", ".join(part for part in parts if part)


def scatter(groups: Sequence[Group], x: Sequence[list[float]], score: str) -> list[Curve]:
    """One point a group: means over the seeds of a cost, and of a score with its range."""
    points = []
    for i, (group, costs) in enumerate(zip(groups, x, strict=True)):
        values = group.values(score)
        if costs and values and all(map(math.isfinite, values)):
            one = np.array([np.mean(values)])
            low, high = np.array([min(values)]), np.array([max(values)])
            points.append(Curve(i, np.array([np.mean(costs)]), one, low, high))
    return points
