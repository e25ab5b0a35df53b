"""The report without its figures: Markdown to paste, and CSV to compute with."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from experiments.report import table
from experiments.report.boards import SCORES, Board
from experiments.report.collect import Group, Study
from experiments.report.effects import Effect, effects
from experiments.report.sampler_steps import sweeps
from experiments.report.table import Column

_NOTE = "Scores: means over the seeds and their 95 % t intervals; cost: means and ranges."
_VERDICTS = " *Worse*, *better*: by Welch's t-test, p adjusted by Holm's method for all groups of a table, below 0.05."


def markdown(study: Study, boards: Sequence[Board]) -> str:
    """One table of scores for each way of measuring, those by sampler steps, and one of costs."""
    parts = [f"# {_escaped(study.name)}"]
    if study.command:
        parts.append(_code(study.command))
    if study.budget:
        parts.append(f"Budget of every run: {study.budget}.")
    for board in boards:
        columns, _ = table.score_columns(board.groups)
        verdicts = [board.verdict(i) for i in range(len(board.groups))]
        against = [f"against the {'baseline' if board.baseline else 'best'}"] if any(verdicts) else []
        rows = [
            [*_cells(columns, group), *([verdict] if against else [])]
            for group, verdict in zip(board.groups, verdicts, strict=True)
        ]
        headings = [*(column.heading for column in columns), *against]
        parts += [f"{_escaped(board.measured)}:", _table(headings, board.groups, rows)]
        if found := effects(study, board):
            parts += [f"What a value of a field does to {SCORES[board.score or '']}:", _effects(found)]
    ranked = [group for board in boards for group in board.groups]
    for sweep in sweeps(ranked):
        headings = [column.heading for column in sweep.columns]
        rows = [_cells(sweep.columns, group) for group in sweep.groups]
        parts += [f"{_escaped(sweep.title)}:", _table(headings, sweep.groups, rows)]
    if costs := table.cost_columns(ranked):
        headings = [column.heading for column in costs]
        parts += ["Cost:", _table(headings, ranked, [_cells(costs, group) for group in ranked])]
    tested = any(board.verdict(i) for board in boards for i in range(len(board.groups)))
    parts.append(_NOTE + _VERDICTS * tested)
    told = {
        "Failed": [failure.name for failure in study.failures],
        "Not finished": study.missing,
        "Not readable": list(study.unreadable.values()),
    }
    for what, names in told.items():
        if names:
            parts.append(f"{what}: {'; '.join(map(_escaped, names))}.")
    return "\n\n".join(parts) + "\n"


def _cells(columns: Iterable[Column], group: Group) -> list[str]:
    return [
        f"{c.text} {_bracketed(c.spread)}".strip() for c in (table.cell(column, group) for column in columns)
    ]


def _bracketed(spread: str) -> str:
    return spread if not spread or spread.startswith("[") else f"({spread})"


def _table(headings: Sequence[str], groups: Sequence[Group], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| runs | seeds | " + " | ".join(headings) + " |", "|---" * (2 + len(headings)) + "|"]
    lines += [
        f"| {_escaped(group.name)} | {table.seeds(group)} | " + " | ".join(row) + " |"
        for group, row in zip(groups, rows, strict=True)
    ]
    return "\n".join(lines)


def _effects(found: Sequence[Effect]) -> str:
    lines = ["| field | value | against | ratio | seeds | settings of the others |", "|---" * 6 + "|"]
    for effect in found:
        written = table.ratio(effect.ratio)
        names = " | ".join(map(_escaped, (effect.field, effect.value, effect.against)))
        ratio = f"{written.text} {written.spread}".strip()
        lines.append(f"| {names} | {ratio} | {effect.seeds} | {effect.settings} |")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """A text of a run or of a file, of which nothing is taken for Markdown or HTML."""
    return re.sub(r"([\\`*\[\]|])", r"\\\1", " ".join(text.split())).replace("<", "&lt;")


def _code(text: str) -> str:
    """A text as code, whatever backticks are in it."""
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    gap = " " if "`" in text else ""
    return f"{ticks}{gap}{' '.join(text.split())}{gap}{ticks}"


def spreadsheet(study: Study) -> str:
    """CSV with one row a run: what it is, all numbers of its score, of its sweep over sampler steps and of its timing;
    then what failed.
    """
    runs = [(group.name, run) for group in study.groups for run in group.runs]
    rows = [
        {
            "run": run.name,
            "group": name,
            "preset": run.preset,
            "seed": run.seed,
            "step": run.step,
            "exit_code": None,
            **_numbers(run.metrics),
            **{
                f"sweep.{entry['num_steps']}.{key}": value
                for entry in run.sweep
                for key, value in _numbers(entry).items()
                if key not in ("num_steps", "step")
            },
            **{f"timing.{key}": value for key, value in _numbers(run.timing).items()},
            "training_flops": table.training_flops(run),
            "protocol": run.metrics.get("protocol"),
        }
        for name, run in runs
    ]
    rows += [{"run": failure.name, "exit_code": failure.exit_code} for failure in study.failures]
    text = io.StringIO()
    writer = csv.DictWriter(
        text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows({name: _cell_of_text(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell_of_text(value: Any) -> Any:
    """A value of a spreadsheet: a text that would be taken for a formula, and computed, gets a quote in front."""
    is_formula = isinstance(value, str) and value.lstrip()[:1] in ("=", "+", "-", "@", "\t", "\r")
    return f"'{value}" if is_formula and value else value


def _numbers(results: dict) -> dict[str, float]:
    return {name: value for name, value in results.items() if isinstance(value, int | float)}
