"""What a run tells about itself: metric writers with the method names of clu's `MetricWriter`.

The writers need no TensorFlow (clu's own do). On several processes only process 0 should write: give the
others ``MultiWriter()``. `genjax.train.writers` has those that can be chosen by name.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from genjax.train import files
from genjax.typing import UserError

Scalar = Any
"""A number, or an array of shape []."""

TIMING = "time/"
"""Names of metrics that are measured times start with this: they differ between equal runs."""


class Writer:
    """Where metrics go. Every method does nothing here: a writer overrides those it has a use for."""

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        with contextlib.suppress(OSError) if error is not None else contextlib.nullcontext():
            self.close()

    def write_scalars(self, step: int, scalars: Mapping[str, Scalar]) -> None:
        """Writes numbers that belong to a step.

        Raises:
            UserError: a value is not a single number.
        """

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Writes images [N,H,W,C] or [H,W,C], C = 1 or 3, uint8 or float in [0, 1]."""

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Writes texts (Markdown)."""

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Writes the flat configuration of the run; call it once."""

    def truncate_after(self, step: int) -> None:
        """Drops what was written for later steps: for a run that goes on from a checkpoint of `step`."""

    def flush(self) -> None:
        """Hands what is buffered to the operating system."""

    def close(self) -> None:
        """Flushes and closes; no other method may be called afterwards."""


class MultiWriter(Writer):
    """Writes to each of several writers, in order. Without writers it drops everything."""

    def __init__(self, *writers: Writer):
        self._writers = writers

    def write_scalars(self, step: int, scalars: Mapping[str, Scalar]) -> None:
        for writer in self._writers:
            writer.write_scalars(step, scalars)

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        for writer in self._writers:
            writer.write_images(step, images)

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        for writer in self._writers:
            writer.write_texts(step, texts)

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        for writer in self._writers:
            writer.write_hparams(hparams)

    def truncate_after(self, step: int) -> None:
        for writer in self._writers:
            writer.truncate_after(step)

    def flush(self) -> None:
        for writer in self._writers:
            writer.flush()

    def close(self) -> None:
        with contextlib.ExitStack() as stack:  # all are closed, also where one raises
            for writer in reversed(self._writers):
                stack.callback(writer.close)


class JsonlWriter(Writer):
    """Scalars as JSON lines, ``{"step": 100, "loss": 0.25}``: one line for each call of `write_scalars`.

    Numbers are exact (the shortest text that reads back as the same double), and timings (see `TIMING`) are
    left out, so that equal runs write equal bytes. Each line is in the file when `write_scalars` returns.
    A run that writes all lines of a step before it saves the checkpoint of that step, and calls
    `truncate_after` with the step it resumes from, therefore ends with the bytes of the uninterrupted run.
    Numbers that are not finite have no place in JSON: they are an error.

    Args:
        path: the file, on a local or mounted file system; lines are appended to it. Its directory is created
            if missing.
    """

    def __init__(self, path: str | os.PathLike):
        self._path = pathlib.Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            files.check_is_file(self._path)
        self._file = self._path.open("ab", buffering=0)

    def write_scalars(self, step: int, scalars: Mapping[str, Scalar]) -> None:
        record = {name: number(name, x) for name, x in scalars.items() if not name.startswith(TIMING)}
        if record:
            files.check_finite(record, f"step {step}")
            files.append_line(self._file, json.dumps({"step": int(step), **record}, allow_nan=False).encode())

    def truncate_after(self, step: int) -> None:
        """Drops the lines of later steps, and a last line that a kill left half-written.

        The file is replaced by a new one, so that a kill leaves either the one or the other.

        Raises:
            UserError: a line other than the last is not a JSON object with a "step".
        """
        lines = files.whole_lines(files.read_bytes(self._path))
        kept = [line for number, line in lines if files.logged(self._path, number, line)["step"] <= step]
        self._file.close()
        files.write_bytes(self._path, b"".join(kept))
        self._file = self._path.open("ab", buffering=0)

    def close(self) -> None:
        self._file.close()


def number(name: str, value: Scalar) -> int | float | bool:
    """The value of a metric as a number of Python.

    Raises:
        UserError: it is not a single number; names the metric.
    """
    array = np.asarray(value)
    if array.ndim or not (array.dtype == bool or np.isrealobj(array)) or array.dtype.kind in "OSU":
        raise UserError(f"the metric {name!r} must be a single number, got {array.dtype}{list(array.shape)}")
    # bfloat16 has an item type of its own, hence float and not `item` for all but integers and bools.
    return array.item() if array.dtype.kind in "biu" else float(array)
