"""Times of epochs by hand."""

import pytest

from genjax.train.timing import Times


def test_a_curve_is_a_line_between_its_points():
    # Two seconds a step up to step 10, then half a second.
    times = Times(((0, 0.0), (4, 8.0), (10, 20.0), (30, 30.0)))
    assert (times.steps, times.train_seconds) == (30, 30.0)
    assert times.between(0, 7) == pytest.approx(14)
    assert times.between(3.5, 4) == pytest.approx(1)
    assert times.between(5, 20) == pytest.approx(10 + 5)
    assert times.between(22.5, 30) == pytest.approx(3.75)
    assert times.between(0, 30) == 30 and times.between(10, 10) == 0
    # What is not covered is not guessed.
    assert times.between(0, 30.5) is None and times.between(-1, 3) is None


def test_a_run_that_is_known_from_a_later_step():
    times = Times(((100, 0.0), (200, 10.0)))
    assert (times.steps, times.train_seconds) == (100, 10.0)
    assert times.between(100, 150) == pytest.approx(5) and times.between(0, 150) is None
