"""Optimizers by name: two updates of each by hand, decoupled weight decay, and what does not go together."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from etils import epath

from experiments.presets import PRESETS
from genjax.app import build, checks, workdir
from genjax.app.config import Config
from genjax.data import labelled_images
from genjax.methods.optimizers import DIRECTIONS, OptimizerConfig, optimizer
from genjax.typing import UserError

START = np.array([1.0, -2.0, 0.5])
GRADIENTS = np.array([[0.3, -4.0, 1e-4], [-0.2, -1.0, 3e-4]])
RATE, EPSILON = 0.1, 1e-8


def config(**options):
    plain = {"learning_rate": RATE, "warmup_steps": 0, "decay": "constant", "clip_norm": None}
    return OptimizerConfig(**plain | options)


def follow(transformation, gradients, start=START):
    """[steps,3]: the parameters after each update."""
    x = {"w": jnp.asarray(start, jnp.float32)}
    state, path = transformation.init(x), []
    for gradient in gradients:
        changes, state = transformation.update({"w": jnp.asarray(gradient, jnp.float32)}, state, x)
        x = optax.apply_updates(x, changes)
        path.append(np.asarray(x["w"]))
    return np.stack(path)


def by_hand(options):
    """The two directions, in float64."""
    (a, b), m = GRADIENTS, options.get("momentum", 0.0)
    if options["name"] == "sgd":
        return a, b + m * a
    if options["name"] == "adagrad":
        return a / np.sqrt(0.1 + a**2), b / np.sqrt(0.1 + a**2 + b**2)
    if options["name"] == "rmsprop":
        d = options.get("rms_decay", 0.9)
        first = a / (np.sqrt((1 - d) * a**2) + EPSILON)
        return first, b / (np.sqrt(d * (1 - d) * a**2 + (1 - d) * b**2) + EPSILON) + m * first
    b1, b2 = 0.5, 0.99
    mean = (b1 * (1 - b1) * a + (1 - b1) * b) / (1 - b1**2)
    square = (b2 * (1 - b2) * a**2 + (1 - b2) * b**2) / (1 - b2**2)
    return a / (np.abs(a) + EPSILON), mean / (np.sqrt(square) + EPSILON)


CASES = [
    {"name": "adam", "b1": 0.5, "b2": 0.99},
    {"name": "sgd"},
    {"name": "sgd", "momentum": 0.9},
    {"name": "rmsprop"},
    {"name": "rmsprop", "rms_decay": 0.99, "momentum": 0.5},
    {"name": "adagrad"},
]


@pytest.mark.parametrize("options", CASES, ids=str)
def test_two_updates_by_hand(options):
    first, second = by_hand(options)
    expected = np.stack([START - RATE * first, START - RATE * (first + second)])
    np.testing.assert_allclose(
        follow(optimizer(config(**options), 10), GRADIENTS), expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("options", CASES, ids=str)
def test_weight_decay_is_decoupled(options):
    """The parameters shrink by rate * decay, and the direction is what it is without."""
    decay = 0.2
    first, second = by_hand(options)
    once = START - RATE * (first + decay * START)
    expected = np.stack([once, once - RATE * (second + decay * once)])
    found = follow(optimizer(config(weight_decay=decay, **options), 10), GRADIENTS)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_default_is_adamw_to_the_last_bit_and_in_the_same_places():
    """So checkpoints of before there was a choice go on."""
    rate = optax.constant_schedule(RATE)
    ours, theirs = optimizer(config(weight_decay=0.1), 10), optax.chain(optax.adamw(rate, weight_decay=0.1))
    np.testing.assert_array_equal(follow(ours, GRADIENTS), follow(theirs, GRADIENTS))
    assert jax.tree.structure(ours.init({"w": START})) == jax.tree.structure(theirs.init({"w": START}))


def test_a_rate_may_fall_on_one_line():
    path = follow(optimizer(config(name="sgd", decay="ramp"), 4), np.ones((4, 3)), np.zeros(3))
    np.testing.assert_allclose(path[:, 0], -RATE * np.cumsum([1, 0.75, 0.5, 0.25]), rtol=1e-5)
    warm = follow(
        optimizer(config(name="sgd", decay="ramp", warmup_steps=2), 4), np.ones((4, 3)), np.zeros(3)
    )
    np.testing.assert_allclose(warm[:, 0], -RATE * np.cumsum([0, 0.5, 1, 0.5]), rtol=1e-5)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_both_networks_of_a_gan_have_it(name):
    """After one step from equal states, each network went by its own rate in the direction of this optimizer."""
    preset = PRESETS["gan-digits"][1]
    model = dataclasses.replace(preset.model, hidden=(4,), discriminator_hidden=(4,), pieces=1)
    made = dataclasses.replace(
        preset,
        model=model,
        method=dataclasses.replace(preset.method, latent=3, discriminator_rate=0.5),
        optimizer=config(name=name, learning_rate=1e-2),
    )
    checks.check(made)
    method = build.method(made, labelled_images("digits", "train", (8, 8, 1), 10))
    images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (8, 8, 8, 1)), jnp.float32)
    batch = {"image": images, "_index": jnp.arange(8)}
    key = jax.random.key(0)
    before = method.init(key, batch)
    after, _ = jax.jit(method.step)(key, before, batch)
    for side, rate in (("generator", 1e-2), ("discriminator", 0.5e-2)):
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), after.params[side], before.params[side])
        largest = max(jax.tree.leaves(moved))
        # The first direction of adam is the sign, of rmsprop the sign / sqrt(1 - 0.9); of adagrad it is less than it.
        low, high = {"adam": (0.9, 1.01), "rmsprop": (3, 3.2), "adagrad": (0.001, 1), "sgd": (0.001, 3)}[name]
        assert low * rate < largest < high * rate


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 0.9}, "optimizer.momentum=0.9 is for 'sgd' and 'rmsprop', and optimizer.name='adam'"),
        ({"momentum": 0.9, "name": "adagrad"}, "and optimizer.name='adagrad'"),
        ({"momentum": 1.0, "name": "sgd"}, r"optimizer.momentum=1.0: valid are \[0, 1\)"),
        (
            {"rms_decay": 0.99, "name": "sgd"},
            "optimizer.rms_decay=0.99 is for 'rmsprop', and optimizer.name='sgd'",
        ),
        ({"rms_decay": -0.1, "name": "rmsprop"}, r"optimizer.rms_decay=-0.1: valid are \[0, 1\)"),
    ],
)
def test_what_does_not_go_together(options, message):
    with pytest.raises(UserError, match=message):
        checks.check(dataclasses.replace(Config(), optimizer=config(**options)))


@pytest.mark.parametrize("name", DIRECTIONS)
def test_any_preset_may_exchange_its_optimizer_by_the_name_alone(name):
    for _, preset in PRESETS.values():
        checks.check(dataclasses.replace(preset, optimizer=dataclasses.replace(preset.optimizer, name=name)))


@pytest.mark.parametrize("name", ["ddpm-digits", "vaegan-digits", "gan-digits"])
def test_a_config_of_before_there_was_a_choice_loads(tmp_path, name):
    preset = PRESETS[name][1]
    values = dataclasses.asdict(preset)
    for section, fields in {
        "optimizer": ("name", "momentum", "rms_decay"),
        "model": ("decoder_dense", "kernel", "extra", "generator_norm", "generator_slope"),
    }.items():
        for field in fields:
            values[section].pop(field, None)
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert workdir.load_config(epath.Path(tmp_path)) == preset
