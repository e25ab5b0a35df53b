"""Valid values that stand in annotations."""

import dataclasses
from typing import Annotated

import pytest

from genjax import ranges
from genjax.ranges import Count, Counts, Positive, Range, Share
from genjax.typing import UserError


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: Positive | None = None
    widths: Counts = (1, 2)


@dataclasses.dataclass(frozen=True)
class Outer:
    name: str = "free"
    depth: Count = 1
    decay: Share = 0.5
    angle: Annotated[float, Range("(-1, 1]")] = 1.0
    inner: Inner = Inner()


def test_ranges_are_found_also_in_unions():
    found = {name: valid.interval for name, valid in ranges.ranges(Inner).items()}
    assert found == {"rate": "(0, inf)", "widths": "[1, inf)"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Outer(depth=0), r"depth=0: valid are \[1, inf\)"),
        (Outer(decay=1.0), r"decay=1.0: valid are \[0, 1\)"),
        (Outer(angle=-1.0), r"angle=-1.0: valid are \(-1, 1\]"),
        (Outer(angle=float("nan")), "angle=nan"),
        (Outer(inner=Inner(rate=0.0)), r"inner.rate=0.0: valid are \(0, inf\)"),
        (Outer(inner=Inner(widths=(4, 0))), r"inner.widths=\(4, 0\)"),
    ],
)
def test_what_is_out_of_range_is_named(config, message):
    with pytest.raises(UserError, match=message):
        ranges.check(config)


def test_the_ends_and_none_are_valid():
    ranges.check(Outer(depth=1, decay=0.0, angle=1.0, inner=Inner(rate=1e-9, widths=())))
