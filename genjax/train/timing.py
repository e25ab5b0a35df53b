"""How long training takes, step by step, over all the starts of a run."""

import bisect
import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Times(NamedTuple):
    """How long a run has trained so far.

    Attributes:
        curve: (step, seconds), ascending: what the steps up to this one took together, compilation, hooks and
            checkpoints apart. It begins with (0, 0.0), or where a run of which this is not known went on.
        compile_seconds: for which the train step was compiled, all starts together.
    """

    curve: tuple[tuple[int, float], ...]
    compile_seconds: float = 0.0

    @property
    def steps(self) -> int:
        """How many steps are timed."""
        return self.curve[-1][0] - self.curve[0][0]

    @property
    def train_seconds(self) -> float:
        """What these took."""
        return self.curve[-1][1]

    def between(self, start: float, stop: float) -> float | None:
        """Seconds from one step to another, by linear interpolation; None where the curve does not cover them."""
        if start < self.curve[0][0] or stop > self.curve[-1][0]:
            return None
        return self._at(stop) - self._at(start)

    def _at(self, step: float) -> float:
        right = max(1, bisect.bisect_left(self.curve, (step, 0.0)))
        if right == len(self.curve):
            return self.curve[-1][1]
        (before, low), (after, high) = self.curve[right - 1 : right + 1]
        return low + (high - low) * (step - before) / (after - before)


class Stopwatch:
    """Runs while steps are computed, and notes how long they took.

    Args:
        start: the step from which the run goes on.
        saved: what `saved` returned for this step, or None.
    """

    def __init__(self, start: int, saved: Mapping[str, Any] | None = None):
        saved = saved or {"curve": [(start, 0.0)], "compile_seconds": 0.0}
        self._curve: list[tuple[int, float]] = [(step, seconds) for step, seconds in saved["curve"]]
        self.compile_seconds: float = saved["compile_seconds"]
        self._before, self._since = self._curve[-1][1], time.perf_counter()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """A context whose time does not count."""
        self._before += time.perf_counter() - self._since
        try:
            yield
        finally:
            self._since = time.perf_counter()

    def lap(self, step: int) -> None:
        """Notes the time of a step that the devices have finished, once."""
        if step > self._curve[-1][0]:
            self._curve.append((step, self._before + time.perf_counter() - self._since))

    @property
    def rate(self) -> float:
        """Steps/s between the last two that were noted."""
        (first, before), (last, seconds) = self._curve[-2:]
        return (last - first) / (seconds - before) if seconds > before else float("inf")

    @property
    def times(self) -> Times:
        """What is known so far."""
        return Times(tuple(self._curve), self.compile_seconds)

    def saved(self) -> dict[str, Any]:
        """The same for a checkpoint: what JSON can hold."""
        return {"curve": [list(point) for point in self._curve], "compile_seconds": self.compile_seconds}
