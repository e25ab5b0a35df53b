"""The networks of comparisons: as many parameters as the originals have, layer by layer by hand, and their schedule."""

import itertools

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.presets.seed import SEED
from genjax.app import build, kinds
from genjax.data import labelled_images
from genjax.methods.averages import ema
from genjax.methods.diffusion import choices
from genjax.methods.optimizers import optimizer

INFO = labelled_images("mnist", "train", (28, 28, 1), 10)


def state(name):
    """Shapes of the state that training starts from."""
    batch = {
        "image": jax.ShapeDtypeStruct((2, 28, 28, 1), jnp.float32),
        "label": jax.ShapeDtypeStruct((2,), jnp.int32),
        "_index": jax.ShapeDtypeStruct((2,), jnp.int32),
    }
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(build.method(SEED[name][1], INFO).init, key, batch)


def size(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


def dense(inputs, outputs):
    return inputs * outputs + outputs


def conv(inputs, outputs, kernel=3):
    return kernel**2 * inputs * outputs + outputs


def test_vae_of_keras():
    params = state("seed-vae").params
    encoder = conv(1, 32) + conv(32, 64) + dense(7 * 7 * 64, 16) + 2 * dense(16, 2)
    decoder = dense(2, 7 * 7 * 64) + conv(64, 64) + conv(64, 32) + conv(32, 1)
    assert (encoder, decoder) == (69_076, 65_089)  # as Keras prints
    assert size(params["decoder"]) == decoder
    assert size(params) == encoder + decoder


def test_vae_of_keras_layer_by_layer():
    """One step from random parameters through the layers of Keras, by flax.linen's convolutions."""
    config = SEED["seed-vae"][1]
    network = kinds.method(config).network(kinds.context(config, INFO))
    random = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: jnp.asarray(random.normal(0, 0.05, x.shape), jnp.float32), state("seed-vae").params
    )
    x = jnp.asarray(random.uniform(-1, 1, (2, 28, 28, 1)), jnp.float32)
    z = jnp.asarray(random.normal(size=(2, 2)), jnp.float32)

    def layer(kind, width, strides, h, p):
        return kind(width, (3, 3), strides).apply({"params": p}, h)

    def linear(h, p):
        return h @ p["kernel"] + p["bias"][None]

    down, up, p = flax.linen.Conv, flax.linen.ConvTranspose, params["encoder"]
    h = jax.nn.relu(layer(down, 32, (2, 2), x, p["down_0"]))
    h = jax.nn.relu(layer(down, 64, (2, 2), h, p["down_1"]))
    h = linear(jax.nn.relu(linear(h.reshape(2, -1), p["hidden"])), params["parameters"])
    found = network.apply({"params": params}, x, method="posterior")
    np.testing.assert_allclose(jnp.concatenate([*found], -1), h, atol=1e-5)

    p = params["decoder"]
    h = jax.nn.relu(linear(z, p["reshape"])).reshape(2, 7, 7, 64)
    h = jax.nn.relu(layer(up, 64, (2, 2), h, p["up_0"]))
    h = jax.nn.relu(layer(up, 32, (2, 2), h, p["up_1"]))
    h = layer(up, 1, (1, 1), h, p["out"])
    np.testing.assert_allclose(network.apply({"params": params}, z, method="decode"), h, atol=1e-5)


def test_gan_of_keras_gan():
    started = state("seed-gan")
    widths = 100, 256, 512, 1024, 784
    layers = sum(dense(a, b) for a, b in itertools.pairwise(widths))
    generator = layers + 2 * (256 + 512 + 1024)
    discriminator = dense(784, 512) + dense(512, 256) + dense(256, 1)
    assert (generator, discriminator) == (1_489_936, 533_505)  # as Keras prints, of those that are trained
    assert size(started.params["generator"]) == generator
    assert size(started.params["discriminator"]) == discriminator


def test_diffusion_is_nearly_as_large_as_the_context_unet():
    def block(inputs, outputs):
        return conv(inputs, outputs) + conv(outputs, outputs) + 4 * outputs  # with two batch norms

    def embedding(inputs, outputs):
        return dense(inputs, outputs) + dense(outputs, outputs)

    n = 128
    theirs = block(1, n) + block(n, n) + block(n, 2 * n) + conv(2 * n, 2 * n, 7) + 4 * n
    theirs += sum(embedding(inputs, width) for inputs in (1, 10) for width in (n, 2 * n))
    theirs += sum(conv(width, n, 2) + 2 * block(n, n) for width in (4 * n, 2 * n))
    theirs += conv(2 * n, n) + 2 * n + conv(n, 1)
    assert theirs == 6_585_601
    assert size(state("seed-diffusion").params) == pytest.approx(theirs, rel=0.015)


def test_diffusion_has_its_400_betas_unscaled():
    config = SEED["seed-diffusion"][1]
    schedule = choices.schedule(config.method)
    t = np.arange(1, 401) / 400
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 400))
    np.testing.assert_allclose(schedule.alpha(t) ** 2, alpha_bar, rtol=1e-4)
    assert np.sqrt(alpha_bar[-1]) == pytest.approx(
        0.13, abs=0.005
    )  # what the preset says is left of the image
    # And its sampler visits every step.
    np.testing.assert_allclose(choices.sampling_times(config), np.arange(400, -1, -1) / 400, atol=1e-6)


def test_the_rates_of_the_originals():
    """Adam's first update is the rate; that of the diffusion model is nearly gone at the end."""
    x = {"w": jnp.ones(1)}
    for name, rate in {"seed-vae": 1e-3, "seed-gan": 2e-4, "seed-diffusion": 1e-4}.items():
        config = SEED[name][1]
        made = optimizer(config.optimizer, config.fit.steps)
        changes, opt = made.update(x, made.init(x), x)
        np.testing.assert_allclose(changes["w"], -rate, rtol=1e-5)
        late = optax.tree.set(opt, count=jnp.int32(config.fit.steps - 1))
        last = made.update(x, late, x)[0]["w"] / made.update(x, opt, x)[0]["w"]
        assert (last < 1e-3) == (name == "seed-diffusion")


def test_without_an_average_images_are_made_with_the_parameters():
    for _, config in SEED.values():
        assert config.method.ema_decay == 0
    old, new = jnp.array([1e3, -1.0]), jnp.array([0.5, 2.0])
    np.testing.assert_allclose(ema(old, new, jnp.int32(7), 0.0), new, rtol=1e-4)
