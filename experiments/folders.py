"""The score of images in a folder, made by whatever model, against those in another folder.

In place of a folder there may be a file with arrays of images, ``.npz`` as `experiments.sample` and ADM write them, or
``.npy`` uint8[N,H,W,C]; or features that somebody else computed, ``.npy`` float[N,D], on both sides; and in place
of the real images statistics of theirs, ``.npz``, as `experiments.reference` and other code bases write them.
"""

import dataclasses
import hashlib
import logging
import pathlib
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import tqdm

from experiments import cli
from genjax.app import extractors
from genjax.app.extractors import Chosen, ExtractorOptions
from genjax.data import open_images
from genjax.data.arrays import array_names, holds_images
from genjax.data.images import OnBadRecord
from genjax.metrics import reference_statistics, suite
from genjax.metrics.features import Features, Images, extract
from genjax.metrics.frechet import stream
from genjax.metrics.protocol import Protocol, ProtocolError
from genjax.metrics.reference_statistics import UNKNOWN, Reference
from genjax.metrics.score import describe, score
from genjax.train import sharding
from genjax.typing import UserError

_STATISTICS = (".npz", ".pt")
_OF_STATISTICS = {"fd", "fid"}
"""Metrics for which statistics are enough."""


@dataclasses.dataclass(frozen=True)
class Folders:
    """Which images are compared.

    Attributes:
        images: Folder or file of generated images, or a ``.npy`` file of their features.
        reference: Folder or file of real images, a ``.npy`` file of their features, or a ``.npz`` file of statistics. A
            file with statistics and images, as ADM's, means the statistics where these are enough for the metrics.
        train: Folder or file (or ``.npy`` file of features) of the model's training images, for the metrics that look
            for copies.
        on_bad_record: What to do with a file that cannot be read: stop, or skip it.
        features: Name of the extractor of ``.npy`` files, for the protocol.
        convert: Names of conversions of images, see `genjax.data.convert`.
        image_size: Scale the shorter side of all images to this and crop the centre square; None: as they are.
    """

    images: str
    reference: str
    train: str | None = None
    on_bad_record: OnBadRecord = "error"
    features: str | None = None
    convert: tuple[str, ...] = ()
    image_size: int | None = None

    def __post_init__(self) -> None:
        if _holds_features(self.images) and self.features is None:
            raise UserError(
                "features=NAME is missing: .npy files do not say which extractor their features are of"
            )


def score_folders(
    folders: Folders, metrics: tuple[str, ...], options: ExtractorOptions, resamples: int = 0
) -> dict[str, Any]:
    """All images of all folders, features computed on all devices; see `genjax.metrics.score`.

    Raises:
        UserError: what is given does not go together, or cannot be read.
    """
    paths = [path for path in (folders.images, folders.reference, folders.train) if path is not None]
    arrays = [path for path in paths if _holds_features(path)]
    if arrays:
        if len(arrays) < len(paths):
            other = next(path for path in paths if path not in arrays)
            raise UserError(
                f"{arrays[0]!r} holds features and {other!r} does not: give features of all, or of none"
            )
        return _of_features(folders, metrics, resamples)
    chosen = extractors.load(options)
    if _means_statistics(folders.reference, metrics):
        return _against_statistics(folders, metrics, options, chosen)
    mesh = sharding.make_mesh()
    how = folders.on_bad_record, folders.convert, folders.image_size
    generated, real = (read(path, chosen, *how) for path in (folders.images, folders.reference))
    warn_of_sizes(generated, real)
    return score(
        generated,
        real,
        None if folders.train is None else read(folders.train, chosen, *how),
        extractor=chosen.extractor,
        metrics=metrics,
        equal=False,
        resamples=resamples,
        batch_size=sharding.round_up(options.extractor_batch, mesh),
        sharding=sharding.batch_sharding(mesh),
        reference=short(folders.reference),
    )


def short(path: str) -> str:
    """What a protocol calls it: where it lies is not how it was measured, and a digest says what is in it."""
    return pathlib.Path(path).expanduser().resolve().name


def read(
    path: str,
    chosen: Chosen,
    on_bad_record: OnBadRecord,
    convert: Sequence[str] = (),
    image_size: int | None = None,
) -> Images:
    """The images of a folder or of a file, with a progress bar; says what else lies there."""
    images = open_images(
        path, channels=chosen.channels, on_bad_record=on_bad_record, convert=convert, image_size=image_size
    )
    left = str(images.ignored)
    if left and cli.is_first_process():
        print(f"{path}: {len(images):,} images; {left}", flush=True)
    return Shown(images, path)


def warn_of_sizes(generated: Images, real: Images) -> None:
    """Warns where the first generated and the first real image differ in size: the network sees which is finer."""
    first = [images.first().shape[:2] if isinstance(images, Shown) else None for images in (generated, real)]
    if None in first or first[0] == first[1]:
        return
    (height, width), (real_height, real_width) = first  # type: ignore[misc]
    logging.getLogger(__name__).warning(
        "generated images are %dx%d and real ones %dx%d: each is scaled to the network's size by itself, so that the "
        "score is one of the resolution too. image_size=%d scales and crops all of them first, as training does",
        *(height, width, real_height, real_width, min(height, width)),
    )


def _holds_features(path: str) -> bool:
    return path.lower().endswith(".npy") and not holds_images(path)


def _means_statistics(path: str, metrics: Sequence[str]) -> bool:
    """Whether a reference is one of statistics, and not of images."""
    if not path.lower().endswith(_STATISTICS):
        return False
    both = holds_images(path) and {"mu", "sigma"} <= {*array_names(path)}
    return set(metrics) <= _OF_STATISTICS if both else not holds_images(path)


def statistics(images: Images, name: str, chosen: Chosen, batch_size: int) -> Reference:
    """Moments of the features of images, in one pass that holds one batch at a time, and what they are of.

    Args:
        images: at least two.
        name: of them, for the protocol.
        chosen: the extractor.
        batch_size: images passed to it at a time.
    """
    mesh, digest, extractor = sharding.make_mesh(), hashlib.sha256(), chosen.extractor
    batches = extract(
        images, extractor, sharding.round_up(batch_size, mesh), sharding.batch_sharding(mesh), digest.update
    )
    moments = stream(values for values, _ in batches)
    return Reference.of(
        moments,
        extractor=extractor.identity,
        resize=extractor.preparation,
        images=describe(name, len(images), len(images), digest.hexdigest()[:16]),
    )


def _against_statistics(
    folders: Folders, metrics: tuple[str, ...], options: ExtractorOptions, chosen: Chosen
) -> dict[str, Any]:
    if wrong := [name for name in metrics if name not in _OF_STATISTICS]:
        raise UserError(
            f"metrics has {wrong[0]!r}, which needs the reference's images; from statistics alone there are fd and fid"
        )
    suite.check(metrics, has_train=False, extractor=chosen.extractor.name)
    reference = _load(folders.reference)
    generated = statistics(
        read(folders.images, chosen, folders.on_bad_record, folders.convert, folders.image_size),
        short(folders.images),
        chosen,
        options.extractor_batch,
    )
    for what in ("extractor", "resize"):
        known, here = getattr(reference, what), getattr(generated, what)
        if known not in (UNKNOWN, here):
            raise ProtocolError(
                f"reference={folders.reference!r} was made with {what} {known!r}, and the images are read with {here!r}"
            )
    result = reference_statistics.fd(folders.images, generated.moments, reference)
    names = {"fd": "fd_generated", "fid": "fid"}
    return {
        **{names[metric]: result.value for metric in metrics},
        "num_samples": result.protocol.num_samples,
        "protocol": str(result.protocol),
        "protocols": {m: str(dataclasses.replace(result.protocol, metric=m)) for m in metrics},
    }


def _load(path: str) -> Reference:
    """Statistics in a file of ours or of another code base."""
    try:
        with zipfile.ZipFile(pathlib.Path(path).expanduser()) as file:
            ours = "format.npy" in file.namelist()
    except (OSError, zipfile.BadZipFile):
        ours = False  # what is wrong with the file is said by who reads it
    return reference_statistics.load(path) if ours else reference_statistics.load_foreign(path)


def _of_features(folders: Folders, metrics: tuple[str, ...], resamples: int) -> dict[str, Any]:
    assert folders.features is not None
    sets = suite.Sets(
        _array(folders.images),
        _array(folders.reference),
        None if folders.train is None else _array(folders.train),
    )
    count = len(sets.test.values)
    protocol = Protocol(
        metric="fd",
        extractor=folders.features,
        resize=UNKNOWN,
        num_samples=len(sets.generated.values),
        reference=describe(short(folders.reference), count, count, sets.test.digest),
    )
    return suite.measure(metrics, sets, protocol, resamples=resamples)


def _array(path: str) -> Features:
    try:
        values = np.load(pathlib.Path(path).expanduser(), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path!r} is not a .npy file of plain numbers: {error}") from error
    if values.ndim != 2 or values.dtype.kind != "f" or len(values) < 2:
        raise UserError(
            f"{path!r} holds {values.dtype}{list(values.shape)}: features are float[N,D] with N >= 2"
        )
    if not np.isfinite(values).all():
        raise UserError(f"{path!r} has a value that is not finite")
    values = values.astype(np.float32)
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:16]
    return Features(values, np.zeros((len(values), 0), np.float32), digest)


class Shown:
    """Images with a bar that shows how many of them have been read."""

    def __init__(self, images: Images, name: str):
        self._images = images
        self._bar = tqdm.tqdm(total=len(images), desc=name, unit=" images", disable=None, delay=1.0)

    def __len__(self) -> int:
        return len(self._images)

    def first(self) -> np.ndarray:
        """uint8[H,W,C], the first image; the bar does not count it."""
        return np.asarray(self._images[np.array([0])][0])

    def __getitem__(self, indices: np.ndarray) -> Any:
        found = self._images[indices]
        self._bar.update(len(indices))
        if self._bar.n >= len(self):
            self._bar.close()
        return found
