"""Groups in order of their score, apart by how that was measured."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from experiments import scoreboard
from experiments.report.collect import Group
from experiments.report.statistics import LEVEL, against_first

SCORES = {"rho": "rho", "fd_generated": "Fréchet distance"}
"""What groups are ranked by, lower is better: the first of these that any of them has -> its name in words."""


class Board(NamedTuple):
    """Groups that were scored in the same way, best first.

    Attributes:
        measured: how, in words.
        score: the name in metrics.json of what they are ranked by; None: they are not.
        groups: best first; those without the score at the end.
        p_values: adjusted, of the difference from the best group; None where nothing can be said.
    """

    measured: str
    score: str | None
    groups: list[Group]
    p_values: list[float | None]

    def verdict(self, i: int) -> str:
        """How group number i compares with the best, in words; "" where nothing can be said."""
        p = self.p_values[i]
        if i == 0:
            return "best" if any(other is not None for other in self.p_values) else ""
        if p is None:
            return ""
        bound = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
        return f"worse, {bound}" if p < LEVEL else f"not told apart, {bound}"


def boards(groups: Sequence[Group]) -> list[Board]:
    """One board a protocol, that of most groups first; groups that no image score has are the last."""
    protocols = list(dict.fromkeys(group.protocol for group in groups))
    found = [_board(protocol, [g for g in groups if g.protocol == protocol]) for protocol in protocols]
    return sorted(found, key=lambda board: (board.score is None, -len(board.groups), board.measured))


def _board(protocol: str | None, groups: list[Group]) -> Board:
    score = next((name for name in SCORES if any(group.values(name) for group in groups)), None)
    if protocol is None or score is None:
        return Board("not scored by images", None, groups, [None] * len(groups))

    def place(group: Group) -> tuple[float, str]:
        values = group.values(score)
        mean = statistics.fmean(values) if values else math.inf
        return (math.inf if math.isnan(mean) else mean, group.name)

    ranked = sorted(groups, key=place)
    return Board(
        scoreboard.measured(protocol), score, ranked, against_first([g.values(score) for g in ranked])
    )
