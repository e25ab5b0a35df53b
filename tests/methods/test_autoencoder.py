"""Autoencoders: principal components, penalties, corruption, and the Markov chain of a denoising one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax.losses import likelihood, sparsity
from genjax.methods.averages import averaged, exponential, several
from genjax.methods.vae.autoencoder import autoencoder, gaussian_noise, kl, l1, masking
from genjax.models.vae.autoencoder import Autoencoder
from genjax.models.vae.mlp import MLPDecoder, MLPEncoder
from genjax.typing import UserError

SHAPE = (2, 3, 1)
N = 256


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 3)) * [1.0, 0.6, 0.2] @ rng.normal(size=(3, 6)) * 0.4
    return (x - x.mean(0)).astype(np.float32).reshape(N, *SHAPE)


def batch():
    return {"image": jnp.asarray(data()), "_index": jnp.arange(N)}


def make(hidden=(), latent=2, learning_rate=0.02, steps=2000, **options):
    network = Autoencoder(MLPEncoder(hidden), MLPDecoder(SHAPE, hidden), latent)
    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))
    return network, autoencoder(network, optimizer, likelihood.gaussian(), image_shape=SHAPE, **options)


def trained(method, steps=2000):
    def step(state, i):
        return method.step(jax.random.key(i), state, batch())

    state = method.init(jax.random.key(0), batch())
    return jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(steps)))(state)


@pytest.fixture(scope="module")
def fitted():
    network, method = make(average=exponential(0.0))
    return network, method, trained(method)[0]


def test_linear_autoencoder_finds_the_principal_components(fitted):
    network, _, state = fitted
    outputs, _ = network.apply({"params": state.params}, jnp.asarray(data()))
    error = jnp.square(outputs - data()).sum((1, 2, 3)).mean()
    x = data().reshape(N, 6).astype(np.float64)
    residual = np.linalg.eigvalsh(x.T @ x / N)[:-2].sum()
    np.testing.assert_allclose(error, residual, atol=1e-3)


def test_codes_are_drawn_with_the_moments_of_those_seen(fitted):
    """Of a linear autoencoder, images then have the covariance of the data's first components."""
    _, method, state = fitted
    # A fifth of their size, so that no image leaves [-1, 1].
    small = {"mean": state.mutable["mean"] / 5, "second": state.mutable["second"] / 25}
    state = dataclasses.replace(state, mutable=small)
    images = 5 * method.sample(jax.random.split(jax.random.key(0), 20_000), state, {}).reshape(-1, 6)
    x = data().reshape(N, 6)
    values, vectors = np.linalg.eigh(x.T @ x / N)
    expected = (vectors[:, -2:] * values[-2:]) @ vectors[:, -2:].T
    np.testing.assert_allclose(np.cov(images.T), expected, atol=0.02)


def test_codes_that_never_change_are_drawn_as_they_are(fitted):
    """The covariance is about the mean: without any, all keys get the image of the mean code."""
    network, method, state = fitted
    mean = jnp.array([0.1, -0.2])
    state = dataclasses.replace(state, mutable={"mean": mean, "second": jnp.outer(mean, mean)})
    images = method.sample(jax.random.split(jax.random.key(0), 4), state, {})
    expected = network.apply({"params": state.ema}, mean[None], method="decode")
    np.testing.assert_allclose(images, jnp.broadcast_to(expected, images.shape), atol=0.02)


def test_walkback_corrupts_again_what_it_has_drawn():
    """A corruption that leaves nothing: every step back then has the same distortion."""
    _, once = make(corrupt=lambda keys, x: 0 * x)
    _, thrice = make(corrupt=lambda keys, x: 0 * x, walkback=3)
    one, three = (
        m.step(jax.random.key(0), m.init(jax.random.key(0), batch()), batch())[1] for m in (once, thrice)
    )
    np.testing.assert_allclose(three["distortion"], 3 * one["distortion"], rtol=1e-6)


def test_sparsity():
    code = jnp.array([[0.5, -1.0], [0.0, 2.0]])
    np.testing.assert_allclose(sparsity.l1(code), (1.5 + 2.0) / 2)
    np.testing.assert_allclose(sparsity.kl(jnp.array([0.05, 0.05]), 0.05), 0, atol=1e-7)
    expected = 0.1 * np.log(0.1 / 0.4) + 0.9 * np.log(0.9 / 0.6)
    np.testing.assert_allclose(sparsity.kl(jnp.array([0.4]), 0.1), expected, rtol=1e-6)
    assert jnp.isfinite(sparsity.kl(jnp.array([0.0, 1.0])))


def test_penalty_is_part_of_the_loss_and_shrinks_codes():
    results = [trained(make(penalty=l1(w), steps=300)[1], 300) for w in (0.0, 3.0)]
    (_, free), (_, penalised) = results
    np.testing.assert_allclose(penalised["loss"], penalised["distortion"] + penalised["penalty"], rtol=1e-6)
    assert (free["penalty"] == 0).all()
    size = [jnp.trace(state.mutable["second"]) for state, _ in results]
    assert size[1] < 0.1 * size[0]


def test_corruptions():
    keys, x = jax.random.split(jax.random.key(0), 5000), jnp.full((5000, *SHAPE), 0.25)
    noisy = gaussian_noise(0.5)(keys, x)
    np.testing.assert_allclose([noisy.mean(), noisy.std()], [0.25, 0.5], atol=0.02)
    masked = masking(0.3)(keys, x)
    np.testing.assert_allclose([(masked == -1).mean(), (masked == 0.25).mean()], [0.3, 0.7], atol=0.02)
    np.testing.assert_array_equal(masked[7:8], masking(0.3)(keys[7:8], x[7:8]))


def test_denoising_autoencoder_is_the_posterior_mean():
    """Of data from a normal distribution the best linear repair is known: Wiener's filter."""
    network, method = make(latent=6, corrupt=gaussian_noise(0.5), steps=3000)
    state, _ = trained(method, 3000)
    x = data().reshape(N, 6).astype(np.float64)
    covariance = x.T @ x / N
    wiener = covariance @ np.linalg.inv(covariance + 0.25 * np.eye(6))
    probes = jnp.eye(6, dtype=jnp.float32).reshape(6, *SHAPE)
    repaired, origin = (
        network.apply({"params": state.ema}, p)[0].reshape(-1, 6) for p in (probes, 0 * probes)
    )
    np.testing.assert_allclose(repaired - origin, wiener, atol=0.05)


def test_markov_chain_visits_the_data():
    """Two points: the chain's means end near one of them, and near both over many keys; noise alone would not."""
    points = np.stack([np.full(SHAPE, 0.7), np.full(SHAPE, -0.7)]).astype(np.float32)
    given = {"image": jnp.asarray(np.tile(points, (64, 1, 1, 1))), "_index": jnp.arange(128)}
    network = Autoencoder(MLPEncoder((32,)), MLPDecoder(SHAPE, (32,)), 4)
    method = autoencoder(
        network,
        optax.adam(0.01),
        likelihood.gaussian(0.1),
        image_shape=SHAPE,
        corrupt=gaussian_noise(0.6),
        walkback=2,
        chain=20,
        average=exponential(0.9),
    )

    def step(state, i):
        return method.step(jax.random.key(i), state, given)

    state = method.init(jax.random.key(0), given)
    state, _ = jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(400)))(state)
    images = jax.jit(method.sample)(jax.random.split(jax.random.key(1), 64), state, {})
    middle = images.mean((1, 2, 3))
    assert (jnp.abs(jnp.abs(middle) - 0.7) < 0.15).mean() > 0.85
    assert 0.15 < (middle > 0).mean() < 0.85


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"walkback": 0}, "walkback=0"),
        ({"chain": 0}, "chain=0"),
        ({"walkback": 2}, "walkback=2: without a corruption, valid is 1"),
    ],
)
def test_options_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        make(**options)


def test_weights_and_probabilities_are_refused():
    with pytest.raises(UserError, match=r"probability=1.5: valid are \[0, 1\]"):
        masking(1.5)
    with pytest.raises(UserError, match="weight=-1"):
        l1(-1)
    with pytest.raises(UserError, match=r"target=1: valid are \(0, 1\)"):
        kl(1.0, 1)


def test_labels_reach_the_network_and_must_be_there():
    network = Autoencoder(MLPEncoder((4,), 3), MLPDecoder(SHAPE, (4,), 3), 2)
    average = several(exponential(0.5), slow=exponential(0.9))
    options = {"image_shape": SHAPE, "conditions": ("label",), "average": average}
    for more in ({}, {"corrupt": gaussian_noise(0.1), "chain": 2}):
        method = autoencoder(network, optax.adam(0.1), likelihood.gaussian(), **options, **more)
        given = {**batch(), "label": jnp.arange(N) % 3}
        state, _ = method.step(jax.random.key(0), method.init(jax.random.key(0), given), given)
        assert averaged(state) is state.ema.first
        keys = jnp.broadcast_to(jax.random.key(1), (2,))
        images = method.sample(keys, state, {"label": jnp.arange(2)})
        assert (images[0] != images[1]).any()
        values = [
            method.evaluate(jax.random.key(0), state, {**given, "label": jnp.full(N, c)})["loss"]
            for c in (0, 1)
        ]
        assert (values[0] != values[1]).any()
        for call in (
            lambda: method.sample(keys, state, {}),
            lambda: method.init(jax.random.key(0), batch()),
            lambda: method.step(jax.random.key(0), state, batch()),
            lambda: method.evaluate(jax.random.key(0), state, batch()),
        ):
            with pytest.raises(UserError, match="label is missing: the model needs the conditions label"):
                call()
