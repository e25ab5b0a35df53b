"""How far a training has come: a bar on a terminal, a line now and then elsewhere."""

import collections
import contextlib
import datetime
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TextIO


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
        display: "_Display",
        clock: Callable[[], float],
    ):
        self.total = total
        self.step = initial
        self._images_per_step = images_per_step
        self._display = display
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
        self._display.show(self)

    @contextlib.contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Context in which it says that something else than steps takes its time, and for how long."""
        start = self._clock()
        with self._display.busy(what):
            yield
        self._display.say(f"{what}: {self._clock() - start:.1f} s")

    def close(self) -> None:
        self._display.close(self)

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
    drawn = display(total, initial, description, out, line_seconds, clock)
    return Progress(total, initial, images_per_step, drawn, clock)


class _Display(NamedTuple):
    show: Callable[[Progress], None]
    close: Callable[[Progress], None]
    busy: Callable[[str], contextlib.AbstractContextManager[None]]
    say: Callable[[str], None]


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

    @contextlib.contextmanager
    def busy(what: str) -> Iterator[None]:
        done = threading.Event()

        def tick() -> None:
            while not done.wait(1.0):
                bar.refresh()

        bar.set_description_str(what)
        clock = threading.Thread(target=tick, daemon=True)
        clock.start()
        try:
            yield
        finally:
            done.set()
            clock.join()
            bar.set_description_str(description)

    return _Display(show, close, busy, lambda text: bar.write(text, file=out))


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

    def say(text: str) -> None:
        out.write(f"{description}: {text}\n")
        out.flush()

    @contextlib.contextmanager
    def busy(what: str) -> Iterator[None]:
        say(f"{what} ...")
        yield

    return _Display(show, close, busy, say)
