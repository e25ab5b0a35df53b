"""Paths for Orbax in which brackets are brackets."""

import glob
import os
from collections.abc import Iterator
from typing import Any

from etils import epath


class PlainPath(type(epath.Path())):  # type: ignore[misc]  # the class of local and remote paths, which has no public name
    """A path of which only the pattern that is given to `glob` is one.

    etils takes the folder, too, for a part of the pattern. Orbax looks for its files in this way: below a folder
    ``runs/a[1]`` it finds none, and writes a checkpoint that cannot be read, without an error.
    """

    def glob(self, pattern: str) -> Iterator[Any]:
        """Files and folders below this one that match."""
        here = os.fspath(self)
        if "://" in here:  # not of this file system
            return super().glob(pattern)
        return map(type(self), glob.glob(os.path.join(glob.escape(here), pattern)))
