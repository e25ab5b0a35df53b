"""The score of images in a folder, made by whatever model, against those in another folder."""

import dataclasses
from typing import Any

import numpy as np
import tqdm

from experiments import extractors
from experiments.extractors import ExtractorOptions
from genjax.data import ImageFiles
from genjax.data.images import OnBadRecord
from genjax.metrics.features import Images
from genjax.metrics.score import score
from genjax.train import sharding


@dataclasses.dataclass(frozen=True)
class Folders:
    """Which images are compared.

    Attributes:
        images: Folder of generated images.
        reference: Folder of real ones.
        train: Folder of the images that the model was trained on, for the metrics that ask for copies.
        on_bad_record: What to do with files that cannot be read.
    """

    images: str
    reference: str
    train: str | None = None
    on_bad_record: OnBadRecord = "error"


def score_folders(folders: Folders, metrics: tuple[str, ...], options: ExtractorOptions) -> dict[str, Any]:
    """All images of all folders, features computed on all devices; see `genjax.metrics.score`."""
    chosen = extractors.load(options)
    mesh = sharding.make_mesh()

    def read(path: str | None) -> Images | None:
        if path is None:
            return None
        files = ImageFiles(path, channels=chosen.channels, on_bad_record=folders.on_bad_record)
        return _Shown(files, path)

    generated, reference = read(folders.images), read(folders.reference)
    assert generated is not None and reference is not None
    return score(
        generated,
        reference,
        read(folders.train),
        extractor=chosen.extractor,
        metrics=metrics,
        equal=False,
        batch_size=sharding.round_up(options.extractor_batch, mesh),
        sharding=sharding.batch_sharding(mesh),
        reference=folders.reference,
    )


class _Shown:
    """Images with a bar that shows how many of them have been read."""

    def __init__(self, images: Images, name: str):
        self._images = images
        self._bar = tqdm.tqdm(total=len(images), desc=name, unit=" images", disable=None, delay=1.0)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, indices: np.ndarray) -> Any:
        read = self._images[indices]
        self._bar.update(len(indices))
        if self._bar.n >= len(self):
            self._bar.close()
        return read
