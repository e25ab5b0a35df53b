"""Scores of codes that are known: perfect, copied, rotated, dead, constant."""

import math

import numpy as np
import pytest

from genjax.data.shapes import render
from genjax.metrics.disentanglement import (
    active,
    beta_vae_score,
    factor_vae_score,
    grid,
    in_batches,
    mutual_information,
    mutual_information_gap,
    tabulate,
)
from genjax.typing import UserError

SIZES = (3, 4, 2)
FEW = {"num_train": 300, "num_test": 300}


def perfect(factors):
    """Each component is one factor, standardised, in another order."""
    sizes = np.array(SIZES)
    z = (factors - (sizes - 1) / 2) / np.sqrt((sizes**2 - 1) / 12)
    return z[:, ::-1].astype(np.float32)


def mixed(factors):
    """A rotation in which every component is an equal mixture of the three factors, up to sign."""
    rotation = np.linalg.qr(np.array([[1.0, 1.0, 1.0], [1.0, -2.0, 1.0], [1.0, 0.0, -1.0]]))[0]
    return perfect(factors) @ rotation.astype(np.float32)


def with_dead(factors):
    """A perfect code behind a component that knows the first two factors, but hardly moves."""
    dead = 1e-3 * (factors[:, :1] * 4 + factors[:, 1:2])
    return np.concatenate([dead.astype(np.float32), perfect(factors)], axis=1)


def constant(factors):
    """Constant but for rounding."""
    return 0.7 + 1e-8 * np.sin(7.0 * factors[:, :2])


def test_grid():
    assert grid((2, 3)).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]


def test_perfect_code():
    factors = grid(SIZES)
    assert mutual_information_gap(perfect(factors), factors) == pytest.approx(1.0, abs=1e-12)
    information = mutual_information(perfect(factors), factors)
    np.testing.assert_allclose(information, np.diag(np.log(SIZES))[::-1], atol=1e-12)
    assert beta_vae_score(perfect, SIZES, **FEW) == 1.0
    assert factor_vae_score(perfect, SIZES, **FEW) == 1.0


def test_scores_do_not_depend_on_scale_sign_or_order():
    factors = grid(SIZES)
    other = lambda f: np.float32([3.0, -7.0, 1.5]) * perfect(f)[:, [2, 0, 1]] + np.float32(5.0)  # noqa: E731
    assert mutual_information_gap(other(factors), factors) == pytest.approx(1.0, abs=1e-12)
    assert beta_vae_score(other, SIZES, **FEW) == factor_vae_score(other, SIZES, **FEW) == 1.0
    scaled = lambda f: mixed(f) * np.float32([8.0, 1.0, -0.5])  # noqa: E731
    assert factor_vae_score(scaled, SIZES, **FEW) == factor_vae_score(mixed, SIZES, **FEW) < 0.9


def test_a_copied_component_closes_the_gap():
    factors = grid(SIZES)
    # The last of three factors twice: its gap is 0, the others' are whole.
    codes = np.concatenate([perfect(factors), -2 * perfect(factors)[:, :1]], axis=1)
    assert mutual_information_gap(codes, factors) == pytest.approx(2 / 3, abs=1e-12)


def test_two_signs_rotated_by_45_degrees_closed_form():
    factors = grid((2, 2))
    a, b = (2.0 * factors - 1.0).T
    rotated = np.stack([a + b, a - b], axis=1)
    # The sum is 0 half of the time, and tells nothing then: half a bit each, and no gap.
    np.testing.assert_allclose(mutual_information(rotated, factors), 0.5 * math.log(2), atol=1e-12)
    assert mutual_information_gap(rotated, factors) == pytest.approx(0.0, abs=1e-12)
    # Whichever factor is fixed, both components differ by the same: both other scores are at chance.
    code = lambda f: np.stack([f[:, 0] + f[:, 1], f[:, 0] - f[:, 1]], axis=1).astype(np.float32)  # noqa: E731
    assert beta_vae_score(code, (2, 2), num_train=1000, num_test=2000) == pytest.approx(0.5, abs=0.04)
    assert factor_vae_score(code, (2, 2), num_train=1000, num_test=2000) == pytest.approx(0.5, abs=0.04)


def test_a_noisy_component_closed_form():
    # z is the first factor in 3 of 4 examples, and the other value in the fourth: a binary channel.
    factors = grid((2, 4))
    z = np.where(factors[:, 1] == 3, 1 - factors[:, 0], factors[:, 0])[:, None].astype(np.float32)
    channel = math.log(2) + 0.25 * math.log(0.25) + 0.75 * math.log(0.75)
    np.testing.assert_allclose(mutual_information(z, factors), [[channel, 0.0]], atol=1e-12)
    assert mutual_information_gap(z, factors) == pytest.approx(0.5 * channel / math.log(2), abs=1e-12)


def test_bins():
    # Eight values in two bins: one bit. One bin: nothing.
    factors = grid((8,))
    np.testing.assert_allclose(mutual_information(1.0 * factors, factors, bins=2), math.log(2), rtol=1e-12)
    np.testing.assert_allclose(mutual_information(1.0 * factors, factors, bins=1), 0.0, atol=1e-12)


def test_an_entangled_code_scores_less():
    factors = grid(SIZES)
    assert mutual_information_gap(mixed(factors), factors) < 0.5
    assert factor_vae_score(mixed, SIZES, **FEW) < 0.9
    # Of many pairs the mean differences tell even these factors apart; of two they do not.
    assert beta_vae_score(mixed, SIZES, num_pairs=2, **FEW) < 0.7
    assert beta_vae_score(perfect, SIZES, num_pairs=2, **FEW) > 0.85


def test_dead_components_are_not_chosen():
    factors = grid(SIZES)
    assert active(with_dead(factors)).tolist() == [False, True, True, True]
    assert mutual_information_gap(with_dead(factors), factors) == pytest.approx(1.0, abs=1e-12)
    assert factor_vae_score(with_dead, SIZES, **FEW) == 1.0
    # The same numbers as without it, to the bit: the other components alone are looked at.
    noisy = lambda f: mixed(f) + 0.3 * np.sin(37.0 * f).astype(np.float32)  # noqa: E731
    behind = lambda f: np.concatenate([with_dead(f)[:, :1], noisy(f)], axis=1)  # noqa: E731
    for score in (beta_vae_score, factor_vae_score):
        assert score(behind, SIZES, **FEW) == score(noisy, SIZES, **FEW)
    # Alive if the threshold says so, and then it closes gaps.
    assert mutual_information_gap(with_dead(factors), factors, threshold=0.0) < 0.7


def test_constant_code():
    factors = grid(SIZES)
    assert not active(constant(factors)).any()
    assert mutual_information_gap(constant(factors), factors) == 0.0
    assert beta_vae_score(constant, SIZES, **FEW) == factor_vae_score(constant, SIZES, **FEW) == 1 / 3


def test_seeds():
    scores = [factor_vae_score(mixed, SIZES, seed=seed, **FEW) for seed in (0, 0, 1)]
    assert scores[0] == scores[1] != scores[2]


def test_tabulate_encodes_every_picture_once():
    seen = []

    def encode(images):
        seen.append(images.shape)
        return images.reshape(len(images), -1).mean(1, keepdims=True)

    draw = lambda f: (f @ np.array([100, 10, 1])).astype(np.float32)[:, None, None, None]  # noqa: E731
    codes = tabulate(encode, draw, SIZES, batch_size=7)
    assert seen == [(7, 1, 1, 1)] * 4  # 24 combinations
    assert codes(np.array([[2, 3, 1], [0, 1, 0], [2, 3, 1]])).tolist() == [[231.0], [10.0], [231.0]]


def test_in_batches():
    x = np.arange(10.0).reshape(5, 2)
    np.testing.assert_array_equal(in_batches(lambda b: 2 * b, x, 2), 2 * x)
    np.testing.assert_array_equal(in_batches(lambda b: b.sum(1), x, 50), x.sum(1))


def test_shapes():
    """Moments of the pictures themselves: colour and place can be read off, the rest hardly."""
    points = np.arange(16) - 7.5

    def moments(images):
        x = images.astype(np.float32)
        mass = x.sum((1, 2, 3))
        place = [(x.sum((3, axis)) @ points) / mass for axis in (1, 2)]
        return np.stack([*place, x[..., 2].max((1, 2)) / 255], axis=1).astype(np.float32)

    # Two of the eight orientations are enough.
    sizes = (3, 4, 4, 2, 8, 8)
    codes = tabulate(moments, lambda f: render(f * [1, 1, 1, 4, 1, 1], 16), sizes, batch_size=512)
    factors = grid(sizes)
    information = mutual_information(codes(factors), factors) / np.log(sizes)
    # Rows x, y, blue; columns shape, colour, scale, orientation, x, y.
    blue = (0.25 * math.log(4) + 0.75 * math.log(4 / 3)) / math.log(4)
    np.testing.assert_allclose(information[:, 1], [0, 0, blue], atol=1e-3)
    np.testing.assert_allclose(information[:2, 4:], np.eye(2), atol=0.01)
    gap = mutual_information_gap(codes(factors), factors)
    assert gap == pytest.approx((2 + blue) / 6, abs=0.01)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: mutual_information_gap(np.zeros((3, 1)), grid((2, 2))), "codes has 3 rows, factors 4"),
        (lambda: mutual_information_gap(np.full((4, 1), np.nan), grid((2, 2))), "not finite"),
        (lambda: mutual_information_gap(np.zeros((2, 1)), grid((2, 1))), "column 1 has one value only"),
        (lambda: mutual_information(np.zeros((4, 1)), grid((2, 2)), bins=0), "bins=0"),
        (lambda: beta_vae_score(perfect, SIZES, num_train=5), "num_train=5: valid is 6 or more"),
        (lambda: beta_vae_score(perfect, SIZES, num_pairs=0), "num_pairs=0"),
        (lambda: factor_vae_score(perfect, (3, 1)), r"sizes=\(3, 1\): every factor needs at least 2"),
        (lambda: factor_vae_score(perfect, SIZES, num_samples=1), "num_samples=1"),
        (lambda: factor_vae_score(perfect, SIZES, num_test=0), "num_test=0"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(UserError, match=message):
        call()
