"""Make images: ``python -m experiments.sample --workdir DIR --num 64 --out samples.png`` (or ``.npz``).

Image i of a seed is the same whether it is made alone, in a batch of 64 or on 8 devices.
"""

import dataclasses
import math
import pathlib
from typing import Literal

import numpy as np
import tyro
from etils import epath

from experiments import build, cli, pictures, restore, scoring
from genjax.typing import UserError


@dataclasses.dataclass(frozen=True)
class Sample:
    """Make images with a trained model.

    Attributes:
        workdir: Of the run.
        num: How many images.
        seed: Of the images.
        first: Number of the first image: ``--first 37 --num 1`` makes image 37 of the seed alone.
        labels: Classes asked for, in turn; default: all classes in turn.
        sampler: Which sampler; default: the run's.
        num_steps: Steps of the sampler; default: the run's.
        eta: DDIM only: 0 is deterministic, 1 adds as much noise as DDPM; default: the run's.
        guidance: Classifier-free guidance scale, 1 is none; default: the run's.
        batch_size: Images made at a time; default: the run's.
        out: A picture (.png), one row a class, or a .npz file with arrays "images" (uint8) and "labels".
    """

    workdir: str
    num: int = 64
    seed: int = 0
    first: int = 0
    labels: tuple[int, ...] | None = None
    sampler: Literal["ddpm", "ddim"] | None = None
    num_steps: int | None = None
    eta: float | None = None
    guidance: float | None = None
    batch_size: int | None = None
    out: pathlib.Path = pathlib.Path("samples.png")


def main() -> None:
    """Reads the command line and makes images."""
    sample(tyro.cli(Sample, prog="python -m experiments.sample"))


def sample(options: Sample) -> None:
    """Makes the images and writes them to ``options.out``."""
    if options.num < 1 or options.first < 0:
        raise UserError(f"num={options.num}, first={options.first}: num must be at least 1, first at least 0")
    if options.out.suffix not in (".png", ".npz"):
        raise UserError(f"out={str(options.out)!r}: the suffix must be .png or .npz")
    names = ("sampler", "num_steps", "eta", "guidance", "batch_size")
    overrides = {name: getattr(options, name) for name in names}
    run = restore.restore(epath.Path(options.workdir), overrides, None)
    labels = asked_labels(options, build.num_classes(run.config, run.info))
    images = scoring.make(
        run.config,
        run.state,
        run.method,
        run.mesh,
        labels=labels,
        num=options.num,
        seed=options.seed,
        first=options.first,
    )
    if not cli.is_first_process():
        return
    if options.out.suffix == ".npz":
        np.savez(options.out, images=images, **({} if labels is None else {"labels": labels}))
    else:
        rows = 8 if labels is None else len(np.unique(labels))
        pictures.save(pictures.by_class(images, labels, math.ceil(options.num / rows)), options.out)
    print(f"{options.num} images of step {run.step} written to {options.out}")


def asked_labels(options: Sample, num_classes: int | None) -> np.ndarray | None:
    """The label of each image: a function of its number alone."""
    if num_classes is None:
        if options.labels is not None:
            raise UserError(f"labels={options.labels}: the model is unconditional")
        return None
    asked = np.asarray(range(num_classes) if not options.labels else options.labels, np.int32)
    bad = asked[(asked < 0) | (asked >= num_classes)]
    if bad.size:
        raise UserError(f"labels={options.labels}: {bad[0]} is out of range, valid are 0..{num_classes - 1}")
    return asked[np.arange(options.first, options.first + options.num) % len(asked)]


if __name__ == "__main__":
    cli.run(main)
