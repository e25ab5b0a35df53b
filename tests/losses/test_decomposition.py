"""The three terms against closed forms, sums in float64, and the expectation over all batches."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.losses.decomposition import (
    decompose,
    decompose_data_set,
    exact,
    minibatch_stratified,
    minibatch_weighted,
)
from genjax.losses.gaussian import Gaussian
from genjax.typing import UserError

run = jax.jit(decompose, static_argnames="chunk_size")


def posteriors(seed, n, dim, spread=1.0):
    """Overlapping posteriors and a draw from each; float32 numpy."""
    rng = np.random.default_rng(seed)
    mean = spread * rng.normal(size=(n, dim))
    log_variance = rng.uniform(-2, 0.5, size=(n, dim))
    z = mean + np.exp(0.5 * log_variance) * rng.normal(size=(n, dim))
    return tuple(np.float32(a) for a in (z, mean, log_variance))


def densities(z, mean, log_variance):
    """float64[M,B,D]: density of component d of z[m] under posterior b."""
    z, mean, log_variance = (np.float64(a) for a in (z, mean, log_variance))
    variance = np.exp(log_variance)[None]
    return np.exp(-0.5 * (z[:, None] - mean[None]) ** 2 / variance) / np.sqrt(2 * np.pi * variance)


def terms(z, mean, log_variance, weights):
    """The three terms in float64, without logsumexp; weights [M,B]."""
    q = densities(z, mean, log_variance)
    given_x = np.log(np.diagonal(q)).sum(0)
    joint = np.log((weights * q.prod(2)).sum(1))
    components = np.log((weights[:, :, None] * q).sum(1)).sum(1)
    prior = (-0.5 * np.float64(z) ** 2 - 0.5 * np.log(2 * np.pi)).sum(1)
    return given_x - joint, joint - components, components - prior


def gaussian(mean, log_variance):
    return Gaussian(jnp.asarray(mean), jnp.asarray(log_variance))


@pytest.mark.parametrize("estimator", [exact, minibatch_weighted, minibatch_stratified])
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_terms_equal_float64_sums_and_add_up(estimator, chunk_size):
    z, mean, log_variance = posteriors(0, 7, 4)
    size = 7 if estimator is exact else 50
    log_weights = estimator(7, size)
    found = run(z, gaussian(mean, log_variance), log_weights, chunk_size=chunk_size)
    weights = np.exp(np.broadcast_to(np.float64(log_weights), (7, 7)))
    for a, b in zip(found, terms(z, mean, log_variance, weights), strict=True):
        assert a.shape == (7,)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    variance = np.exp(np.float64(log_variance))
    kl = 0.5 * (np.float64(z) ** 2 - (z - np.float64(mean)) ** 2 / variance - log_variance).sum(1)
    np.testing.assert_allclose(sum(found), kl, atol=1e-5)


def test_weights():
    np.testing.assert_allclose(np.exp(exact(4, 4)), 1 / 4, rtol=1e-6)
    np.testing.assert_allclose(np.exp(minibatch_weighted(4, 10)), 1 / 40, rtol=1e-6)
    # N = 10, M = 3: own 1/10, next (10 - 3)/30, the two others 1/3.
    own, following, other = 1 / 10, 7 / 30, 1 / 3
    expected = [
        [own, following, other, other],
        [other, own, following, other],
        [other, other, own, following],
        [following, other, other, own],
    ]
    np.testing.assert_allclose(np.exp(minibatch_stratified(4, 10)), expected, rtol=1e-6)
    np.testing.assert_allclose(np.exp(minibatch_stratified(2, 10)), [[0.1, 0.9], [0.9, 0.1]], rtol=1e-6)


def test_stratified_estimate_is_unbiased_and_weighted_is_too_small():
    z, mean, log_variance = posteriors(1, 5, 2)
    q = densities(z, mean, log_variance).prod(2)
    truth = q.mean(1)[0]
    # All batches of three that have example 0 in front, in every order.
    batches = [[0, *others] for others in itertools.permutations(range(1, 5), 2)]
    stratified, weighted = (np.exp(np.float64(e(3, 5))) for e in (minibatch_stratified, minibatch_weighted))
    assert np.mean([stratified[0] @ q[0, batch] for batch in batches]) == pytest.approx(truth, rel=1e-6)
    assert np.mean([weighted * q[0, batch].sum() for batch in batches]) < 0.6 * truth


def test_separate_posteriors_closed_form():
    # No overlap, so q(z) = q(z|x)/4; the components of z are copies of each other.
    mean = np.repeat(20.0 * np.arange(4.0)[:, None] - 30.0, 3, axis=1).astype(np.float32)
    mi, tc, dkl = run(mean, gaussian(mean, np.zeros_like(mean)), exact(4, 4))
    np.testing.assert_allclose(mi, math.log(4), atol=1e-5)
    np.testing.assert_allclose(tc, 2 * math.log(4), rtol=1e-5)
    np.testing.assert_allclose(dkl, 0.5 * (mean**2).sum(1) - 3 * math.log(4), rtol=1e-5)


def test_prior_as_posterior_costs_nothing():
    z = posteriors(2, 6, 5)[0]
    for term in run(z, gaussian(np.zeros_like(z), np.zeros_like(z)), exact(6, 6)):
        np.testing.assert_allclose(term, 0.0, atol=1e-5)


def test_independent_components_have_no_total_correlation():
    # Every combination of 3 posteriors of one component with 2 of the other: q(z) = q(z_1) q(z_2), exactly.
    mean = np.array(list(itertools.product([-1.0, 0.0, 2.0], [0.5, 1.5])), np.float32)
    log_variance = np.full_like(mean, -1.0)
    mi, tc, _ = run(mean + 0.3, gaussian(mean, log_variance), exact(6, 6))
    np.testing.assert_allclose(tc, 0.0, atol=1e-6)
    assert np.all(np.asarray(mi) > 0.1)


def test_far_away_is_finite_with_finite_gradients():
    z, mean, log_variance = posteriors(3, 6, 8, spread=300.0)
    z += 40.0  # 15 standard deviations or more from every posterior: the densities underflow

    def total(z, mean, log_variance):
        return sum(t.sum() for t in decompose(z, Gaussian(mean, log_variance), exact(6, 6), chunk_size=2))

    value, gradients = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))(z, mean, log_variance)
    assert np.isfinite(value) and all(np.isfinite(g).all() for g in gradients)


def test_chunks_and_shares_of_a_batch_change_nothing():
    z, mean, log_variance = posteriors(4, 8, 3)
    weights = minibatch_stratified(8, 100)

    def loss(chunk_size, rows):
        def total(z, mean, log_variance):
            share = Gaussian(mean[rows], log_variance[rows])
            found = decompose(
                z[rows], share, weights[rows], Gaussian(mean, log_variance), chunk_size=chunk_size
            )
            return found[0].sum() + 3 * found[1].sum() + 0.5 * found[2].sum()

        return jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))(z, mean, log_variance)

    whole = loss(None, slice(None))
    halves = [loss(None, slice(4)), loss(3, slice(4, None))]
    for a, *b in zip(*map(jax.tree.leaves, [whole, *halves]), strict=True):
        np.testing.assert_allclose(a, sum(b), rtol=2e-5, atol=2e-5)


def test_data_set():
    z, mean, log_variance = posteriors(5, 21, 3)
    expected = terms(z, mean, log_variance, np.full((21, 21), 1 / 21))
    for num in (None, 4):
        found = decompose_data_set(jnp.asarray(z), gaussian(mean, log_variance), num=num, chunk_size=5)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b[:num], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: exact(4, 5), "dataset_size=5, batch_size=4: exact weights need the whole"),
        (lambda: minibatch_weighted(4, 3), "dataset_size=3: it cannot be below the batch_size=4"),
        (lambda: minibatch_stratified(1, 3), "batch_size=1: this estimator needs at least 2"),
        (lambda: decompose(Z, gaussian(Z, Z), exact(2, 2), chunk_size=0), "chunk_size=0"),
        (lambda: decompose(Z, gaussian(Z[:1], Z), exact(2, 2)), r"posterior\.mean has shape \(1, 3\)"),
        (
            lambda: decompose(Z, gaussian(Z, Z), minibatch_stratified(3, 9)[:2]),
            r"log_weights has shape \(2, 3\): valid are \(\) and \(2, 2\)",
        ),
        (lambda: decompose_data_set(Z, gaussian(Z, Z), num=3), r"num=3: valid are 1\.\.2"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(UserError, match=message):
        call()


Z = jnp.zeros((2, 3))
