"""Score a run: ``python -m experiments.evaluate --workdir DIR --num 10000``.

Prints a table and, as its last line, one JSON object, which also becomes ``metrics.json`` in the workdir.
"""

import dataclasses
from typing import Annotated

import tyro
from etils import epath

from experiments import build, cli, restore, scoring
from experiments.config import SamplingOverrides
from genjax.typing import UserError


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Score a trained model.

    Attributes:
        workdir: The folder of the run.
        num: Generated images to score; as many training and test images are compared with, or all if fewer.
        seed: Seed of the generated images.
        data_dir: Where TFDS data sets live; None: where they did at training time.
        importance_samples: Draws an image of the importance-weighted likelihood of a VAE; None: as in the run's
            config.
    """

    workdir: str
    num: int = 1000
    seed: int = 0
    data_dir: str | None = None
    importance_samples: int | None = None
    sampling: Annotated[SamplingOverrides, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=SamplingOverrides
    )


def main() -> None:
    """Reads the command line and scores."""
    evaluate(tyro.cli(Evaluate, prog="python -m experiments.evaluate"))


def evaluate(options: Evaluate) -> None:
    """Scores the run, and writes the result into its workdir."""
    if options.num < 2:
        raise UserError(f"num={options.num}: at least 2 images are needed for a score")
    cli.check_seed(options.seed)
    directory = epath.Path(options.workdir).expanduser()
    run = restore.restore(directory, options.sampling, options.data_dir, options.importance_samples)
    data = run.config.data
    train, test = (build.source(data, split) for split in (data.train_split, data.test_split))
    scoring.score_run(run, directory, train, test, num=options.num, seed=options.seed)


if __name__ == "__main__":
    cli.run(main)
