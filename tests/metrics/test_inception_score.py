"""Inception Score: closed forms, the definition, and its splits."""

import numpy as np
import pytest

from genjax.metrics.inception_score import inception_score
from genjax.typing import UserError


def test_sure_and_even_is_the_number_of_classes():
    logits = 1000 * np.eye(10)[np.arange(200) % 10]
    assert inception_score(logits, seed=None) == pytest.approx((10, 0), abs=1e-12)
    assert inception_score(logits, splits=1).mean == pytest.approx(10, rel=1e-12)


def test_constant_is_1():
    logits = np.tile(np.random.default_rng(0).normal(size=(1, 7)), (50, 1)).astype(np.float32)
    assert inception_score(logits) == pytest.approx((1, 0), abs=1e-12)
    # A class that nothing is said to be of, up to the smallest number there is.
    assert inception_score(np.tile([[0.0, -2000.0]], (10, 1)), splits=1) == (1, 0)


def test_is_the_definition():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), size=31)
    logits = np.log(p) + rng.normal(size=(31, 1))  # what is added to all classes changes nothing
    order = np.random.RandomState(2020).permutation(31)
    scores = []
    for part in (order[:10], order[10:20], order[20:]):  # 3 splits of 31: [0, 10), [10, 20), [20, 31)
        q = p[part].mean(0)
        scores.append(np.exp(np.mean([np.sum(row * np.log(row / q)) for row in p[part]])))
    found = inception_score(logits, splits=3)
    np.testing.assert_allclose(found, (np.mean(scores), np.std(scores)), rtol=1e-12)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: inception_score(np.zeros((5, 3))), r"splits=10: valid for 5 images are 1\.\.5"),
        (lambda: inception_score(np.zeros((5, 3)), splits=0), "splits=0"),
        (lambda: inception_score(np.full((5, 3), np.inf), splits=1), "not finite"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=message):
        call()
