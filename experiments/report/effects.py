"""What each field of a study's grid does to the score: ratios between runs of one seed that are alike in all else."""

import json
import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments import run_groups
from experiments.report.boards import Board
from experiments.report.collect import Run, Study
from experiments.report.statistics import over_seeds
from genjax.metrics.intervals import Interval

_Pairs = dict[int, dict[str, float]]


class Effect(NamedTuple):
    """Runs with one value of a field against runs with another.

    Attributes:
        field: dotted name.
        value: value of the field.
        against: the other value, the first of the grid.
        ratio: ratio of the scores: the geometric mean over settings of the other fields and over the seeds, and the 95
            % t interval over the seeds, of logarithms; its ends are NaN with one seed.
        seeds: number of seeds.
        settings: number of settings of the other fields, in which both values were run from all of these seeds.
    """

    field: str
    value: str
    against: str
    ratio: Interval
    seeds: int
    settings: int


def effects(study: Study, board: Board) -> list[Effect]:
    """One for each value of a field of the grid but its first, in the order of the grid.

    Args:
        study: whose grid and budget it is.
        board: runs of it that were scored in the same way. Left out are those whose score is not positive and finite,
            and groups of which seeds failed: the others would flatter a value.
    """
    if board.score is None:
        return []
    scored = [
        (run, math.log(score))
        for group in board.groups
        if not group.failed
        for run in group.runs
        if (score := run.metrics.get(board.score)) is not None and 0 < score < math.inf
    ]
    found = [
        _effect(name, value, values[0], scored, bool(study.budget))
        for name, values in study.grid.items()
        for value in values[1:]
    ]
    return [effect for effect in found if effect is not None]


def _effect(
    name: str, value: Any, against: Any, scored: Sequence[tuple[Run, float]], budgeted: bool
) -> Effect | None:
    sides: list[_Pairs] = [{}, {}]
    for run, log in scored:
        if name in run.config and run.config[name] in (value, against):
            side = sides[run.config[name] == against]
            side.setdefault(run.seed, {})[_rest(run, name, budgeted)] = log
    seeds = sorted(sides[0].keys() & sides[1].keys())
    shared = [side[seed].keys() for side in sides for seed in seeds]
    settings = set.intersection(*map(set, shared)) if shared else set()
    if not settings:
        return None
    mean = over_seeds(
        [statistics.fmean(sides[0][seed][rest] - sides[1][seed][rest] for rest in settings) for seed in seeds]
    )
    assert mean is not None
    return Effect(
        name, _written(value), _written(against), Interval(*map(math.exp, mean)), len(seeds), len(settings)
    )


def _rest(run: Run, name: str, budgeted: bool) -> str:
    """All that sets a run apart but this field and the seed; steps do not where a budget decides on them."""
    steps = {"fit.steps", "step"} if budgeted or name == "fit.steps" else set()
    free = {name, f"scored with {name.rpartition('.')[2]}", *steps}
    fixed = {key: value for key, value in run_groups.identity(run).items() if key not in free}
    return json.dumps([run.preset, fixed], sort_keys=True)


def _written(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
