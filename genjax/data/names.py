"""What the name of a data set says: what is made of it, of what kind it is, and where it lies."""

import os
from typing import Literal, NamedTuple

from genjax.data.arrays import SUFFIXES
from genjax.data.derived import DERIVATIONS

FOLDER, STACKED = "folder:", "stacked:"
BUNDLED = ("digits", "shapes")
_MADE = (STACKED, *(f"{name}:" for name in DERIVATIONS))


class Name(NamedTuple):
    """The parts of a name, as of "edges:folder:photos".

    Attributes:
        made: what is made of the images, "edges:", or "".
        kind: where they are from; a "folder" and a "file" have a path.
        rest: the path as it is written, or the name of the data set.
    """

    made: str
    kind: Literal["folder", "file", "bundled", "tfds"]
    rest: str

    @property
    def is_path(self) -> bool:
        """Whether `rest` is a path."""
        return self.kind in ("folder", "file")


def parse(name: str) -> Name:
    """The parts of the name of a data set.

    A relative path needs "folder:", a slash or a leading dot, so that a folder "mnist" here does not hide the data set.
    Names of TFDS may have a slash too, so other names with one are paths only if the folder is there.
    """
    made = ""
    while prefix := next((prefix for prefix in _MADE if name.startswith(prefix)), ""):
        made, name = made + prefix, name.removeprefix(prefix)
    rest = name.removeprefix(FOLDER)
    path = os.path.expanduser(rest)
    is_folder = os.path.isdir(path)
    if rest.lower().endswith(SUFFIXES) and not is_folder:
        return Name(made, "file", rest)
    if name.startswith((FOLDER, "/", ".", "~")) or ("/" in name and is_folder):
        return Name(made, "folder", rest)
    return Name(made, "bundled" if name in BUNDLED else "tfds", name)


def absolute(name: str) -> str:
    """The name from any current folder: a path in it becomes absolute, and "~" the user's home."""
    made, kind, rest = found = parse(name)
    if not found.is_path:
        return name
    return f"{made}{FOLDER if kind == 'folder' else ''}{absolute_path(rest)}"


def absolute_path(path: str) -> str:
    """An absolute path, links as they are; an address ("gs://...") stays."""
    return path if "://" in path else os.path.abspath(os.path.expanduser(path))


def short(name: str) -> str:
    """The name without the folders above it: where a data set lies is not what it is."""
    made, kind, rest = found = parse(name)
    if not found.is_path:
        return name
    return f"{made}{FOLDER if kind == 'folder' else ''}{os.path.basename(absolute_path(rest))}"


def may_be_moved(before: str | None, now: str | None) -> bool:
    """Whether two names differ at most in their paths."""
    if before is None or now is None:
        return before == now
    old, new = parse(before), parse(now)
    return old == new or (old.is_path and old[:2] == new[:2])
