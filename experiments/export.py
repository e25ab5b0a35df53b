"""Write the weights of a run: ``python -m experiments.export --workdir DIR --out weights.safetensors``.

A safetensors file executes nothing when it is read, and has the averaged parameters by name, as "conv_in/kernel". Its
metadata says what they belong to: "config" and "data" (JSON, as in the workdir), "step", "checkpoint" (the digest of
the checkpoint's seal) and "genjax" (the version). ``--which params`` writes the parameters of
the last update instead of their average, ``--which mutable`` the variables that are not parameters, such as batch
statistics.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Literal

import numpy as np
import tyro
from etils import epath

import genjax
from experiments import cli
from genjax.app import restore, workdir
from genjax.app.config import SamplingOverrides
from genjax.methods.averages import averaged
from genjax.train import seal
from genjax.train.leaves import named_leaves
from genjax.typing import UserError


@dataclasses.dataclass(frozen=True)
class Export:
    """Write the weights of a run to a safetensors file.

    Attributes:
        workdir: The folder of the run.
        out: The file to write. Its name ends in .safetensors.
        step: Step of the checkpoint. Without it: the latest checkpoint.
        which: "average" is the averaged parameters, with which images are made. "params" is the parameters of the last
            update. "mutable" is the other variables, such as batch statistics.
        overwrite: Replace the file if it exists.
    """

    workdir: str
    out: str
    step: int | None = None
    which: Literal["average", "params", "mutable"] = "average"
    overwrite: bool = False


def main() -> None:
    """Reads the command line and exports."""
    export(parse(sys.argv[1:]))


def parse(arguments: Sequence[str]) -> Export:
    """The options of a command line."""
    return tyro.cli(Export, args=arguments, prog="python -m experiments.export")


def export(options: Export) -> None:
    """Writes the file."""
    from safetensors.numpy import save

    out, directory = epath.Path(options.out).expanduser(), epath.Path(options.workdir).expanduser()
    if out.suffix != ".safetensors":
        raise UserError(f"out={options.out!r}: the suffix must be .safetensors")
    if not out.parent.is_dir():
        raise UserError(f"out={options.out!r}: there is no folder {str(out.parent)!r}")
    if out.exists() and not options.overwrite:
        raise UserError(f"out={options.out!r} is there already; --overwrite replaces it")
    run = restore.restore(directory, SamplingOverrides(), step=options.step)
    chosen = {"average": averaged(run.state), "params": run.state.params, "mutable": run.state.mutable}
    arrays = {name: np.asarray(x) for name, x in named_leaves(chosen[options.which]).items()}
    if not arrays:
        raise UserError(f"which={options.which!r}: the run has no such variables")
    metadata = {
        "genjax": genjax.__version__,
        "which": options.which,
        "step": str(run.step),
        "checkpoint": seal.digest(directory / "checkpoints" / f"{run.step:08d}"),
        "config": json.dumps(workdir.read_json(directory / workdir.CONFIG, {})),
        "data": json.dumps(workdir.read_json(directory / workdir.DATA, {})),
    }
    if cli.is_first_process():
        workdir.write_bytes(out, save(arrays, metadata))
        numbers = sum(x.size for x in arrays.values())
        print(f"{len(arrays)} arrays, {numbers:,} numbers of step {run.step} written to {out}")


if __name__ == "__main__":
    cli.run(main)
