"""A run that holds another run's parameters frozen, and conditions that are nothing but another key."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

import genjax
from experiments import train
from genjax import data
from genjax.app import build
from genjax.app.config import Config, DataConfig, EvaluationConfig, Launch, SamplingConfig
from genjax.app.methods import METHODS
from genjax.app.networks import NETWORKS
from genjax.methods.diffusion.diffusion import DiffusionConfig
from genjax.methods.optimizers import OptimizerConfig
from genjax.train.options import FitOptions
from genjax.typing import UserError
from tests.app import toys

CONFIG = Config(
    fit=FitOptions(steps=4, batch_size=16, log_every=2, checkpoint_every=2),
    data=DataConfig(dataset="digits"),
    model=toys.ToyConfig(),
    optimizer=OptimizerConfig(warmup_steps=0),
    sampling=SamplingConfig(num_steps=2, batch_size=16),
    evaluation=EvaluationConfig(num=0, loss_every=0, sample_every=0, grid_columns=1),
)


@pytest.fixture(autouse=True)
def tables(monkeypatch):
    monkeypatch.setitem(NETWORKS, "toy", toys.NETWORK)
    monkeypatch.setitem(METHODS, "copy", toys.METHOD)


def trained(workdir, config):
    train.train(config, Launch(workdir=str(workdir)))
    return genjax.load(workdir)


def test_a_frozen_teacher(tmp_path):
    teacher = trained(tmp_path / "teacher", CONFIG)
    config = dataclasses.replace(
        CONFIG, model=toys.ToyConfig(5), method=toys.CopyConfig(f"{tmp_path / 'teacher'}@2")
    )
    run = trained(tmp_path / "copy", config)
    early = genjax.load(tmp_path / "teacher", step=2)
    jax.tree.map(np.testing.assert_array_equal, run.state.frozen, early.params)
    pairs = zip(jax.tree.leaves(early.params), jax.tree.leaves(teacher.params), strict=True)
    assert any((a != b).any() for a, b in pairs)
    record = json.loads((tmp_path / "copy/origins.json").read_text())["teacher"]
    assert record["step"] == 2 and len(record["digest"]) == 64
    assert record["config"]["model"] == {"kind": "toy", "width": 8}

    # It goes on, and makes images, when the teacher is gone.
    images = run.sample(4, seed=0)
    whole = trained(
        tmp_path / "whole", dataclasses.replace(config, fit=dataclasses.replace(config.fit, steps=6))
    )
    shutil.rmtree(tmp_path / "teacher")
    np.testing.assert_array_equal(genjax.load(tmp_path / "copy").sample(4, seed=0), images)
    shutil.rmtree(tmp_path / "whole/checkpoints/00000006")
    again = trained(tmp_path / "whole", whole.config)
    jax.tree.map(np.testing.assert_array_equal, again.params, whole.params)
    with pytest.raises(UserError, match=r"teacher='.*teacher@2': .*holds no run"):
        trained(tmp_path / "another", config)


def test_another_condition_is_another_key(tmp_path, monkeypatch):
    """Records have attributes beside images and labels; nothing but the network knows of them."""
    random = np.random.default_rng(0)

    def source(config, name, split):
        images = random.integers(0, 256, (40, 8, 8, 1), np.uint8)
        values = np.linspace(-1, 1, 120, dtype=np.float32).reshape(40, 3)
        return data.ArraySource(
            images, np.arange(40) % 3, name=name, split=split, num_classes=3, others={"attributes": values}
        )

    monkeypatch.setattr(build, "_open", source)
    method = DiffusionConfig(condition_dropout=0.2, drop_each={"attributes": 0.5})
    guided = dataclasses.replace(CONFIG.sampling, guidance_without=("attributes",))
    run = trained(tmp_path / "run", dataclasses.replace(CONFIG, method=method, sampling=guided))
    stored = json.loads((tmp_path / "run/data.json").read_text())["fields"]
    assert stored["attributes"] == {"shape": [3], "dtype": "float32", "num_classes": None, "names": []}

    told = {"label": 1, "attributes": np.array([1.0, -1.0, 0.5], np.float32)}
    images = run.sample(3, seed=0, **told)
    assert images.shape == (3, 8, 8, 1)
    strong = run.sample(3, seed=0, guidance=200.0, **told)
    assert (strong != images).any()  # the second evaluation lacks the attributes
    every = run.sample(3, seed=0, label=1, attributes=np.stack([told["attributes"]] * 3))
    np.testing.assert_array_equal(every, images)
    with pytest.raises(UserError, match="attributes is missing: the model needs an array of it"):
        run.sample(3, label=1)
    with pytest.raises(UserError, match=r"attributes has the shape \[2\]: valid is \[3, 3\]"):
        run.sample(3, attributes=np.zeros(2))
    wrong = dataclasses.replace(CONFIG, method=DiffusionConfig(drop_each={"text": 0.5}))
    with pytest.raises(UserError, match=r"drop_each=\['text'\]: valid are \['attributes', 'label'\]"):
        trained(tmp_path / "wrong", wrong)
    assert not (tmp_path / "wrong").exists()
