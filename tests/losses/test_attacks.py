"""Attacks on functions whose worst case is known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.losses.attacks import L2, fgsm, pgd
from genjax.typing import UserError

SHAPE = (4, 4, 2)
W = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
X = jax.random.uniform(jax.random.key(0), (6, *SHAPE), minval=-0.7, maxval=0.7)
KEYS = jax.random.split(jax.random.key(1), 6)


def linear(x):
    return jnp.einsum("bhwc,hwc->b", x, W)


def flat(x):
    return 0.0 * linear(x)


def run(attack, objective, images=X, keys=KEYS):
    return np.asarray(jax.jit(lambda k, x: attack(objective, k, x))(keys, images))


def lengths(x):
    return np.linalg.norm(np.asarray(x).reshape(len(x), -1), axis=1)


def test_fgsm_of_a_linear_function():
    np.testing.assert_allclose(run(fgsm(0.2), linear), X + 0.2 * np.sign(W)[None], atol=1e-6)
    # With 0.7 + 0.5 outside of the box.
    expected = np.clip(X + 0.5 * np.sign(W)[None], -1, 1)
    np.testing.assert_allclose(run(fgsm(0.5), linear), expected, atol=1e-6)


def test_pgd_of_a_linear_function_reaches_the_corner():
    expected = np.clip(X + 0.4 * np.sign(W)[None], -1, 1)
    np.testing.assert_allclose(run(pgd(0.4, 0.1, 8), linear), expected, atol=1e-6)
    # Half of the way without a random start.
    half = run(pgd(0.4, 0.05, 4, random_start=False), linear)
    np.testing.assert_allclose(half, np.clip(X + 0.2 * np.sign(W)[None], -1, 1), atol=1e-6)


def test_l2_of_a_linear_function():
    unit = W / np.linalg.norm(W)
    y = run(pgd(0.25, 0.05, 10, random_start=False, norm="l2"), linear)
    np.testing.assert_allclose(y, X + 0.25 * unit[None], atol=1e-5)
    y = run(pgd(0.25, 0.3, 10, norm=L2), linear)
    np.testing.assert_allclose(lengths(y - X), 0.25, rtol=1e-4)
    np.testing.assert_allclose(linear(y) - linear(X), 0.25 * np.linalg.norm(W), rtol=1e-2)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_stays_in_the_ball_and_in_the_box(norm):
    images = jnp.clip(3 * X, -1, 1)
    y = run(pgd(0.6, 0.5, 3, norm=norm), lambda x: jnp.sin(5 * x).sum((1, 2, 3)), images)
    size = {"linf": np.abs(y - images).max(), "l2": lengths(y - images).max()}[norm]
    assert 0.3 < size <= 0.6 + 1e-5
    assert np.abs(y).max() <= 1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_start_fills_the_ball(norm):
    n = 4000
    images = jnp.zeros((n, 2, 1, 1))
    keys = jax.random.split(jax.random.key(3), n)
    y = run(pgd(0.5, 0.0, 1, norm=norm), lambda x: 0 * x.sum((1, 2, 3)), images, keys)[:, :, 0, 0]
    np.testing.assert_allclose(y.mean(0), 0, atol=0.02)
    # Evenly: within half of the radius is a quarter of the square's or the disc's area.
    radius = {"linf": np.abs(y).max(1), "l2": np.linalg.norm(y, axis=1)}[norm]
    assert radius.max() <= 0.5 + 1e-6
    assert abs((radius < 0.25).mean() - 0.25) < 0.03


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_without_a_slope_nothing_moves(norm):
    np.testing.assert_allclose(run(pgd(0.2, 0.1, 3, random_start=False, norm=norm), flat), X, atol=1e-7)


def test_each_image_alone_by_its_own_key():
    attack = pgd(0.3, 0.1, 2)
    whole = run(attack, lambda x: jnp.sin(5 * x).sum((1, 2, 3)))
    part = run(attack, lambda x: jnp.sin(5 * x).sum((1, 2, 3)), X[2:4], KEYS[2:4])
    np.testing.assert_allclose(part, whole[2:4], atol=1e-6)
    same = run(pgd(0.3, 0.0, 1), flat, jnp.broadcast_to(X[:1], X.shape))
    assert len(np.unique(same[:, 0, 0, 0])) == 6


def test_no_derivative_and_no_recompilation():
    @jax.jit
    def attacked(x, epsilon):
        return jax.grad(lambda x: pgd(epsilon, epsilon / 2, 3)(linear, KEYS, x).sum())(x)

    for epsilon in (0.1, 0.2):
        np.testing.assert_array_equal(attacked(X, jnp.float32(epsilon)), 0)
    assert attacked._cache_size() == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fgsm(-0.1), "epsilon=-0.1"),
        (lambda: pgd(0.1, -1.0, 1), "step_size=-1.0"),
        (lambda: pgd(0.1, 0.1, 0), "num_steps=0"),
        (lambda: pgd(0.1, 0.1, 1, norm="l1"), "norm='l1': valid are linf, l2"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()
