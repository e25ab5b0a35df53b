"""The cost of making images with a tiny run: evaluations by hand, and that the rest is what was measured."""

import types

import jax
import pytest
from etils import epath

from experiments import cost, restore
from experiments.config import SamplingOverrides
from genjax.train.program import Program


@pytest.fixture(scope="module")
def restored(run):
    return lambda **overrides: restore.restore(epath.Path(run), SamplingOverrides(**overrides))


@pytest.mark.parametrize(
    "overrides, expected",
    [
        ({"num_steps": 5}, 5),
        # Two a step, but one in the last step, and in the first, which begins where alpha is 0; twice by guidance.
        ({"sampler": "heun", "num_steps": 3, "guidance": 2.0}, 8),
    ],
)
def test_network_evaluations(restored, overrides, expected):
    assert cost.network_evaluations(restored(**overrides)) == expected


def test_a_decoder_is_called_once(tmp_path, verb):
    workdir = tmp_path / "vae"
    tiny = [
        "--model.hidden=8",
        "--steps=2",
        "--batch-size=8",
        "--optimizer.warmup-steps=0",
        "--evaluation.num=0",
    ]
    ended = verb("train", "vae-digits", "--workdir", workdir, *tiny)
    assert ended.code == 0, ended.err
    assert cost.network_evaluations(restore.restore(epath.Path(workdir), SamplingOverrides())) == 1


def test_cost(restored, monkeypatch):
    seen = []
    original = Program.__call__

    def call(program, *arguments):
        result = original(program, *arguments)
        seen.append((program, result.shape))
        return result

    monkeypatch.setattr(Program, "__call__", call)
    # A clock by which a batch takes two seconds, and nothing else takes any time.
    monkeypatch.setattr(cost, "time", types.SimpleNamespace(perf_counter=lambda: 2.0 * len(seen)))
    run = restored()
    found = cost.sampling_cost(run, batches=3)
    assert list(found) == [
        "samples_per_second",
        "compile_seconds",
        "network_evaluations",
        "peak_memory_bytes",
    ]
    # One batch to warm up, and all of the same compiled program.
    programs, shapes = zip(*seen, strict=True)
    assert len(seen) == 4 and len({id(p) for p in programs}) == 1
    assert set(shapes) == {(24, 8, 8, 1)}  # 24 images of a batch, on 8 devices
    assert found["samples_per_second"] == 12
    assert found["compile_seconds"] == programs[0].compile_seconds > 0
    assert found["network_evaluations"] == 2
    images = 3 * 8 * 8 * 4
    parameters = sum(x.nbytes for x in jax.tree.leaves(run.state.ema))
    assert images + parameters <= found["peak_memory_bytes"] < 1e9
