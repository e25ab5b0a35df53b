"""Quantisers against brute force and the formulas of the papers."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.nn.quantization import (
    FiniteScalarQuantizer,
    Statistics,
    VectorQuantizer,
    choose,
    collect,
    finite_scalar,
    perplexity,
    straight_through,
    vector,
)
from genjax.typing import UserError

K, D = 6, 3
# Near the codes, so that some codes have many vectors, some few, and one none.
CODES = jnp.asarray(np.random.default_rng(0).normal(size=(K, D)), jnp.float32).at[-1].set(50.0)
ENCODED = jnp.asarray(np.random.default_rng(1).normal(size=(4, 2, 3, D)), jnp.float32)
INDEX = jnp.arange(4)


def variables(codes=CODES, counts=None, by_gradient=False):
    counts = jnp.ones(len(codes)) if counts is None else counts
    if by_gradient:
        return {"params": {"codes": codes}, "codebook": {"counts": counts}}
    return {"params": {}, "codebook": {"codes": codes, "counts": counts}}


def brute_force(encoded, codes):
    distance = np.square(np.asarray(encoded)[..., None, :] - np.asarray(codes)).sum(-1)
    return distance.argmin(-1)


@functools.partial(jax.jit, static_argnums=0)
def quantize(module, variables, encoded):
    return module.apply(variables, encoded)


@functools.partial(jax.jit, static_argnums=0)
def learn(module, variables, statistics, first):
    usage, new = module.apply(variables, statistics, first, method="learn", mutable=["params", "codebook"])
    return new, usage


def statistics(encoded, codes, chosen=None):
    chosen = jnp.zeros(K, jnp.int32) if chosen is None else chosen
    return collect(encoded, codes, INDEX, chosen)


def test_straight_through_is_the_value_with_the_identity_as_jacobian():
    x, value = jnp.array([0.1, -1e6, 3e-7]), jnp.array([1.0, 2.0, 1 / 3])
    np.testing.assert_array_equal(straight_through(x, value), value)
    np.testing.assert_array_equal(jax.jacobian(straight_through)(x, value), np.eye(3))
    np.testing.assert_array_equal(jax.jacobian(straight_through, 1)(x, value), np.zeros((3, 3)))


@pytest.mark.parametrize("by_gradient", [False, True])
def test_jacobian_of_vector_quantisation_is_the_identity(by_gradient):
    module = VectorQuantizer(K, D, by_gradient)
    x = ENCODED[:1]
    jacobian = jax.jacobian(lambda x: module.apply(variables(by_gradient=by_gradient), x).z)(x)
    np.testing.assert_array_equal(jacobian.reshape(x.size, x.size), np.eye(x.size))


def test_vectors_become_the_nearest_codes():
    q = quantize(VectorQuantizer(K, D), variables(), ENCODED)
    expected = brute_force(ENCODED, CODES)
    assert q.codes.dtype == jnp.int32 and len(np.unique(expected)) > 3
    np.testing.assert_array_equal(q.codes, expected)
    np.testing.assert_array_equal(q.z, CODES[expected])
    np.testing.assert_array_equal(
        VectorQuantizer(K, D).apply(variables(), q.codes, method="lookup"), q.z
    )  # exactly what the decoder was trained on
    many, book = (jax.random.normal(jax.random.key(i), (n, 16)) for i, n in ((0, 500), (1, 64)))
    np.testing.assert_array_equal(vector.nearest(many, book), brute_force(many, book))


def test_first_of_equally_near_codes():
    codes = jnp.array([[5.0], [1.0], [-1.0], [1.0]])
    np.testing.assert_array_equal(vector.nearest(jnp.array([[0.0], [1.0], [3.0]]), codes), [1, 1, 0])


def test_vectors_that_are_not_numbers_have_a_code_that_exists():
    assert 0 <= int(vector.nearest(jnp.full((1, D), jnp.nan), CODES)[0]) < K


def test_commitment_pulls_the_encoder_and_the_codebook_loss_the_codes():
    module = VectorQuantizer(K, D, by_gradient=True)

    def losses(codes, x):
        q = module.apply(variables(codes, by_gradient=True), x)
        return q.commitment.mean(), q.codebook.mean(), q.z.sum()

    (commitment, codebook, _), grads = losses(CODES, ENCODED), jax.jacobian(losses, (0, 1))(CODES, ENCODED)
    chosen = brute_force(ENCODED, CODES)
    difference = np.asarray(ENCODED) - np.asarray(CODES)[chosen]
    np.testing.assert_allclose(commitment, np.square(difference).mean(), rtol=1e-6)
    np.testing.assert_allclose(codebook, np.square(difference).mean(), rtol=1e-6)
    per_vector = 2 * difference / difference.size
    per_code = np.zeros((K, D))
    np.add.at(per_code, chosen.ravel(), -per_vector.reshape(-1, D))
    for got, expected in zip(grads, [(0, per_vector), (per_code, 0), (0, 1)], strict=True):
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, np.broadcast_to(b, a.shape), atol=1e-6)


def test_codebook_loss_is_zero_without_gradient():
    q = quantize(VectorQuantizer(K, D), variables(), ENCODED)
    np.testing.assert_array_equal(q.codebook, np.zeros(4))
    assert (q.commitment > 0).all()


def test_without_memory_codes_become_the_means_of_their_clusters():
    """One iteration of k-means; a code without vectors stays."""
    module = VectorQuantizer(K, D, decay=0.0, epsilon=0.0, restart=False)
    q = quantize(module, variables(), ENCODED)
    new, _ = learn(module, variables(), statistics(q.vectors, q.codes), jnp.array(False))
    vectors, codes = np.asarray(ENCODED).reshape(-1, D), np.asarray(q.codes).ravel()
    expected = np.array([vectors[codes == k].mean(0) if (codes == k).any() else CODES[k] for k in range(K)])
    assert not (codes == K - 1).any()
    np.testing.assert_allclose(new["codebook"]["codes"], expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(new["codebook"]["counts"], np.bincount(codes, minlength=K))


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_codes_are_moving_averages(epsilon):
    """Three updates against appendix A.1, with its N and m, in float64."""
    decay = 0.7
    module = VectorQuantizer(K, D, decay=decay, epsilon=epsilon, restart=False)
    state, n, m, e = variables(), np.ones(K), np.asarray(CODES, np.float64), np.asarray(CODES, np.float64)
    for i in range(3):
        x = ENCODED + 0.3 * i
        q = quantize(module, state, x)
        codes, vectors = brute_force(x, e).ravel(), np.asarray(x, np.float64).reshape(-1, D)
        state, _ = learn(module, state, statistics(q.vectors, q.codes), jnp.array(i == 0))
        sums = np.zeros((K, D))
        np.add.at(sums, codes, vectors)
        n = decay * n + (1 - decay) * np.bincount(codes, minlength=K)
        m = decay * m + (1 - decay) * sums
        e = m / ((n + epsilon) / (n.sum() + K * epsilon) * n.sum())[:, None]
        np.testing.assert_allclose(state["codebook"]["codes"], e, rtol=1e-5)
        np.testing.assert_allclose(state["codebook"]["counts"], n, rtol=1e-6)


def test_smoothing_keeps_the_sum_and_leaves_no_zero():
    counts = jnp.array([0.0, 3.0, 5.0])
    smooth = vector.smoothed(counts, 0.5)
    np.testing.assert_allclose(smooth, (np.asarray(counts) + 0.5) / 9.5 * 8, rtol=1e-6)
    np.testing.assert_array_equal(vector.smoothed(jnp.zeros(3), 0.0), np.zeros(3))


@pytest.mark.parametrize("by_gradient", [False, True])
def test_restart_replaces_the_dead_codes_and_no_other(by_gradient):
    options = {"by_gradient": by_gradient, "decay": 0.5, "dead_below": 0.3}
    counts = jnp.array([8.0, 8.0, 0.1, 8.0, 8.0, 0.2])  # 2 gets vectors and recovers, 5 does not
    state = variables(counts=counts, by_gradient=by_gradient)
    chosen = jnp.array([3, 17, 5, 0, 11, 20])
    seen = jnp.array([0, 1, 2, 2, 2, 2, 3, 4] * 3).reshape(4, 2, 3)
    stats = collect(ENCODED, seen, INDEX, chosen)
    with_restart, usage = learn(VectorQuantizer(K, D, **options), state, stats, jnp.array(False))
    without, _ = learn(VectorQuantizer(K, D, restart=False, **options), state, stats, jnp.array(False))
    where = "params" if by_gradient else "codebook"
    got, kept = with_restart[where]["codes"], without[where]["codes"]
    np.testing.assert_array_equal(got[:5], kept[:5])
    np.testing.assert_array_equal(got[5], ENCODED.reshape(-1, D)[20])
    average = 0.5 * counts + 0.5 * stats.counts
    np.testing.assert_allclose(with_restart["codebook"]["counts"], average.at[5].set(average.mean()))
    assert float(usage["dead_codes"]) == 1
    if by_gradient:
        np.testing.assert_array_equal(kept, CODES)


def test_first_update_makes_all_codes_vectors_of_the_batch():
    module = VectorQuantizer(K, D, decay=0.9)
    chosen = choose(jax.random.key(3), 24, K)
    stats = statistics(ENCODED, quantize(module, variables(), ENCODED).codes, chosen)
    new, usage = learn(module, variables(), stats, jnp.array(True))
    np.testing.assert_array_equal(new["codebook"]["codes"], ENCODED.reshape(-1, D)[chosen])
    np.testing.assert_allclose(new["codebook"]["counts"], np.full(K, 0.1 * 24 / K), rtol=1e-6)
    assert float(usage["dead_codes"]) == (stats.counts == 0).sum() > 0


def test_candidates_are_distinct_and_belong_to_the_key():
    a, b, again = (np.asarray(choose(jax.random.key(i), 24, 24)) for i in (0, 1, 0))
    np.testing.assert_array_equal(np.sort(a), np.arange(24))
    np.testing.assert_array_equal(a, again)
    assert (a != b).any()
    few = np.asarray(choose(jax.random.key(0), 3, 100))  # fewer vectors than codes
    assert set(few) == {0, 1, 2}


def test_statistics_of_parts_add_up():
    codes = jnp.asarray(np.random.default_rng(2).integers(0, K, (4, 2, 3)))
    chosen = jnp.array([23, 0, 7, 12, 5, 6])
    whole = collect(ENCODED, codes, INDEX, chosen)
    rows = [jnp.array([2, 0]), jnp.array([1, 3])]
    parts = [collect(ENCODED[i], codes[i], i, chosen) for i in rows]
    jax.tree.map(lambda w, a, b: np.testing.assert_allclose(a + b, w, rtol=1e-6, atol=1e-6), whole, *parts)
    np.testing.assert_array_equal(whole.candidates, ENCODED.reshape(-1, D)[chosen])
    np.testing.assert_array_equal(whole.counts, np.bincount(codes.ravel(), minlength=K))
    np.testing.assert_allclose(
        whole.sums[4], np.asarray(ENCODED)[np.asarray(codes) == 4].sum(0), rtol=1e-5, atol=1e-6
    )


def test_perplexity():
    assert float(perplexity(jnp.full(K, 7.0))) == pytest.approx(K, rel=1e-6)
    assert float(perplexity(jnp.zeros(K).at[2].set(9.0))) == pytest.approx(1)
    share = np.array([0.5, 0.25, 0.25])
    assert float(perplexity(jnp.asarray(8 * share))) == pytest.approx(np.exp(-(share * np.log(share)).sum()))


LEVELS = (8, 5, 2, 3)


def test_codes_and_digits_of_the_grid_are_the_same_set():
    module = FiniteScalarQuantizer(LEVELS)
    codes = jnp.arange(module.num_codes).reshape(2, 10, 12)
    digits = finite_scalar.to_digits(codes, LEVELS)
    np.testing.assert_array_equal(finite_scalar.to_codes(digits, LEVELS), codes)
    assert set(map(tuple, np.asarray(digits).reshape(-1, 4))) == set(
        itertools.product(*[range(n) for n in LEVELS])
    )
    values = module.apply({"codebook": {"counts": jnp.ones(240)}}, codes, method="lookup")
    assert len(np.unique(np.asarray(values).reshape(-1, 4), axis=0)) == 240
    assert float(values.min()) == -1 and float(values.max()) == 1


def test_each_channel_takes_its_number_of_levels():
    """From far below to far above: every level is met, in order, and no other."""
    module = FiniteScalarQuantizer(LEVELS)
    x = jnp.broadcast_to(jnp.linspace(-9, 9, 2001)[:, None], (2001, 4))[None, :, None]
    counts = {"codebook": {"counts": jnp.ones(240)}}
    q = module.apply(counts, x)
    digits = np.asarray(finite_scalar.to_digits(q.codes, LEVELS)).reshape(-1, 4)
    for channel, levels in enumerate(LEVELS):
        np.testing.assert_array_equal(np.unique(digits[:, channel]), np.arange(levels))
        assert (np.diff(digits[:, channel]) >= 0).all()
    np.testing.assert_array_equal(module.apply(counts, q.codes, method="lookup"), q.z)
    # 0 is a level, and is met by 0.
    zero = finite_scalar.to_digits(module.apply(counts, jnp.zeros((1, 1, 1, 4))).codes, LEVELS)
    np.testing.assert_array_equal(zero.ravel(), np.array(LEVELS) // 2)


def test_bound_is_that_of_the_paper():
    x = np.linspace(-3, 3, 7)
    odd, even = np.asarray(finite_scalar.bound(jnp.stack([x, x], -1), (5, 8))).T
    np.testing.assert_allclose(odd, 0.999 * 2 * np.tanh(x), rtol=1e-5, atol=1e-6)
    half = 0.999 * 3.5
    np.testing.assert_allclose(even, half * np.tanh(x + np.tan(0.5 / half)) - 0.5, rtol=1e-5, atol=1e-6)
    assert abs(even[3]) < 1e-3  # x = 0


def test_gradient_of_rounding_is_one():
    """What is left is the derivative of the bound, in units of half the number of levels."""
    module, x = FiniteScalarQuantizer(LEVELS), jnp.linspace(-1, 1, 8).reshape(1, 1, 2, 4)
    jacobian = jax.jacobian(lambda x: module.apply({"codebook": {"counts": jnp.ones(240)}}, x).z)(x)
    bounded = jax.jacobian(lambda x: finite_scalar.bound(x, LEVELS) / jnp.array([[[[4, 2, 1, 1]]]]))(x)
    np.testing.assert_allclose(jacobian, bounded, rtol=1e-6)
    diagonal = jacobian.reshape(8, 8).diagonal()
    assert (diagonal > 0).all()
    np.testing.assert_array_equal(jacobian.reshape(8, 8), np.diag(diagonal))


def test_finite_scalars_count_their_usage():
    module = FiniteScalarQuantizer((2, 2), decay=0.5, dead_below=0.5)
    state = {"codebook": {"counts": jnp.array([1.0, 1.0, 1.0, 0.0])}}
    stats = Statistics(jnp.array([4.0, 4.0, 0.0, 0.0]), None, None)
    new, usage = learn(module, state, stats, jnp.array(False))
    np.testing.assert_array_equal(new["codebook"]["counts"], [2.5, 2.5, 0.5, 0.0])
    assert float(usage["perplexity"]) == pytest.approx(2) and float(usage["dead_codes"]) == 2


@pytest.mark.parametrize(
    "make",
    [
        functools.partial(VectorQuantizer, num_codes=0),
        functools.partial(VectorQuantizer, width=0),
        functools.partial(VectorQuantizer, decay=1.0),
        functools.partial(VectorQuantizer, decay=float("nan")),
        functools.partial(VectorQuantizer, epsilon=-1e-5),
        functools.partial(VectorQuantizer, dead_below=1.5),
        functools.partial(FiniteScalarQuantizer, levels=()),
        functools.partial(FiniteScalarQuantizer, levels=(8, 1)),
        functools.partial(FiniteScalarQuantizer, levels=(2**16, 2**16)),
        functools.partial(FiniteScalarQuantizer, decay=-0.1),
        functools.partial(FiniteScalarQuantizer, dead_below=-1.0),
    ],
)
def test_errors_name_the_argument(make):
    ((name, value),) = make.keywords.items()
    with pytest.raises(UserError, match=name) as error:
        make()
    assert str(value) in str(error.value) and "valid" in str(error.value)
