"""Vendi scores: closed forms, the definition, and both ways to the eigenvalues."""

import math

import numpy as np
import pytest

from genjax.metrics.vendi import vendi_score, vendi_score_of_kernel
from genjax.typing import UserError

ORDERS = [0.1, 0.5, 1.0, 2.0, math.inf]


@pytest.mark.parametrize("q", ORDERS)
def test_identical_images_are_one(q):
    x = np.tile(np.random.default_rng(0).normal(size=(1, 5)), (40, 1))
    assert vendi_score(x, q=q) == pytest.approx(1, rel=1e-9)
    assert vendi_score(x[:3].astype(np.float32) * np.float32(7), q=q) == pytest.approx(1, rel=1e-9)
    assert vendi_score_of_kernel(np.ones((9, 9)), q=q) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("q", ORDERS)
def test_orthogonal_images_are_n(q):
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0]
    assert vendi_score(rotation[:8], q=q) == pytest.approx(8, rel=1e-9)
    assert vendi_score(np.repeat(rotation, 5, axis=0), q=q) == pytest.approx(12, rel=1e-9)
    assert vendi_score_of_kernel(np.eye(8), q=q) == pytest.approx(8, rel=1e-12)


def test_unequal_groups_are_the_hill_numbers():
    x = np.eye(3)[[0] * 6 + [1] * 3 + [2]]
    p = np.array([0.6, 0.3, 0.1])
    assert vendi_score(x) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-12)
    assert vendi_score(x, q=2.0) == pytest.approx(1 / (p**2).sum(), rel=1e-12)
    assert vendi_score(x, q=math.inf) == pytest.approx(1 / 0.6, rel=1e-12)
    assert vendi_score(x, q=1 + 1e-7) == pytest.approx(vendi_score(x), rel=1e-5)


def test_two_images_at_an_angle():
    c = math.cos(1.0)
    values = np.array([(1 + c) / 2, (1 - c) / 2])
    expected = np.exp(-(values * np.log(values)).sum())
    assert vendi_score(np.array([[1.0, 0.0], [3 * c, 3 * math.sin(1.0)]])) == pytest.approx(
        expected, rel=1e-12
    )


@pytest.mark.parametrize("shape", [(30, 7), (7, 30)])
@pytest.mark.parametrize("q", ORDERS[1:])
def test_dual_is_primal(shape, q):
    x = np.random.default_rng(0).normal(size=shape)
    directions = x / np.linalg.norm(x, axis=1)[:, None]
    assert vendi_score(x, q=q) == pytest.approx(
        vendi_score_of_kernel(directions @ directions.T, q=q), rel=1e-9
    )


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: vendi_score(np.zeros((0, 3))), "at least one row"),
        (lambda: vendi_score(np.array([[1.0], [0.0]])), "row of zeros, number 1"),
        (lambda: vendi_score(np.array([[np.nan]])), "not finite"),
        (lambda: vendi_score(np.eye(3), q=0.0), "q=0"),
        (lambda: vendi_score_of_kernel(2 * np.eye(3)), "ones on the diagonal"),
        (lambda: vendi_score_of_kernel(np.array([[1.0, 0.5], [0.0, 1.0]])), "symmetric"),
        (lambda: vendi_score_of_kernel(np.array([[1.0, 3.0], [3.0, 1.0]])), "eigenvalue -1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=message):
        call()
