"""A study for other machines: its commands, in a list or as a SLURM job array."""

import os
import shlex
from collections.abc import Sequence

from etils import epath

from experiments.study.plan import Run
from experiments.study.store import Folder
from genjax.app import workdir
from genjax.typing import UserError

_SLURM = """\
#!/usr/bin/env bash
# Recipe: not run. A study of {count} runs, one task of the array each; submit from the repository, with its
# environment in .venv:
#
#   sbatch --time=24:00:00 {path}
#
# A task that is requeued, or submitted again, goes on from its last checkpoint; what is trained is not trained again.
#
#SBATCH --job-name=genjax-study
#SBATCH --array=0-{last}
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --output="{logs}"
#SBATCH --open-mode=append
# Training saves and exits on SIGTERM, which comes two minutes before the time limit and at a preemption.
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -euo pipefail
cd "${{SLURM_SUBMIT_DIR:?run this with sbatch}}"
export PATH="$PWD/.venv/bin:$PATH"
# Without this, jax falls back to the CPU when it finds no GPU, and the run would be slow instead of failing.
export JAX_PLATFORMS=cuda
# Since Slurm 22.05 srun does not take this over from the job.
[ -z "${{SLURM_CPUS_PER_TASK:-}}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

case "${{SLURM_ARRAY_TASK_ID:?run this with sbatch}}" in
{cases}
esac
"""


def commands(folder: Folder, runs: Sequence[Run]) -> epath.Path:
    """Writes ``commands.txt``: a line a run, its commands one after the other. Returns its path.

    Training that was asked to leave ends well too, and is not to be scored.
    """
    path = folder.path / "commands.txt"
    lines = [" && ".join(_line(folder, run)) for run in runs]
    workdir.write_bytes(path, "".join(f"{line}\n" for line in lines).encode())
    return path


def slurm(folder: Folder, runs: Sequence[Run]) -> epath.Path:
    """Writes ``study.sbatch``, a job array in which each task is a run with all its commands. Returns its path.

    Raises:
        UserError: the folder is a bucket, which sbatch cannot read and logs cannot be written to.
    """
    if "://" in os.fspath(folder.path):
        raise UserError(f"workdir={os.fspath(folder.path)!r}: SLURM needs a folder that all hosts share")
    path = folder.path / "study.sbatch"
    cases = "\n".join(f"{i})\n{_task(folder, run)}\n    ;;" for i, run in enumerate(runs))
    script = _SLURM.format(
        count=len(runs), path=path, last=len(runs) - 1, logs=folder.path / "runs" / "%a.log", cases=cases
    )
    (folder.path / "runs").mkdir(parents=True, exist_ok=True)
    workdir.write_bytes(path, script.encode())
    return path


EXPORTS = {"commands": commands, "slurm": slurm}
"""What can be written instead of running the study, by name."""


def _line(folder: Folder, run: Run) -> list[str]:
    training, *evaluations = map(shlex.join, _all(folder, run))
    local = "://" not in os.fspath(folder.path)
    return [training, *([f"[ -e {_score(folder, run)} ]"] if evaluations and local else []), *evaluations]


def _task(folder: Folder, run: Run) -> str:
    training, *evaluations = (f"    srun {shlex.join(command)}" for command in _all(folder, run))
    known = [f"    [ -e {_score(folder, run)} ] || exit 0"] if evaluations else []
    return "\n".join([training, *known, *evaluations])


def _score(folder: Folder, run: Run) -> str:
    """The file that is there when training has come to its end."""
    return shlex.quote(os.fspath(folder.workdir(run) / workdir.METRICS))


def _all(folder: Folder, run: Run) -> list[list[str]]:
    directory = str(folder.workdir(run))
    return [run.training(directory), *run.evaluations(directory).values()]
