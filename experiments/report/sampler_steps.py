"""Scores of diffusion models by the number of steps of the sampler, as tables."""

from collections.abc import Sequence
from typing import NamedTuple

from experiments import scoreboard
from experiments.report.boards import SCORES
from experiments.report.collect import Group
from experiments.report.table import Column, score_column


class Sweep(NamedTuple):
    """Groups whose sweeps were scored in the same way.

    Attributes:
        title: what is in the table, and how it was measured.
        groups: those that have a sweep, in the order given.
        columns: one a number of steps, ascending.
    """

    title: str
    groups: list[Group]
    columns: list[Column]


def sweeps(groups: Sequence[Group]) -> list[Sweep]:
    """One table a protocol, of the first of `SCORES` that all of the protocol's entries have."""
    entries = [entry for group in groups for run in group.runs for entry in run.sweep if "protocol" in entry]
    found = []
    for protocol in dict.fromkeys(entry["protocol"] for entry in entries):
        alike = [entry for entry in entries if entry["protocol"] == protocol]
        score = next((name for name in SCORES if all(entry.get(name) is not None for entry in alike)), None)
        if score is None:
            continue
        steps = sorted({entry["num_steps"] for entry in alike})
        columns = [_column(score, protocol, number) for number in steps]
        members = [group for group in groups if any(column.values(group) for column in columns)]
        measured = scoreboard.measured(protocol)
        found.append(Sweep(f"{SCORES[score]} by sampler steps: {measured}", members, columns))
    return found


def _column(score: str, protocol: str, number: int) -> Column:
    def values(group: Group) -> list[float]:
        return [
            float(entry[score])
            for run in group.runs
            for entry in run.sweep
            if entry["num_steps"] == number and entry.get("protocol") == protocol
        ]

    return Column(f"{number:,} step{'' if number == 1 else 's'}", values, score_column(score).written)
