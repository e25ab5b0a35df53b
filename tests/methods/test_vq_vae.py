"""The VQ-VAE method: its loss in closed form, its code book on any devices, what a prior gets, and that it learns."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax.data.digits import digits
from genjax.losses import likelihood
from genjax.methods.averages import exponential, several
from genjax.methods.codes.code_model import CodeModel, reconstruct, uniform
from genjax.methods.codes.vq_vae import vq_vae, vq_vae_codes
from genjax.methods.gradients import mean_gradient
from genjax.models.codes.vq_vae import VQVAE
from genjax.nn.quantization import FiniteScalarQuantizer, VectorQuantizer
from genjax.train import sharding
from genjax.typing import DATA_AXIS, TrainState, UserError

pytestmark = pytest.mark.quick_compilation

SHAPE = (2, 3, 1)
K, D, N = 8, 2, 16


class Pixels(nn.Module):
    """Quantises an affine function of each pixel: small enough to write its loss down."""

    quantizer: functools.partial
    out_channels: int = 1

    def setup(self):
        self.encoder, self.decoder = nn.Dense(D), nn.Dense(self.out_channels)
        self.book = self.quantizer()

    num_codes = (K,)

    def code_shapes(self, image_shape):
        return (tuple(image_shape[:2]),)

    def __call__(self, x):
        (level,) = levels = self.quantize(x)
        return self.decoder(level.z), levels

    def quantize(self, x):
        return (self.book(self.encoder(x)),)

    def decode(self, codes):
        return self.decoder(self.book.lookup(codes[0]))

    def learn(self, statistics, first):
        return [self.book.learn(statistics[0], first)]


def pixels(out_channels=1, **options):
    return Pixels(functools.partial(VectorQuantizer, K, D, **options), out_channels)


def method(network=None, optimizer=None, *args, **options):
    return vq_vae(network or pixels(), optimizer or optax.sgd(0.1), *args, **{"image_shape": SHAPE} | options)


def batch(seed=0):
    image = jax.random.uniform(jax.random.key(seed), (N, *SHAPE), minval=-1)
    return {"image": image, "_index": jnp.arange(N, dtype=jnp.int32)}


def by_hand(state, x):
    """Vectors, codes, decoded images, from the parameters."""
    p = state.params
    book = {**p.get("book", {}), **state.mutable["codebook"]["book"]}["codes"]
    vectors = x @ p["encoder"]["kernel"] + p["encoder"]["bias"].reshape(1, 1, 1, -1)
    codes = np.square(np.asarray(vectors)[..., None, :] - np.asarray(book)).sum(-1).argmin(-1)
    z = np.asarray(book)[codes]
    return vectors, codes, z, z @ p["decoder"]["kernel"] + p["decoder"]["bias"].reshape(1, 1, 1, -1)


@pytest.mark.parametrize("by_gradient", [False, True])
def test_loss_in_closed_form(by_gradient):
    m = method(pixels(by_gradient=by_gradient), commitment=0.7)
    state, x = m.init(jax.random.key(0), batch()), batch()["image"]
    values = jax.jit(m.evaluate)(jax.random.key(1), state, batch())
    vectors, _, z, decoded = by_hand(state, x)
    error = np.square(decoded - x).mean((1, 2, 3))
    distance = np.square(vectors - z).mean((1, 2, 3))
    constant = 0.5 * math.log(math.pi)
    np.testing.assert_allclose(values["reconstruction"], error + constant, rtol=1e-5)
    np.testing.assert_allclose(values["commitment"], distance, rtol=1e-5)
    expected = error + constant + (0.7 + by_gradient) * distance
    np.testing.assert_allclose(values["loss"], expected, rtol=1e-5)
    clipped = np.square(np.clip(decoded, -1, 1) - x).mean((1, 2, 3))
    np.testing.assert_allclose(values["mean_squared_error"], clipped, rtol=1e-5)
    np.testing.assert_allclose(values["psnr"], 10 * np.log10(4 / clipped), rtol=1e-5)
    _, metrics = jax.jit(m.step)(jax.random.key(1), state, batch())
    for name in ("loss", "reconstruction", "commitment"):
        np.testing.assert_allclose(metrics[name], values[name].mean(), rtol=1e-5)
    assert ("book" in state.params) == by_gradient


def test_an_exact_image_has_a_finite_signal_to_noise_ratio():
    m = method()
    state = jax.tree.map(jnp.zeros_like, m.init(jax.random.key(0), batch()))
    black = {**batch(), "image": jnp.zeros((N, *SHAPE))}
    np.testing.assert_allclose(
        jax.jit(m.evaluate)(jax.random.key(0), state, black)["psnr"], np.full(N, 100.0)
    )


def test_another_likelihood_takes_the_place_of_the_squared_error():
    kind = likelihood.gaussian_learned()
    m = method(pixels(out_channels=2), None, kind, commitment=0.0)
    state, x = m.init(jax.random.key(0), batch()), batch()["image"]
    *_, outputs = by_hand(state, x)
    loss = jax.jit(m.evaluate)(jax.random.key(0), state, batch())["loss"]
    np.testing.assert_allclose(loss, -kind.log_prob(jnp.asarray(outputs), x) / 6, rtol=1e-5)
    decoded = vq_vae_codes(pixels(out_channels=2), SHAPE, kind).decode(state, (jnp.zeros((2, 2, 3), int),))
    assert decoded.shape == (2, *SHAPE)


def test_a_step_descends_averages_and_learns_the_codes():
    """The gradient step on the loss above; then the codes follow the vectors that chose them."""
    m = method(pixels(restart=False, epsilon=0.0, decay=0.9), average=exponential(0.5))
    state, x = m.init(jax.random.key(0), batch()), batch()["image"]
    after, metrics = jax.jit(m.step)(jax.random.key(1), state, batch())
    vectors, codes, z, decoded = by_hand(state, x)
    difference = 2 * (decoded - x) / x.size
    gradient = np.einsum("bhwd,bhwc->dc", z, difference)
    moved = state.params["decoder"]["kernel"] - 0.1 * gradient
    np.testing.assert_allclose(after.params["decoder"]["kernel"], moved, rtol=1e-5, atol=1e-7)
    # Straight through: the decoder's gradient reaches the encoder, with that of the commitment.
    per_vector = difference @ state.params["decoder"]["kernel"].T + 0.25 * 2 * (vectors - z) / vectors.size
    moved = state.params["encoder"]["bias"] - 0.1 * per_vector.sum((0, 1, 2))
    np.testing.assert_allclose(after.params["encoder"]["bias"], moved, rtol=1e-5)

    counts, sums = np.bincount(codes.ravel(), minlength=K), np.zeros((K, D))
    np.add.at(sums, codes.ravel(), np.asarray(vectors).reshape(-1, D))
    book = 0.9 * np.asarray(state.mutable["codebook"]["book"]["codes"]) + 0.1 * sums
    np.testing.assert_allclose(
        after.mutable["codebook"]["book"]["codes"], book / (0.9 + 0.1 * counts)[:, None], rtol=1e-5, atol=1e-7
    )
    share = counts[counts > 0] / counts.sum()
    assert float(metrics["perplexity"]) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-5)
    average = jax.tree.map(lambda old, new: 2 / 11 * old + 9 / 11 * new, state.ema, after.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), after.ema, average)


# Codes restart in every step, so that the choice of their replacements shows.
RESTLESS = {"decay": 0.5, "dead_below": 0.9}


def trained(step, state, spread=lambda x: x):
    """The state after three steps, and how many codes were dead in each."""
    dead = []
    for i in range(3):
        state, metrics = step(jax.random.key(i), state, spread(batch(i)))
        dead.append(float(np.ravel(metrics["dead_codes"])[0]))
    return state, dead


@pytest.fixture(scope="module")
def on_one_device():
    m = method(pixels(**RESTLESS))
    return trained(jax.jit(m.step), m.init(jax.random.key(0), batch()))


def assert_same(state, expected):
    (got, dead), (want, want_dead) = state, expected
    assert dead == want_dead and min(dead) > 0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, want)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_eight_devices_learn_the_codes_of_one(accumulate, on_one_device):
    mesh, m = sharding.make_mesh(), method(pixels(**RESTLESS), gradient=mean_gradient(accumulate))
    state = m.init(jax.random.key(0), batch())
    state = sharding.place(state, jax.tree.map(lambda _: sharding.replicated(mesh), state))
    step = jax.jit(m.step)

    def spread(batch):
        return sharding.place_batch({k: np.asarray(x) for k, x in batch.items()}, mesh)

    place = functools.partial(sharding.place, shardings=sharding.replicated(mesh))
    assert_same(trained(lambda key, *rest: step(place(key), *rest), state, spread), on_one_device)


def test_pmap_learns_the_same_codes_on_every_device(on_one_device):
    m = method(pixels(**RESTLESS), gradient=mean_gradient(2))
    step = jax.pmap(m.step, axis_name=DATA_AXIS, in_axes=(None, 0, 0))
    state = jax.tree.map(lambda x: jnp.stack([x] * 8), m.init(jax.random.key(0), batch()))

    def spread(batch):
        return {k: x.reshape(8, 2, *x.shape[1:]) for k, x in batch.items()}

    state, dead = trained(step, state, spread)
    for x in jax.tree.leaves(state):
        np.testing.assert_array_equal(x, np.broadcast_to(x[:1], x.shape))
    assert_same((jax.tree.map(lambda x: x[0], state), dead), on_one_device)


def test_replacements_are_vectors_of_the_batch_that_the_key_chooses():
    m = method(pixels(**RESTLESS))
    state = m.init(jax.random.key(0), batch())
    vectors = {x.tobytes() for x in np.asarray(by_hand(state, batch()["image"])[0]).reshape(-1, D)}
    step = jax.jit(m.step)
    one, two = (step(jax.random.key(i), state, batch())[0].mutable["codebook"]["book"] for i in (1, 2))
    for book in (one, two):
        near = [
            min(np.abs(np.frombuffer(v, np.float32) - code).max() for v in vectors) for code in book["codes"]
        ]
        assert max(near) < 1e-6 and len(np.unique(book["codes"], axis=0)) == K
    assert (one["codes"] != two["codes"]).any()


def test_codes_that_are_parameters_restart_in_the_average_too():
    m = method(pixels(by_gradient=True, **RESTLESS), average=several(exponential(), slow=exponential(0.05)))
    state, _ = jax.jit(m.step)(jax.random.key(0), m.init(jax.random.key(0), batch()), batch())
    for average in (state.ema.first, state.ema.others["slow"]):
        np.testing.assert_array_equal(
            average["book"]["codes"], state.params["book"]["codes"]
        )  # all were replaced
        assert (average["encoder"]["bias"] != state.params["encoder"]["bias"]).any()
    assert state.mutable["codebook"]["book"].keys() == {"counts"}


def test_samples_are_decoded_codes_of_equal_probability():
    m, model = method(), vq_vae_codes(pixels(), SHAPE)
    state, keys = m.init(jax.random.key(0), batch()), jax.random.split(jax.random.key(1), 2000)
    codes = uniform(model, keys)
    assert codes[0].shape == (2000, 2, 3) and codes[0].dtype == jnp.int32
    counts = np.bincount(codes[0].ravel(), minlength=K)
    assert counts.size == K and np.abs(counts - 1500).max() < 5 * math.sqrt(1500)
    np.testing.assert_array_equal(m.sample(keys, state, {}), model.decode(state, codes))
    np.testing.assert_array_equal(uniform(model, keys[7:8])[0], codes[0][7:8])


def test_a_prior_gets_codes_and_their_images():
    model, x = vq_vae_codes(pixels(), SHAPE), batch()["image"]
    assert model.shapes == ((2, 3),) and model.num_codes == (K,)
    state = method().init(jax.random.key(0), batch())
    # The averages are what counts.
    state = state.replace(params=jax.tree.map(jnp.zeros_like, state.params), ema=state.params)
    _, codes, _, decoded = by_hand(state.replace(params=state.ema), x)
    np.testing.assert_array_equal(model.encode(state, x)[0], codes)
    np.testing.assert_allclose(model.decode(state, (jnp.asarray(codes),)), decoded, atol=1e-6)
    np.testing.assert_allclose(reconstruct(model, state, x), decoded, atol=1e-6)


def test_levels_draw_different_codes():
    model = CodeModel(None, None, ((2, 2), (2, 2)), (1000, 1000))
    top, bottom = uniform(model, jax.random.split(jax.random.key(0), 3))
    assert (top != bottom).any()


STEPS = 60


@pytest.fixture(scope="module")
def images():
    return digits("train").read(np.arange(512))["image"].astype(np.float32) / 127.5 - 1


@pytest.mark.parametrize(
    ("levels", "quantizer"),
    [
        (1, functools.partial(FiniteScalarQuantizer, (8, 5))),
        (2, functools.partial(VectorQuantizer, 32, 8)),
    ],
)
def test_learns_to_reconstruct_digits(levels, quantizer, images):
    network = VQVAE(1, quantizer, levels, downsamplings=1, channels=16, residual_blocks=1)
    m = vq_vae(network, optax.adam(2e-3), image_shape=(8, 8, 1))
    model = vq_vae_codes(network, (8, 8, 1))
    step, test = jax.jit(m.step), jnp.asarray(images[:64])
    state: TrainState | None = None
    for i in range(STEPS):
        rows = np.random.default_rng(i).integers(0, len(images), 64)
        b = {"image": jnp.asarray(images[rows]), "_index": jnp.arange(64)}
        if state is None:
            first = state = m.init(jax.random.key(0), b)
        state, metrics = step(jax.random.key(i), state, b)

    @jax.jit
    def look(state):
        codes = model.encode(state, test)
        return codes, jnp.square(model.decode(state, codes) - test).mean()

    codes, error = look(state)
    assert error < look(first)[1] / 3
    names = ["perplexity"] if levels == 1 else ["perplexity_0", "perplexity_1"]
    assert all(float(metrics[name]) > 8 for name in names)
    assert [c.shape for c in codes] == [(64, *shape) for shape in model.shapes]
    assert all(c.min() >= 0 and c.max() < k for c, k in zip(codes, model.num_codes, strict=True))


def test_errors():
    with pytest.raises(UserError, match=r"commitment=-0.1"):
        method(commitment=-0.1)
    with pytest.raises(UserError, match="not divisible by 4"):
        vq_vae(VQVAE(), optax.sgd(0.1), image_shape=(10, 8, 3))
    with pytest.raises(UserError, match="num_codes=0"):
        vq_vae(VQVAE(1, functools.partial(VectorQuantizer, 0)), optax.sgd(0.1), image_shape=(8, 8, 1))
    m = method(pixels(out_channels=3))
    with pytest.raises(UserError, match="out_channels=3"):
        jax.eval_shape(m.step, jax.random.key(0), m.init(jax.random.key(0), batch()), batch())
