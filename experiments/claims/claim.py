"""What a claim is, what a finding is, and when a measurement supports a claim."""

import math
import os
import shlex
from collections.abc import Callable
from typing import Literal, NamedTuple

from etils import epath

Status = Literal["holds", "does not hold", "undecided", "not tested"]


class Allowed(NamedTuple):
    """The numbers that a claim allows, both ends among them, in the claim's unit.

    "Above 30 %" is ``Allowed(low=30)``. Of "about 1000 times" the file of the claim says what counts as about.
    """

    low: float = -math.inf
    high: float = math.inf


class Place(NamedTuple):
    """Where a claim finds what it is tested on.

    Attributes:
        runs: folder of workdirs: finished ones are read, and what is cheap and missing is trained there.
        data_dir: where TFDS data sets live; None: where they did when a run was trained.
    """

    runs: epath.Path
    data_dir: str | None = None


class Measured(NamedTuple):
    """What the function of a claim has found.

    Attributes:
        value: the number, in the claim's unit; None if there is nothing to measure it on.
        interval: its lowest and highest credible values, ends of a confidence interval or of a range over rounds; None
            for a number that is exact, or of which there is a single draw.
        why: how it was measured, and what stands beside it; or what is missing.
        command: the command that measures the claim again; None: the command that tests only this claim.
    """

    value: float | None
    interval: tuple[float, float] | None
    why: str
    command: str | None = None


class Claim(NamedTuple):
    """A quantitative statement of a survey.

    Attributes:
        name: for the command line.
        statement: in the usual words.
        survey: where such a statement stands.
        claimed: the number in words.
        allowed: the numbers that the statement allows.
        unit: unit of all numbers: "%", "dB", "times", "" for none.
        measure: tests it; a string says why it cannot be tested here.
    """

    name: str
    statement: str
    survey: str
    claimed: str
    allowed: Allowed
    unit: str
    measure: Callable[[Place], Measured] | str


class Finding(NamedTuple):
    """The result of a claim's test. An entry in claims.json has the same fields.

    Attributes:
        claim: the statement.
        survey: where such a statement stands.
        status: whether the measurement supports the claim.
        claimed: the number in words.
        measured: ours, with its unit; None if there is none.
        interval: its ends in the same unit; None if there is none.
        command: that measures it.
        why: how it was measured, or why not.
    """

    claim: str
    survey: str
    status: Status
    claimed: str
    measured: str | None
    interval: tuple[float, float] | None
    command: str
    why: str


class Audited(NamedTuple):
    """A finding, and whether an error is the reason for it."""

    finding: Finding
    failed: bool


def judge(allowed: Allowed, value: float, interval: tuple[float, float] | None) -> Status:
    """Whether a measurement supports a claim.

    Returns:
        "holds" if the whole interval is allowed, "does not hold" if nothing of it is, "undecided" if some of it is.
        Without an interval the value alone decides.

    Raises:
        ValueError: the value is not finite, an end of the interval is no number, or the value is outside of it.
    """
    low, high = interval or (value, value)
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"value={value} with interval={interval}: a finite number inside of it is needed")
    if allowed.low <= low and high <= allowed.high:
        return "holds"
    return "does not hold" if high < allowed.low or low > allowed.high else "undecided"


def audit(claim: Claim, place: Place) -> Audited:
    """Tests a claim. An error on the way is a finding too: the other claims are still to be tested."""
    if isinstance(claim.measure, str):
        return Audited(_finding(claim, place, "not tested", Measured(None, None, claim.measure)), False)
    try:
        measured = claim.measure(place)
        if measured.value is None:
            return Audited(_finding(claim, place, "not tested", measured), False)
        status = judge(claim.allowed, measured.value, measured.interval)
    except Exception as error:
        why = f"error: {type(error).__name__}: {error}"
        return Audited(_finding(claim, place, "not tested", Measured(None, None, why)), True)
    return Audited(_finding(claim, place, status, measured), False)


def _finding(claim: Claim, place: Place, status: Status, measured: Measured) -> Finding:
    where = ["--runs", os.fspath(place.runs), *(["--data-dir", place.data_dir] if place.data_dir else [])]
    words = ["python", "-m", "experiments.claims", "--only", claim.name, *where]
    own = "" if isinstance(claim.measure, str) else shlex.join(words)
    return Finding(
        claim=claim.statement,
        survey=claim.survey,
        status=status,
        claimed=claim.claimed,
        measured=None if measured.value is None else f"{number(measured.value)} {claim.unit}".strip(),
        interval=measured.interval,
        command=measured.command or own,
        why=measured.why,
    )


def number(value: float) -> str:
    """Three digits, more only of numbers of 1,000 and above."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
