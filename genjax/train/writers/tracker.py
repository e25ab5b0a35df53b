"""What trackers of experiments share: which run of the tracker a run is, and forms that all of them take."""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from genjax.train import files
from genjax.typing import UserError

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def stored_id(path: pathlib.Path, resume_step: int) -> str | None:
    """The id of the tracker's run that a run goes on in, from a file in its workdir.

    Args:
        path: the file; it may be missing.
        resume_step: step from which the run goes on. 0: it begins, and with it another run of the tracker.

    Returns:
        None: there is none.

    Raises:
        UserError: the file holds no id.
    """
    if resume_step == 0 or not path.exists():
        return None
    found = files.read_json(path, {}).get("id")
    if not isinstance(found, str) or not _ID.fullmatch(found):
        raise UserError(f"{path}: id={found!r} is not the id of a run, which has letters, digits, _ and -")
    return found


def store_id(path: pathlib.Path, run_id: str) -> None:
    """Writes the file that `stored_id` reads."""
    files.write_json(path, {"id": run_id})


def plain(hparams: Mapping[str, Any]) -> dict[str, Any]:
    """Values that all trackers take: numbers, texts, None and lists of them; anything else as a text."""

    def one(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [one(x) for x in value]
        return value if value is None or isinstance(value, bool | int | float | str) else str(value)

    return {name: one(value) for name, value in hparams.items()}


def pictures(images: np.ndarray) -> list[Image.Image]:
    """Images [N,H,W,C] or [H,W,C], C = 1 or 3, uint8 or float in [0, 1], as pictures of 8 bits."""
    array = np.asarray(images)
    if array.dtype != np.uint8:
        array = np.round(255 * np.clip(array, 0, 1)).astype(np.uint8)
    each = array if array.ndim == 4 else array[None]
    return [Image.fromarray(x[..., 0] if x.shape[-1] == 1 else x) for x in each]
