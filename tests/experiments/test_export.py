"""Weights of a run as a safetensors file: by name, with what they belong to."""

import json

import jax
import numpy as np
import pytest
from safetensors import safe_open

import genjax


def test_weights_and_what_they_belong_to(run, tmp_path, verb):
    out = tmp_path / "weights.safetensors"
    ended = verb("export", "--workdir", run, "--out", out, "--step", 4)
    assert ended.code == 0, ended.err
    with safe_open(out, "np") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    loaded = genjax.load(run, step=4)
    leaves = jax.tree_util.tree_leaves_with_path(loaded.params)
    expected = {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in leaves}
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    assert metadata["step"] == "4" and len(metadata["checkpoint"]) == 64
    assert json.loads(metadata["config"])["model"]["kind"] == "unet"
    assert json.loads(metadata["data"])["fields"]["image"]["shape"] == [8, 8, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "w.bin"), "out='w.bin': the suffix must be .safetensors"),
        (("--out", "none/w.safetensors"), "there is no folder 'none'"),
        (("--out", "there.safetensors"), "is there already; --overwrite replaces it"),
        (("--out", "w.safetensors", "--which", "mutable"), "which='mutable': the run has no such variables"),
    ],
)
def test_mistakes(run, tmp_path, verb, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.safetensors").write_text("mine")
    ended = verb("export", "--workdir", run, *options)
    assert ended.code == 2 and message in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["there.safetensors"]
    assert (tmp_path / "there.safetensors").read_text() == "mine"
