"""What ``timing.json`` says of times that are known by hand."""

import pytest

from experiments import timing
from genjax.train.timing import Times

COST = {"flops_per_step": 12.0, "network_evaluations_per_step": 8}


def test_epochs_of_a_run_that_gets_faster():
    # An epoch is 10.5 steps; two seconds a step at first, half a second at last.
    times = Times(((0, 0.0), (10, 20.0), (20, 30.0), (40, 40.0)), 7.0)
    found = timing.record(times, examples=42, batch_size=4, cost=COST)
    assert found["first_epoch_seconds"] == pytest.approx(20 + 0.5)
    assert found["last_epoch_seconds"] == pytest.approx(10.5 / 2)
    assert found["seconds_per_epoch"] == pytest.approx(10.5)
    assert (found["steps"], found["train_seconds"], found["compile_seconds"]) == (40, 40.0, 7.0)
    assert found["curve"] == [[0, 0.0], [10, 20.0], [20, 30.0], [40, 40.0]]
    assert found["flops_per_step"] == 12.0 and found["network_evaluations_per_step"] == 8


def test_less_than_an_epoch_is_none():
    found = timing.record(Times(((0, 0.0), (10, 20.0))), examples=42, batch_size=4, cost=COST)
    assert found["first_epoch_seconds"] is None and found["last_epoch_seconds"] is None
    assert found["seconds_per_epoch"] == pytest.approx(21)


def test_the_first_epoch_is_not_one_after_a_resume():
    """Of a run whose first times are not known, an epoch of what is timed is not the first."""
    found = timing.record(Times(((100, 0.0), (200, 10.0))), examples=42, batch_size=4, cost=COST)
    assert found["first_epoch_seconds"] is None
    assert [found[name] for name in ("last_epoch_seconds", "seconds_per_epoch")] == pytest.approx(
        [1.05, 1.05]
    )
