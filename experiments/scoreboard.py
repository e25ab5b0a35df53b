"""Scored runs side by side: ``python -m experiments.scoreboard WORKDIR... [--out FILE]``.

Prints one Markdown table for each way in which runs were measured, because numbers measured in different ways cannot be
compared, and as its last line the same as JSON.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Annotated, Any

import tyro
from etils import epath

from experiments import cli
from genjax.app import workdir
from genjax.app.terminal import printable
from genjax.metrics.protocol import Protocol
from genjax.typing import UserError

COLUMNS = {
    "rho": ("rho", 1.0, ".2f"),
    "fd_generated": ("Fréchet distance", 1.0, ".2f"),
    "kid": ("KID", 1.0, ".4g"),
    "precision": ("precision", 1.0, ".3f"),
    "recall": ("recall", 1.0, ".3f"),
    "label_agreement": ("label agreement, %", 100.0, ".1f"),
    "memorised": ("memorised, %", 100.0, ".1f"),
}
"""Score -> its heading, what it is multiplied by, and how it is written."""


@dataclasses.dataclass(frozen=True)
class Scoreboard:
    """A table of scored runs.

    Attributes:
        workdirs: Folders of scored runs.
        out: A Markdown file for the tables. Without it, the tables are only printed.
    """

    workdirs: Annotated[tuple[str, ...], tyro.conf.Positional]
    out: str | None = None


def main() -> None:
    """Reads the command line and prints."""
    options = tyro.cli(Scoreboard, prog="python -m experiments.scoreboard")
    boards = group([read(path) for path in options.workdirs])
    text = "\n\n".join(markdown(protocol, rows) for protocol, rows in boards.items())
    if options.out is not None:
        workdir.write_bytes(epath.Path(options.out).expanduser(), f"{text}\n".encode())
    print(printable(text))
    print(json.dumps([{"protocol": json.loads(protocol), "runs": rows} for protocol, rows in boards.items()]))


def read(path: str) -> dict[str, Any]:
    """Name, step and scores of a run.

    Raises:
        UserError: there is none, or it has no score of images.
    """
    directory = epath.Path(path).expanduser()
    metrics = workdir.read_scored(directory / workdir.METRICS)
    if "protocol" not in metrics:
        raise UserError(f"{directory / workdir.METRICS} has no score of images: there is nothing to compare")
    scores = {name: metrics.get(name) for name in COLUMNS}
    return {"name": directory.name, "step": metrics["step"], "protocol": metrics["protocol"], **scores}


def group(runs: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The runs by protocol, best first: by `rho`, and without one by the distance.

    Raises:
        UserError: no run.
    """
    if not runs:
        raise UserError("workdirs: at least one run is needed")
    boards: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        boards.setdefault(run["protocol"], []).append({k: v for k, v in run.items() if k != "protocol"})
    for rows in boards.values():
        rows.sort(key=_rank)
    return boards


def _rank(row: dict[str, Any]) -> float:
    known = [row[name] for name in ("rho", "fd_generated") if row[name] is not None]
    return known[0] if known else math.inf  # both were left out of a score of very few images


def measured(protocol: str) -> str:
    """How scores were measured, in words: the text of a protocol, without what is the same for all."""
    how = Protocol.parse(protocol)
    return f"{how.num_samples:,} images against {how.reference}, {how.resize}, {how.extractor[:40]}"


def markdown(protocol: str, rows: Sequence[dict[str, Any]]) -> str:
    """A table under a line that says how its numbers were measured; columns that no run has are left out."""
    shown = [name for name in COLUMNS if any(row[name] is not None for row in rows)]
    lines = [
        f"{measured(protocol)}:",
        "",
        "| run | steps | " + " | ".join(COLUMNS[name][0] for name in shown) + " |",
        "|---" * (2 + len(shown)) + "|",
    ]
    for row in rows:
        cells = [written(name, row[name]) for name in shown]
        lines.append(f"| {row['name']} | {row['step']:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def written(name: str, value: float | None) -> str:
    """A score of `COLUMNS` as it stands in a table; nothing for None."""
    _, factor, form = COLUMNS[name]
    if value is None:
        return ""
    # KID has the scale of the features to the sixth power: 1e-3 for one extractor, 1e4 for another.
    text = f"{value:,.0f}" if name == "kid" and abs(value) >= 100 else format(factor * value, form)
    return text if text.strip("-0.") else text.lstrip("-")  # no -0.0


if __name__ == "__main__":
    cli.run(main)
