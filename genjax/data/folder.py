"""A folder of image files as a data set."""

import collections
import functools
import pathlib
from collections.abc import Sequence

import numpy as np

from genjax.data import images
from genjax.data.fields import labelled_images
from genjax.data.source import BadRecordError, check_channels, split_indices
from genjax.typing import UserError

_EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
_SPLITS = frozenset({"train", "test", "val", "validation"})
_TEST_EVERY = 10

_Shape = tuple[int, int, int]


class ImageFolder:
    """Image files in a folder: in one sub-folder for each class, or flat and without labels.

    The names of the class sub-folders, sorted, are the classes; images may lie deeper inside of them. If the
    folder has no sub-folders but "train", "test", "val" and "validation", these are the splits. Otherwise
    every tenth image of the sorted list is the split "test" (``i % 10 == 9``) and the others are "train". The
    split "all" is all images. Hidden files and files without an image's extension are ignored.

    The headers of all files are read at once, so that what is wrong with sizes and colours is known before
    anything starts; pixels are read on demand.

    Args:
        path: the folder.
        split: see above.
        image_size: scale the shorter side to this and crop the centre square (`genjax.data.images.resize`);
            None takes images as they are, which must then all have one size.
        channels: 1 or 3 insists on grayscale or colour; None takes what most of the images are.
        on_bad_record: "error" raises when a bad record is met; "skip" decodes every image at the start, and
            leaves out, counts and logs the bad ones (`skipped`).

    Raises:
        UserError: no such folder or split, no image in it, or none left.
        BadRecordError: names a file that is unreadable, of another size than the others, or grayscale where
            colour is asked, or the reverse.
    """

    def __init__(
        self,
        path: str | pathlib.Path,
        split: str = "all",
        *,
        image_size: int | None = None,
        channels: int | None = None,
        on_bad_record: images.OnBadRecord = "error",
    ):
        images.check_options(image_size, channels, on_bad_record)
        root = pathlib.Path(path).expanduser()
        files, classes, class_names = _find(root, split)
        read_shape = functools.partial(_shape, image_size=image_size, decode=on_bad_record == "skip")
        shapes = images.parallel_map(images.outcome(read_shape), files, desc=f"checking {root}")
        image_shape, errors = _agree(files, shapes, channels)
        if errors and on_bad_record == "error":
            raise next(iter(errors.values()))
        self.skipped = images.report_skipped(str(root), len(files), map(str, errors.values()))
        kept = [i for i in range(len(files)) if i not in errors]
        self._files = [files[i] for i in kept]
        label_of = {name: label for label, name in enumerate(class_names)}
        self._labels = np.array([label_of[classes[i]] for i in kept], np.int32) if class_names else None
        self._image_size = image_size
        self.names = tuple(file.relative_to(root).with_suffix("").as_posix() for file in self._files)
        """Paths in the folder, without the suffix, by which folders are paired."""
        self.info = labelled_images(
            name=f"folder:{root}",
            split=split,
            image_shape=image_shape,
            num_classes=len(class_names) or None,
            class_names=class_names,
        )

    def __len__(self) -> int:
        return len(self._files)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """See `Source.read`.

        Raises:
            BadRecordError: names a file that cannot be decoded, or changed its size or colours.
        """
        pictures = images.parallel_map(self._read_one, [self._files[i] for i in indices])
        shape = (len(indices), *self.info.image_shape)
        records = {"image": np.stack(pictures) if pictures else np.empty(shape, np.uint8)}
        if self._labels is not None:
            records["label"] = self._labels[indices]
        return records

    def _read_one(self, file: pathlib.Path) -> np.ndarray:
        image = images.decode_image(file, str(file), image_size=self._image_size)
        if image.shape != self.info.image_shape:
            raise BadRecordError(
                f"{file} has shape {image.shape}, and had {self.info.image_shape} when the folder was opened"
            )
        return image


def _find(root: pathlib.Path, split: str) -> tuple[list[pathlib.Path], list[str], tuple[str, ...]]:
    """The files of a split, the class of each (or ""), and all classes, of all splits, sorted."""
    if not root.is_dir():
        raise UserError(f"dataset folder {str(root)!r}: no such folder")
    folders = {p.name: p for p in sorted(root.iterdir()) if p.is_dir() and not p.name.startswith(".")}
    has_splits = bool(folders) and _SPLITS.issuperset(folders)
    roots = folders if has_splits else {"": root}
    found = {name: images_in(folder) for name, folder in roots.items()}
    if has_splits and split not in (*found, "all"):
        raise UserError(f"split={split!r}: the folder {root} has {', '.join(map(repr, (*found, 'all')))}")
    if not any(found.values()):
        raise UserError(
            f"dataset folder {str(root)!r}: no image in it (looked for {', '.join(sorted(_EXTENSIONS))}, "
            "in sub-folders too)"
        )
    every = [entry for entries in found.values() for entry in entries]
    class_names = sorted({name for _, name in every})
    if "" in class_names and len(class_names) > 1:
        loose = next(file for file, name in every if not name)
        raise UserError(
            f"dataset folder {str(root)!r}: the image {loose} lies beside class sub-folders; "
            "put every image into one, or none"
        )
    selected = found.get(split, every) if has_splits else [every[i] for i in _split(root, every, split)]
    if not selected:
        raise UserError(f"dataset folder {str(root)!r}: no image in split {split!r}")
    files, classes = zip(*selected, strict=True)
    return list(files), list(classes), tuple(name for name in class_names if name)


def _split(root: pathlib.Path, entries: Sequence[object], split: str) -> np.ndarray:
    index = split_indices(len(entries), split, every=_TEST_EVERY)
    if not len(index):
        raise UserError(
            f"split={split!r}: empty, as every {_TEST_EVERY}th image is for testing and {root} has "
            f"{len(entries)}; use split 'all', or sub-folders 'train' and 'test'"
        )
    return index


def images_in(root: pathlib.Path) -> list[tuple[pathlib.Path, str]]:
    """(file, name of the sub-folder of `root` that it lies in, or "") for each image, sorted."""
    entries = []
    for file in sorted(root.rglob("*")):
        parts = file.relative_to(root).parts
        if (
            file.suffix.lower() in _EXTENSIONS
            and not any(p.startswith(".") for p in parts)
            and file.is_file()
        ):
            entries.append((file, parts[0] if len(parts) > 1 else ""))
    return entries


def _shape(file: pathlib.Path, *, image_size: int | None, decode: bool) -> _Shape:
    """What shape the record of `file` will have, by its header or by all of it."""
    if decode:
        height, width, channels = images.decode_image(file, str(file), image_size=image_size).shape
    else:
        height, width, channels = images.image_header(file, str(file))
    return (height, width, channels) if image_size is None else (image_size, image_size, channels)


def _agree(
    files: Sequence[pathlib.Path], shapes: Sequence[_Shape | BadRecordError], channels: int | None
) -> tuple[_Shape, dict[int, BadRecordError]]:
    """The shape that most files (of the right channels) have, and an error for each file without it."""
    good = [(file, shape) for file, shape in zip(files, shapes, strict=True) if isinstance(shape, tuple)]
    common = collections.Counter(shape for _, shape in good if channels in (None, shape[2])).most_common(1)
    expected = common[0][0] if common else (0, 0, channels or 0)
    example = next((file for file, shape in good if shape == expected), None)
    errors = {}
    for i, (file, shape) in enumerate(zip(files, shapes, strict=True)):
        try:
            if isinstance(shape, BadRecordError):
                raise shape
            check_channels(channels, shape[2], str(file))
            _check_same(file, shape, example, expected)
        except BadRecordError as error:
            errors[i] = error
    return expected, errors


def _check_same(file: pathlib.Path, shape: _Shape, example: pathlib.Path | None, expected: _Shape) -> None:
    kinds = {1: "grayscale", 3: "colour"}
    if shape[2] != expected[2]:
        raise BadRecordError(
            f"{file} is {kinds[shape[2]]} where others ({example}) are {kinds[expected[2]]}: "
            "convert one or the other"
        )
    if shape != expected:
        raise BadRecordError(
            f"{file} has {shape[0]}x{shape[1]} pixels where others ({example}) have "
            f"{expected[0]}x{expected[1]}: pass image_size to scale and crop all of them"
        )
