"""What a run tells about itself: metric writers with the method names of clu's `MetricWriter`, a bar.

The writers need no TensorFlow (clu's own do). On several processes only process 0 should write: give the
others ``MultiWriter()``.
"""

import collections
import contextlib
import datetime
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import jax
import numpy as np

from genjax.typing import UserError

Scalar = Any
"""A number, or an array of shape []."""

TIMING = "time/"
"""Names of metrics that are measured times start with this: they differ between equal runs."""


class Writer:
    """Where metrics go. Every method does nothing here: a writer overrides those it has a use for."""

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
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
    Non-finite numbers are ``NaN`` and ``Infinity``, which Python's JSON reader accepts.

    Args:
        path: the file, on a local or mounted file system; lines are appended to it. Its directory is created
            if missing.
    """

    def __init__(self, path: str | os.PathLike):
        self._path = pathlib.Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("ab", buffering=0)

    def write_scalars(self, step: int, scalars: Mapping[str, Scalar]) -> None:
        record = {name: _number(name, x) for name, x in scalars.items() if not name.startswith(TIMING)}
        if record:
            self._file.write(json.dumps({"step": int(step), **record}).encode() + b"\n")

    def truncate_after(self, step: int) -> None:
        """Drops the lines of later steps, and a last line that a kill left half-written.

        The file is replaced by a new one, so that a kill leaves either the one or the other.

        Raises:
            UserError: a line other than the last is not a JSON object with a "step".
        """
        lines = self._path.read_bytes().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        kept = [line for number, line in enumerate(lines, 1) if self._step(number, line) <= step]
        temporary = self._path.with_name(self._path.name + ".tmp")
        temporary.write_bytes(b"".join(kept))
        self._file.close()
        temporary.replace(self._path)
        self._file = self._path.open("ab", buffering=0)

    def close(self) -> None:
        self._file.close()

    def _step(self, number: int, line: bytes) -> int:
        try:
            return json.loads(line)["step"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self._path}, line {number}: not a JSON object with a step: {line!r}"
            ) from error


class TensorBoardWriter(Writer):
    """TensorBoard event files, written by tensorboardX.

    Args:
        directory: folder of the event files; created if missing.
        resume_step: step from which the run goes on: TensorBoard drops events of later steps.
    """

    def __init__(self, directory: str | os.PathLike, resume_step: int | None = None):
        self._directory = str(directory)
        self._writer = self._open(resume_step)

    def write_scalars(self, step: int, scalars: Mapping[str, Scalar]) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, _number(name, value), int(step))

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        for name, image in images.items():
            array = np.asarray(image)
            add = self._writer.add_images if array.ndim == 4 else self._writer.add_image
            add(name, array, int(step), dataformats="NHWC"[-array.ndim :])

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        for name, text in texts.items():
            self._writer.add_text(name, text, int(step))

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        from tensorboardX.summary import hparams as summaries

        # Not `SummaryWriter.add_hparams`: it opens a run of its own, named by the time, for each call.
        plain = {
            name: value if isinstance(value, (int, float, str)) else str(value)
            for name, value in hparams.items()
        }
        for summary in summaries(plain, {}):
            self._writer.file_writer.add_summary(summary)

    def truncate_after(self, step: int) -> None:
        self._writer.close()
        self._writer = self._open(step)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _open(self, resume_step: int | None) -> Any:
        from tensorboardX import SummaryWriter

        # purge_step hides the events of that step too, and the checkpoint's own step is not run again.
        purge_step = None if resume_step is None else resume_step + 1
        # tensorboardX names files by the second: another writer within it would overwrite the file.
        suffix = f".{time.time_ns()}"
        return SummaryWriter(self._directory, purge_step=purge_step, filename_suffix=suffix)


def open_writers(workdir: str | os.PathLike, resume_step: int) -> Writer:
    """The writers of a run: ``metrics.jsonl`` and ``tensorboard/`` in its `workdir`, none but on process 0.

    Args:
        workdir: folder of the run; created if missing.
        resume_step: step from which the run goes on, 0 for a new one: what was written for later steps goes.
    """
    if jax.process_index() != 0:
        return MultiWriter()
    lines = JsonlWriter(pathlib.Path(workdir) / "metrics.jsonl")
    lines.truncate_after(resume_step)
    return MultiWriter(lines, TensorBoardWriter(pathlib.Path(workdir) / "tensorboard", resume_step))


class Progress:
    """A progress bar of a training: step, images/s, metrics, remaining time.

    Use it through `progress`.
    """

    _WINDOW = 20
    _SAMPLE_SECONDS = 0.5

    def __init__(
        self,
        total: int,
        initial: int,
        images_per_step: int,
        show: Callable[["Progress"], None],
        close: Callable[["Progress"], None],
        clock: Callable[[], float],
    ):
        self.total = total
        self.step = initial
        self._images_per_step = images_per_step
        self._show = show
        self._close = close
        self._clock = clock
        self._metrics: dict[str, float] = {}
        # Starts with the first update, not here: the time to compile says nothing about the steps to come.
        self._seen: collections.deque[tuple[float, int]] = collections.deque(maxlen=self._WINDOW)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def advance(self, count: int, **metrics: float | None) -> None:
        """Shows that `count` more steps are done.

        Args:
            count: number of steps since the last call.
            **metrics: numbers to show until they are given again; plain floats, so that showing them does not
                wait for a device. None leaves a metric as it was.
        """
        now = self._clock()
        self.step += count
        self._metrics.update((name, value) for name, value in metrics.items() if value is not None)
        if not self._seen or now - self._seen[-1][0] >= self._SAMPLE_SECONDS:
            self._seen.append((now, self.step))
        self._show(self)

    def close(self) -> None:
        self._close(self)

    @property
    def text(self) -> str:
        """Images/s and remaining time (of the last few seconds; none before that) and the metrics."""
        parts = [f"{name} {value:.4g}" for name, value in self._metrics.items()]
        if len(self._seen) > 1:
            (start, first), (end, last) = self._seen[0], self._seen[-1]
            steps_per_second = (last - first) / (end - start)
            parts.insert(0, f"{steps_per_second * self._images_per_step:,.0f} images/s")
            if steps_per_second > 0:
                seconds = round((self.total - self.step) / steps_per_second)
                parts.append(f"ETA {datetime.timedelta(seconds=seconds)}")
        return ", ".join(parts)


def progress(
    total: int,
    initial: int,
    images_per_step: int,
    *,
    description: str = "train",
    show: bool | None = None,
    stream: TextIO | None = None,
    line_seconds: float = 30.0,
    clock: Callable[[], float] = time.monotonic,
) -> Progress:
    """A progress bar on a terminal; elsewhere (a log file) a line now and then.

    Args:
        total: number of steps of the whole run.
        initial: steps that were done before, where a run is resumed, else 0.
        images_per_step: global batch size.
        description: what is shown in front.
        show: True draws the bar whatever `stream` is, False prints lines only; None: a bar on a terminal.
        stream: where to write, standard error unless given.
        line_seconds: without a bar, seconds between two lines; the last step always gets one.
        clock: seconds, monotonic.

    Returns:
        A context manager with ``advance(count, **metrics)``.
    """
    out = stream if stream is not None else sys.stderr
    display = _bar if (out.isatty() if show is None else show) else _lines
    draw, close = display(total, initial, description, out, line_seconds, clock)
    return Progress(total, initial, images_per_step, draw, close, clock)


_Display = tuple[Callable[[Progress], None], Callable[[Progress], None]]


def _bar(
    total: int, initial: int, description: str, out: TextIO, _seconds: float, _clock: Callable
) -> _Display:
    from tqdm import tqdm

    layout = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
    bar = tqdm(
        total=total, initial=initial, desc=description, file=out, bar_format=layout, dynamic_ncols=True
    )

    def show(state: Progress) -> None:
        bar.set_postfix_str(state.text, refresh=False)
        bar.update(state.step - bar.n)

    def close(_: Progress) -> None:
        bar.refresh()
        bar.close()

    return show, close


def _lines(
    total: int, initial: int, description: str, out: TextIO, seconds: float, clock: Callable
) -> _Display:
    shown_at, shown_step = clock(), initial

    def write(state: Progress) -> None:
        nonlocal shown_at, shown_step
        shown_at, shown_step = clock(), state.step
        out.write(f"{description}: step {state.step}/{total}{state.text and ', '}{state.text}\n")
        out.flush()

    def show(state: Progress) -> None:
        if clock() - shown_at >= seconds:
            write(state)

    def close(state: Progress) -> None:
        if state.step != shown_step:
            write(state)

    return show, close


def _number(name: str, value: Scalar) -> int | float | bool:
    array = np.asarray(value)
    if array.ndim or not (array.dtype == bool or np.isrealobj(array)) or array.dtype.kind in "OSU":
        raise UserError(f"the metric {name!r} must be a single number, got {array.dtype}{list(array.shape)}")
    # bfloat16 has an item type of its own, hence float and not `item` for all but integers and bools.
    return array.item() if array.dtype.kind in "biu" else float(array)
