"""Notice of preemption: SIGTERM asks a run to save and leave."""

import signal
import threading
from types import FrameType, TracebackType

import jax
from jax.experimental import multihost_utils


class Preemption:
    """Context in which SIGTERM sets a flag instead of killing the process.

    On several processes JAX's own notice is used, which makes all of them stop after the same step.
    """

    def __init__(self) -> None:
        self._noticed = False
        self._previous: object = None
        self._ours = jax.process_count() == 1 and threading.current_thread() is threading.main_thread()

    def __enter__(self) -> "Preemption":
        if self._ours:
            self._previous = signal.signal(signal.SIGTERM, self._notice)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ours:
            signal.signal(signal.SIGTERM, self._previous)  # type: ignore[arg-type]

    def _notice(self, number: int, frame: FrameType | None) -> None:
        self._noticed = True

    def requested(self, step: int) -> bool:
        """True when the run is to save now, after update number `step`, and leave."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._noticed
