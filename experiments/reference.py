"""Statistics of real images, to compare with later: ``python -m experiments.reference --images DIR --out FILE.npz``, or
``--dataset cifar10 --split train``.

They belong to one set of images, one extractor and one resize. The file names all three, and
``python -m experiments.evaluate --images DIR --reference FILE.npz`` checks.
"""

import dataclasses
import json
import pathlib
from typing import Annotated, Any

import numpy as np
import tyro

from experiments import cli, folders
from genjax import data
from genjax.app import extractors
from genjax.app.extractors import ExtractorOptions
from genjax.data.images import OnBadRecord
from genjax.metrics import reference_statistics
from genjax.typing import UserError


@dataclasses.dataclass(frozen=True)
class ReferenceOptions:
    """Write the statistics of real images to a file, for `python -m experiments.evaluate --reference`.

    Attributes:
        out: The file to write (.npz).
        images: A folder of images, or a .npz or .npy file of them.
        dataset: Instead of a folder: a data set, as in training.
        split: Split of the data set.
        data_dir: Folder of TFDS data sets. Without it: TFDS's default.
        on_bad_record: What to do with an image that cannot be read: stop, or skip it.
        convert: What may be converted, "colour", "grayscale", "8-bit", "on:white" (or another colour), as for training.
        image_size: Scale the shorter side of the images to this and crop the centre square, as for training. Without
            it: as they are.
    """

    out: str
    images: str | None = None
    dataset: str | None = None
    split: str = "train"
    data_dir: str | None = None
    on_bad_record: OnBadRecord = "error"
    convert: tuple[str, ...] = ()
    image_size: int | None = None
    extractor: Annotated[ExtractorOptions, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=ExtractorOptions
    )


class Records:
    """The images of a data set, in the channels that an extractor takes."""

    def __init__(self, source: data.Source, channels: int):
        if source.info.image_shape[-1] > channels:
            raise UserError(f"dataset={source.info.name!r} is colour where the extractor needs grayscale")
        self._source, self._repeat = source, channels // source.info.image_shape[-1]

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return np.repeat(self._source.read(indices)["image"], self._repeat, axis=-1)


def main() -> None:
    """Reads the command line, writes the file and says what is in it."""
    print(json.dumps(write(tyro.cli(ReferenceOptions, prog="python -m experiments.reference"))))


def write(options: ReferenceOptions) -> dict[str, Any]:
    """Writes the file; returns what it says of itself."""
    if (options.images is None) == (options.dataset is None):
        raise UserError("give either images=DIR or dataset=NAME")
    if not options.out.endswith(".npz"):
        raise UserError(f"out={options.out!r}: valid are names that end in .npz")
    folder = pathlib.Path(options.out).expanduser().parent
    if not folder.is_dir():  # the features may take hours
        raise UserError(f"out={options.out!r}: there is no folder {str(folder)!r}")
    chosen = extractors.load(options.extractor)
    if options.images is not None:
        name, images = (
            folders.short(options.images),
            folders.read(options.images, chosen, options.on_bad_record, options.convert, options.image_size),
        )
    else:
        assert options.dataset is not None
        source = data.load(
            options.dataset,
            options.split,
            data_dir=options.data_dir,
            image_size=options.image_size,
            on_bad_record=options.on_bad_record,
            convert=options.convert,
        )
        name = f"{options.dataset}/{options.split}"
        images = folders.Shown(Records(source, chosen.channels), name)
    found = folders.statistics(images, name, chosen, options.extractor.extractor_batch)
    reference_statistics.save(options.out, found)
    kept = ("count", "extractor", "resize", "images", "sha256")
    return {"out": options.out, **{field: getattr(found, field) for field in kept}}


if __name__ == "__main__":
    cli.run(main)
