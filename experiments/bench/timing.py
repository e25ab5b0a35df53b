"""Repeats of several contenders in turn, and the statistics of them.

A machine that slows down, or that somebody else uses for a while, changes seconds by factors. So contenders
take turns, A B A B, and what is compared is A and B of one round; the median over rounds is quoted with its
range.
"""

import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from tqdm import tqdm

Measurement = Mapping[str, float]
"""What one repeat gives: "images_per_second", and maybe more numbers."""

RATE = "images_per_second"


def interleave(
    contenders: Mapping[str, Callable[[], Measurement]], repeats: int
) -> dict[str, list[Measurement]]:
    """Runs every contender once in each of `repeats` rounds; returns each one's measurements, in order."""
    results: dict[str, list[Measurement]] = {name: [] for name in contenders}
    turns = [name for _ in range(repeats) for name in contenders]
    for name in tqdm(turns, desc="bench", leave=False, disable=None, file=sys.stderr):
        results[name].append(contenders[name]())
    return results


def timed(run: Callable[[int], object], images: int, seconds: float) -> Callable[[], Measurement]:
    """A contender that is a function of this process; compiles and warms it up.

    Args:
        run: does the work `count` times, and returns when all of it is done.
        images: handled by doing the work once.
        seconds: a repeat does the work as often as takes about that long, at least once.

    Returns:
        A function of no arguments that measures one repeat.
    """
    run(1)
    count = max(1, round(seconds / _seconds(lambda: run(1))))
    return lambda: {RATE: count * images / _seconds(lambda: run(count))}


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, minimum and maximum."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Summary of ours / theirs, pair by pair: above 1 where we are faster."""
    return summary([a / b for a, b in zip(ours, theirs, strict=True)])


def column(measurements: Sequence[Measurement], name: str) -> list[float]:
    """The number called `name` of each measurement."""
    return [float(measurement[name]) for measurement in measurements]


def is_rate(value: object) -> bool:
    """Whether `value` is a positive finite number."""
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
    )
