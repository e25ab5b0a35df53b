"""Robust accuracy of a linear classifier, which is a count of margins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.losses.attacks import fgsm, pgd
from genjax.metrics.robustness import robust_accuracy, robust_correct

EPSILON = 0.1
W = np.random.default_rng(0).normal(size=(3, 3, 1)).astype(np.float32)
X = jax.random.uniform(jax.random.key(0), (200, 3, 3, 1), minval=-0.8, maxval=0.8)
LABELS = jax.random.bernoulli(jax.random.key(1), 0.5, (200,)).astype(jnp.int32)
KEYS = jax.random.split(jax.random.key(2), 200)


def classify(x):
    score = jnp.einsum("bhwc,hwc->b", x, W)
    return jnp.stack([-score, score], -1)


@pytest.mark.parametrize("attack", [fgsm(EPSILON), pgd(EPSILON, EPSILON / 4, 10)])
def test_counts_margins(attack):
    margin = np.asarray((2 * LABELS - 1) * jnp.einsum("bhwc,hwc->b", X, W))
    expected = margin > EPSILON * np.abs(W).sum()
    assert 0.1 < expected.mean() < (margin > 0).mean() - 0.1
    correct = jax.jit(lambda *args: robust_correct(classify, attack, *args))(KEYS, X, LABELS)
    np.testing.assert_array_equal(correct, expected)
    accuracy = jax.jit(lambda *args: robust_accuracy(classify, attack, *args))(KEYS, X, LABELS)
    np.testing.assert_allclose(accuracy, expected.mean(), rtol=1e-6)


def test_wrong_images_that_an_attack_puts_right_are_not_robust():
    def helps(objective, keys, images):
        return (
            images
            * (2 * LABELS - 1)[:, None, None, None]
            * jnp.sign(jnp.einsum("bhwc,hwc->b", X, W))[:, None, None, None]
        )

    clean = np.asarray(classify(X).argmax(-1) == LABELS)
    np.testing.assert_array_equal(robust_correct(classify, helps, KEYS, X, LABELS), clean)
