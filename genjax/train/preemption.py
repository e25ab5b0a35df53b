"""Notice to leave: SIGTERM, or Ctrl-C, asks a run to save first."""

import signal
import sys
import threading
from types import FrameType, TracebackType

import jax
from jax.experimental import multihost_utils


class Preemption:
    """Context in which SIGTERM and SIGINT set a flag instead of killing the process. A second SIGINT interrupts.

    On several processes JAX's own notice of SIGTERM is used, which makes all of them stop after the same step.

    Attributes:
        signal: number of the signal that came; None: none has.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._previous: dict[int, object] = {}
        self._ours = jax.process_count() == 1 and threading.current_thread() is threading.main_thread()

    def __enter__(self) -> "Preemption":
        if self._ours:
            for number in (signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as in the background of a shell
                    self._previous[number] = signal.signal(number, self._notice)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)  # type: ignore[arg-type]

    def _notice(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self.signal == number:
                raise KeyboardInterrupt
            print("\ninterrupted: saving after this step; Ctrl-C again stops at once", file=sys.stderr)
        self.signal = number

    def requested(self, step: int) -> bool:
        """True when the run is to save now, after update number `step`, and leave."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self.signal is not None
