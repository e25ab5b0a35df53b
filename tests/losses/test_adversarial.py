"""Adversarial losses in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.losses import adversarial
from genjax.typing import UserError

GAMES = {
    "minimax": adversarial.minimax(),
    "non-saturating": adversarial.non_saturating(),
    "hinge": adversarial.hinge(),
    "least squares": adversarial.least_squares(),
}
REAL, FAKE = np.array([0.3, -1.2, 2.0]), np.array([-0.7, 0.4, 1.5])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


EXPECTED = {
    "minimax": (-np.log(sigmoid(REAL)) - np.log(1 - sigmoid(FAKE)), np.log(1 - sigmoid(FAKE))),
    "non-saturating": (-np.log(sigmoid(REAL)) - np.log(1 - sigmoid(FAKE)), -np.log(sigmoid(FAKE))),
    "hinge": (np.maximum(0, 1 - REAL) + np.maximum(0, 1 + FAKE), -FAKE),
    "least squares": ((REAL - 1) ** 2 / 2 + FAKE**2 / 2, (FAKE - 1) ** 2 / 2),
}


@pytest.mark.parametrize("name", GAMES)
def test_formula(name):
    for loss, expected in zip(GAMES[name], EXPECTED[name], strict=True):
        np.testing.assert_allclose(loss(jnp.asarray(REAL), jnp.asarray(FAKE)), expected, rtol=1e-5)


@pytest.mark.parametrize("name", GAMES)
def test_logits_of_patches_are_averaged_for_each_image(name):
    real, fake = jax.random.normal(jax.random.key(0), (2, 3, 4, 5))
    for loss in GAMES[name]:
        flat = loss(real.ravel(), fake.ravel())
        np.testing.assert_allclose(loss(real, fake), flat.reshape(3, 20).mean(1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("logit", [-100.0, 100.0])
def test_finite_at_large_logits(name, logit):
    logits = jnp.array([logit])
    for loss in GAMES[name]:
        value, grads = jax.value_and_grad(lambda r, f, loss=loss: loss(r, f).sum(), (0, 1))(logits, -logits)
        assert np.isfinite([value, *grads[0], *grads[1]]).all()


def test_values_where_real_and_fake_cannot_be_told_apart():
    """The discriminator says 1/2."""
    zero = jnp.zeros(1)
    np.testing.assert_allclose(-GAMES["minimax"].discriminator(zero, zero), [-1.386294], rtol=1e-6)
    half = jnp.full(1, 0.5)
    np.testing.assert_allclose(GAMES["least squares"].discriminator(half, half), [0.25])


def test_the_generator_of_the_non_saturating_game_learns_where_that_of_the_minimax_game_does_not():
    fake = jnp.array([-20.0])
    slopes = {k: jax.grad(lambda x, k=k: GAMES[k].generator(x, x).sum())(fake) for k in GAMES}
    assert abs(float(slopes["minimax"][0])) < 1e-8
    np.testing.assert_allclose(slopes["non-saturating"], [-1.0], rtol=1e-6)


def test_options():
    real, fake = jnp.asarray(REAL), jnp.asarray(FAKE)
    for make in (adversarial.minimax, adversarial.non_saturating):
        expected = -0.5 * np.log(sigmoid(REAL)) - np.log(1 - sigmoid(FAKE))
        np.testing.assert_allclose(make(0.5).discriminator(real, fake), expected, rtol=1e-5)
        with pytest.raises(UserError, match=r"real_weight=0\.0: valid are numbers above 0"):
            make(0.0)
    a, b, c = -1.0, 2.0, 0.5
    squares = adversarial.least_squares(a, b, c)
    expected = (REAL - b) ** 2 / 2 + (FAKE - a) ** 2 / 2
    np.testing.assert_allclose(squares.discriminator(real, fake), expected, rtol=1e-5)
    np.testing.assert_allclose(squares.generator(real, fake), (FAKE - c) ** 2 / 2, rtol=1e-5)
