"""Images and labels in files of NumPy: which array of a file is what."""

import pathlib
import re
import zipfile
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from genjax.data.convert import NO_CONVERSION, Conversion, plain_arrays
from genjax.data.digest import of_arrays
from genjax.data.ignored import Ignored
from genjax.data.source import ArraySource, split_indices
from genjax.data.splits import split_of
from genjax.typing import UserError

SUFFIXES = (".npz", ".npy")
"""Of the files that are read here, in any case."""
_IMAGES = ("images", "image", "imgs", "img", "x", "data")
_LABELS = ("labels", "label", "y", "targets", "target", "classes", "class")
_ROLES = dict.fromkeys(_IMAGES, "images") | dict.fromkeys(_LABELS, "labels")
_ALIASES = {"arr_0": ("images", None), "arr_1": ("labels", None)}
_CLASS_NAMES = ("class_names", "label_names", "target_names")
_TEST_EVERY = 10


class _Roles(NamedTuple):
    """Names of the arrays of a file.

    Attributes:
        images: by split, as the file writes it; None: of a file without splits.
        labels: the same.
        class_names: name of the array of class names, or None.
        others: the rest.
    """

    images: Mapping[str | None, str]
    labels: Mapping[str | None, str]
    class_names: str | None
    others: tuple[str, ...]


def load_npz(
    path: str | pathlib.Path,
    split: str,
    conversion: Conversion = NO_CONVERSION,
    *,
    argument: str = "dataset",
) -> ArraySource:
    """Images and labels from a ``.npz`` file written by `numpy.savez`, or images from a ``.npy`` file.

    Args:
        path: the file. A ``.npz`` file holds either arrays for each split (``train_images`` and ``train_labels``,
            ``x_train`` and ``y_train``, ...), or arrays ``images`` and, optionally, ``labels``, of which every tenth
            record is the test split. ``image``, ``imgs``, ``x``, ``data`` and ``arr_0`` mean the images, too;
            ``label``, ``y``, ``targets``, ``classes`` and ``arr_1`` mean the labels, of shape [N] or [N,1];
            ``class_names`` may hold the names of the classes. Other arrays are not used, and listed in
            `ArraySource.ignored`.
        split: "train", "test" or "all", or any for which there is an array.
        conversion: arrays uint16 and of four channels are converted if this asks for it.
        argument: how messages call the path.

    Returns:
        The source; images as `ArraySource` takes them.

    Raises:
        UserError: no such file, unreadable, no such split, two arrays that mean the same, labels without images or of
            an unknown kind, or arrays that `ArraySource` refuses.

    Example:
        >>> import numpy as np
        >>> from genjax import data
        >>> np.savez("pictures.npz", images=np.zeros((20, 8, 8), np.uint8), labels=np.arange(20) % 4, notes=["mine"])
        >>> source = data.load_npz("pictures.npz", "test")  # every tenth image
        >>> source.read(np.arange(2))["label"].tolist(), str(source.ignored)
        ([1, 3], '1 array ignored (notes)')
    """
    path = pathlib.Path(path).expanduser()
    where = f"{argument}={str(path)!r}"
    if not path.is_file():
        raise UserError(f"{where}: no such file")
    arrays = _read(path, where)
    roles = _roles(arrays, where)
    key = _key(roles, arrays, split, where)
    _check_picture(arrays[roles.images[key]], where)
    stored = arrays[roles.images[key]]
    images = plain_arrays(stored, conversion)
    labels = arrays[roles.labels[key]] if key in roles.labels else None
    # Over all splits: a class may be missing in one of them.
    every_label = [arrays[name] for name in roles.labels.values()]
    num_classes = None
    if labels is not None and all(np.issubdtype(v.dtype, np.integer) and v.size for v in every_label):
        num_classes = max(int(v.max()) for v in every_label) + 1
    class_names = _class_names(arrays, roles, num_classes, where)
    num_classes = len(class_names) or num_classes
    options = {"name": str(path), "split": split, "num_classes": num_classes, "class_names": class_names}
    # Checked before it is split, so that a message names the record by its place in the file.
    source = ArraySource(images, labels, **options)  # type: ignore[arg-type]
    numbers = None
    if key is None:
        numbers = split_indices(len(source), split, every=_TEST_EVERY)
        records = source.read(numbers)
        if not len(records["image"]):
            raise UserError(f"{where}, split={split!r}: empty, the file has only {len(source)} images")
        source = ArraySource(records["image"], records.get("label"), **options)  # type: ignore[arg-type]
    source.ignored = Ignored(arrays=roles.others)
    source.digest = of_arrays(stored, labels, numbers)
    return source


def array_names(path: str | pathlib.Path) -> tuple[str, ...]:
    """Names of the arrays of a ``.npz`` file, in no time; none of a file that is no such file."""
    try:
        with zipfile.ZipFile(pathlib.Path(path).expanduser()) as file:
            return tuple(name.removesuffix(".npy") for name in file.namelist())
    except (OSError, zipfile.BadZipFile):
        return ()


def holds_images(path: str | pathlib.Path) -> bool:
    """Whether a ``.npz`` file has an array of images, or a ``.npy`` file has levels, uint8[N,...]."""
    path = pathlib.Path(path).expanduser()
    if path.suffix.lower() == ".npz":
        return any(role == "images" for role, _ in map(_role, array_names(path)))
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False
    return array.dtype == np.uint8 and array.ndim >= 3


def _read(path: pathlib.Path, where: str) -> dict[str, np.ndarray]:
    kind = path.suffix.lower()
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            return {"images": file}
        with file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # zip, header and pickle errors have no common class but this
        raise UserError(f"{where} is not a readable {kind} file of plain arrays: {error}") from error


def _role(name: str) -> tuple[str, str | None]:
    """("images" or "labels", split or None) by the name of an array; ("", None) of others."""
    if name.lower() in _ALIASES:
        return _ALIASES[name.lower()]
    match _words(name):
        case [word] if word in _ROLES:
            return _ROLES[word], None
        case [split, word] if word in _ROLES and split not in _ROLES:
            return _ROLES[word], split
        # "image_ids" are no images of a split "ids".
        case [word, split] if word in _ROLES and (word in ("x", "y") or split_of(split)):
            return _ROLES[word], split
    return "", None


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^0-9a-z]+", name.lower()) if word]


def _roles(arrays: Mapping[str, np.ndarray], where: str) -> _Roles:
    found: dict[str, dict[str | None, str]] = {"images": {}, "labels": {}}
    names = next((name for name in arrays if name.lower() in _CLASS_NAMES), None)
    others = []
    for name in arrays:
        role, split = _role(name) if name != names else ("", None)
        if role and split in found[role]:
            raise UserError(
                f"{where}: the arrays {found[role][split]!r} and {name!r} both mean the {role}; leave one of them out"
            )
        if role:
            found[role][split] = name
        elif name != names:
            others.append(name)
    images, labels = found["images"], found["labels"]
    if None in images and len(images) > 1:
        raise UserError(
            f"{where} has {images.pop(None)!r} and {', '.join(map(repr, images.values()))}: images without a split and "
            "images with one; leave one kind out"
        )
    lonely = [name for split, name in labels.items() if split not in images]
    sizes = {arrays[name].shape[:1] for name in images.values()}
    lonely += [name for name in others if {*_words(name)} & {*_LABELS} and arrays[name].shape[:1] in sizes]
    if images and lonely:
        raise UserError(
            f"{where}: no images belong to {', '.join(map(repr, lonely))} (the file has {sorted(arrays)}), which "
            f"{'look' if len(lonely) > 1 else 'looks'} like labels: the labels of 'images' are called 'labels'; leave "
            "other labels out"
        )
    return _Roles(images, labels, names, tuple(sorted(others)))


def _key(roles: _Roles, arrays: Collection[str], split: str, where: str) -> str | None:
    """Under which split of the file the images are; None: the file has no splits."""
    if None in roles.images:
        return None
    if split in roles.images:
        return split
    meant = split_of(split)
    alike = [name for name in roles.images if name and meant is not None and split_of(name) == meant]
    if len(alike) != 1:
        raise UserError(
            f"{where}, split={split!r}: the file has {sorted(arrays)}; it needs an array "
            f"'images' (and optionally 'labels'), or '{split}_images' (and '{split}_labels')"
        )
    return alike[0]


def _check_picture(images: np.ndarray, where: str) -> None:
    """Refuses [H,W,3], which would be H grayscale images of 3 pixels' width."""
    if images.ndim == 3 and images.shape[-1] in (3, 4) and images.shape[1] > 4:
        raise UserError(
            f"{where}: images have shape {images.shape}, which looks like a single colour image; valid are [N,H,W], "
            "[N,H,W,1] and [N,H,W,3]"
        )


def _class_names(
    arrays: Mapping[str, np.ndarray], roles: _Roles, num_classes: int | None, where: str
) -> tuple[str, ...]:
    if roles.class_names is None or num_classes is None:
        return ()
    names = arrays[roles.class_names]
    if names.ndim != 1 or names.dtype.kind != "U" or len(names) < num_classes:
        raise UserError(
            f"{where}: {roles.class_names!r} is {names.dtype}{list(names.shape)}, valid are texts, one for each of the "
            f"{num_classes} classes"
        )
    return tuple(map(str, names))
