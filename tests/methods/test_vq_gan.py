"""VQGAN: losses and adaptive weight by hand, on any devices; when the game begins; that a prior can use its codes."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax.data.digits import digits
from genjax.diffusion.distance import squared
from genjax.losses.perceptual import perceptual
from genjax.methods.averages import Several, exponential, several
from genjax.methods.codes.code_model import reconstruct
from genjax.methods.codes.vq_gan import absolute, adaptive_weight, vq_gan
from genjax.methods.codes.vq_vae import vq_vae, vq_vae_codes
from genjax.methods.gradients import mean_gradient
from genjax.metrics.digits_classifier import load_feature_maps
from genjax.models.codes.vq_vae import VQVAE
from genjax.models.gan.discriminator import PatchDiscriminator
from genjax.nn.quantization import VectorQuantizer
from genjax.typing import DATA_AXIS, UserError

SHAPE = (2, 3, 1)
K, D, N = 8, 2, 16


class Pixels(nn.Module):
    """Quantises an affine function of each pixel, and decodes with two layers: small enough to write its loss down."""

    out_channels: int = 1

    def setup(self):
        self.encoder, self.decoder, self.out = nn.Dense(D), nn.Dense(4), nn.Dense(self.out_channels)
        # Codes restart in every step, so that the choice of their replacements shows.
        self.book = VectorQuantizer(K, D, decay=0.5, dead_below=0.9)

    num_codes = (K,)

    def code_shapes(self, image_shape):
        return (tuple(image_shape[:2]),)

    def __call__(self, x):
        (level,) = levels = self.quantize(x)
        return self._decoded(level.z), levels

    def quantize(self, x):
        return (self.book(self.encoder(x)),)

    def decode(self, codes):
        return self._decoded(self.book.lookup(codes[0]))

    def learn(self, statistics, first):
        return [self.book.learn(statistics[0], first)]

    def _decoded(self, z):
        return self.out(jnp.tanh(self.decoder(z)))


class Judge(nn.Module):
    """A logit for each column of an image."""

    @nn.compact
    def __call__(self, x):
        hidden = jnp.tanh(nn.Dense(4)(x[..., 0].swapaxes(1, 2)))
        return nn.Dense(1)(hidden), (hidden,)


def features(images):
    return (jnp.concatenate([images, images**2 + 0.1], axis=-1),)


def method(optimizer=None, network=None, **options):
    options = {"image_shape": SHAPE, "last_layer": "out/kernel", **options}
    optimizers = optimizer or optax.sgd(1.0), optax.sgd(1.0)
    return vq_gan(network or Pixels(), Judge(), *optimizers, **options)


def batch(seed=0):
    image = jax.random.uniform(jax.random.key(seed), (N, *SHAPE), minval=-1)
    return {"image": image, "_index": jnp.arange(N, dtype=jnp.int32)}


def decode(p, z):
    hidden = jnp.tanh(z @ p["decoder"]["kernel"] + p["decoder"]["bias"].reshape(1, 1, 1, -1))
    return hidden @ p["out"]["kernel"] + p["out"]["bias"].reshape(1, 1, 1, -1)


def by_hand(state, options):
    """The losses as functions of the parameters of network and discriminator; the codes are what they are."""
    x = batch()["image"]
    book = state.mutable["codebook"]["book"]["codes"]

    def reconstruction(p):
        """What is decoded, with the gradient past the quantiser, and the commitment."""
        vectors = x @ p["encoder"]["kernel"] + p["encoder"]["bias"].reshape(1, 1, 1, -1)
        distance = ((jax.lax.stop_gradient(vectors)[..., None, :] - book.reshape(1, 1, 1, K, D)) ** 2).sum(-1)
        z = book[distance.argmin(-1)]
        return decode(p, vectors + jax.lax.stop_gradient(z - vectors)), ((vectors - z) ** 2).mean()

    def judged(q, images):
        return Judge().apply({"params": q}, images)[0]

    def likeness(p):
        y, _ = reconstruction(p)
        pixels = jnp.abs(y - x).mean() if options["distance"] is absolute else ((y - x) ** 2).mean()
        unit = [f / jnp.sqrt((f**2).sum(-1, keepdims=True)) for f in (*features(x), *features(y))]
        return pixels + options["perceptual_weight"] * ((unit[0] - unit[1]) ** 2).sum(-1).mean()

    def game(p, q):
        return -judged(q, reconstruction(p)[0]).mean()

    def commitment(p):
        return options["commitment"] * reconstruction(p)[1]

    def discriminator(q, p):
        real, fake = judged(q, x), judged(q, reconstruction(p)[0])
        return jnp.maximum(1 - real, 0).mean() + jnp.maximum(1 + fake, 0).mean()

    return likeness, game, commitment, discriminator


ONE = {"distance": absolute, "perceptual_weight": 0.5, "commitment": 0.3, "adversarial_weight": 1.0}
TWO = {"distance": squared, "perceptual_weight": 2.0, "commitment": 0.0, "adversarial_weight": 0.8}


@pytest.mark.parametrize(("options", "accumulate"), [(ONE, 1), (TWO, 2)])
def test_a_step_follows_the_gradients_and_the_weight_is_the_ratio_of_their_norms(options, accumulate):
    """The optimizers take steps of one gradient; it does not matter whether it is accumulated."""
    m = method(**options, perceptual=perceptual(features), gradient=mean_gradient(accumulate))
    state = m.init(jax.random.key(0), batch())
    after, metrics = jax.jit(m.step)(jax.random.key(1), state, batch())

    @jax.jit
    def expected(params):
        p, q = params["network"], params["discriminator"]
        likeness, game, commitment, discriminator = by_hand(state, options)
        one, two, three = jax.grad(likeness)(p), jax.grad(game)(p, q), jax.grad(commitment)(p)
        norms = [jnp.sqrt((g["out"]["kernel"] ** 2).sum()) for g in (one, two)]
        weight = options["adversarial_weight"] * norms[0] / (norms[1] + 1e-6)
        moved = jax.tree.map(lambda a, b, c: a + weight * b + c, one, two, three)
        values = {"loss": likeness(p) + commitment(p), "adversarial": game(p, q), "adaptive_weight": weight}
        value, of_discriminator = jax.value_and_grad(discriminator)(q, p)
        return {"network": moved, "discriminator": of_discriminator}, {**values, "discriminator": value}

    grads, values = expected(state.params)
    moved = jax.tree.map(lambda a, b: a - b, state.params, after.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), moved, grads)
    for name, value in values.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, err_msg=name)
    assert float(values["adaptive_weight"]) > 0.01


def test_adaptive_weight():
    a, b = jnp.array([[3.0], [4.0]]), jnp.array([[0.0], [0.5]])
    np.testing.assert_allclose(adaptive_weight(a, b), 10, rtol=1e-5)
    np.testing.assert_allclose(adaptive_weight(a, b, delta=0.5), 5)
    np.testing.assert_allclose(adaptive_weight(a, b, maximum=2.0), 2)
    np.testing.assert_allclose(adaptive_weight(a, 0 * b), 1e4)


# What these tests change of it: nothing, or the start.
OPTIONS = {"optimizer": optax.adam(1e-2), "max_weight": 5.0}


def trained(step, state, batches=batch):
    history = []
    for i in range(3):
        state, metrics = step(jax.random.key(i), state, batches(i))
        history.append(metrics)
    return state, {name: np.array([m[name] for m in history]) for name in history[0]}


@pytest.fixture(scope="module")
def on_one_device():
    m = method(**OPTIONS)
    return trained(jax.jit(m.step), m.init(jax.random.key(0), batch()))


def test_all_devices_together_find_the_same_weight_and_codes(on_one_device):
    m = method(**OPTIONS, gradient=mean_gradient(2))
    state = jax.tree.map(lambda x: jnp.stack([x] * 8), m.init(jax.random.key(0), batch()))

    def spread(i):
        return {k: x.reshape(8, 2, *x.shape[1:]) for k, x in batch(i).items()}

    step = jax.pmap(m.step, axis_name=DATA_AXIS, in_axes=(None, 0, 0))
    state, metrics = trained(step, state, spread)
    for x in jax.tree.leaves(state):
        np.testing.assert_array_equal(x, np.broadcast_to(x[:1], x.shape))
    found = jax.tree.map(lambda x: x[0], state), {k: x[:, 0] for k, x in metrics.items()}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, on_one_device)
    assert metrics["dead_codes"].min() > 0 and 0 < metrics["adaptive_weight"].min() < 5.0


def test_before_the_start_it_is_an_autoencoder():
    """VQ-VAE for two steps; the game begins in the third, for both sides."""
    optimizer = optax.adam(1e-2)
    m = method(optimizer, start=2, distance=squared)
    plain = vq_vae(Pixels(), optimizer, image_shape=SHAPE)
    state, expected = (each.init(jax.random.key(0), batch()) for each in (m, plain))
    initial = state.params["discriminator"], state.opt["discriminator"]
    step, plain_step, weights = jax.jit(m.step), jax.jit(plain.step), []
    for i in range(3):
        expected, _ = plain_step(jax.random.key(i), expected, batch(i))
        before, (state, metrics) = state, step(jax.random.key(i), state, batch(i))
        weights.append(float(metrics["adaptive_weight"]))
        if i == 1:
            found = state.params["network"], state.ema, state.mutable
            wanted = expected.params, expected.ema, expected.mutable
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, wanted)
    discriminator = before.params["discriminator"], before.opt["discriminator"]
    jax.tree.map(np.testing.assert_array_equal, discriminator, initial)
    assert weights[:2] == [0, 0] < [weights[2]] * 2
    moved = jax.tree.map(lambda a, b: float(abs(a - b).min()), state.params["discriminator"], initial[0])
    assert min(layer["kernel"] for layer in moved.values()) > 0
    moved = jax.tree.map(lambda a, b: float(abs(a - b).max()), state.params["network"], expected.params)
    assert moved["out"]["kernel"] > 1e-4


def test_the_codes_of_a_prior(on_one_device):
    state, _ = on_one_device
    # The averages are what counts.
    state = state.replace(params=jax.tree.map(jnp.zeros_like, state.params))
    model, x = vq_vae_codes(Pixels(), SHAPE), batch()["image"]
    (codes,) = model.encode(state, x)
    assert len(np.unique(codes)) > 2
    expected = decode(state.ema, state.mutable["codebook"]["book"]["codes"][codes])
    np.testing.assert_allclose(reconstruct(model, state, x), jnp.clip(expected, -1, 1), atol=1e-6)


def test_evaluation(on_one_device):
    state, _ = on_one_device
    options = {"distance": absolute, "perceptual_weight": 0.5, "commitment": 0.3}
    values = method(**options, perceptual=perceptual(features)).evaluate(jax.random.key(0), state, batch())
    likeness, _, commitment, _ = by_hand(state, options)
    expected = likeness(state.ema) + commitment(state.ema)
    np.testing.assert_allclose(values["loss"].mean(), expected, rtol=1e-5)
    parts = values["reconstruction"] + 0.5 * values["perceptual"] + 0.3 * values["commitment"]
    np.testing.assert_allclose(values["loss"], parts, rtol=1e-5)
    assert values["psnr"].shape == (N,)
    first = jax.random.uniform(jax.random.key(0), (3, 4)), jnp.zeros((3, 4))
    np.testing.assert_allclose(absolute(*first), first[0].mean(1), rtol=1e-6)


def test_several_averages_of_the_network_and_another_gradient(on_one_device):
    """The first of the averages is as alone, and what is evaluated; all gradients are computed as is asked for."""
    calls = []

    def counted(loss, params, key, batch):
        calls.append(params)
        return mean_gradient()(loss, params, key, batch)

    m = method(**OPTIONS, average=several(exponential(), slow=exponential(0.5)), gradient=counted)
    state, _ = trained(jax.jit(m.step), m.init(jax.random.key(0), batch()))
    assert isinstance(state.ema, Several) and len(calls) == 2  # one for the weight, one for the step
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, state.ema.first, on_one_device[0].ema)
    values, expected = (
        each.evaluate(jax.random.key(0), s, batch())["loss"]
        for each, s in ((m, state), (method(**OPTIONS), on_one_device[0]))
    )
    close(values, expected)


def test_learns_to_reconstruct_digits():
    images = digits("train").read(np.arange(512))["image"].astype(np.float32) / 127.5 - 1
    network = VQVAE(1, functools.partial(VectorQuantizer, 32, 8), 1, 1, channels=8, residual_blocks=1)
    m = vq_gan(
        network,
        PatchDiscriminator(1, 8),
        optax.adam(2e-3),
        optax.adam(5e-4),
        image_shape=(8, 8, 1),
        perceptual=perceptual(load_feature_maps()),
    )

    def rows(i):
        rows = np.random.default_rng(i).integers(0, len(images), 32)
        return {"image": jnp.asarray(images[rows]), "_index": jnp.arange(32)}

    state, step = m.init(jax.random.key(0), rows(0)), jax.jit(m.step)
    evaluate = jax.jit(m.evaluate)
    before = evaluate(jax.random.key(0), state, rows(0))
    for i in range(60):
        state, metrics = step(jax.random.key(i), state, rows(i))
    after = evaluate(jax.random.key(0), state, rows(0))
    assert float(after["mean_squared_error"].mean()) < float(before["mean_squared_error"].mean()) / 2
    assert float(after["perceptual"].mean()) < float(before["perceptual"].mean()) / 1.5
    assert float(metrics["perplexity"]) > 8 and np.isfinite(list(metrics.values())).all()


def test_the_last_layer_of_vq_vae_2_is_that_of_the_finest_level():
    network = VQVAE(1, functools.partial(VectorQuantizer, 8, 2), 2, 1, channels=2, residual_blocks=0)
    m = method(network=network, last_layer=None, image_shape=(4, 4, 1))
    given = {"image": jnp.ones((2, 4, 4, 1)), "_index": jnp.arange(2)}
    state = jax.eval_shape(m.init, jax.random.key(0), given)
    assert state.params["network"]["decoders_1"]["out"]["kernel"].shape == (4, 4, 2, 1)
    with pytest.raises(
        UserError, match=r"last_layer='decoders_2/out/kernel': the network has .*decoders_1/out/kernel"
    ):
        other = method(network=network, last_layer="decoders_2/out/kernel", image_shape=(4, 4, 1))
        jax.eval_shape(other.init, jax.random.key(0), given)


def test_errors():
    for name in ("perceptual_weight", "adversarial_weight", "max_weight", "start", "commitment"):
        with pytest.raises(UserError, match=rf"{name}=-1"):
            method(**{name: -1})
    m = method(network=Pixels(out_channels=2))
    with pytest.raises(UserError, match=r"out_channels=2 of the network: valid is 1"):
        m.step(jax.random.key(0), m.init(jax.random.key(0), batch()), batch())
