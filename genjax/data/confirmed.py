"""Folders of data sets that a user of this machine has named: a folder that only a file names is not read unasked.

``config.json`` of a run says where its data lay. A run may come from somebody else, and so may that folder. What is
read from a file is therefore marked, as `Foreign`, and a marked folder is read if it is TFDS's own, or if somebody
has given it to a command on this machine before: `confirm` keeps a list, ``genjax/data_dirs`` in ``$XDG_STATE_HOME``
(``~/.local/state``). The list holds paths and nothing else; deleting it is harmless.
"""

import logging
import os
import pathlib

from genjax.typing import UserError

_TFDS = "~/tensorflow_datasets"


class Foreign(str):
    """A folder that a file names, and not the user."""

    __slots__ = ()


def check(data_dir: str | os.PathLike[str] | None) -> None:
    """Checks that a folder may be read.

    Raises:
        UserError: a file names it, and nobody has given it on this machine.
    """
    if isinstance(data_dir, Foreign) and _real(data_dir) not in _known():
        raise UserError(
            f"data_dir={str(data_dir)!r}: the config of the run names this folder, and nobody has given it to a "
            f"command on this machine. If you trust what is in it, give --data-dir {str(data_dir)!r} (in Python: "
            "data_dir=...). It is remembered for the next time"
        )


def confirm(data_dir: str | os.PathLike[str] | None) -> None:
    """Remembers a folder that the user has given; None is TFDS's own folder, which needs no confirmation.

    Where the list cannot be written, the folder has to be given again.
    """
    if data_dir is None or isinstance(data_dir, Foreign):
        return
    path = _real(data_dir)
    if path in _known() or "\n" in path:
        return
    try:
        _list().parent.mkdir(parents=True, exist_ok=True)
        with _list().open("a", encoding="utf-8") as file:
            file.write(f"{path}\n")
    except OSError as error:
        logging.getLogger(__name__).info("%s cannot be written: %s", _list(), error)


def _known() -> set[str]:
    default = _real(os.environ.get("TFDS_DATA_DIR") or _TFDS)
    try:
        return {default, *_list().read_text(encoding="utf-8", errors="replace").splitlines()}
    except OSError:
        return {default}


def _list() -> pathlib.Path:
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return pathlib.Path(base).expanduser() / "genjax" / "data_dirs"


def _real(path: str | os.PathLike[str]) -> str:
    """A path without links, the same wherever it is asked for."""
    return os.path.realpath(os.path.expanduser(path))
