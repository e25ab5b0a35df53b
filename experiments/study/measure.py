"""What a step of training costs and how long it takes, in a process of its own.

Run as ``python -m experiments.study.measure DIR costs|time``, it reads ``DIR/config.json`` and prints a JSON object.
"""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Mapping

from etils import epath

from experiments import cli
from experiments.bench import timing, workloads
from experiments.bench.command import run_command
from genjax.app import config_files, workdir
from genjax.app.config import Config
from genjax.app.cost import training_cost

_SECONDS = 3.0


def measure(config: Config, *, seconds: float = _SECONDS) -> dict[str, float | None]:
    """Costs and times of a step of training.

    Args:
        config: config of the run.
        seconds: for which steps are timed, about, when they are compiled and warm.

    Returns:
        What `genjax.app.cost.training_cost` does, and "seconds_per_step" and "compile_seconds". All steps are of one
        batch, without logging, evaluation and checkpoints.
    """
    subject = workloads.train(config)
    rate = timing.timed(subject.run, subject.images, seconds)()[timing.RATE]
    return training_cost(config) | {
        "seconds_per_step": config.fit.batch_size / rate,
        "compile_seconds": subject.program.compile_seconds,
    }


def apart(config: Config, what: str, env: Mapping[str, str]) -> dict[str, float | None]:
    """As `measure` in a process of its own, or, for ``what="costs"``, as `training_cost`.

    Raises:
        UserError: the process failed; the message ends with what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        workdir.write_json(epath.Path(folder) / workdir.CONFIG, dataclasses.asdict(config))
        return run_command([sys.executable, "-m", "experiments.study.measure", folder, what], env)


def main() -> None:
    """One measurement: see the module."""
    folder, what = sys.argv[1:]
    config = config_files.as_own(workdir.load_config(epath.Path(folder)))
    print(json.dumps(measure(config) if what == "time" else training_cost(config)))


if __name__ == "__main__":
    cli.run(main)
