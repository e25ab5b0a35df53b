"""A folder of image files as a data set."""

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import numpy as np

from genjax.data import images
from genjax.data.convert import Conversion, check_conversion
from genjax.data.digest import of_files
from genjax.data.fields import labelled_images
from genjax.data.layout import Layout, find
from genjax.data.source import BadRecordError, check_channels

_Shape = tuple[int, int, int]


class ImageFolder:
    """Image files in a folder: in one sub-folder for each class, or flat and without labels.

    The names of the class sub-folders, sorted, are the classes, numbers by their size (2 before 10); images may lie
    deeper inside of them. If all sub-folders have names of splits, in any case ("train", "Training", "test_images",
    "val2017"; see `genjax.data.splits`), they are the splits, with the classes in them. If only some of them have, that
    is an error, unless `layout` says what they are. Without split folders every tenth image of the sorted list is the
    split "test" (``i % 10 == 9``) and the others are "train". The split "all" is all images.

    Symbolic links are followed. Files that are not read are counted (`ignored`): hidden ones and those without the
    suffix of an image (`genjax.data.listing`). Of a file with several frames the first is used, and such files are
    counted.

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
        convert: names of conversions (`genjax.data.convert.CONVERSIONS`), for images that would be bad records without.
        layout: "classes" or "splits" says what the sub-folders are; "auto" is as above.

    Raises:
        UserError: no such folder or split, no image in it, or none left; or it is not clear what the sub-folders are.
        BadRecordError: names a file that is unreadable, of another size than the others, grayscale where
            colour is asked, or the reverse, of more than eight bits a channel, or partly transparent.

    Example:
        >>> import os, numpy as np
        >>> from PIL import Image
        >>> from genjax import data
        >>> for name in ("cat", "dog"):
        ...     os.makedirs(name)
        ...     Image.new("RGB", (6, 4)).save(f"{name}/1.png")
        >>> folder = data.ImageFolder(".", image_size=4)
        >>> folder.info.class_names, folder.info.image_shape, folder.read(np.array([1]))["label"].tolist()
        (('cat', 'dog'), (4, 4, 3), [1])
    """

    def __init__(
        self,
        path: str | pathlib.Path,
        split: str = "all",
        *,
        image_size: int | None = None,
        channels: int | None = None,
        on_bad_record: images.OnBadRecord = "error",
        convert: Sequence[str] = (),
        layout: Layout = "auto",
    ):
        images.check_options(image_size, channels, on_bad_record)
        self._conversion = check_conversion(convert, channels)
        root = pathlib.Path(path).expanduser()
        files, classes, class_names, self.ignored = find(root, split, layout)
        read_header = functools.partial(
            _header, image_size=image_size, decode=on_bad_record == "skip", conversion=self._conversion
        )
        headers = images.parallel_map(images.outcome(read_header), files, desc=f"checking {root}")
        image_shape, errors = _agree(files, headers, channels)
        if errors and on_bad_record == "error":
            raise next(iter(errors.values()))
        self.skipped = images.report_skipped(str(root), len(files), map(str, errors.values()))
        kept = [i for i in range(len(files)) if i not in errors]
        good = [header for header in (headers[i] for i in kept) if isinstance(header, images.Header)]
        animated = sum(header.animated for header in good)
        self.ignored = dataclasses.replace(self.ignored, animated=animated)
        self.digest = of_files(root, files)  # bad records included
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

    @property
    def labels(self) -> np.ndarray | None:
        """int32[N]; None without classes."""
        return self._labels

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
        image = images.decode_image(file, str(file), image_size=self._image_size, conversion=self._conversion)
        if image.shape != self.info.image_shape:
            raise BadRecordError(
                f"{file} has shape {image.shape}, and had {self.info.image_shape} when the folder was opened"
            )
        return image


def _header(
    file: pathlib.Path, *, image_size: int | None, decode: bool, conversion: Conversion
) -> images.Header:
    """What the record of `file` will be, by its header or by all of it."""
    header = images.read_header(file, str(file), conversion)
    height, width, channels = header.shape
    if decode:
        whole = images.decode_image(file, str(file), image_size=image_size, conversion=conversion)
        height, width, channels = whole.shape
    shape = (height, width, channels) if image_size is None else (image_size, image_size, channels)
    return images.Header(shape, header.animated)


def _agree(
    files: Sequence[pathlib.Path], headers: Sequence[images.Header | BadRecordError], channels: int | None
) -> tuple[_Shape, dict[int, BadRecordError]]:
    """The shape that most files (of the right channels) have, and an error for each file without it."""
    good = [
        (file, header.shape)
        for file, header in zip(files, headers, strict=True)
        if isinstance(header, images.Header)
    ]
    common = collections.Counter(shape for _, shape in good if channels in (None, shape[2])).most_common(1)
    expected = common[0][0] if common else (0, 0, channels or 0)
    example = next((file for file, shape in good if shape == expected), None)
    errors = {}
    for i, (file, header) in enumerate(zip(files, headers, strict=True)):
        try:
            if isinstance(header, BadRecordError):
                raise header
            check_channels(channels, header.shape[2], str(file))
            _check_same(file, header.shape, example, expected)
        except BadRecordError as error:
            errors[i] = error
    return expected, errors


def _check_same(file: pathlib.Path, shape: _Shape, example: pathlib.Path | None, expected: _Shape) -> None:
    kinds = {1: "grayscale", 3: "colour"}
    if shape[2] != expected[2]:
        raise BadRecordError(
            f"{file} is {kinds[shape[2]]} where others ({example}) are {kinds[expected[2]]}: "
            "convert=['colour'] or ['grayscale'] makes all of them alike"
        )
    if shape != expected:
        raise BadRecordError(
            f"{file} has {shape[0]}x{shape[1]} pixels where others ({example}) have "
            f"{expected[0]}x{expected[1]}: pass image_size to scale and crop all of them"
        )
