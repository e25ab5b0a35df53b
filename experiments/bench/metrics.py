"""``python -m experiments.bench metrics``: distances between sets of features, against torch-fidelity's and SciPy's."""

import dataclasses
import importlib.util
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments.bench import report, timing, torch_fidelity
from experiments.bench.libraries import OURS
from genjax.metrics.frechet import covariance, frechet_distance, moments
from genjax.metrics.kernel import kid
from genjax.metrics.manifold import precision_recall
from genjax.typing import UserError

FIDELITY, SCIPY = "torch-fidelity", "scipy"
_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class Options:
    """Metrics of features, in genjax and with the implementations that published numbers come from.

    All get the same random features, scaled like Inception's, and must give the same number. "scipy" is the matrix
    square root of SciPy, which most implementations of the FID use.

    Attributes:
        only: Names of metrics. Without it: all metrics.
        num: Number of vectors in each set.
        width: Number of features in each vector.
        against: Implementations that genjax is compared with: torch-fidelity, scipy.
        repeats: Number of rounds. Every contender is measured once in each round.
    """

    only: tuple[str, ...] = ()
    num: int = 5000
    width: int = 2048
    against: tuple[str, ...] = (FIDELITY, SCIPY)
    repeats: int = 3


class Case(NamedTuple):
    """A metric: what makes its arguments of two sets of features, and who computes it of them."""

    arguments: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]
    contenders: Callable[[tuple[str, ...]], Mapping[str, Callable[..., Any]]]


def bench(options: Options) -> dict[str, Any]:
    """Measures what the options choose, prints a table and returns nested results.

    Raises:
        UserError: an option makes no sense, or the numbers differ.
    """
    for option, given, valid in (
        ("only", options.only, list(CASES)),
        ("against", options.against, [FIDELITY, SCIPY]),
    ):
        if unknown := [name for name in given if name not in valid]:
            raise UserError(f"{option}={unknown[0]!r}: valid are {', '.join(valid)}")
    if options.repeats < 1 or options.width < 1 or options.num < 4:
        raise UserError(
            f"repeats={options.repeats}, width={options.width}, num={options.num}: at least 1, 1 and 4 are needed"
        )
    sets = features(options.num, options.width)
    results = {}
    for name in options.only or CASES:
        results[name] = _measure(name, CASES[name], sets, options)
        print(report.table({name: results[name]}), flush=True)
    return results


def features(num: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets float32[num, width]: positive, of scales over three orders of magnitude, one 3 % larger."""
    rng = np.random.default_rng(0)
    scale = np.exp(-np.linspace(0, 7, width, dtype=np.float32))
    real, generated = (np.abs(rng.standard_normal((num, width), np.float32)) * scale for _ in range(2))
    return real, generated * np.float32(1.03)


def why_not(name: str) -> str | None:
    """Why a reference implementation is not measured; None: it is."""
    there = torch_fidelity.installed() if name == FIDELITY else importlib.util.find_spec("scipy") is not None
    return None if there else "not installed: pip install -e '.[parity]'"


def _measure(name: str, case: Case, sets: tuple[np.ndarray, np.ndarray], options: Options) -> dict[str, Any]:
    arguments = case.arguments(*sets)
    reasons = {other: why_not(other) for other in options.against}
    contenders = case.contenders(tuple(other for other, reason in reasons.items() if reason is None))
    expected = np.ravel(contenders[OURS](*arguments))
    for other, run in contenders.items():
        _check(name, other, expected, np.ravel(run(*arguments)))

    def timed(run: Callable[..., Any]) -> Callable[[], timing.Measurement]:
        def once() -> timing.Measurement:
            start = time.perf_counter()
            run(*arguments)
            return {"seconds": time.perf_counter() - start}

        return once

    measured = timing.interleave({other: timed(run) for other, run in contenders.items()}, options.repeats)
    seconds = {other: timing.column(rows, "seconds") for other, rows in measured.items()}
    against: dict[str, Any] = {other: reason for other, reason in reasons.items() if reason is not None}
    for other in contenders:
        if other != OURS:
            ratio = timing.ratio(seconds[other], seconds[OURS])  # of rates
            against[other] = {"ratio": ratio, "seconds": timing.summary(seconds[other])}
    return {"seconds": timing.summary(seconds[OURS]), "against": against}


def _check(name: str, other: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    difference = float((np.abs(ours - theirs) / np.abs(theirs)).max())
    if not difference <= _TOLERANCE:
        raise UserError(
            f"against={other!r}: its {name} is {theirs.tolist()}, ours {ours.tolist()}, more than "
            f"{_TOLERANCE:g} apart. What it computes is not the same"
        )


def _frechet(against: tuple[str, ...]) -> Mapping[str, Callable[..., Any]]:
    known: dict[str, Callable[..., Any]] = {SCIPY: _by_matrix_root}
    if FIDELITY in against:
        known[FIDELITY] = torch_fidelity.load().frechet_distance
    return {OURS: frechet_distance, **{name: known[name] for name in against}}


def _by_matrix_root(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    import scipy.linalg

    root = np.real(scipy.linalg.sqrtm(cov1 @ cov2))
    return float(np.sum((mean1 - mean2) ** 2) + np.trace(cov1) + np.trace(cov2) - 2 * np.trace(root))


def _statistics(real: np.ndarray, generated: np.ndarray) -> tuple[np.ndarray, ...]:
    a, b = moments(real), moments(generated)
    return a.mean, covariance(a), b.mean, covariance(b)


def _kid(against: tuple[str, ...]) -> Mapping[str, Callable[..., Any]]:
    def subset_size(real: np.ndarray, generated: np.ndarray) -> int:
        return min(1000, len(real), len(generated))

    found: dict[str, Callable[..., Any]] = {OURS: lambda x, y: kid(x, y, subset_size=subset_size(x, y)).mean}
    if FIDELITY in against:
        theirs = torch_fidelity.load()
        found[FIDELITY] = lambda x, y: theirs.kid(x, y, subset_size=subset_size(x, y))[0]
    return found


def _precision_recall(against: tuple[str, ...]) -> Mapping[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {OURS: precision_recall}
    if FIDELITY in against:
        found[FIDELITY] = torch_fidelity.load().precision_recall
    return found


CASES: dict[str, Case] = {
    "frechet_distance": Case(_statistics, _frechet),
    "kid": Case(lambda real, generated: (real, generated), _kid),
    "precision_recall": Case(lambda real, generated: (real, generated), _precision_recall),
}
