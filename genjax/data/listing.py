"""What lies in a folder and its sub-folders: image files, and everything else, counted."""

import functools
import importlib.util
import os
import pathlib
from collections import Counter
from typing import NamedTuple

from PIL import features

from genjax.typing import UserError

_ALWAYS = frozenset(
    {
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
        *(".pbm", ".pgm", ".ppm", ".pnm"),
    }
)
HEIF = frozenset({".heic", ".heif", ".hif"})
"""Suffixes that pillow-heif reads."""
_SYSTEM = frozenset({"@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found"})
"""Folders that file systems and their tools make: thumbnails of a Synology, what macOS packs beside files, rubbish."""
LOOP = "link to a folder above it"

Parts = tuple[str, ...]
"""A path in a folder, by its parts."""


class Listing(NamedTuple):
    """A folder.

    Attributes:
        root: the folder.
        files: image files by their paths in the folder, sorted.
        folders: sub-folders that are not hidden, by their paths in the folder, sorted.
        ignored: number of all other files, by kind; see `genjax.data.ignored.Ignored`.
    """

    root: pathlib.Path
    files: list[Parts]
    folders: list[Parts]
    ignored: Counter[str]


@functools.cache
def suffixes() -> frozenset[str]:
    """Suffixes, in lower case, of the image files that can be read here.

    AVIF is read where Pillow is built with it, HEIC where pillow-heif is installed.
    """
    avif = {".avif"} if features.check("avif") else set()
    heif = HEIF if importlib.util.find_spec("pillow_heif") else set()
    return _ALWAYS | avif | heif


@functools.cache
def register_heif() -> None:
    """Lets Pillow read HEIC files; they are listed only where this can be done."""
    import pillow_heif

    pillow_heif.register_heif_opener()


def check_folder(root: pathlib.Path, where: str) -> None:
    """Raises UserError, which begins with `where`, unless there is such a folder."""
    if root.is_file():
        raise UserError(f"{where}: this is a file; unpack an archive, and give the folder of its images")
    if not root.is_dir():
        raise UserError(f"{where}: no such folder")


def listing(root: pathlib.Path) -> Listing:
    """Goes through a folder. Symbolic links to files and folders are followed, but for links to a folder that the link
    itself lies in.

    Raises:
        UserError: a folder cannot be read.
    """
    found = Listing(root, [], [], Counter())
    _walk(found, (), frozenset())
    found.files.sort()
    found.folders.sort()
    return found


def _walk(found: Listing, parts: Parts, above: frozenset[tuple[int, int]]) -> None:
    folder = found.root.joinpath(*parts)
    try:
        above |= {_identity(folder)}
        with os.scandir(folder) as opened:
            entries = list(opened)
    except OSError as error:
        raise UserError(f"the folder {str(folder)!r} cannot be read: {error.strerror}") from error
    for entry in entries:
        inner = (*parts, entry.name)
        kind = _kind(entry)
        if kind != "folder":
            if kind == "image":
                found.files.append(inner)
            else:
                found.ignored[kind] += 1
        elif _identity(folder / entry.name) in above:
            found.ignored[LOOP] += 1
        else:
            found.folders.append(inner)
            _walk(found, inner, above)


def _kind(entry: os.DirEntry[str]) -> str:
    """ "folder" or "image", or how files of this kind are counted."""
    if entry.name.startswith("."):
        return "hidden"
    if entry.name in _SYSTEM:
        return "of the system"
    try:
        if entry.is_dir():
            return "folder"
        if not entry.is_file():
            return "broken link" if entry.is_symlink() else "special file"
    except OSError:  # a link to itself
        return "broken link"
    suffix = pathlib.PurePath(entry.name).suffix.lower()
    return "image" if suffix in suffixes() else suffix or "no suffix"


def _identity(folder: pathlib.Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
