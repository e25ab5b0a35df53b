"""A folder of single images, CLASS/NUMBER.png, as `experiments.evaluate --images` and data sets of folders read it."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from genjax.app import pictures, workdir
from genjax.train import files as shared
from genjax.typing import UserError

_LONGEST = 100
"""Bytes of the name of a class; file systems allow about 255."""
_DIGITS = 6


def is_folder(out: str) -> bool:
    """Whether the name of an output means a folder: it ends with a slash."""
    return out.endswith(("/", "\\"))


def check(folder: epath.Path) -> None:
    """Raises UserError unless the folder is missing, and can be made, or is empty."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"out={str(folder)!r} is a file, and not a folder")
    if folder.exists() and not all(shared.is_litter(path.name) for path in folder.iterdir()):
        raise UserError(
            f"out={str(folder)!r}: the folder is not empty, and images of two commands would be mixed in it"
        )
    if not folder.exists() and not folder.parent.is_dir():
        raise UserError(f"out={str(folder)!r}: there is no folder {str(folder.parent)!r}")


def files(
    images: np.ndarray, labels: np.ndarray | None, names: Sequence[str], first: int = 0
) -> dict[str, bytes]:
    """The content of PNG files by their paths in the folder.

    Args:
        images: uint8[N,H,W,C].
        labels: int[N], or None: the files lie in the folder itself.
        names: names of the classes; without names their numbers.
        first: number of the first image.
    """
    folders: dict[int, str] = {}
    if labels is not None:
        numbers = np.unique(labels).tolist()
        folders = dict(
            zip(numbers, folder_names([names[i] if names else str(i) for i in numbers]), strict=True)
        )
    found = {}
    for i, image in enumerate(images):
        name = f"{first + i:0{_DIGITS}d}.png"
        path = name if labels is None else f"{folders[int(labels[i])]}/{name}"
        found[path] = pictures.encode(image)
    return found


def folder_names(names: Sequence[str]) -> list[str]:
    """A name for a folder of each class, on any file system; no two are equal, in any case."""
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        plain = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]', "_", name).strip(" .") or "_"
        plain = f"_{plain}" if name.startswith(".") and plain != "_" else plain
        if len(plain.encode()) > _LONGEST or plain.casefold() in taken:
            plain = shared.with_digest(plain, _LONGEST, 8, of=name)
        while plain.casefold() in taken:  # two classes of the same name
            plain += "_"
        taken.add(plain.casefold())
        found.append(plain)
    return found


def write(folder: epath.Path, content: Mapping[str, bytes]) -> None:
    """Writes the files."""
    for path in sorted({path.rpartition("/")[0] for path in content}):
        (folder / path).mkdir(parents=True, exist_ok=True)
    for path, png in content.items():
        workdir.write_bytes(folder / path, png)
