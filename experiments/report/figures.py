"""The figures of a report, as SVG."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.report import curves, svg
from experiments.report.boards import SCORES, Board
from experiments.report.collect import Group
from experiments.report.curves import Curve
from experiments.report.table import magnitude, sampling, training_flops

_SMALL, _LARGE = (3.3, 2.15), (4.2, 2.6)
"""Of a figure, inches of 72 points: the page scales it to its column."""

_WIDE_RANGE = 50.0
"""The axis is logarithmic if the largest value is at least this many times the smallest (unless the axis is fixed)."""

_NARROW_RANGE = 3.0
"""Below this factor a log axis would have hardly a number on it: it is linear."""


class Figure(NamedTuple):
    """A figure and what is written above and below it.

    Attributes:
        title: what is drawn.
        svg: the element.
        note: how to read it; "" where that needs no words.
    """

    title: str
    svg: str
    note: str = ""


def learning_curves(groups: Sequence[Group]) -> list[Figure]:
    """One figure for each scalar that was logged: the mean over the seeds, and their range."""
    return [
        Figure(
            name,
            _draw(
                f"curve-{i}", f"{name} against steps", curves.logged(groups, name), "step", "", size=_SMALL
            ),
        )
        for i, name in enumerate(curves.scalars(groups))
    ]


def quality(groups: Sequence[Group]) -> list[Figure]:
    """Scores against seconds of training and evaluations of the network, a figure for each way of measuring."""
    figures: list[Figure] = []
    for score, words in SCORES.items():
        for panel, found in curves.by_seconds(groups, score).items():
            title = f"{words} against training time, {panel}"
            drawn = _draw(
                f"quality-{len(figures)}", title, found, "training, s", words, log_x=True, log_y=True
            )
            figures.append(Figure(title, drawn, "A line a run; a lone point is a final score."))
        for panel, found in curves.by_evaluations(groups, score).items():
            title = f"{words} against network evaluations, {panel}"
            label = "network evaluations an image"
            drawn = _draw(f"quality-{len(figures)}", title, found, label, words, log_x=True, log_y=True)
            note = "Mean over the seeds and their range: a line by number of sampler steps, a lone point without."
            figures.append(Figure(title, drawn, note))
        if figures:  # the next score would say the same in other units
            break
    return figures


def cost_scatters(board: Board, groups: Sequence[Group], number: int) -> list[Figure]:
    """The score of a board against what training cost, and against what an image costs: a point a group."""
    if board.score is None:
        return []
    words = SCORES[board.score]
    figures: list[Figure] = []
    costs: dict[str, Callable[[Any], float | None]] = {
        "FLOPs of training": training_flops,
        "seconds an image": _seconds_an_image,
    }
    for i, (label, of) in enumerate(costs.items()):
        members = [group if group in board.groups else group._replace(runs=[]) for group in groups]
        x = [[cost for cost in map(of, group.runs) if cost is not None] for group in members]
        if found := curves.scatter(members, x, board.score):
            title = f"{words} against {label}"
            drawn = _draw(f"cost-{number}-{i}", title, found, label, words, log_x=True, log_y=True)
            figures.append(Figure(title, drawn, "A point a group; the bar is the range of its seeds."))
    return figures


def _seconds_an_image(run: Any) -> float | None:
    rate = sampling(run, "samples_per_second")
    return 1 / rate if rate else None


def _draw(
    name: str,
    title: str,
    found: Sequence[Curve],
    x_label: str,
    y_label: str,
    *,
    log_x: bool = False,
    log_y: bool | None = None,
    size: tuple[float, float] = _LARGE,
) -> str:
    """Curves with their bands, and points with bars.

    Args:
        name: unique in the page.
        title: what is drawn, in words.
        found: what is drawn.
        x_label: of the horizontal axis.
        y_label: of the vertical axis.
        log_x: whether the horizontal axis is logarithmic.
        log_y: the same of the vertical one; None: where the values are positive and differ much.
        size: inches.
    """
    matplotlib = svg.require_matplotlib()
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(svg.settings(name)):
        canvas = Canvas(figsize=size, layout="constrained")
        axes = canvas.subplots()
        for k, curve in enumerate(found):
            _add(axes, curve, k)
        x, y = (np.concatenate([np.ravel(of(curve)) for curve in found]) for of in (_x, _y))
        _axis(axes, "x", x, log_x)
        _axis(axes, "y", y, _differ_much(y) if log_y is None else log_y)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        return svg.render(canvas, name, title)


def _x(curve: Curve) -> np.ndarray:
    return curve.x


def _y(curve: Curve) -> np.ndarray:
    return np.stack([curve.y, curve.low, curve.high])


def _add(axes: Any, curve: Curve, k: int) -> None:
    colour, gid = svg.colour(curve.group), f"series{curve.group}-{k}"
    if len(curve.x) == 1:
        reach = np.stack([curve.y - curve.low, curve.high - curve.y])
        bar = axes.errorbar(
            curve.x, curve.y, reach, color=colour, marker=svg.marker(curve.group), markersize=5, capsize=0
        )
        for part in bar.get_children():
            part.set_gid(f"{gid}-{part.__class__.__name__}")
        return
    marker = svg.marker(curve.group) if len(curve.x) <= 8 else None
    style = {"linestyle": svg.dashes(curve.group), "marker": marker, "markersize": 3}
    (line,) = axes.plot(curve.x, curve.y, color=colour, **style)
    line.set_gid(f"{gid}-line")
    if np.any(curve.high > curve.low):
        band = axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
        band.set_gid(f"{gid}-band")


def _differ_much(values: np.ndarray) -> bool:
    known = values[np.isfinite(values)]
    return len(known) > 0 and known.min() > 0 and known.max() > _WIDE_RANGE * known.min()


def _axis(axes: Any, which: str, values: np.ndarray, log: bool) -> None:
    """Scale and numbers of an axis; what is not positive has no place on a log one."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    axis = getattr(axes, f"{which}axis")
    known = values[np.isfinite(values) & (values > 0)]
    if log and len(known) and known.max() > _NARROW_RANGE * known.min():
        getattr(axes, f"set_{which}scale")("log")
        decades = math.log10(known.max() / known.min())
        axis.set_major_locator(LogLocator(subs=(1.0,) if decades > 2.5 else (1.0, 2.0, 5.0), numticks=20))
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_major_locator(MaxNLocator(5 if which == "y" else 4))
    axis.set_major_formatter(
        FuncFormatter(lambda x, _: magnitude(x) if abs(x) >= 10_000 else f"{x:.4g}" if x else "0")
    )
