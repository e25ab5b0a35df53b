"""Links in a folder that is written: nothing is written through one that leads out of the folder.

A workdir that somebody sent may hold a link under a name that genjax writes, ``metrics.jsonl`` or ``samples``, that
leads to a file or folder of the reader. A workdir may itself be a link, or lie below one: that is the path the user
gave.
"""

import os
import pathlib
from collections.abc import Collection

from etils import epath

from genjax.typing import UserError


def check(directory: epath.Path, *, only: Collection[str] | None = None, below: Collection[str] = ()) -> None:
    """Checks that no entry of a folder is a link that leads out of it; folders in buckets have no links.

    Args:
        directory: the folder; it may be missing.
        only: names of the entries that are checked; None: all.
        below: names of folders in it whose entries are checked, too.

    Raises:
        UserError: one is; names it and where it leads.
    """
    path = pathlib.Path(os.fspath(directory))
    if "://" in os.fspath(directory) or not path.is_dir():
        return
    root = path.resolve()
    for folder in (path, *(path / name for name in below)):
        for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
            asked = only is None or folder != path or entry.name in only
            if asked and entry.is_symlink() and not entry.resolve().is_relative_to(root):
                raise UserError(
                    f"workdir={str(path)!r}: {entry.relative_to(path).as_posix()!r} in it is a link to "
                    f"{os.readlink(entry)!r}, which is not in the workdir, and nothing is written there. Remove the "
                    "link, or put the whole workdir where it leads: --workdir itself may be a link"
                )
