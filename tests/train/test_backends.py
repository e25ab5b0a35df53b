"""How a run is spread over devices, and how its data reaches them, changes its losses by rounding only.

Everything random in a step (times, noise, dropped labels, dropout, flips, crops) is switched on, so that a layout that
gave examples other randomness would show. All runs go through `fit`, as composed by the command line.
"""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import data
from genjax.app import build
from genjax.app.config import Config, DataConfig
from genjax.methods.diffusion.diffusion import DiffusionConfig
from genjax.methods.optimizers import OptimizerConfig
from genjax.models.denoisers.unet import UNetConfig
from genjax.train import feed, sharding
from genjax.train.fit import fit
from genjax.train.options import FitOptions

pytestmark = pytest.mark.quick_compilation

WINDOW = 5
CONFIG = Config(
    fit=FitOptions(steps=20, batch_size=32, log_every=WINDOW, checkpoint_every=20, fsdp_min_size=64),
    data=DataConfig(dataset="digits", flip=True, crop_padding=1, resident_mb=0),  # 0: streamed
    model=UNetConfig(channels=8, multipliers=(1,), blocks=1, dropout=0.3),
    method=DiffusionConfig(condition_dropout=0.3),
    # Fast learning: the loss halves within the 20 steps, so that it depends on every step before.
    optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=5),
)


def with_values(**sections):
    """`CONFIG` with other values of some fields: ``with_values(fit={"fsdp": 4})``."""
    changed = {name: dataclasses.replace(getattr(CONFIG, name), **new) for name, new in sections.items()}
    return dataclasses.replace(CONFIG, **changed)


# name -> (number of devices, config). The first is what the others are compared with.
RUNS = {
    "one device": (1, CONFIG),
    "eight devices": (8, CONFIG),
    "pmap": (8, with_values(fit={"backend": "pmap"})),
    "fsdp": (8, with_values(fit={"fsdp": 4})),
    "accumulated": (8, with_values(optimizer={"accumulate": 4})),
    "scan": (8, with_values(fit={"steps_per_dispatch": WINDOW})),
    "resident": (8, with_values(data={"resident_mb": 1024})),
}


def losses_apart(method):
    """`method` with metrics from whose means over a window the loss of each step of the window can be read."""

    def step(key, state, batch):
        new, metrics = method.step(key, state, batch)
        place = state.step % WINDOW
        return new, {f"loss_{i}": jnp.where(place == i, WINDOW * metrics["loss"], 0.0) for i in range(WINDOW)}

    return method._replace(step=step)


@pytest.fixture(scope="module")
def source():
    return build.source(CONFIG.data, "train")


@pytest.fixture(scope="module")
def train(source, tmp_path_factory):
    """Function: name of a run -> its 20 losses and its final state; each is trained once."""

    def run(name, devices, config, batches):
        workdir = tmp_path_factory.mktemp(name.replace(" ", "_"))
        fitted = fit(
            losses_apart(build.method(config, source.info)),
            batches,
            config.fit,
            workdir=workdir,
            example=build.example(source.info),
            preprocess=functools.partial(build.augment, config.data),
            mesh=sharding.make_mesh(config.fit.fsdp, devices),
        )
        lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        return np.array([line[f"train/loss_{i}"] for line in lines for i in range(WINDOW)]), fitted.state

    @functools.cache
    def once(name):
        devices, config = RUNS[name]
        return run(name, devices, config, build.training_feed(config, source, 0, 1))

    once.run = run
    return once


def difference(losses, reference):
    """Largest relative difference."""
    assert losses.shape == reference.shape == (20,)
    assert reference[-5:].mean() < 0.5 * reference[:5].mean()
    return np.max(np.abs(losses - reference) / reference)


@pytest.mark.parametrize("name", list(RUNS)[1:])
def test_same_losses(name, train, record_property):
    worst = difference(train(name)[0], train("one device")[0])
    record_property("largest relative difference", float(worst))
    print(f"{name} and one device: losses of 20 steps differ by at most {worst:.1e}")
    assert worst < 1e-5


def test_fsdp_really_splits(train):
    """Each of four groups of devices holds a quarter of every array that is large enough, moments included."""
    state = train("fsdp")[1]
    for tree in (state.params, state.ema, state.opt):
        leaves = [x for x in jax.tree.leaves(tree) if x.size >= 64 and any(n % 4 == 0 for n in x.shape)]
        assert leaves
        for x in leaves:
            assert {s.data.size for s in x.addressable_shards} == {x.size // 4}
    on_one = sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(state.params))
    assert on_one < 0.3 * sum(x.nbytes for x in jax.tree.leaves(state.params))
    replicated = train("eight devices")[1]
    assert all(x.sharding.is_fully_replicated for x in jax.tree.leaves(replicated))


def test_positions_on_a_device_would_show(train, source):
    """Control: where each device counts its examples from 0, the losses differ by much more than rounding."""

    def local_positions(step):
        batch = data.train_batch(source, step, batch_size=CONFIG.fit.batch_size, seed=CONFIG.fit.seed)
        return {**batch, "_index": batch["_index"] % 4}

    wrong = feed.streamed(lambda start: data.Prefetcher(local_positions, start))
    losses, _ = train.run("local positions", 8, CONFIG, wrong)
    assert difference(losses, train("one device")[0]) > 1e-2
