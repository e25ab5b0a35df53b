"""Predictions: the same denoiser through each of them, and what each trains the network towards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import PREDICTIONS, SCHEDULES, add_noise, denoiser, prediction, target
from genjax.diffusion.times import TIMES as TRAINING_TIMES
from genjax.models.denoisers.unet import TIME_SCALE
from genjax.nn import sinusoidal_embedding

TIMES = np.float32([0.001, 0.05, 0.5, 0.9])
# Up to their least noise, x0_hat of these does not depend on the network.
WITH_BOUNDARY = ("consistency_edm", "lcm")


def times_of(name):
    """Where the network has a target."""
    return jnp.asarray([0.2, 0.3, 0.5, 0.9] if name in WITH_BOUNDARY else TIMES, jnp.float32)


def batch():
    x_0, noise = np.random.default_rng(0).normal(size=(2, 4, 3, 3, 1)).astype(np.float32)
    return jnp.asarray(x_0), jnp.asarray(noise)


@pytest.mark.parametrize("schedule_name", SCHEDULES)
@pytest.mark.parametrize("name", PREDICTIONS)
def test_a_network_at_its_target_denoises_perfectly(name, schedule_name):
    schedule, prediction = SCHEDULES[schedule_name](), PREDICTIONS[name]
    x_0, noise = batch()
    t = times_of(name)
    perfect = target(prediction(schedule, t), schedule, x_0, noise, t)
    denoise = denoiser(lambda x, c_noise: perfect, schedule, prediction)
    np.testing.assert_allclose(denoise(add_noise(schedule, x_0, noise, t), t), x_0, atol=5e-5)


def expected_targets(schedule, x_0, noise, t):
    alpha, sigma = (np.reshape(f(t), (4, 1, 1, 1)) for f in (schedule.alpha, schedule.sigma))
    norm = np.sqrt(0.25 * alpha**2 + sigma**2)
    skip = 0.25 * alpha / norm**2
    x_t, above = alpha * x_0 + sigma * noise, sigma - 0.002 * alpha
    bounded = 0.25 * alpha / (above**2 + 0.25 * alpha**2)
    tau = 10 * (1000 * np.reshape(t, (4, 1, 1, 1)) - 1)
    lcm_skip, lcm_out = 0.25 / (tau**2 + 0.25), tau / np.sqrt(tau**2 + 0.25)
    return {
        "eps": noise,
        "x0": x_0,
        "v": alpha * noise - sigma * x_0,
        "score": -noise / sigma,
        "flow": noise - x_0,
        "edm": (x_0 - skip * x_t) / (0.5 * sigma / norm),
        "consistency_edm": (x_0 - bounded * x_t) / (0.5 * above / norm),
        "lcm": (x_t - alpha * (x_0 - lcm_skip * x_t) / lcm_out) / sigma,
    }


@pytest.mark.parametrize("name", PREDICTIONS)
def test_targets_are_noise_data_and_velocity(name):
    schedule, t = SCHEDULES["linear"](), times_of(name)
    x_0, noise = batch()
    actual = target(PREDICTIONS[name](schedule, t), schedule, x_0, noise, t)
    expected = expected_targets(schedule, x_0, noise, t)[name]
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=5e-5)


def test_edm_preconditioning_has_the_published_values():
    """At sigma = sigma_data = 0.5."""
    with jax.enable_x64(True):
        schedule = SCHEDULES["edm"]()
        t = schedule.time(-2 * np.log(0.5))
        expected = 0.5, 0.3535534, 1.4142136, np.log(0.5) / 4
        np.testing.assert_allclose(PREDICTIONS["edm"](schedule, t), expected, rtol=1e-7)


@pytest.mark.parametrize("schedule_name", ["linear", "flow", "sub_vp"])
def test_edm_preconditioning_gives_the_network_unit_variance(schedule_name):
    schedule = SCHEDULES[schedule_name]()
    x_0, noise = np.random.default_rng(0).normal(size=(2, 4, 40_000)).astype(np.float32)
    x_0, noise, t = jnp.asarray(0.5 * x_0), jnp.asarray(noise), jnp.asarray(TIMES)
    coefficients = PREDICTIONS["edm"](schedule, t)
    wanted = target(coefficients, schedule, x_0, noise, t)
    given = coefficients.c_in[:, None] * add_noise(schedule, x_0, noise, t)
    np.testing.assert_allclose(np.std(given, 1), np.ones(4), rtol=0.02)
    np.testing.assert_allclose(np.std(wanted, 1), np.ones(4), rtol=0.02)


@pytest.mark.parametrize("name", PREDICTIONS)
def test_the_network_sees_scaled_input_and_one_time_per_example(name):
    seen = []

    def network(x, c_noise):
        seen.append((x, c_noise))
        return x

    x, _ = batch()
    denoise = denoiser(network, SCHEDULES["linear"](), PREDICTIONS[name])
    one, each = denoise(x, 0.5), denoise(x, jnp.full(4, 0.5))
    np.testing.assert_array_equal(one, each)
    expected = PREDICTIONS[name](SCHEDULES["linear"](), jnp.full(4, 0.5))
    for seen_x, c_noise in seen:
        np.testing.assert_array_equal(seen_x, expected.c_in[:, None, None, None] * x)
        np.testing.assert_array_equal(c_noise, expected.c_noise)
        if name not in ("edm", "consistency_edm"):
            np.testing.assert_array_equal(seen_x, x)
            np.testing.assert_array_equal(c_noise, np.full(4, 0.5, np.float32))


@pytest.mark.parametrize("name", PREDICTIONS)
def test_a_bfloat16_network_costs_its_own_rounding_and_no_more(name):
    x, output = batch()
    output = output.astype(jnp.bfloat16)
    schedule, prediction = SCHEDULES["linear"](), PREDICTIONS[name]
    low = denoiser(lambda x, c: output, schedule, prediction)(x, 0.3)
    full = denoiser(lambda x, c: output.astype(jnp.float32), schedule, prediction)(x, 0.3)
    assert low.dtype == jnp.float32
    np.testing.assert_array_equal(low, full)


@pytest.mark.parametrize("name", PREDICTIONS)
def test_coefficients_follow_the_shape_of_time(name):
    schedule = SCHEDULES["cosine"]()
    for t in (jnp.float32(0.3), jnp.full((2,), 0.3)):
        assert {c.shape for c in PREDICTIONS[name](schedule, t)} == {t.shape}
    gradients = jax.grad(lambda s: sum(PREDICTIONS[name](s, 1.0)))(schedule)
    assert np.all(np.isfinite(gradients.table))


@pytest.mark.parametrize("schedule_name", SCHEDULES)
@pytest.mark.parametrize("name", PREDICTIONS)
def test_c_noise_is_of_order_1_and_neighbours_look_alike_to_the_unet(name, schedule_name):
    """At every time that training draws. 7.5 is a quarter of log(sigma / alpha) where the log-SNR is clipped, at 60.

    The U-Net's sines and cosines of noise levels 1/1000 apart have a correlation: the mean of cos(frequency distance)
    over frequencies from 1 to 1e-4. With c_noise of 250 log(sigma / alpha) it was 0.
    """
    schedule, predict = SCHEDULES[schedule_name](), PREDICTIONS[name]
    keys, strata = jax.random.split(jax.random.key(0), 1000), jnp.arange(1000) / 1000
    for draw in TRAINING_TIMES.values():
        made = draw()
        if hasattr(made, "draw"):
            t, _ = made.draw(made.init(), schedule, keys, strata)
        else:
            t = made(schedule, keys, strata)
        assert np.abs(predict(schedule, t).c_noise).max() <= 7.5
    ends = predict(schedule, jnp.float32([2.0**-24, 1.0])).c_noise
    assert np.abs(ends).max() <= 7.5 and ends[1] - ends[0] > 0.5

    t = jnp.linspace(0.02, 0.98, 200)
    features = [
        np.asarray(sinusoidal_embedding(TIME_SCALE * predict(schedule, u).c_noise, 128))
        for u in (t - 0.0005, t + 0.0005)
    ]
    correlation = (features[0] * features[1]).mean(1) * 2
    assert correlation.min() > 0.5
    assert correlation.max() < 1 - 1e-6  # and they are told apart


def test_the_unet_gives_consistency_models_the_features_of_the_paper():
    """Sines and cosines of 250 log(sigma)."""
    schedule = SCHEDULES["edm"]()
    t = jnp.array([0.1, 0.5, 0.9])
    c_noise = PREDICTIONS["consistency_edm"](schedule, t).c_noise
    np.testing.assert_allclose(TIME_SCALE * c_noise, 250 * np.log(schedule.sigma(t)), rtol=1e-5, atol=1e-3)


def test_the_boundary_of_latent_consistency_models_takes_any_prediction():
    """skip x_t + out x0_hat of the inner one, with its c_in and c_noise."""
    with jax.enable_x64(True):
        schedule, t = SCHEDULES["linear"](), jnp.array([0.0005, 0.001, 0.003, 0.7])
        x, output = np.random.default_rng(0).normal(size=(2, 4, 3))
        tau = 20.0 * np.maximum(100 * np.asarray(t) - 0.1, 0)
        skip, out = 0.04 / (tau**2 + 0.04), tau / np.sqrt(tau**2 + 0.04)
        for inner in (prediction.eps, prediction.v, prediction.edm()):
            bounded = prediction.lcm_boundary(inner, num_steps=1000, scaling=2.0, sigma_data=0.2)
            actual, c = bounded(schedule, t), inner(schedule, t)
            x_0 = np.asarray(c.c_skip)[:, None] * x + np.asarray(c.c_out)[:, None] * output
            expected = skip[:, None] * x + out[:, None] * x_0
            x0_hat = np.asarray(actual.c_skip)[:, None] * x + np.asarray(actual.c_out)[:, None] * output
            np.testing.assert_allclose(x0_hat, expected, rtol=1e-12)
            np.testing.assert_array_equal(x0_hat[:2], x[:2])
            np.testing.assert_array_equal(actual[2:], c[2:])
