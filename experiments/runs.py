"""Which runs there are: ``python -m experiments.runs runs``.

Prints a table of the runs in a folder and in all folders below it: data, model, step, loss, score, state, size.
Nothing is written, and nothing in a run is executed. With ``--json`` it prints a line for each run, a JSON object.
"""

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import stat
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import tyro
from etils import epath

from experiments import cli
from experiments.report import collect
from genjax.app import lock
from genjax.app.terminal import printable
from genjax.data import names
from genjax.train.saved import folder_steps
from genjax.typing import UserError

SortedBy = Literal["name", "step", "loss", "score", "size", "age"]
_WIDEST = 32
_HEADINGS = ("name", "data", "model", "step", "loss", "score", "state", "size", "age")


@dataclasses.dataclass(frozen=True)
class Runs:
    """A table of runs.

    Attributes:
        folders: Folders with runs in them, at any depth.
        sort: What the table is sorted by. The best score, the lowest loss, the largest size and the newest run come
            first.
        state: Only runs in this state.
        json: Print one JSON object for each run, with full names and paths.
    """

    folders: Annotated[tuple[str, ...], tyro.conf.Positional] = ("runs",)
    sort: SortedBy = "name"
    state: Literal["running", "trained", "scored", "stopped", "no checkpoint", "unreadable"] | None = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def main() -> None:
    """Reads the command line and prints."""
    options = tyro.cli(Runs, prog="python -m experiments.runs")
    logging.getLogger("experiments.report.collect").setLevel(
        logging.ERROR
    )  # what is unreadable is in the table
    rows = [row for folder in options.folders for row in rows_of(folder)]
    rows = [row for row in rows if options.state in (None, row["state"])]
    rows = ordered(rows, options.sort)
    print("\n".join(map(json.dumps, rows)) if options.json else printable(table(rows, time.time())))


def rows_of(folder: str) -> list[dict[str, Any]]:
    """What is known of each run in a folder, and of each that cannot be read.

    Raises:
        UserError: there is no such folder.
    """
    root = pathlib.Path(folder).expanduser()
    if not root.is_dir():
        raise UserError(f"folders={folder!r}: there is no such folder")
    unreadable: dict[str, str] = {}
    rows = [_row(run) for run in collect.below(root, unreadable)]
    return rows + [
        {"name": _below(root, path), "path": path, "state": "unreadable", "reason": reason}
        for path, reason in unreadable.items()
    ]


def ordered(rows: Sequence[dict[str, Any]], by: SortedBy) -> list[dict[str, Any]]:
    """The rows sorted by a column; those without a value come last."""
    sign = -1 if by in ("step", "size") else 1
    column = {"age": "time"}.get(by, by)

    def key(row: dict[str, Any]) -> tuple[bool, Any]:
        value = row.get(column)
        if value is None or isinstance(value, str):
            return value is None, value or ""
        return False, -value if column == "time" else sign * value

    return sorted(rows, key=key)


def table(rows: Sequence[dict[str, Any]], now: float) -> str:
    """The rows in columns, for a terminal.

    Args:
        rows: see `rows_of`.
        now: seconds of the epoch, from which ages are counted.
    """
    if not rows:
        return "no runs"
    cells = [_HEADINGS, *(_cells(row, now) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(_HEADINGS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    reasons = [f"{row['name']}: {row['reason']}" for row in rows if "reason" in row]
    return "\n".join([*lines, *([""] if reasons else []), *reasons])


def _row(run: collect.Run) -> dict[str, Any]:
    stats = list(_stats(run.path))
    wanted, saved = run.config.get("fit.steps"), max(folder_steps(run.path / "checkpoints"), default=None)
    model, method = (_kind(run.fields.get(part)) for part in ("model", "method"))
    loss = next((line["train/loss"] for line in reversed(run.lines) if "train/loss" in line), None)
    score = next((name for name in ("rho", "fd_generated", "fd", "nll") if name in run.metrics), None)
    writer = lock.holder(epath.Path(run.path))
    state = "no checkpoint" if saved is None else "stopped" if saved != wanted else "trained"
    if state == "trained" and run.metrics.get("step") == saved:
        state = "scored"
    return {
        "name": run.name,
        "path": str(run.path),
        "preset": run.preset,
        "dataset": run.config.get("data.dataset", ""),
        "model": model,
        "method": method,
        "step": run.lines[-1]["step"] if run.lines else saved or 0,
        "saved": saved,
        "steps": wanted,
        "loss": loss,
        "score": run.metrics.get(score) if score else None,
        "metric": score,
        "state": "running" if writer else state,
        "writer": writer,
        "size": sum(one.st_size for one in stats),
        "time": max((one.st_mtime for one in stats), default=0.0),
    }


def _stats(folder: pathlib.Path) -> Iterator[os.stat_result]:
    """Of the files in a folder; links are no files, and a running training may take one away meanwhile."""
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode):
                yield found


def _cells(row: dict[str, Any], now: float) -> tuple[str, ...]:
    if row["state"] == "unreadable":
        return (_short(row["name"]), "", "", "", "", "", "unreadable", "", "")
    return (
        _short(row["name"]),
        _short(names.short(row["dataset"])),
        row["preset"] or "/".join(part for part in (row["model"], row["method"]) if part),
        f"{row['step']}/{row['steps']}",
        _number(row["loss"]),
        f"{row['metric'].removesuffix('_generated')} {_number(row['score'])}" if row["metric"] else "",
        row["state"],
        _size(row["size"]),
        _age(now - row["time"]),
    )


def _kind(fields: Any) -> str:
    return str(fields.get("kind", "")) if isinstance(fields, dict) else ""


def _below(root: pathlib.Path, path: str) -> str:
    inside = pathlib.Path(path)
    return inside.relative_to(root).as_posix() if inside != root else root.resolve().name


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 13]}...{text[-10:]}"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else ""


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def _age(seconds: float) -> str:
    for unit, of in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= of:
            return f"{seconds / of:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


if __name__ == "__main__":
    cli.run(main)
