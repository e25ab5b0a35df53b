"""The cost of making images with a tiny run: evaluations by hand, and that the rest is what was measured. The cost of a
step of training: evaluations by hand, operations by the sizes of a perceptron."""

import dataclasses
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from etils import epath

from experiments.presets import PRESETS
from genjax.app import cost, restore
from genjax.app.config import SamplingOverrides
from genjax.nn.convolution import Conv
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


def small(preset, model=None, method=None, accumulate=1):
    """A preset with a batch of 16."""
    config = PRESETS[preset][1]
    return dataclasses.replace(
        config,
        fit=dataclasses.replace(config.fit, batch_size=16),
        model=dataclasses.replace(config.model, **(model or {})),
        method=dataclasses.replace(config.method, **(method or {})),
        optimizer=dataclasses.replace(config.optimizer, accumulate=accumulate),
    )


PERCEPTRON = {"hidden": (32,), "discriminator_hidden": (32,)}


@pytest.mark.parametrize(
    "config, calls",
    [
        (small("vae-digits", {"hidden": (32,)}), 1),
        (small("vae-digits", {"hidden": (32,)}, accumulate=4), 1),
        (small("ddpm-digits", {"channels": 8, "multipliers": (1,), "attention": ()}), 1),
        # The generator for either side; the discriminator looks at real images and at fakes, twice.
        (small("gan-digits", PERCEPTRON), 6),
        # The penalty looks at images between real ones and fakes.
        (small("gan-digits", PERCEPTRON, {"penalty": "gradient_penalty"}), 7),
        # Of the most that a step does: there the generator learns as well.
        (small("gan-digits", PERCEPTRON, {"discriminator_steps": 3}), 6),
    ],
)
def test_network_evaluations_of_a_training_step(config, calls):
    assert cost.training_cost(config)["network_evaluations_per_step"] == 16 * calls


def test_calls_inside_vmap_and_scan_count_for_each_image():
    layer = nn.Dense(3)
    variables = layer.init(jax.random.key(0), jnp.ones((1, 2)))

    def program(x):  # float[5, 2]
        each = jax.vmap(lambda row: layer.apply(variables, row[None]))(x)
        return jax.lax.scan(lambda carry, _: (carry, layer.apply(variables, x)), 0, length=7), each

    with nn.intercept_methods(cost._at_each_call(cost._mark)):
        jaxpr = jax.make_jaxpr(program)(jnp.ones((5, 2)))
    assert cost._marked(jaxpr.jaxpr) == 5 + 7 * 5


def test_operations_of_a_training_step_follow_the_sizes():
    """A VAE of perceptrons: two operations for each weight and image forwards, twice that backwards."""
    rest = []
    for width in (256, 512):
        config = small("vae-digits", {"hidden": (width, width), "latent": 8})
        # 64 pixels to the layers, to means and variances of 8; and back. No gradient goes to the pixels.
        weights = 64 * width + width**2 + width * 16 + 8 * width + width**2 + width * 64
        products = 2 * 16 * (3 * weights - 64 * width)
        rest.append((cost.training_cost(config)["flops_per_step"] - products) / weights)
    # What is left goes with the weights: Adam, clipping, the average.
    assert 10 < rest[0] < 30
    assert rest[0] == pytest.approx(rest[1], rel=0.05)


def test_operations_of_convolutions_do_not_depend_on_how_they_are_computed():
    """Of 28 pixels along an axis a kernel of 3 meets 3 * 28 - 2, for its own gradient and for that of the images."""
    layer, batch = Conv(64, (3, 3), use_bias=False), 64
    x = jax.ShapeDtypeStruct((batch, 28, 28, 64), jnp.float32)
    variables = jax.eval_shape(layer.init, jax.random.key(0), x)
    gradients = jax.grad(lambda variables, x: layer.apply(variables, x).sum(), argnums=(0, 1))
    products = 2 * batch * 82**2 * 64 * 64
    assert cost.flops(jax.jit(gradients).trace(variables, x)) == pytest.approx(2 * products, rel=1e-3)


def test_training_cost_is_always_the_same():
    config = small("gan-digits", PERCEPTRON)
    first, twice = cost.training_cost(config), dataclasses.replace(config.fit, batch_size=32)
    assert cost.training_cost(config) == first
    assert cost.training_cost(dataclasses.replace(config, fit=twice))["network_evaluations_per_step"] == 192


def test_micro_batches_do_the_work_of_the_whole_batch():
    """Off CPU they are a loop, of which XLA counts the body once."""
    whole, parts = (
        cost.training_cost(small("vae-digits", {"hidden": (32,)}, accumulate=count)) for count in (1, 4)
    )
    assert whole == parts
