"""Runs that were made before `genjax.app` was there load, make the same images and go on to the same end.

`old/README.md` says how they were made. With another jax the last digits may differ.
"""

import hashlib
import json
import pathlib
import tarfile

import jax
import numpy as np
import pytest
import tyro
from etils import epath

from experiments import sample, train
from genjax.app import kinds, origins, workdir
from genjax.app.config import Launch
from genjax.train.checkpoint import Checkpointer

OLD = pathlib.Path(__file__).parent / "old"
KINDS = {"ddpm": ("unet", "diffusion"), "vae": ("mlp", "vae"), "gan": ("mlp_gan", "gan")}
JAX = "0.12.0.1"


@pytest.fixture(params=KINDS)
def run(request, tmp_path):
    """The name of an old run, and its workdir."""
    with tarfile.open(OLD / f"{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return request.param, tmp_path / request.param


def test_loads_samples_and_resumes(run, tmp_path):
    name, directory = run
    before = (directory / "config.json").read_text()
    config = workdir.load_config(epath.Path(directory))
    assert (kinds.name("model", config.model), kinds.name("method", config.method)) == KINDS[name]
    assert '"kind"' not in before

    out = tmp_path / "samples.npz"
    sample.sample(tyro.cli(sample.Sample, args=["--workdir", str(directory), "--num=10", "--out", str(out)]))
    found, expected = np.load(out), np.load(OLD / f"{name}-samples.npz")
    assert set(found) - {"class_names"} == set(expected)  # which is newer
    for array in expected:
        close = np.abs(found[array].astype(int) - expected[array].astype(int)).max()
        assert close == 0 if jax.__version__ == JAX else close <= 1

    train.train(config, Launch(workdir=str(directory)))
    expected = json.loads((OLD / f"{name}-resumed.json").read_text())
    with Checkpointer(directory / "checkpoints", read_only=True) as checkpoints:
        arrays, step = checkpoints.leaves(("params/", "ema/", "mutable/"))
    assert step == 6 and arrays.keys() == expected["arrays"].keys()
    for key, (digest, size) in expected["arrays"].items():
        if jax.__version__ == JAX:
            assert hashlib.sha256(arrays[key].tobytes()).hexdigest()[:16] == digest, key
        np.testing.assert_allclose(
            np.abs(arrays[key].astype(np.float64)).mean(), size, rtol=1e-4, err_msg=key
        )
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    timing = "timing/"
    for line, old in zip(lines, expected["metrics"], strict=True):
        assert {k for k in line if timing not in k} == {k for k in old if timing not in k}
    # What is written now names the kinds, and is read back as the same config.
    stored = json.loads((directory / "config.json").read_text())
    assert (stored["model"]["kind"], stored["method"]["kind"]) == KINDS[name]
    assert workdir.load_config(epath.Path(directory)) == config
    assert not origins.references(config)
