"""Adversarial losses in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from genjax.losses import adversarial
from genjax.typing import UserError

GAMES = {
    "minimax": adversarial.minimax(),
    "non-saturating": adversarial.non_saturating(),
    "hinge": adversarial.hinge(),
    "least squares": adversarial.least_squares(),
    "wasserstein": adversarial.wasserstein(),
    "relativistic": adversarial.relativistic(),
}
REAL, FAKE = np.array([0.3, -1.2, 2.0]), np.array([-0.7, 0.4, 1.5])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


EXPECTED = {
    "minimax": (-np.log(sigmoid(REAL)) - np.log(1 - sigmoid(FAKE)), np.log(1 - sigmoid(FAKE))),
    "non-saturating": (-np.log(sigmoid(REAL)) - np.log(1 - sigmoid(FAKE)), -np.log(sigmoid(FAKE))),
    "hinge": (np.maximum(0, 1 - REAL) + np.maximum(0, 1 + FAKE), -FAKE),
    "least squares": ((REAL - 1) ** 2 / 2 + FAKE**2 / 2, (FAKE - 1) ** 2 / 2),
    "wasserstein": (FAKE - REAL, -FAKE),
    "relativistic": (-np.log(sigmoid(REAL - FAKE)), -np.log(sigmoid(FAKE - REAL))),
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


@pytest.mark.parametrize("make", [adversarial.minimax, adversarial.non_saturating])
def test_label_smoothing(make):
    """The label of real images is 0.8, that of fake ones 0, and the generator knows nothing of it."""
    real, fake = jnp.asarray(REAL), jnp.asarray(FAKE)
    smooth = make(smoothing=0.2)
    of_real = -0.8 * np.log(sigmoid(REAL)) - 0.2 * np.log(1 - sigmoid(REAL))
    of_fake = -np.log(1 - sigmoid(FAKE))
    np.testing.assert_allclose(smooth.discriminator(real, fake), of_real + of_fake, rtol=1e-5)
    weighted = make(0.5, 0.2).discriminator(real, fake)
    np.testing.assert_allclose(weighted, 0.5 * of_real + of_fake, rtol=1e-5)
    np.testing.assert_array_equal(smooth.generator(real, fake), make().generator(real, fake))
    # The best discriminator says 0.8 of a real image.
    at_best = jnp.log(jnp.array([4.0]))
    slope = jax.grad(lambda x: smooth.discriminator(x, jnp.zeros(1)).sum())(at_best)
    np.testing.assert_allclose(slope, [0.0], atol=1e-6)
    for wrong in (-0.1, 0.5, 0.9):
        with pytest.raises(UserError, match=rf"smoothing={wrong}: valid are numbers in \[0, 0\.5\)"):
            make(smoothing=wrong)


@pytest.mark.parametrize("logit", [-100.0, 100.0])
def test_label_smoothing_at_large_logits(logit):
    smooth, x = adversarial.minimax(smoothing=0.1), jnp.array([logit])
    value, slope = jax.value_and_grad(lambda x: smooth.discriminator(x, -x).sum())(x)
    np.testing.assert_allclose([value, slope[0]], {-100: [190, -1.9], 100: [10, 0.1]}[logit], rtol=1e-5)


def test_relativistic_game_is_of_differences():
    """Nothing changes where all logits do, and the sides are each other's mirror image."""
    real, fake = jnp.asarray(REAL), jnp.asarray(FAKE)
    game = GAMES["relativistic"]
    np.testing.assert_allclose(
        game.discriminator(real + 3, fake + 3), game.discriminator(real, fake), rtol=1e-5
    )
    np.testing.assert_array_equal(game.generator(real, fake), game.discriminator(fake, real))
    np.testing.assert_allclose(game.discriminator(real, real), np.full(3, np.log(2)), rtol=1e-6)


@pytest.mark.parametrize("name", GAMES)
def test_top_k(name):
    """Of eight fakes the three with the largest logits count, and the mean is over them."""
    game = GAMES[name]
    real, fake = jnp.linspace(-1, 2, 8), jnp.array([0.1, 3.0, -2.0, 0.5, 0.4, -1.0, 2.0, -4.0])
    best = np.array([1, 3, 6])
    top = adversarial.top_k(game, 3 / 8)
    losses, every = top.generator(real, fake), game.generator(real, fake)
    np.testing.assert_allclose(losses.mean(), every[best].mean(), rtol=1e-6)
    rest = np.delete(np.arange(8), best)
    np.testing.assert_array_equal(np.asarray(losses)[rest], 0)
    slopes = jax.grad(lambda x: top.generator(real, x).mean())(fake)
    expected = jax.grad(lambda x: game.generator(real[best], x).mean())(fake[best])
    np.testing.assert_allclose(slopes[best], expected, rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(slopes)[rest], 0)
    np.testing.assert_array_equal(adversarial.top_k(game, 1.0).generator(real, fake), every)
    np.testing.assert_array_equal(top.discriminator(real, fake), game.discriminator(real, fake))


def test_top_k_ranks_by_the_mean_over_patches():
    """The second image has the largest patch, the first one the largest mean."""
    fake = jnp.array([[1.0, 1.0], [2.0, -1.0]]).reshape(2, 1, 2)
    losses = adversarial.top_k(GAMES["wasserstein"], 0.5).generator(fake, fake)
    np.testing.assert_array_equal(losses, [-2.0, 0.0])


def test_top_k_anneals_without_a_new_compilation():
    fake = jnp.array([1.0, 2.0, 2.0, 4.0])
    traced = []

    @jax.jit
    def losses(fraction):
        traced.append(fraction)
        return adversarial.top_k(GAMES["wasserstein"], fraction).generator(fake, fake)

    expected = {1.0: [-1, -2, -2, -4], 0.5: [0, -4, 0, -8], 0.3: [0, 0, 0, -16], 0.01: [0, 0, 0, -16]}
    for fraction, value in expected.items():
        np.testing.assert_array_equal(losses(jnp.float32(fraction)), value)
    assert len(traced) == 1


def test_top_k_shows_what_is_not_a_number():
    """Also where the ranking leaves it out."""
    fake, nan = jnp.array([5.0, 4.0, 2.0, 1.0]), jnp.array([1.0, 1.0, 1.0, jnp.nan])
    top = adversarial.top_k(GAMES["relativistic"], 0.25)
    assert np.isnan(top.generator(nan, fake)).tolist() == [False, False, False, True]
    assert np.isnan(top.generator(fake, fake + nan)).any()


def test_top_k_is_of_the_global_batch():
    """Eight devices with two fakes each choose as one with all of them."""
    real, fake = jax.random.normal(jax.random.key(3), (2, 16))
    top = adversarial.top_k(GAMES["relativistic"], 0.25)
    expected = top.generator(real, fake)
    assert (np.asarray(expected) > 0).sum() == 4
    split = jax.pmap(top.generator, axis_name="data")(real.reshape(8, 2), fake.reshape(8, 2))
    np.testing.assert_allclose(np.asarray(split).ravel(), expected, rtol=1e-6)
    sharding = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
    spread = [jax.device_put(x, sharding) for x in (real, fake)]
    np.testing.assert_allclose(jax.jit(top.generator)(*spread), expected, rtol=1e-6)


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.5])
def test_top_k_of_no_images_is_refused(fraction):
    with pytest.raises(UserError, match=rf"fraction={fraction}: valid are numbers in \(0, 1\]"):
        adversarial.top_k(GAMES["hinge"], fraction)
