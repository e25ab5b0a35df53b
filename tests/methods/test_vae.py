"""Variational autoencoders against models whose likelihood is known in closed form."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax.losses import gaussian, likelihood
from genjax.losses.gaussian import Gaussian
from genjax.methods import vae
from genjax.methods.averages import Average, Several, averaged, exponential, several
from genjax.methods.gradients import mean_gradient
from genjax.methods.vae import regularizers
from genjax.models.vae.mlp import MLPDecoder, MLPEncoder
from genjax.models.vae.vae import VAE, SharedScale
from genjax.nn.latent import LatentGroup, draw
from genjax.typing import UserError

SHAPE = (2, 3, 1)
LATENT = 2
N = 256


def data():
    """float32[N,2,3,1]: two directions of large variance and noise, centred."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(6, 2)))[0] * [1.2, 0.7]
    x = rng.normal(size=(N, 2)) @ basis.T + 0.3 * rng.normal(size=(N, 6))
    return (x - x.mean(0)).astype(np.float32).reshape(N, *SHAPE)


def batch():
    return {"image": jnp.asarray(data()), "_index": jnp.arange(N)}


def linear():
    return VAE(MLPEncoder(()), SharedScale(MLPDecoder(SHAPE, ())), LATENT)


def trained(method, batch, steps):
    def step(state, i):
        state, metrics = method.step(jax.random.key(i), state, batch)
        return state, metrics["loss"]

    state = method.init(jax.random.key(0), batch)
    return jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(steps)))(state)


@pytest.fixture(scope="module")
def fitted():
    """A linear VAE, trained to the end."""
    optimizer = optax.adam(optax.cosine_decay_schedule(0.02, 3000))
    kind = likelihood.gaussian_learned(-20.0)
    method = vae(linear(), optimizer, kind, image_shape=SHAPE, average=exponential(0.0))
    state, _ = trained(method, batch(), 3000)
    return state


def bound(state, k=0, seeds=1, images=None):
    method = vae(
        linear(),
        optax.sgd(0.1),
        likelihood.gaussian_learned(-20.0),
        image_shape=SHAPE,
        importance_samples=k,
    )
    given = batch() if images is None else {"image": images, "_index": jnp.arange(len(images))}
    evaluate = jax.jit(lambda seed: method.evaluate(jax.random.key(seed), state, given))
    return jax.tree.map(lambda *x: np.stack(x), *[evaluate(seed) for seed in range(seeds)])


def ppca_log_likelihood():
    """Mean over the examples of the maximum likelihood of probabilistic PCA, Tipping & Bishop (1999), equation 4, 8."""
    x = data().reshape(N, -1).astype(np.float64)
    values, vectors = np.linalg.eigh(x.T @ x / N)
    values, vectors = values[::-1], vectors[:, ::-1]
    noise = values[LATENT:].mean()
    weights = vectors[:, :LATENT] * np.sqrt(values[:LATENT] - noise)
    covariance = weights @ weights.T + noise * np.eye(6)
    _, log_det = np.linalg.slogdet(2 * np.pi * covariance)
    return -0.5 * (log_det + np.trace(np.linalg.solve(covariance, x.T @ x / N)))


def test_linear_vae_reaches_probabilistic_pca(fitted):
    elbo = -bound(fitted, seeds=100)["loss"].mean()
    expected = ppca_log_likelihood()
    assert elbo < expected + 2e-3
    np.testing.assert_allclose(elbo, expected, atol=1e-2)


def test_importance_weighted_bound_of_an_exact_posterior_is_the_likelihood(fitted):
    """Then all weights are equal, and one draw is enough; log mean exp, not mean log."""
    one, many = (bound(fitted, k)["nll"] for k in (1, 20))
    np.testing.assert_allclose(one.mean(), -ppca_log_likelihood(), atol=2e-2)
    np.testing.assert_allclose(many.mean(), -ppca_log_likelihood(), atol=1e-2)


def test_importance_weighted_bound_of_a_poor_posterior_tightens_towards_the_likelihood():
    """With fresh parameters: monotone in k, and at k = 20,000 the likelihood, which is known in closed form."""
    state = vae(linear(), optax.sgd(0.1), likelihood.gaussian_learned(-20.0), image_shape=SHAPE).init(
        jax.random.key(3), batch()
    )
    images = jnp.asarray(data()[:8])
    weights = np.asarray(state.params["decoder"]["decoder"]["out"]["kernel"], np.float64)
    covariance = weights.T @ weights + np.eye(6)  # the scale starts at 1
    _, log_det = np.linalg.slogdet(2 * np.pi * covariance)
    x = np.asarray(images, np.float64).reshape(8, 6)
    exact = 0.5 * (log_det + np.einsum("ni,ij,nj->n", x, np.linalg.inv(covariance), x))
    values = [bound(state, k, seeds=3, images=images)["nll"].mean() for k in (1, 10, 100)]
    assert values[0] > values[1] > values[2] > exact.mean() - 0.1  # in expectation it is above
    np.testing.assert_allclose(bound(state, 20_000, images=images)["nll"][0], exact, atol=0.03)


def test_evaluation_adds_up(fitted):
    values = bound(fitted)
    np.testing.assert_allclose(values["loss"], values["distortion"] + values["rate"], rtol=1e-6)
    assert "bits_per_dim" not in values  # a density


def outcome(**options):
    network = VAE(MLPEncoder(()), MLPDecoder(SHAPE, ()), LATENT)
    method = vae(network, optax.adam(0.01), likelihood.gaussian(), image_shape=SHAPE, **options)
    return jax.tree.leaves(trained(method, batch(), 5))


def test_beta_one_is_the_vae_bit_for_bit():
    plain, one, more = (
        outcome(),
        outcome(regularizer=regularizers.kl(1.0)),
        outcome(regularizer=regularizers.kl(1.5)),
    )
    for a, b in zip(plain, one, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(plain, more, strict=True))


def group(nats):
    """A group of one latent variable an example, whose mean has the divergence `nats`."""
    nats = jnp.asarray(nats, jnp.float32)
    mean = jnp.sqrt(2 * nats)[:, None]
    zeros = jnp.zeros_like(mean)
    return LatentGroup(mean, 0 * nats, 0 * nats, nats, Gaussian(mean, zeros))


def test_warmup_and_free_bits():
    groups = [group([1.0, 3.0]), group([0.1, 0.5])]
    step = jnp.int32(4)
    np.testing.assert_allclose(regularizers.kl()(step, groups), [1.1, 3.5], rtol=1e-6)
    np.testing.assert_allclose(regularizers.kl(2.0, warmup_steps=10)(step, groups), [1.1, 3.5], rtol=1e-6)
    np.testing.assert_allclose(regularizers.kl(2.0, warmup_steps=4)(step, groups), [2.2, 7.0], rtol=1e-6)
    # The first group's mean, 2, is above a half; the second's, 0.3, is not and counts as a half, without a gradient.
    np.testing.assert_allclose(regularizers.kl(free_bits=0.5)(step, groups), [1.5, 3.5], rtol=1e-6)
    # It is the mean that counts: not the largest.
    np.testing.assert_allclose(
        regularizers.kl(free_bits=0.5)(step, [group([0.1, 0.8])]), [0.5, 0.5], rtol=1e-6
    )
    gradient = jax.grad(lambda nats: regularizers.kl(free_bits=0.5)(step, [groups[0], group(nats)]).sum())
    np.testing.assert_array_equal(gradient(jnp.array([0.1, 0.5])), [0, 0])
    np.testing.assert_allclose(gradient(jnp.array([0.7, 0.5])), [1, 1])


def test_balance_weighs_by_size_and_nats_until_the_end_of_the_warmup():
    groups = [group([1.0, 3.0]), group([0.5, 0.5])]
    balanced = regularizers.kl(warmup_steps=10, balance=True)
    np.testing.assert_allclose(balanced(jnp.int32(9), groups), [1.6 + 0.2, 4.8 + 0.2], rtol=1e-6)
    np.testing.assert_allclose(balanced(jnp.int32(10), groups), [1.5, 3.5], rtol=1e-6)


def test_capacity():
    groups = [group([1.0, 3.0])]
    capacity = regularizers.capacity(10.0, 4.0, 100)
    np.testing.assert_allclose(capacity(jnp.int32(0), groups), [10, 30])
    np.testing.assert_allclose(capacity(jnp.int32(25), groups), [0, 20])
    np.testing.assert_allclose(capacity(jnp.int32(1000), groups), [30, 10])


def test_total_correlation_with_equal_weights_is_the_draws_divergence():
    """Whatever the estimates of the parts: they add up."""
    posterior = Gaussian(*jax.random.normal(jax.random.key(0), (2, 6, 3)))
    drawn = draw(jax.random.split(jax.random.key(1), 6), posterior, gaussian.standard((6, 3)))
    for beta, mutual, dimension in [(1, 1, 1), (5, 2, 0.5)]:
        tc = regularizers.total_correlation(
            beta, mutual_information=mutual, dimension=dimension, dataset_size=100
        )
        found = tc(jnp.int32(0), [drawn])
        total = np.asarray(drawn.log_q - drawn.log_p)
        assert np.allclose(found, total, atol=1e-4) == (beta == 1)
    with pytest.raises(UserError, match="2 groups"):
        tc(jnp.int32(0), [drawn, drawn])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: regularizers.kl(-1.0), r"beta=-1.0: valid are 0 and more"),
        (lambda: regularizers.kl(float("nan")), r"beta=nan"),
        (lambda: regularizers.kl(free_bits=-1.0), r"free_bits=-1.0"),
        (lambda: regularizers.kl(balance=True), r"warmup_steps=0"),
        (lambda: regularizers.capacity(1.0, -1.0, 10), r"max_capacity=-1.0"),
        (lambda: regularizers.total_correlation(-1.0, dataset_size=10), r"beta=-1"),
    ],
)
def test_regularizers_refuse(make, message):
    with pytest.raises(UserError, match=message):
        make()


def conditional(**options):
    network = VAE(MLPEncoder((4,), 3), MLPDecoder(SHAPE, (4,), 3), LATENT)
    options = {"image_shape": SHAPE, "conditions": ("label",), **options}
    return vae(network, optax.adam(1e-3), likelihood.bernoulli(), **options)


def test_labels_reach_encoder_and_decoder_and_must_be_there():
    method = conditional()
    given = {"image": jnp.sign(batch()["image"]), "_index": jnp.arange(N), "label": jnp.arange(N) % 3}
    state = method.init(jax.random.key(0), given)
    keys = jnp.broadcast_to(jax.random.key(1), (3,))
    images = method.sample(keys, state, {"label": jnp.arange(3)})
    assert (images[0] != images[1]).any() and (images[1] != images[2]).any()
    missing = r"label is missing: the model needs the conditions label"
    with pytest.raises(UserError, match=missing):
        method.sample(keys, state, {})
    unlabelled = {name: x for name, x in given.items() if name != "label"}
    for function in (method.step, method.evaluate):
        with pytest.raises(UserError, match=missing):
            function(jax.random.key(0), state, unlabelled)
    with pytest.raises(UserError, match=missing):
        method.init(jax.random.key(0), unlabelled)
    posterior = [
        method.evaluate(jax.random.key(0), state, {**given, "label": jnp.full(N, c)})["rate"] for c in (0, 1)
    ]
    assert (posterior[0] != posterior[1]).any()


def test_temperature_zero_gives_the_same_image_to_all_keys():
    method = vae(linear(), optax.sgd(0.1), likelihood.gaussian_learned(), image_shape=SHAPE)
    state = method.init(jax.random.key(0), batch())
    keys = jax.random.split(jax.random.key(1), 4)
    cold = method.sample(keys, state, {"temperature": jnp.array([0.0, 0.0, 1.0, 1.0])})
    np.testing.assert_array_equal(cold[0], cold[1])
    assert (cold[2] != cold[3]).any()


def test_pixels_are_drawn_or_expected():
    method, drawing = conditional(), conditional(draw_pixels=True)
    state = method.init(jax.random.key(0), {**batch(), "label": jnp.arange(N) % 3})
    # One code, many draws of the pixels: their mean is the expected image.
    state = dataclasses.replace(state, ema=jax.tree.map(lambda p: 3 * p, state.ema))
    keys, condition = jax.random.split(jax.random.key(1), 4000), {"label": jnp.zeros(4000, jnp.int32)}
    condition |= {"temperature": jnp.zeros(4000)}
    drawn = drawing.sample(keys, state, condition)
    assert set(np.unique(drawn)) == {-1, 1}
    np.testing.assert_allclose(
        drawn.mean(0), method.sample(keys[:1], state, {k: v[:1] for k, v in condition.items()})[0], atol=0.06
    )


def test_several_averages_of_a_step_are_those_of_each_alone():
    """The first makes images and is evaluated; a plain sum stands beside it."""
    total = Average(lambda p: jax.tree.map(jnp.zeros_like, p), lambda a, p, _: jax.tree.map(jnp.add, a, p))
    options = {"image_shape": SHAPE}
    many, one = (
        vae(linear(), optax.adam(0.01), likelihood.gaussian_learned(), average=average, **options)
        for average in (several(exponential(0.1), slow=exponential(0.9), total=total), exponential(0.1))
    )
    (state, _), (alone, _) = (trained(m, batch(), 3) for m in (many, one))
    assert isinstance(state.ema, Several) and state.ema.others.keys() == {"slow", "total"}
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)  # of different programs
    jax.tree.map(close, averaged(state), alone.ema)
    first, _ = trained(many, batch(), 1)
    jax.tree.map(np.testing.assert_array_equal, first.ema.others["total"], first.params)
    pairs = zip(jax.tree.leaves(state.ema.first), jax.tree.leaves(state.ema.others["slow"]), strict=True)
    assert any((a != b).any() for a, b in pairs)
    for function in (
        lambda m, s: m.evaluate(jax.random.key(1), s, batch())["loss"],
        lambda m, s: m.sample(jax.random.split(jax.random.key(1), 3), s, {}),
    ):
        close(function(many, state), function(one, alone))


def test_the_gradient_is_an_argument():
    """One of half the length moves the parameters half as far."""

    def halved(loss, params, key, batch):
        metrics, grads = mean_gradient()(loss, params, key, batch)
        return {**metrics, "halved": jnp.ones(())}, jax.tree.map(lambda g: g / 2, grads)

    options = {"likelihood": likelihood.gaussian_learned(), "image_shape": SHAPE}
    full, half = (vae(linear(), optax.sgd(0.1), **options, **more) for more in ({}, {"gradient": halved}))
    state = full.init(jax.random.key(0), batch())
    (one, _), (two, metrics) = (m.step(jax.random.key(1), state, batch()) for m in (full, half))
    assert metrics["halved"] == 1
    moves = [jax.tree.map(lambda new, old: new - old, s.params, state.params) for s in (one, two)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a / 2, b, atol=1e-6), *moves)
