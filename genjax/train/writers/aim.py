"""Aim. Its repository is the nearest folder ``.aim`` above the current folder, or a new one in the current folder."""

import atexit
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from genjax.train.logging import Scalar, Writer
from genjax.train.writers import tracker
from genjax.train.writers.kind import WriterKind

ID = "aim.json"


class AimWriter(Writer):
    """A run of Aim, named like the workdir.

    A run that goes on does so in the same run there, if it is started where the same repository is found. Values of
    steps after the checkpoint stay until the run gets to these steps, and replaces them.

    Args:
        workdir: folder of the run; gets ``aim.json`` with the id.
        resume_step: step from which the run goes on; 0: it begins, in a new run there.
    """

    def __init__(self, workdir: pathlib.Path, resume_step: int):
        run_id = tracker.stored_id(workdir / ID, resume_step)
        self._run = _opened(run_id)
        tracker.store_id(workdir / ID, self._run.hash)
        self._run.name = workdir.resolve().name

    def write_scalars(self, step: int, scalars: Mapping[str, Scalar]) -> None:
        for name, value in scalars.items():
            self._run.track(value, name=name, step=step)

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        import aim

        for name, of in images.items():
            self._run.track([aim.Image(x) for x in tracker.pictures(of)], name=name, step=step)

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        import aim

        for name, text in texts.items():
            self._run.track(aim.Text(text), name=name, step=step)

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        self._run["hparams"] = tracker.plain(hparams)

    def close(self) -> None:
        self._run.close()


def _opened(run_id: str | None) -> Any:
    """The run of an id, or a new one."""
    import aim
    from aim.ext.cleanup import AutoClean

    try:
        try:
            return aim.Run(run_hash=run_id, capture_terminal_logs=False)
        except Exception:
            if run_id is None:
                raise
            # A run that was killed on another machine has left Aim's lock; the workdir's says that nobody writes.
            return aim.Run(run_hash=run_id, capture_terminal_logs=False, force_resume=True)
    finally:
        if sys.version_info >= (3, 12):  # Aim starts a thread when Python ends, and Python no longer lets it
            atexit.unregister(AutoClean.cleanup)


WRITER = WriterKind(
    AimWriter, "aim", note=" (Python 3.11 and 3.12: Aim has no version for later ones)", tracker=True
)
