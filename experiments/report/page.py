"""The report as one HTML file: style, script, figures and pictures are in it."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from experiments.report import boards, data_sets, figures, frames, sampler_steps, svg, table
from experiments.report.boards import SCORES, Board
from experiments.report.collect import Study
from experiments.report.effects import Effect, effects

_TEMPLATES = pathlib.Path(__file__).parent / "templates"

SYMBOLS = {"holds": "✓", "does not hold": "✗", "undecided": "?", "not tested": "–"}
"""Status of a claim -> its mark beside the words."""

_CLAIM = dict.fromkeys(("claim", "survey", "claimed", "measured", "interval", "command", "why"))


def html(study: Study, limit: int = frames.LIMIT) -> str:
    """The page.

    Args:
        study: what is in it.
        limit: see `experiments.report.frames`, of each section.

    Raises:
        UserError: matplotlib or jinja2 is not installed, or a picture cannot be read.
    """
    jinja2, markupsafe = require()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,  # what runs are called, and what they print, is no HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["json"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    environment.filters["raw_file"] = lambda name: markupsafe.Markup(
        (_TEMPLATES / name).read_text(encoding="utf-8")
    )
    environment.filters["measured"] = _measured
    environment.filters["data_set"] = data_sets.described
    environment.filters["seeds"] = table.seeds
    environment.filters["drawn"] = markupsafe.Markup  # for figures alone, which escape what they write
    ranked = boards.boards(study.groups, study.baseline)
    groups = [group for board in ranked for group in board.groups]
    number = {group.name: i for i, group in enumerate(groups)}
    text = environment.get_template("page.html.jinja").render(
        study=study,
        boards=[{**_board(board, number), "effects": _effects(study, board)} for board in ranked],
        groups=groups,
        number=number,
        colours=svg.SERIES,
        scores=SCORES,
        summary=summary(study, ranked),
        provenance=provenance(study),
        costs=_rows(table.cost_columns(groups), groups, number),
        curves=figures.learning_curves(groups),
        quality=[
            *figures.quality(groups),
            *(f for i, b in enumerate(ranked) for f in figures.cost_scatters(b, groups, i)),
        ],
        training=frames.training(groups, limit),
        sweeps=frames.sweeps(groups, limit),
        sweep_tables=[
            (sweep.title, _rows(sweep.columns, sweep.groups, number))
            for sweep in sampler_steps.sweeps(groups)
        ],
        claims=[{**_CLAIM, "status": "not tested", **claim} for claim in study.claims],
        symbols=SYMBOLS,
    )
    return text.rstrip() + "\n"


def require() -> tuple[Any, Any]:
    """The modules jinja2 and markupsafe.

    Raises:
        UserError: they, or matplotlib, are not installed.
    """
    svg.require_matplotlib()
    try:
        import jinja2
        import markupsafe
    except ImportError as error:
        raise svg.missing() from error
    return jinja2, markupsafe


def _board(board: Board, number: dict[str, int]) -> dict[str, Any]:
    shown, more = table.score_columns(board.groups)
    verdicts = [board.verdict(i) for i in range(len(board.groups))]
    return {
        "measured": board.measured,
        "score": board.score,
        "table": {
            **_rows(shown, board.groups, number, verdicts),
            "against": "baseline" if board.baseline else "best",
        },
        "more": _rows(more, board.groups, number),
        "p_values": board.p_values,
    }


def _effects(study: Study, board: Board) -> list[tuple[Effect, table.Cell]]:
    """The rows of the table of effects, with the ratio as it is written."""
    return [(effect, table.ratio(effect.ratio)) for effect in effects(study, board)]


def _rows(
    columns: Sequence[table.Column], groups: Sequence, number: dict[str, int], verdicts: Sequence[str] = ()
) -> dict[str, Any]:
    """A table of groups, as the template takes it."""
    rows = [
        {
            "group": group,
            "number": number[group.name],
            "cells": [table.cell(column, group) for column in columns],
            "place": i,
            "verdict": verdicts[i] if verdicts else "",
        }
        for i, group in enumerate(groups)
    ]
    return {"headings": [c.heading for c in columns], "rows": rows, "verdicts": any(verdicts)}


def summary(study: Study, ranked: Sequence[Board]) -> str:
    """The result in one sentence."""
    runs = sum(len(group.runs) for group in study.groups)
    count = f"{_count(runs, 'run')} in {_count(len(study.groups), 'group')}"
    failed = f", {len(study.failures)} failed" if study.failures else ""
    board = next((board for board in ranked if board.score), None)
    if board is None or board.score is None:
        return f"{count}{failed}, none of them scored by its images."
    column = table.score_column(board.score)
    values = [(group.name, table.cell(column, group)) for group in board.groups[:3]]
    named = [(name, f"{cell.text} {cell.spread}".strip()) for name, cell in values if cell.text]
    (name, number), *others = named
    order = f"has {'the lowest ' if others else ''}{SCORES[board.score]}"
    alike = board.reference == 0 and board.verdict(1).startswith("not told apart")
    parts = [" with ".join(other) for other in others]
    if parts and alike:
        parts[0] += " (not told apart by these seeds)"
    rest = f", before {' and '.join(parts)}" if parts else ""
    where = f" ({board.measured})" if sum(board.score is not None for board in ranked) > 1 else ""
    return f"{count}{failed}: {name} {order}, {number}{rest}{where}."


def _measured(value: Any) -> str:
    """A number of a claim as it is read; a text as it is; nothing for None."""
    return table.plain(value) if isinstance(value, int | float) else "" if value is None else str(value)


def provenance(study: Study) -> list[tuple[str, str]]:
    """Where the runs come from, by their manifests: what, and the different values of it; and the study's budget."""
    starts = [start for group in study.groups for run in group.runs for start in run.manifest]
    values = {
        "commit": [start.get("git_commit") for start in starts],
        "jax": [start.get("packages", {}).get("jax") for start in starts],
        "devices": [", ".join(dict.fromkeys(start.get("devices", []))) for start in starts],
    }
    known = {what: sorted({str(value) for value in found if value}) for what, found in values.items()}
    found = [(what, " and ".join(values)) for what, values in known.items() if values]
    return found + [("budget of a run", study.budget)] * bool(study.budget)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
