"""A writer that works aside: a tracker that fails or hangs neither ends nor delays a training."""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from genjax.train.logging import Scalar, Writer, number

_log = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds for which the end of a run waits for what is not written yet."""
_ROOM = 10_000
"""Calls that may wait, as while a connection is made."""


class Aside(Writer):
    """Hands everything to another writer in a thread.

    What that writer raises is a warning, once, and it gets nothing more. If it is so slow that too much waits, values
    are left out, with a warning, once.

    Args:
        name: of the writer, for warnings.
        open: makes the writer; called in the thread.
        patience: seconds for which `close` waits for what is not written yet.
        room: calls that may wait.
    """

    def __init__(
        self, name: str, open: Callable[[], Writer], *, patience: float = PATIENCE, room: int = _ROOM
    ):
        self._name, self._patience = name, patience
        self._calls: queue.Queue[tuple[str, tuple[Any, ...]] | None] = queue.Queue(room)
        self._failed = self._late = False
        self._thread = threading.Thread(target=self._work, args=(open,), name=f"log {name}", daemon=True)
        self._thread.start()

    def write_scalars(self, step: int, scalars: Mapping[str, Scalar]) -> None:
        self._call("write_scalars", int(step), {name: number(name, x) for name, x in scalars.items()})

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        self._call("write_images", int(step), {name: np.array(pixels) for name, pixels in images.items()})

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        self._call("write_texts", int(step), dict(texts))

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        self._call("write_hparams", dict(hparams))

    def truncate_after(self, step: int) -> None:
        self._call("truncate_after", int(step))

    def close(self) -> None:
        """Waits, `patience` seconds at most, until all is written."""
        deadline = time.monotonic() + self._patience
        if not self._failed:
            with contextlib.suppress(queue.Full):
                self._calls.put(None, timeout=self._patience)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self._failed = True
            what = f"it has not ended within {self._patience:g} s, and the run ends without it"
            _log.warning("log=%s: %s; values may be missing there", self._name, what)

    def _call(self, method: str, *arguments: Any) -> None:
        if self._failed:
            return
        try:
            self._calls.put_nowait((method, arguments))
        except queue.Full:
            if not self._late:
                self._late = True
                what = "it does not answer, or is slower than the training"
                _log.warning("log=%s: %s; values are left out there", self._name, what)

    def _work(self, open: Callable[[], Writer]) -> None:
        with self._warning():
            writer = open()
            with self._warning():
                while not self._failed and (call := self._calls.get()) is not None:
                    method, arguments = call
                    getattr(writer, method)(*arguments)
            writer.close()

    @contextlib.contextmanager
    def _warning(self) -> Iterator[None]:
        """Makes a warning of an error, the first time, also where a tracker exits."""
        try:
            yield
        except BaseException as error:
            if not self._failed:
                self._failed = True
                what = f"{type(error).__name__}: {error}"
                _log.warning("log=%s: it gets no more of this run, which goes on: %s", self._name, what)
