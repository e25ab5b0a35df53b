"""Mode collapse: ``python -m experiments.collapse runs WORKDIR...`` and ``python -m experiments.collapse gaussians``.

`runs` prints a table of finished runs, grouped by all of their config but the seed, and as its last line the same as
JSON. `gaussians` trains a small GAN on 25 Gaussians; its runs can be given to `runs`.
"""

import dataclasses
import json
from typing import Annotated

import tyro
from etils import epath

from experiments import cli, collapse_table, gaussians
from experiments.gaussians import Gaussians
from genjax.app import workdir
from genjax.metrics.modes import COLLAPSED
from genjax.typing import UserError


@dataclasses.dataclass(frozen=True)
class Runs:
    """Mode collapse of finished runs: means over the seeds, and the share of collapsed runs.

    Attributes:
        workdirs: Folders of scored runs on the same data.
        threshold: Share of the data, in (0, 1], that a run must have lost to count as collapsed.
        out: Folder for collapse.md and collapse.json. Without it, the table is only printed.
    """

    workdirs: Annotated[tuple[str, ...], tyro.conf.Positional]
    threshold: float = COLLAPSED
    out: str | None = None


def main() -> None:
    """Reads the command line and does what it says."""
    command: Runs | Gaussians = tyro.cli(Runs | Gaussians, prog="python -m experiments.collapse")
    if isinstance(command, Runs):
        table(command)
    else:
        print(json.dumps(gaussians.train(command)))


def table(options: Runs) -> None:
    """Prints the table, and writes it if asked to."""
    if not 0 < options.threshold <= 1:
        raise UserError(f"threshold={options.threshold}: valid are (0, 1]")
    rows = collapse_table.summarize(
        [collapse_table.read(path) for path in options.workdirs], options.threshold
    )
    text = collapse_table.markdown(rows, options.threshold)
    results = {"threshold": options.threshold, "groups": rows}
    if options.out is not None:
        folder = epath.Path(options.out).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        workdir.write_bytes(folder / "collapse.md", f"{text}\n".encode())
        workdir.write_json(folder / "collapse.json", results)
    print(text)
    print(json.dumps(results))


if __name__ == "__main__":
    cli.run(main)
