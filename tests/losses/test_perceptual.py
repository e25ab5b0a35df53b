"""The perceptual distance against its formula in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.losses.perceptual import perceptual
from genjax.typing import UserError

WEIGHTS = (np.array([0.5, 2.0, 0.0], np.float32), np.array([1.0, 3.0], np.float32))


def features(images):
    """Two layers, of 3 and 2 channels and of different resolution; a position of the first is 0 in all channels."""
    first = jnp.concatenate([images, images**2, 1 - images], axis=-1)
    return first.at[:, 0, 0].set(0.0), jnp.concatenate([images, images + 0.5], axis=-1)[:, ::2, ::2]


def images():
    return jax.random.uniform(jax.random.key(0), (2, 3, 4, 6, 1), minval=-1)


def brute_force(x, y, weights):
    result = np.zeros(len(x))
    for a, b, w in zip(features(x), features(y), weights, strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        count, height, width, _ = a.shape
        for n in range(count):
            for i in range(height):
                for j in range(width):
                    one, two = (v[n, i, j] / max(np.linalg.norm(v[n, i, j]), 1e-20) for v in (a, b))
                    result[n] += (w * (one - two) ** 2).sum() / (height * width)
    return result


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_formula(weights):
    x, y = images()
    given = (np.ones(3), np.ones(2)) if weights is None else weights
    distance = perceptual(features, None if weights is None else [jnp.asarray(w) for w in weights])
    np.testing.assert_allclose(distance(x, y), brute_force(x, y, given), rtol=1e-5)
    np.testing.assert_array_equal(distance(x, x), np.zeros(3))


def test_the_gradient_is_finite_where_a_network_sees_nothing():
    x, y = images()
    gradient = jax.grad(lambda x: perceptual(features)(x, y).sum())(x)
    assert jnp.isfinite(gradient).all() and (gradient != 0).any()


def test_weights_must_fit():
    x, y = images()
    for wrong in (WEIGHTS[:1], (WEIGHTS[1], WEIGHTS[0])):
        with pytest.raises(UserError, match=r"weights have the shapes .*need \[\(3,\), \(2,\)\]"):
            perceptual(features, [jnp.asarray(w) for w in wrong])(x, y)
