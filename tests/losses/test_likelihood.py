"""Likelihoods: probabilities sum to 1, densities are scipy's, draws have the moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from genjax.data import to_float
from genjax.losses import likelihood
from genjax.losses.logistic_mixture import log_mass, logistic_mixture
from genjax.typing import UserError

LEVELS = to_float(jnp.arange(256, dtype=jnp.uint8).reshape(256, 1, 1, 1))


def test_bernoulli_probabilities():
    logits = jnp.array([[-1.3, 0.4]]).reshape(1, 1, 2, 1)
    bernoulli = likelihood.bernoulli()
    images = jnp.array([[a, b] for a in (-1.0, 1.0) for b in (-1.0, 1.0)]).reshape(4, 1, 2, 1)
    log_prob = bernoulli.log_prob(jnp.repeat(logits, 4, 0), images)
    np.testing.assert_allclose(jnp.exp(log_prob).sum(), 1, rtol=1e-6)
    white = jax.nn.sigmoid(logits).ravel()
    np.testing.assert_allclose(jnp.exp(log_prob[-1]), white.prod(), rtol=1e-6)
    np.testing.assert_allclose(bernoulli.mean(logits).ravel(), 2 * white - 1, rtol=1e-6)
    draws = bernoulli.sample(jax.random.split(jax.random.key(0), 4000), jnp.repeat(logits, 4000, 0))
    assert set(np.unique(draws)) == {-1, 1}
    np.testing.assert_allclose(draws.mean(0), bernoulli.mean(logits)[0], atol=0.06)


def test_gaussian_densities():
    x, mean, raw = jax.random.normal(jax.random.key(0), (3, 2, 2, 2, 1))
    expected = scipy.stats.norm(mean, 0.3).logpdf(x).sum((1, 2, 3))
    np.testing.assert_allclose(likelihood.gaussian(0.3).log_prob(mean, x), expected, rtol=1e-5)
    expected = scipy.stats.norm(mean, np.exp(raw)).logpdf(x).sum((1, 2, 3))
    outputs = jnp.concatenate([mean, raw], axis=-1)
    learned = likelihood.gaussian_learned(min_log_scale=-20.0)
    np.testing.assert_allclose(learned.log_prob(outputs, x), expected, rtol=1e-5)
    assert learned.outputs(3) == 6
    # However certain the decoder is, the scale has a lower bound.
    certain = jnp.concatenate([mean, jnp.full_like(raw, -1e4)], axis=-1)
    bounded = likelihood.gaussian_learned().log_prob(certain, mean)
    np.testing.assert_allclose(bounded, 4 * (7 - 0.5 * np.log(2 * np.pi)), rtol=1e-5)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_gaussian_refuses_a_scale(scale):
    with pytest.raises(UserError, match=rf"scale={scale}: .*\(0, inf\)"):
        likelihood.gaussian(scale)


@pytest.mark.parametrize("mean", [-3.0, -1.0, 0.2, 1.0])
@pytest.mark.parametrize("log_scale", [-7.0, -3.0, 0.0, 2.0])
def test_logistic_masses_are_differences_of_the_distribution(mean, log_scale):
    x = np.asarray(LEVELS, np.float64).ravel()
    cdf = scipy.stats.logistic(mean, np.exp(log_scale)).cdf
    expected = cdf(x + 1 / 255) - cdf(x - 1 / 255)
    expected[0], expected[-1] = cdf(x[0] + 1 / 255), 1 - cdf(x[-1] - 1 / 255)
    found = log_mass(LEVELS, jnp.full_like(LEVELS, mean), jnp.full_like(LEVELS, log_scale)).ravel()
    np.testing.assert_allclose(jnp.exp(found), expected, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(jnp.exp(found).sum(), 1, rtol=2e-5)
    assert jnp.isfinite(found).all()  # however far the mean is


def test_mixture_of_grey_levels_sums_to_one():
    mixture = logistic_mixture(3)
    assert mixture.outputs(1) == 9
    outputs = jnp.repeat(2 * jax.random.normal(jax.random.key(0), (1, 1, 1, 9)), 256, 0)
    probability = jnp.exp(mixture.log_prob(outputs, LEVELS))
    np.testing.assert_allclose(probability.sum(), 1, rtol=2e-5)
    expected = (probability * LEVELS.ravel()).sum()
    np.testing.assert_allclose(
        mixture.mean(outputs)[0, 0, 0, 0], expected, atol=0.15
    )  # clipped, not censored
    draws = mixture.sample(jax.random.split(jax.random.key(1), 20_000), jnp.repeat(outputs[:1], 20_000, 0))
    np.testing.assert_allclose(draws.mean(), expected, atol=0.02)
    levels = np.asarray((draws + 1) * 127.5)
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)


def test_mixture_of_colours():
    """Each channel sums to 1 given those before; green's mean follows red, and blue's both."""
    mixture = logistic_mixture(1)
    assert mixture.outputs(3) == 10 and logistic_mixture(5).outputs(3) == 50
    weights = np.array([0.5, -0.3, 0.8])
    outputs = np.concatenate([[0.0], [0.1, -0.2, 0.3], [-2.0, -3.0, -2.5], np.arctanh(weights)])
    outputs = jnp.asarray(np.tile(outputs, (256, 1, 1, 1)), jnp.float32)
    red, green = 0.4, -0.6
    pixel = jnp.concatenate([jnp.full_like(LEVELS, red), jnp.full_like(LEVELS, green), LEVELS], axis=-1)
    log_scale = -7 + np.log1p(np.exp(np.array([-2.0, -3.0, -2.5]) + 7))

    def mass(x, mean, log_scale):
        return log_mass(jnp.float32(x), jnp.float32(mean), jnp.float32(log_scale))

    before = mass(red, 0.1, log_scale[0]) + mass(green, -0.2 + 0.5 * red, log_scale[1])
    blue = jnp.exp(mixture.log_prob(outputs, pixel) - before)
    np.testing.assert_allclose(blue.sum(), 1, rtol=1e-4)
    assert abs(float(LEVELS[blue.argmax()].item()) - (0.3 - 0.3 * red + 0.8 * green)) < 1 / 127
    draws = mixture.sample(jax.random.split(jax.random.key(1), 4000), jnp.repeat(outputs[:1], 4000, 0))[
        :, 0, 0
    ]
    slope = np.polyfit(draws[:, 0], draws[:, 1], 1)[0]
    np.testing.assert_allclose(slope, 0.5, atol=0.05)


@pytest.mark.parametrize("kind", [likelihood.bernoulli(), logistic_mixture(1)])
@pytest.mark.parametrize("value", [1.5, -1.01, 255.0, float("nan")])
def test_images_outside_of_the_support_are_refused(kind, value):
    outputs = jnp.zeros((1, 1, 1, kind.outputs(1)))
    with pytest.raises(UserError, match=r"the likelihood's support is \[-1, 1\]"):
        kind.log_prob(outputs, jnp.full((1, 1, 1, 1), value))


def test_images_may_be_constants_of_a_compiled_function():
    x = jnp.ones((1, 1, 1, 1))
    log_prob = jax.jit(lambda outputs: likelihood.bernoulli().log_prob(outputs, x))(0 * x)
    np.testing.assert_allclose(log_prob, -np.log(2), rtol=1e-6)


def test_mixture_needs_a_component():
    with pytest.raises(UserError, match="num_mixtures=0"):
        logistic_mixture(0)
