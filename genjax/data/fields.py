"""What is known of the records of a data set before any of them is read: their fields, by name."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from genjax.typing import UserError


@dataclasses.dataclass(frozen=True)
class Field:
    """One entry of every record.

    Attributes:
        shape: shape of the entry of one record, as (H, W, C) of an image and () of a label.
        dtype: by its NumPy name. uint8 entries of shape (H, W, C) are images, and become float32 in [-1, 1].
        num_classes: values lie in ``range(num_classes)``, as classes or the words of a vocabulary do; None: they do
            not.
        names: one per class; empty where classes have no names.

    Example:
        >>> from genjax import data
        >>> image, label = data.Field((32, 32, 3), "uint8"), data.Field((), "int32", num_classes=10)
        >>> image.is_image, image.nbytes, label.is_image, label.blank(2).tolist()
        (True, 3072, False, [0, 0])
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    num_classes: int | None = None
    names: tuple[str, ...] = ()

    @property
    def is_image(self) -> bool:
        """Whether entries are images."""
        return self.dtype == "uint8" and len(self.shape) == 3

    @property
    def nbytes(self) -> int:
        """Bytes of the entry of one record."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def blank(self, num: int) -> np.ndarray:
        """Zeros in the place of `num` entries."""
        return np.zeros((num, *self.shape), self.dtype)


@dataclasses.dataclass(frozen=True)
class DataInfo:
    """What is known of a data set before any record of it is read.

    Attributes:
        name: name of the data set, as it was asked for.
        split: split of the data set, as it was asked for.
        fields: what each record has, by name. "image" is always there, uint8 of shape (H, W, C); "label" where the data
            set has classes; "source" where there are images of another domain; and whatever else a data set has.

    Example:
        >>> from genjax import data
        >>> info = data.DataInfo("mine", "train", {"image": data.Field((8, 8, 1), "uint8")})
        >>> with_source = info.with_field("source", data.Field((4, 4, 3), "uint8"))
        >>> info.image_shape, info.num_classes, with_source.shape_of("source")
        ((8, 8, 1), None, (4, 4, 3))
    """

    name: str
    split: str
    fields: Mapping[str, Field]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every image."""
        return self.shape_of("image")

    @property
    def num_classes(self) -> int | None:
        """Number of classes of the labels; None where there are no labels."""
        return self.fields["label"].num_classes if "label" in self.fields else None

    @property
    def class_names(self) -> tuple[str, ...]:
        """One per class; empty where there are no labels or no names."""
        return self.fields["label"].names if "label" in self.fields else ()

    def shape_of(self, name: str) -> tuple[int, int, int]:
        """(H, W, C) of the images in a field.

        Raises:
            UserError: records have no images of this name.
        """
        field = self.fields.get(name)
        if field is None or len(field.shape) != 3:
            images = [other for other, field in self.fields.items() if field.is_image]
            raise UserError(
                f"data set {self.name!r} has no images called {name!r}; it has {', '.join(images)}"
            )
        height, width, channels = field.shape
        return height, width, channels

    def with_field(self, name: str, field: Field) -> "DataInfo":
        """The same data set with one field more, or another one in its place."""
        return dataclasses.replace(self, fields={**self.fields, name: field})


def image(shape: tuple[int, ...]) -> Field:
    """A field of images of shape (H, W, C), levels 0..255."""
    return Field(tuple(shape), "uint8")


def label(num_classes: int, names: tuple[str, ...] = ()) -> Field:
    """A field of classes."""
    return Field((), "int32", num_classes, tuple(names))


def labelled_images(
    name: str,
    split: str,
    image_shape: tuple[int, int, int],
    num_classes: int | None = None,
    class_names: tuple[str, ...] = (),
) -> DataInfo:
    """Of images of one shape and, with `num_classes`, their labels.

    Example:
        >>> from genjax import data
        >>> info = data.labelled_images("mine", "train", (8, 8, 1), num_classes=2, class_names=("cat", "dog"))
        >>> sorted(info.fields), info.fields["label"].dtype, info.class_names
        (['image', 'label'], 'int32', ('cat', 'dog'))
    """
    fields = {"image": image(image_shape)}
    if num_classes is not None:
        fields["label"] = label(num_classes, class_names)
    return DataInfo(name, split, fields)


def described(array: np.ndarray) -> Field:
    """The field of an array of shape [N,...] of which nothing else is known."""
    return Field(array.shape[1:], array.dtype.name)


def to_json(info: DataInfo) -> dict[str, Any]:
    """A data set as nested dictionaries and lists, as a JSON file gives them back."""
    fields = {name: _lists(dataclasses.asdict(field)) for name, field in info.fields.items()}
    return {"name": info.name, "split": info.split, "fields": fields}


def _lists(values: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def from_json(stored: Mapping[str, Any]) -> DataInfo:
    """Inverts `to_json`; reads what older versions wrote, too.

    Raises:
        KeyError, TypeError, ValueError: something is missing, of another type, or too large.
    """
    info = _from_json(stored)
    for name, field in info.fields.items():
        _check(name, field)
    if not (isinstance(info.name, str) and isinstance(info.split, str)):
        raise TypeError(f"name {info.name!r} and split {info.split!r} must be texts")
    return info


def _check(name: str, field: Field) -> None:
    """Raises TypeError or ValueError for a field that no data set has."""
    sizes = [*field.shape, *([] if field.num_classes is None else [field.num_classes])]
    if not all(type(size) is int and 0 < size < 2**31 for size in sizes):
        raise ValueError(f"{name} has shape {field.shape} and {field.num_classes} classes")
    if not isinstance(field.dtype, str) or np.dtype(field.dtype).kind not in "biuf":
        raise TypeError(f"{name} is of type {field.dtype!r}")
    if field.nbytes >= 2**31:
        raise ValueError(f"{name} has shape {field.shape}, which is more than 2 GiB")
    if not all(isinstance(each, str) for each in field.names) or len(field.names) not in (
        0,
        field.num_classes,
    ):
        raise ValueError(f"{name} has names {field.names!r} and {field.num_classes} classes")


def _from_json(stored: Mapping[str, Any]) -> DataInfo:
    if "fields" not in stored:  # before fields: the shapes of images and sources, and the number of classes
        info = labelled_images(
            stored["name"],
            stored["split"],
            tuple(stored["image_shape"]),
            stored.get("num_classes"),
            tuple(stored.get("class_names", ())),
        )
        source = stored.get("source_shape")
        return info if source is None else info.with_field("source", image(tuple(source)))
    fields = {
        name: Field(tuple(f["shape"]), f["dtype"], f["num_classes"], tuple(f["names"]))
        for name, f in stored["fields"].items()
    }
    return DataInfo(stored["name"], stored["split"], fields)
