"""A few cheap faults of `python -m tests.faults`, of one small run: the harness works, and so do the messages."""

import pytest

from tests.faults import damage, starts
from tests.faults.__main__ import KINDS, Fault, Harness, plan
from tests.faults.world import Kind, Wrong


def test_plan_has_every_kind_and_family():
    faults = plan(100)
    assert len(faults) == 100 and [fault.number for fault in faults] == list(range(1, 101))
    assert {fault.kind.name for fault in faults} == {kind.name for kind in KINDS}
    for theme in ("signals", "disk", "starts", "damage"):
        families = {fault.family for fault in faults if fault.kind.theme == theme}
        assert families == {"VAE", "GAN", "diffusion", "VQ"}, theme


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with Harness(tmp_path_factory.mktemp("faults")) as harness:
        yield harness


def _kind(kinds, name):
    return next(kind for kind in kinds if kind.name == name)


def test_a_few_faults(harness):
    """Slow: a process imports everything, one trains the run that is damaged, and one runs commands on its copies."""
    kinds = [
        _kind(starts.KINDS, "lock of another machine, torn"),
        *(_kind(damage.KINDS, name) for name in ("JSON files", "a checkpoint", "metrics.jsonl", "folders")),
    ]
    results = [harness.inject(Fault(number, kind, "GAN")) for number, kind in enumerate(kinds, 1)]
    assert [str(result) for result in results if result.wrong] == []
    assert all(result.seen for result in results)


def test_what_is_wrong_is_told(harness):
    def lost(world):
        raise Wrong("a line is lost")

    result = harness.inject(Fault(99, Kind("signals", "lost", lost, 1), "GAN"))
    assert result.wrong == "a line is lost" and "FAILED a line is lost" in str(result)
