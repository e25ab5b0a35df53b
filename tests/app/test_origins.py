"""Runs that start from other runs, or hold them frozen."""

import json
import shutil

import jax
import numpy as np
import pytest
from etils import epath

import genjax
from genjax.app import origins
from genjax.app.config import Config, InitialConfig
from genjax.app.restore import recorded
from genjax.train.checkpoint import Checkpointer
from genjax.typing import UserError


def leaves(workdir, step=None):
    with Checkpointer(workdir / "checkpoints", read_only=True) as checkpoints:
        return checkpoints.leaves(("params/", "ema/", "opt/"), step)[0]


@pytest.mark.parametrize(
    ("text", "path", "step"),
    [("runs/a", "runs/a", None), ("runs/a@300", "runs/a", 300), ("a@b", "a@b", None)],
)
def test_references(text, path, step):
    assert origins.parse(text) == (epath.Path(path), step)


def test_a_run_starts_from_the_parameters_of_another(run, train_tiny, tmp_path):
    ended = train_tiny(
        tmp_path / "new", "--init-from", f"{run}@4", "--steps=2", "--seed=1", "--evaluation.num=0"
    )
    assert ended.code == 0, ended.err
    names = [name for name in leaves(run, 4) if name.startswith("params/")]
    assert f"init_from: {len(names)} arrays taken, 0 new, 0 left" in ended.out
    assert f"init_from: {run}@4, SHA-256" in ended.out
    record = json.loads((tmp_path / "new" / "origins.json").read_text())["init_from"]
    assert record["step"] == 4 and len(record["digest"]) == 64
    config = genjax.load(tmp_path / "new").config
    assert config.initial == InitialConfig(init_from=f"{run}@4")
    # The first update starts at the other run's parameters: with a learning rate of 0 it stays there.
    still = train_tiny(
        tmp_path / "still",
        *("--init-from", f"{run}@4", "--steps=2", "--evaluation.num=0", "--optimizer.learning-rate=1e-30"),
    )
    assert still.code == 0, still.err
    old, new = leaves(run, 4), leaves(tmp_path / "still")
    for name in names:
        np.testing.assert_array_equal(new[name], old[name], err_msg=name)
    averages = [name for name in old if name.startswith("ema/")]
    assert any((old[name] != old["params" + name.removeprefix("ema")]).any() for name in averages)


def test_it_goes_on_when_the_run_it_came_from_is_gone(run, train_tiny, tmp_path):
    first = shutil.copytree(run, tmp_path / "first")
    options = ("--init-from", first, "--steps=4", "--evaluation.num=0")
    whole = train_tiny(tmp_path / "new", *options)
    assert whole.code == 0, whole.err
    ends = leaves(tmp_path / "new")
    shutil.rmtree(tmp_path / "new/checkpoints/00000004")
    shutil.rmtree(first)
    again = train_tiny(tmp_path / "new", *options)
    assert again.code == 0 and "init_from" not in again.out, again.err
    for name, array in leaves(tmp_path / "new").items():
        np.testing.assert_array_equal(array, ends[name], err_msg=name)


def test_what_does_not_fit_is_listed_and_partial_starts_all_the_same(run, train_tiny, tmp_path):
    options = ("--init-from", run, "--model.attention=8", "--steps=2", "--evaluation.num=0")
    refused = train_tiny(tmp_path / "new", *options)
    assert refused.code == 2 and not (tmp_path / "new").exists()
    assert "  new: params/" in refused.err and "--init-partial starts from what is alike" in refused.err
    ended = train_tiny(tmp_path / "new", *options, "--init-partial")
    assert ended.code == 0, ended.err
    assert "arrays taken" in ended.out and " 0 left" in ended.out


def test_a_run_that_is_not_there(train_tiny, tmp_path, run):
    for reference, message in [(tmp_path / "none", "holds no run"), (f"{run}@5", "there are 2, 4, 6")]:
        refused = train_tiny(tmp_path / "new", "--init-from", reference)
        assert refused.code == 2 and message in refused.err and not (tmp_path / "new").exists()


def test_another_checkpoint_of_the_same_name_is_noticed(run):
    described = origins.describe(Config(initial=InitialConfig(init_from=str(run))))
    changed = {**described["init_from"], "digest": "0" * 64}
    state = jax.eval_shape(
        genjax.load(run).method.init,
        jax.random.key(0),
        {"image": np.zeros((1, 8, 8, 1)), "label": np.zeros(1, int), "_index": np.zeros(1, int)},
    )
    with pytest.raises(UserError, match="is another one than before, by its digest"):
        origins.start_from(state, changed)
    assert recorded(epath.Path(run)) == {}
