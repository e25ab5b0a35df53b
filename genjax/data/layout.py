"""How the sub-folders of a folder are meant: as classes or as splits. It is never guessed where it is not clear."""

import pathlib
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from genjax.data.ignored import Ignored
from genjax.data.listing import Listing, Parts, check_folder, listing, suffixes
from genjax.data.source import split_indices
from genjax.data.splits import looks_like_split, split_of
from genjax.typing import UserError

Layout: TypeAlias = Literal["auto", "classes", "splits"]
"""What the sub-folders of a folder are. "auto": splits if all of them have names of splits, and else classes; an error
if only some of them have."""
LAYOUTS = ("auto", "classes", "splits")
_TEST_EVERY = 10
_LISTED = 8
_CHOICE = "layout='classes' takes all of them as classes, layout='splits' as splits"


class Found(NamedTuple):
    """The images of a split.

    Attributes:
        files: paths.
        classes: the class of each file; "" without classes.
        class_names: the classes of all splits, `in_order`.
        ignored: what else is in the folder.
    """

    files: list[pathlib.Path]
    classes: list[str]
    class_names: tuple[str, ...]
    ignored: Ignored


def find(root: pathlib.Path, split: str, layout: str = "auto") -> Found:
    """The images of a split of a folder.

    Raises:
        UserError: no such folder, layout or split, no image in it, or it is not clear what its sub-folders are.
    """
    if layout not in LAYOUTS:
        raise UserError(f"layout={layout!r}: valid are {', '.join(map(repr, LAYOUTS))}")
    check_folder(root, f"dataset folder {str(root)!r}")
    found = listing(root)
    if not found.files:
        raise UserError(
            f"dataset folder {str(root)!r}: no image in it (looked for {', '.join(sorted(suffixes()))}, "
            f"in sub-folders too){_also(found)}"
        )
    depth = 1 if _has_splits(found, layout) else 0
    class_names = _class_names(found, depth)
    chosen = _of_split(found, split) if depth else _every_tenth(found, split)
    if not chosen:
        raise UserError(f"dataset folder {str(root)!r}: no image in split {split!r}{_also(found)}")
    return Found(
        [root.joinpath(*parts) for parts in chosen],
        [_class(parts, depth) for parts in chosen],
        class_names,
        Ignored(found.ignored, _empty(found, depth)),
    )


def _also(found: Listing) -> str:
    text = str(Ignored(found.ignored))
    return f"; {text}" if text else ""


def _has_splits(found: Listing, layout: str) -> bool:
    """Whether the first sub-folders are splits."""
    top = [parts[0] for parts in found.folders if len(parts) == 1]
    full = {parts[0] for parts in found.files if len(parts) > 1}
    where = f"dataset folder {str(found.root)!r}"
    likely = [name for name in top if looks_like_split(name)]
    odd = [name for name in top if split_of(name) is None and (name in full or name in likely)]
    if layout == "classes" or (layout == "auto" and not likely):
        if layout == "auto":
            _check_no_splits_inside(found, where)
        return False
    if layout == "auto" and odd:
        raise UserError(
            f"{where}: the {'folder' if len(likely) == 1 else 'folders'} {_listed(likely)} "
            f"{'looks like a split' if len(likely) == 1 else 'look like splits'}, and {_listed(odd)} "
            f"{'does' if len(odd) == 1 else 'do'} not name a split: move or rename the odd ones, or say what the "
            f"folders are: {_CHOICE}"
        )
    if not top:
        raise UserError(f"{where}: layout={layout!r}, and there are no sub-folders in it")
    loose = next((parts for parts in found.files if len(parts) == 1), None)
    if loose is not None:
        raise UserError(
            f"{where}: the image {found.root.joinpath(*loose)} lies beside the splits {_listed(top)}; put every image "
            "into one of them"
        )
    meanings: dict[str, str] = {}
    for name in top if layout == "auto" else ():
        meaning = split_of(name) or name
        if meaning in meanings:
            raise UserError(
                f"{where}: the folders {meanings[meaning]!r} and {name!r} are both the split {meaning!r}: put their "
                f"images into one folder, or say what the folders are: {_CHOICE}"
            )
        meanings[meaning] = name
    return True


def _check_no_splits_inside(found: Listing, where: str) -> None:
    """Refuses PHOTOS/{train,test}, of which PHOTOS would be a class, and {cat,dog}/{train,test}."""
    inside: dict[str, list[str]] = {}
    for parts in found.folders:
        if len(parts) == 2:
            inside.setdefault(parts[0], []).append(parts[1])
    for name, folders in inside.items():
        likely = [folder for folder in folders if looks_like_split(folder)]
        if likely and (len(likely) == len(folders) or len({split_of(folder) for folder in likely}) > 1):
            inner = found.root / name
            raise UserError(
                f"{where}: the folder {name!r} has {_listed(likely)} in it, which look like splits, and would be a "
                f"class: give the folder {str(inner)!r} if that is the data set, make splits the first sub-folders if "
                f"{name!r} is a class, or pass layout='classes' if the splits do not matter"
            )


def in_order(names: Iterable[str]) -> list[str]:
    """Names of classes, sorted; by their size if all are numbers, so that class 2 comes before class 10."""
    names = sorted(names)
    numbers = all(name.isascii() and name.isdecimal() for name in names)
    return sorted(names, key=int) if numbers else names


def _class(parts: Parts, depth: int) -> str:
    return parts[depth] if len(parts) > depth + 1 else ""


def _class_names(found: Listing, depth: int) -> tuple[str, ...]:
    names = in_order({_class(parts, depth) for parts in found.files})
    if "" in names and len(names) > 1:
        loose = next(parts for parts in found.files if not _class(parts, depth))
        raise UserError(
            f"dataset folder {str(found.root)!r}: the image {found.root.joinpath(*loose)} lies beside class "
            "sub-folders; put every image into one, or none"
        )
    return tuple(name for name in names if name)


def _empty(found: Listing, depth: int) -> tuple[str, ...]:
    """Folders in the places of splits and classes that have no image in them."""
    full = {parts[:length] for parts in found.files for length in range(1, len(parts))}
    return tuple(
        "/".join(parts)
        for parts in found.folders
        if len(parts) <= depth + 1 and parts not in full and (len(parts) == 1 or parts[:-1] in full)
    )


def _of_split(found: Listing, split: str) -> list[Parts]:
    names = [parts[0] for parts in found.folders if len(parts) == 1]
    if split == "all" and "all" not in names:
        return found.files
    meant = split_of(split)
    alike = [name for name in names if meant is not None and split_of(name) == meant]
    name = split if split in names else alike[0] if len(alike) == 1 else None
    if name is None:
        raise UserError(f"split={split!r}: the folder {found.root} has {_listed([*names, 'all'])}")
    return [parts for parts in found.files if parts[0] == name]


def _every_tenth(found: Listing, split: str) -> list[Parts]:
    index = _split(found.root, len(found.files), split)
    return [found.files[i] for i in index]


def _split(root: pathlib.Path, count: int, split: str) -> np.ndarray:
    index = split_indices(count, split, every=_TEST_EVERY)
    if not len(index):
        raise UserError(
            f"split={split!r}: empty, as every {_TEST_EVERY}th image is for testing and {root} has "
            f"{count}; use split 'all', or sub-folders 'train' and 'test'"
        )
    return index


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*map(repr, names[:_LISTED]), *["..."] * (len(names) > _LISTED)])
