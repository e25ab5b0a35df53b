"""Groups in order of their score, apart by how that was measured."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from experiments import scoreboard
from experiments.report.collect import Group
from experiments.report.statistics import LEVEL, against

SCORES = {"rho": "rho", "fd_generated": "Fréchet distance"}
"""What groups are ranked by, lower is better: the first of these that any of them has -> its name in words."""


class Board(NamedTuple):
    """Groups that were scored in the same way, best first.

    Attributes:
        measured: how, in words.
        score: the name in metrics.json of what they are ranked by; None: they are not.
        groups: best first; those without the score at the end.
        reference: number of the group that the others are tested against: the baseline, or else the first of which
            several seeds have ended and none has failed; None where there is none, or nothing to test against it.
        p_values: adjusted, of the difference from the reference; None where nothing can be said.
        baseline: whether the reference is one that was chosen, and not the best.
    """

    measured: str
    score: str | None
    groups: list[Group]
    reference: int | None
    p_values: Sequence[float | None]
    baseline: bool = False

    def verdict(self, i: int) -> str:
        """How group number i compares with the reference, in words; "" where nothing can be said."""
        if self.reference is None:
            return ""
        if self.groups[i].failed:
            return "not tested, seeds failed"
        if i == self.reference:
            return "baseline" if self.baseline else "best" if i == 0 else "best of those tested"
        p = self.p_values[i]
        if p is None:
            return "not tested, one seed" if len(self.groups[i].runs) == 1 else "not tested"
        bound = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
        differs = "better" if i < self.reference else "worse"
        return f"{differs}, {bound}" if p < LEVEL else f"not told apart, {bound}"


def boards(groups: Sequence[Group], baseline: str = "") -> list[Board]:
    """One board per protocol: the protocol of most groups comes first, and groups without an image score come last.

    Args:
        groups: groups of runs.
        baseline: name of the group that the others of its board are tested against, and other boards not at all; "":
            the best of each.
    """
    protocols = list(dict.fromkeys(group.protocol for group in groups))
    found = [_board(name, [g for g in groups if g.protocol == name], baseline) for name in protocols]
    return sorted(found, key=lambda board: (board.score is None, -len(board.groups), board.measured))


def _board(protocol: str | None, groups: list[Group], baseline: str) -> Board:
    score = next((name for name in SCORES if any(group.values(name) for group in groups)), None)
    nothing = [None] * len(groups)
    if protocol is None:
        return Board("not scored by images", None, groups, None, nothing)
    if score is None:
        return Board(scoreboard.measured(protocol), None, groups, None, nothing)

    def place(group: Group) -> tuple[float, str]:
        values = group.values(score)
        mean = statistics.fmean(values) if values else math.inf
        return (math.inf if math.isnan(mean) else mean, group.name)

    ranked = sorted(groups, key=place)
    # What a failed seed would have scored is not known, and hardly well: the others alone flatter the group.
    tested = [[] if group.failed else group.values(score) for group in ranked]
    several = [i for i, x in enumerate(tested) if len(x) > 1 and all(map(math.isfinite, x))]
    chosen = [i for i in several if ranked[i].name == baseline]
    reference = next(iter(chosen if baseline else several), None)
    p_values: Sequence[float | None] = nothing if reference is None else against(reference, tested)
    if all(p is None for p in p_values):
        reference = None
    return Board(scoreboard.measured(protocol), score, ranked, reference, p_values, bool(chosen))
