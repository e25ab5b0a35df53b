"""Score a run: ``python -m experiments.evaluate --workdir DIR --num 10000``.

Prints a table and, as its last line, one JSON object, which also becomes ``metrics.json`` in the workdir.
"""

import dataclasses
from typing import Literal

import tyro
from etils import epath

from experiments import cli, restore, scoring


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Score a trained model.

    Attributes:
        workdir: Of the run.
        num: Generated images to score; as many training and test images are compared with, or all if fewer.
        seed: Of the generated images.
        data_dir: Where TFDS data sets live, if elsewhere than at training time.
        sampler: Which sampler; default: the run's.
        num_steps: Steps of the sampler; default: the run's.
        eta: DDIM only: 0 is deterministic, 1 adds as much noise as DDPM; default: the run's.
        guidance: Classifier-free guidance scale, 1 is none; default: the run's.
        batch_size: Images made at a time; default: the run's.
    """

    workdir: str
    num: int = 1000
    seed: int = 0
    data_dir: str | None = None
    sampler: Literal["ddpm", "ddim"] | None = None
    num_steps: int | None = None
    eta: float | None = None
    guidance: float | None = None
    batch_size: int | None = None


def main() -> None:
    """Reads the command line and scores."""
    options = tyro.cli(Evaluate, prog="python -m experiments.evaluate")
    directory = epath.Path(options.workdir)
    names = ("sampler", "num_steps", "eta", "guidance", "batch_size")
    run = restore.restore(directory, {name: getattr(options, name) for name in names}, options.data_dir)
    scoring.score_run(
        run.config, directory, run.state, run.step, run.method, run.mesh, num=options.num, seed=options.seed
    )


if __name__ == "__main__":
    cli.run(main)
