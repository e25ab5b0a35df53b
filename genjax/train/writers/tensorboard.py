"""TensorBoard event files."""

import contextlib
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from genjax.train import files
from genjax.train.logging import Scalar, Writer, number
from genjax.train.writers.kind import WriterKind


class TensorBoardWriter(Writer):
    """TensorBoard event files, made with tensorboardX.

    They are written here and not by tensorboardX's thread, which a full disk ends without a word: then its queue fills,
    and whoever puts something into it waits for ever.

    Args:
        directory: folder of the event files; created if missing.
        resume_step: step from which the run goes on: TensorBoard drops events of later steps.
    """

    _FLUSH_SECONDS = 30.0

    def __init__(self, directory: str | os.PathLike, resume_step: int | None = None):
        self._directory = pathlib.Path(directory)
        self._open(resume_step)

    def write_scalars(self, step: int, scalars: Mapping[str, Scalar]) -> None:
        from tensorboardX.summary import scalar

        for name, value in scalars.items():
            self._write(step, scalar(name, number(name, value)))

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        from tensorboardX.summary import image

        for name, pixels in images.items():
            array = np.asarray(pixels)
            self._write(step, image(name, array, dataformats="NHWC"[-array.ndim :]))

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        from tensorboardX.summary import text

        for name, value in texts.items():
            self._write(step, text(name, value))

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        from tensorboardX.summary import hparams as summaries

        plain = {
            name: value if isinstance(value, (int, float, str)) else str(value)
            for name, value in hparams.items()
        }
        for summary in summaries(plain, {}):
            self._write(0, summary)

    def truncate_after(self, step: int) -> None:
        self.close()
        self._open(step)

    def flush(self) -> None:
        self._flushed = time.monotonic()
        with files.naming(self._directory):
            self._events.flush()

    def close(self) -> None:
        try:
            with files.naming(self._directory):
                self._events.close()
        except OSError:
            # What could not be written would be tried, and complained of, once more when the file is forgotten.
            with contextlib.suppress(OSError):
                self._events._py_recordio_writer.close()
            raise

    def _write(self, step: int, summary: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        with files.naming(self._directory):
            self._events.write_event(Event(step=int(step), wall_time=time.time(), summary=summary))
        if time.monotonic() - self._flushed > self._FLUSH_SECONDS:
            self.flush()

    def _open(self, resume_step: int | None) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._directory.mkdir(parents=True, exist_ok=True)
        # tensorboardX names files by the second: another writer within it would overwrite the file.
        self._events = EventsWriter(str(self._directory / "events"), f".{time.time_ns()}")
        self._flushed = time.monotonic()
        if (
            resume_step is not None
        ):  # hides the events of that step too, and the checkpoint's own is not run again
            start = SessionLog(status=SessionLog.START)
            self._events.write_event(Event(step=resume_step + 1, wall_time=time.time(), session_log=start))


def _open(workdir: pathlib.Path, resume_step: int) -> Writer:
    return TensorBoardWriter(workdir / "tensorboard", resume_step)


WRITER = WriterKind(_open)
