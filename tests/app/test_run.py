"""`genjax.load`: a trained run in Python."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import genjax
from genjax.app import scoring
from genjax.app.config import SamplingOverrides
from genjax.app.restore import restore
from genjax.train import program
from genjax.typing import UserError


@pytest.fixture(scope="module")
def loaded(run):
    return genjax.load(str(run))


def test_a_run_says_what_it_is(loaded, run):
    assert repr(loaded) == f"TrainedRun({str(run)!r}, step=6, model='unet', method='diffusion')"
    assert loaded.config.model.channels == 8 and loaded.step == 6
    assert loaded.class_names == tuple("0123456789")
    shapes = jax.tree.map(lambda x: x.shape, loaded.params)
    assert shapes["conv_in"]["kernel"] == (3, 3, 1, 8)
    output = loaded.network.apply({"params": loaded.params}, np.zeros((2, 8, 8, 1)), np.zeros(2), {})
    assert output.shape == (2, 8, 8, 1)
    assert isinstance(loaded.method, genjax.typing.Method)


def test_images_are_those_of_the_verb(loaded, run, verb, tmp_path):
    out = tmp_path / "images.npz"
    ended = verb(
        "sample", "--workdir", run, "--num=4", "--first=3", "--seed=1", "--labels", "3", "--out", out
    )
    assert ended.code == 0, ended.err
    np.testing.assert_array_equal(loaded.sample(4, 1, first=3, label=3), np.load(out)["images"])
    np.testing.assert_array_equal(loaded.sample(4, 1, first=3, label="3"), np.load(out)["images"])
    # Classes come in turn: of number 3 it is 3. Guidance makes classes differ after so short a training.
    in_turn = loaded.sample(4, 1, first=3, guidance=200.0).astype(int)
    of_three = loaded.sample(4, 1, first=3, guidance=200.0, label=3).astype(int)
    differences = np.abs(in_turn - of_three).max((1, 2, 3))
    assert differences[0] <= 1 and differences[1:].max() > 1


def test_options_and_several_classes(loaded):
    both = loaded.sample(2, 0, label=["1", 7], guidance=3.0, num_steps=3, sampler="ddpm")
    again = loaded.sample(1, 0, label=1, guidance=3.0, num_steps=3, sampler="ddpm")
    assert np.abs(both[:1].astype(int) - again.astype(int)).max() <= 1
    assert (both != loaded.sample(2, 0, label=["1", 7], num_steps=3, sampler="ddpm")).any()


def test_no_label_is_the_model_without_its_condition(loaded):
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(1), np.arange(2, 4))
    expected = np.asarray(genjax.data.to_uint8(loaded.method.sample(keys, loaded.state, {})))
    found = loaded.sample(2, 1, first=2, label=None, guidance=200.0)  # nothing to guide to
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
    assert (found != loaded.sample(2, 1, first=2, guidance=200.0)).any()


def test_a_second_call_compiles_nothing(run, monkeypatch):
    """Whatever the seed, the class, the scale: a researcher tries many. Another sampler or number of steps does."""
    compiled = []
    compile_once = program.Program.compile
    monkeypatch.setattr(program.Program, "compile", lambda *a: compiled.append(a) or compile_once(*a))
    loaded = genjax.load(run)
    first = loaded.sample(2, 0, label=1, guidance=3.0)
    loaded.sample(2, 1, label=2, guidance=4.0, first=5)
    np.testing.assert_array_equal(loaded.sample(2, 0, label=1, guidance=3.0), first)
    assert len(compiled) == 1
    assert (loaded.sample(2, 0, label=1, guidance=200.0) != first).any()
    assert len(compiled) == 1
    loaded.sample(2, 0, label=1)  # without guidance the network is evaluated once, by another program
    loaded.sample(2, 0, label=1, guidance=3.0, num_steps=3)
    assert len(compiled) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label": "eleven"}, "label='eleven': there is no such class, valid are 0..9$"),
        ({"label": 10}, "label=10: there is no such class"),
        ({"label": [1, 2, 3]}, r"label has the shape \[3\]: valid is \[2\]"),
        ({"text": "a rose"}, "text='a rose': the conditions of this model are label"),
        ({"num_steps": 0}, r"sampling.num_steps=0: valid are \[1, inf\)"),
        ({"sampler": "nothing"}, "nothing"),
    ],
)
def test_bad_input(loaded, arguments, message):
    with pytest.raises(UserError, match=message):
        loaded.sample(2, 0, **arguments)


def test_scores_are_those_of_the_verb_and_nothing_is_written(loaded, run, digest):
    before = digest(run)
    found = loaded.evaluate(20)
    stored = scoring.workdir.read_scored(loaded.workdir / "metrics.json")
    for name in ("step", "test_loss", "rho", "fd_generated", "protocol"):
        assert found[name] == pytest.approx(stored[name], rel=1e-5) if name != "protocol" else True
    assert digest(run) == before


def test_a_model_without_an_encoder_says_so(loaded):
    with pytest.raises(UserError, match=r"encode: TrainedRun.* has no code for an image"):
        loaded.encode(np.zeros((1, 8, 8, 1), np.uint8))


def test_another_step(run):
    assert genjax.load(run, step=4).step == 4
    with pytest.raises(UserError, match=r"step=5: .* holds no such checkpoint; there are 2, 4, 6"):
        genjax.load(run, step=5)
    with pytest.raises(UserError, match="holds no run"):
        genjax.load(run / "samples")
    assert restore(genjax.load(run).workdir, SamplingOverrides(), step=2).step == 2


def test_codes_go_both_ways(tmp_path, verb):
    workdir = tmp_path / "vae"
    tiny = [
        "--steps",
        "2",
        "--model.hidden",
        "16",
        "--model.latent",
        "4",
        "--evaluation.num",
        "0",
        "--optimizer.warmup-steps",
        "1",
    ]
    ended = verb("train", "vae-digits", "--workdir", workdir, *tiny)
    assert ended.code == 0, ended.err
    run = genjax.load(workdir)
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
    codes = run.encode(images)
    assert codes.shape == (3, 4)
    made = run.decode(codes)
    assert made.shape == images.shape and made.dtype == np.uint8
    np.testing.assert_allclose(run.encode(images / 127.5 - 1), codes, atol=1e-5)
    assert (run.decode(codes + 3) != made).any()


def test_parts_are_there_at_first_use():
    code = (
        "import sys, genjax; assert 'jax' not in sys.modules; assert {'load', 'diffusion', 'app'} <= set(dir(genjax)); "
        "genjax.diffusion.schedules.cosine; genjax.load; print('orbax' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout.strip() == "False", ended.stderr
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        genjax.nonsense  # noqa: B018
