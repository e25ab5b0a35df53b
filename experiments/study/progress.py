"""How far a study is, and how long it still takes."""

import sys
from collections.abc import Mapping, Sequence

from tqdm import tqdm


def seconds_left(
    waiting: Sequence[str],
    running: Mapping[str, Sequence[tuple[float, float, float]]],
    finished: Mapping[str, Sequence[float]],
    jobs: int,
) -> float | None:
    """About how long a study still takes.

    A run is expected to take as long as finished runs of its preset took, or else as long as runs in progress will take
    at their present pace, or else as all others on average.

    Args:
        waiting: preset of each run that is still to be started.
        running: preset -> (seconds since its start, share of its steps that was done before, share that is done now) of
            each run under way.
        finished: preset -> how many seconds each run took that was trained from its first step to its last.
        jobs: runs at a time.

    Returns:
        Seconds; None while nothing can be told.
    """
    known = {preset: list(seconds) for preset, seconds in finished.items() if seconds}
    for preset, pairs in running.items():
        if pace := [elapsed / (share - before) for elapsed, before, share in pairs if share > before]:
            known.setdefault(preset, pace)
    if not known:
        return None
    means = {preset: sum(seconds) / len(seconds) for preset, seconds in known.items()}
    default = sum(means.values()) / len(means)
    left = [
        max(0.0, (1 - before) * means.get(preset, default) - elapsed)
        for preset, pairs in running.items()
        for elapsed, before, _ in pairs
    ]
    work = sum(left) + sum(means.get(preset, default) for preset in waiting)
    return max([work / jobs, *left])


def duration(seconds: float) -> str:
    """Seconds as somebody would say them: ``40 s``, ``3 min``, ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


class Progress:
    """A line for each event, and on a terminal a bar below them.

    Args:
        total: number of runs.
        done: how many of them were finished before.
    """

    def __init__(self, total: int, done: int):
        self._total = total
        self._bar = tqdm(
            total=total,
            initial=done,
            disable=not sys.stderr.isatty(),
            bar_format="{desc} {bar} {n:.1f}/{total_fmt} runs, {elapsed} {postfix}",
            desc="study",
        )

    def say(self, line: str) -> None:
        """Prints a line."""
        with self._bar.external_write_mode():
            print(line, flush=True)

    def show(self, done: float, left: float | None) -> None:
        """Moves the bar: `done` runs, shares of those under way included; `left` in seconds."""
        self._bar.n = min(done, self._total)
        self._bar.set_postfix_str("" if left is None else f"about {duration(left)} left")

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()
