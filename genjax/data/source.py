"""What a data set is to the rest of the library: records that can be read in any order."""

import types
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from genjax.data import fields as kinds
from genjax.data.digest import NOTHING as NO_DIGEST
from genjax.data.digest import Digest
from genjax.data.fields import DataInfo, Field
from genjax.data.ignored import NOTHING, Ignored
from genjax.typing import UserError


@runtime_checkable
class Source(Protocol):
    """Random access to the records of one split of one data set.

    Attributes:
        info: what the records look like.
        skipped: one message for each bad record that was left out (``on_bad_record="skip"``).

    Example:
        >>> from genjax import data
        >>> source = data.digits("test")
        >>> isinstance(source, data.Source), len(source), source.info.image_shape
        (True, 355, (8, 8, 1))
    """

    info: DataInfo
    skipped: tuple[str, ...]

    def __len__(self) -> int:
        """Number of records."""
        ...

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Records `indices` (int[N]): an array for each field of `info`, as "image" uint8[N,H,W,C] and "label"
        int32[N]."""
        ...


class ArraySource:
    """A source over arrays in memory.

    Args:
        images: uint8[N,H,W,C], or uint8[N,H,W] for grayscale, levels 0..255.
        labels: int[N] in ``range(num_classes)``, or None.
        name: for messages and protocols.
        split: for messages and protocols.
        num_classes: None takes the largest label plus one.
        class_names: one per class, or none.
        others: other fields of the records by name, each an array [N, ...].
        fields: descriptions of the other fields; a field whose array says enough may be left out.

    Raises:
        UserError: wrong dtype or shape, no image at all, a label out of range (the message names the
            record), or another field of another length.

    Example:
        >>> import numpy as np
        >>> from genjax import data
        >>> images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
        >>> source = data.ArraySource(images, labels=np.array([0, 1, 1]), class_names=["cat", "dog"])
        >>> records = source.read(np.array([2, 0]))
        >>> records["image"].shape, records["label"].tolist(), source.info.num_classes
        ((2, 2, 2, 1), [1, 0], 2)
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        *,
        name: str = "arrays",
        split: str = "all",
        num_classes: int | None = None,
        class_names: Sequence[str] = (),
        others: Mapping[str, np.ndarray] = types.MappingProxyType({}),
        fields: Mapping[str, Field] = types.MappingProxyType({}),
    ):
        self._images = _check_images(np.asarray(images), name)
        self._labels = None
        if labels is not None:
            self._labels = _check_labels(np.asarray(labels), len(self._images), num_classes, name)
            num_classes = num_classes or int(self._labels.max()) + 1
        height, width, channels = self._images.shape[1:]
        self.skipped: tuple[str, ...] = ()
        self.ignored, self.digest = NOTHING, NO_DIGEST
        self.info = kinds.labelled_images(
            name,
            split,
            (height, width, channels),
            num_classes if labels is not None else None,
            tuple(class_names),
        )
        self._others = {other: np.asarray(values) for other, values in others.items()}
        for other, values in self._others.items():
            if len(values) != len(self._images):
                raise UserError(f"{name}: {other!r} has {len(values)} entries for {len(self._images)} images")
            self.info = self.info.with_field(other, fields.get(other, kinds.described(values)))

    @classmethod
    def from_records(
        cls,
        records: Mapping[str, np.ndarray],
        info: DataInfo,
        skipped: tuple[str, ...] = (),
        ignored: Ignored = NOTHING,
        digest: Digest = NO_DIGEST,
    ) -> "ArraySource":
        """What another source with this `info` has read; the shape of the images may be another."""
        source = cls(
            records["image"],
            records.get("label"),
            name=info.name,
            split=info.split,
            num_classes=info.num_classes,
            class_names=info.class_names,
            others={other: array for other, array in records.items() if other not in ("image", "label")},
            fields=info.fields,
        )
        source.skipped, source.ignored, source.digest = skipped, ignored, digest
        return source

    def __len__(self) -> int:
        return len(self._images)

    @property
    def labels(self) -> np.ndarray | None:
        """int32[N]; None without classes."""
        return self._labels

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """See `Source.read`."""
        records = {"image": self._images[indices], **{k: x[indices] for k, x in self._others.items()}}
        if self._labels is not None:
            records["label"] = self._labels[indices]
        return records


def split_indices(n: int, split: str, every: int) -> np.ndarray:
    """Indices of `split` in a set of n records that comes without splits: every `every`-th record is for
    testing.

    Args:
        n: number of records in all.
        split: "train" (those with ``i % every != every - 1``), "test" (the others) or "all".
        every: 10 gives a tenth to "test".

    Returns:
        int64[M], indices in increasing order; M of the n records are in the split.

    Raises:
        UserError: another split.
    """
    index = np.arange(n, dtype=np.int64)
    is_test = index % every == every - 1
    selections = {"train": ~is_test, "test": is_test, "all": np.ones(n, bool)}
    if split not in selections:
        raise UserError(f"split={split!r}: valid splits are {', '.join(map(repr, selections))}")
    return index[selections[split]]


def labels_of(source: Source) -> np.ndarray | None:
    """int32[N], the labels of all records, where a source has them at hand; None: it has none, or would have to read
    records."""
    return getattr(source, "labels", None)


def check_channels(channels: int | None, found: int, where: str) -> None:
    """Refuses colour where grayscale was asked for, and the reverse; `where` names the data."""
    kinds = {1: "grayscale", 3: "colour"}
    if channels is not None and channels != found:
        raise BadRecordError(
            f"{where} is {kinds.get(found, f'of {found} channels')} where {kinds[channels]} is asked "
            f"(channels={channels}): leave channels unset to take the data as it is, or pass "
            f"convert=[{_CONVERSIONS[channels]!r}]"
        )


_CONVERSIONS = {1: "grayscale", 3: "colour"}


class BadRecordError(UserError):
    """One record that cannot be used; the message names the file or the record index."""


def _check_images(images: np.ndarray, name: str) -> np.ndarray:
    if images.dtype != np.uint8:
        raise UserError(
            f"{name}: images have dtype {images.dtype}, valid is uint8 with levels 0..255{_conversion(images)}"
        )
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise UserError(
            f"{name}: images have shape {images.shape}, valid are [N,H,W], [N,H,W,1] and [N,H,W,3]{_hint(images)}"
        )
    if not images.size:
        raise UserError(f"{name}: images of shape {images.shape}: there is no image in it")
    return images


def _conversion(images: np.ndarray) -> str:
    """What makes levels of images of another type, by the range of their values."""
    kind = images.dtype.kind
    if kind not in "buif" or not images.size:
        return ""
    if kind == "b":
        return "; of black and white take 255 * images.astype('uint8')"
    if images.dtype.itemsize == 2 and kind == "u" and images.max() > 255:
        return "; convert=['8-bit'] converts uint16"
    low, high = images.min(), images.max()
    if low >= 0 and high <= 1:
        return "; of values in [0, 1] take (255 * images).round().astype('uint8')"
    if low >= 0 and high <= 255:
        return "; of levels 0..255 take images.round().astype('uint8')"
    if low >= -1 and high <= 1:
        return "; genjax.data.to_uint8 converts values in [-1, 1]"
    return f"; their values are in [{low:g}, {high:g}]"


def _hint(images: np.ndarray) -> str:
    if images.ndim != 4:
        return ""
    if images.shape[-1] == 4:
        return "; convert=['on:white'] lays images with an opacity on a background"
    return "; channels come last: images.transpose(0, 2, 3, 1)" if images.shape[1] in (1, 3) else ""


def _numbers(labels: np.ndarray) -> str:
    """What makes numbers of labels of another type."""
    if labels.dtype.kind in "US":
        return (
            "; of names save both class_names, labels = numpy.unique(labels.astype(str), return_inverse=True)"
        )
    whole = labels.dtype.kind == "b" or (
        labels.dtype.kind == "f" and bool((labels == np.round(labels)).all())
    )
    return "; take labels.astype('int32')" if whole else ""


def _check_labels(labels: np.ndarray, n: int, num_classes: int | None, name: str) -> np.ndarray:
    if labels.shape == (n, 1):  # as Keras saves them
        labels = labels[:, 0]
    if labels.ndim == 2 and len(labels) == n:
        raise UserError(
            f"{name}: labels have shape {labels.shape}, valid is ({n},): one number for each image; of one-hot labels "
            "take labels.argmax(1)"
        )
    if labels.shape != (n,):
        raise UserError(f"{name}: labels have shape {labels.shape}, valid is ({n},): one for each image")
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{name}: labels have dtype {labels.dtype}, valid are integers{_numbers(labels)}")
    limit = num_classes or int(labels.max()) + 1
    (bad,) = np.nonzero((labels < 0) | (labels >= limit))
    if bad.size:
        raise UserError(
            f"{name}: labels out of range: record {bad[0]} has label {labels[bad[0]]}, "
            f"valid are 0..{limit - 1}" + (f" ({bad.size} such records)" if bad.size > 1 else "")
        )
    return labels.astype(np.int32)
