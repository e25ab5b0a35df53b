"""What the records of a source are, in a few words and hashes, wherever they lie: by it a data set that has moved is
known again.

It costs as much for a million files as for a thousand, but for their names. Nothing is decoded, and so it is the same
with every version of a decoder. It is of the data as it is stored: sizes, conversions and limits do not change it. A
file that was changed and has kept its name and its size is found if it is among those that are read.
"""

import hashlib
import os
import pathlib
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

Digest: TypeAlias = Mapping[str, str]
"""By the name of a part: a word, a number or a hash. Parts of the images to translate begin with "source "."""

NOTHING: Digest = types.MappingProxyType({})
"""Of sources that do not say what they are."""

_SIZES, _READ = 1000, 16
_BYTES = 64 * 2**20
"""Of arrays as many records are read, if they are more than `_READ` and fewer than `_SIZES`."""
_SOURCE = "source "
_WORDS = {
    "kind": "kind",
    "made": "what is made of it",
    "files": "number of files",
    "names": "names of files",
    "sizes": "sizes of files",
    "shape": "type and shape",
    "name": "name and version",
    "records": "number of records",
    "shards": "lengths of the shards",
    "bytes": "number of bytes",
    "labels": "labels",
    "contents": "contents",
}
_HASHES = {"names", "sizes", "shards", "labels", "contents"}
_FOLLOWING = {"sizes", "contents"}
"""They differ wherever files have other names."""


def digest(source: Any) -> Digest:
    """The digest of one split; empty for sources that have none.

    Example:
        >>> import numpy as np
        >>> from genjax import data
        >>> found = data.digest(data.digits("test"))
        >>> found["kind"], found["shape"], data.digest(data.ArraySource(np.zeros((1, 2, 2), np.uint8)))
        ('arrays', 'uint8[355, 8, 8]', mappingproxy({}))
    """
    return getattr(source, "digest", NOTHING)


def of_files(root: pathlib.Path, files: Sequence[pathlib.Path]) -> Digest:
    """Of files in a folder: their names in it, the sizes of up to 1,000 and the bytes of up to 16, evenly spread."""
    return {
        "kind": "files",
        "files": str(len(files)),
        "names": _hash(file.relative_to(root).as_posix().encode("utf-8", "surrogatepass") for file in files),
        "sizes": _hash(_size(files[i]) for i in spread(len(files), _SIZES)),
        "contents": _hash(_content(files[i]) for i in spread(len(files), _READ)),
    }


def of_arrays(images: np.ndarray, labels: np.ndarray | None, numbers: np.ndarray | None = None) -> Digest:
    """Of arrays in memory: type and shape, all labels, and records that are evenly spread.

    Args:
        images: [N,...], as they are stored.
        labels: integers [N] or [N,1], or None.
        numbers: int[M], the records that are meant; None: all.
    """
    numbers = np.arange(len(images)) if numbers is None else numbers
    size = max(1, images[:1].nbytes)
    read = numbers[spread(len(numbers), min(_SIZES, max(_READ, _BYTES // size)))]
    shape = ", ".join(map(str, (len(numbers), *images.shape[1:])))
    found = {
        "kind": "arrays",
        "shape": f"{images.dtype.name}[{shape}]",
        "contents": _hash(np.ascontiguousarray(_little(images[i])).tobytes() for i in read),
    }
    if labels is None:
        return found
    return {**found, "labels": _hash([labels[numbers].astype("<i8").tobytes()])}


def of_tfds(builder: Any, split: str, count: int, record: Callable[[int], bytes]) -> Digest:
    """Of a split of a data set of TFDS: name and version, shards, and the stored bytes of up to 16 images.

    Args:
        builder: TFDS's own.
        split: name of the split, which may be a slice.
        count: number of records.
        record: the stored image of a record; whatever it raises, the record is a bad one.
    """
    info = builder.info.splits[split]
    known = {"bytes": str(int(info.num_bytes))} if info.num_bytes else {}
    return {
        "kind": "TFDS",
        "name": builder.info.full_name,
        "records": str(count),
        "shards": _hash([",".join(map(str, info.shard_lengths)).encode()]),
        **known,
        "contents": _hash(_or_bad(record, i) for i in spread(count, _READ)),
    }


def made(name: str, of: Digest) -> Digest:
    """Of what is made of each record of another source, by its name."""
    return {**of, "made": f"{name}:{of.get('made', '')}"} if of else NOTHING


def beside(target: Digest, source: Digest) -> Digest:
    """Of images, and of those that are translated to them."""
    return (
        {**target, **{_SOURCE + name: value for name, value in source.items()}}
        if target and source
        else NOTHING
    )


def differences(before: Digest, now: Digest) -> list[str]:
    """In what two data sets differ, in words; nothing if they are the same. Parts that only one of them has are of
    another version, and say nothing."""
    found = []
    for prefix in ("", _SOURCE):
        a, b = _of(before, prefix), _of(now, prefix)
        names = [name for name in _WORDS if a.get(name, "") != b.get(name, "")]
        if a and b:
            names = [name for name in names if name == "made" or {name} <= a.keys() & b.keys()]
            found += [f"{prefix and 'source: '}{_in_words(name, a, b)}" for name in _first(names)]
    return found


def spread(count: int, most: int) -> list[int]:
    """Up to `most` of the numbers below `count`, evenly spread, with the first and the last."""
    if count <= most:
        return list(range(count))
    return [i * (count - 1) // (most - 1) for i in range(most)]


def _first(names: Sequence[str]) -> Sequence[str]:
    """Without the differences that follow from others."""
    if "kind" in names:
        return ["kind"]
    return [name for name in names if name not in _FOLLOWING] if "names" in names else names


def _in_words(name: str, before: Digest, now: Digest) -> str:
    if name in _HASHES:
        return _WORDS[name]
    old, new = (of.get(name, "").rstrip(":") or "nothing" for of in (before, now))
    return f"{_WORDS[name]} ({old} before, {new} now)"


def _of(whole: Digest, prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix): value
        for name, value in whole.items()
        if name.startswith(_SOURCE) == bool(prefix)
    }


def _hash(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()[:16]


def _little(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _size(file: pathlib.Path) -> bytes:
    try:
        return str(os.path.getsize(file)).encode()
    except OSError:  # a bad record, which may be left out
        return b"unreadable"


def _content(file: pathlib.Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").digest()
    except OSError:
        return b"unreadable"


def _or_bad(record: Callable[[int], bytes], number: int) -> bytes:
    try:
        return bytes(record(number))
    except Exception:  # array_record and protobuf have errors of their own
        return b"unreadable"
