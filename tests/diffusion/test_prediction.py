"""Predictions: the same denoiser through each of them, and what each trains the network towards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import PREDICTIONS, SCHEDULES, add_noise, denoiser, target

TIMES = np.float32([0.001, 0.05, 0.5, 0.9])


def batch():
    x_0, noise = np.random.default_rng(0).normal(size=(2, 4, 3, 3, 1)).astype(np.float32)
    return jnp.asarray(x_0), jnp.asarray(noise)


@pytest.mark.parametrize("schedule_name", SCHEDULES)
@pytest.mark.parametrize("name", PREDICTIONS)
def test_a_network_at_its_target_denoises_perfectly(name, schedule_name):
    schedule, prediction = SCHEDULES[schedule_name](), PREDICTIONS[name]
    x_0, noise = batch()
    t = jnp.asarray(TIMES)
    perfect = target(prediction(schedule, t), schedule, x_0, noise, t)
    denoise = denoiser(lambda x, c_noise: perfect, schedule, prediction)
    np.testing.assert_allclose(denoise(add_noise(schedule, x_0, noise, t), t), x_0, atol=5e-5)


def expected_targets(schedule, x_0, noise, t):
    alpha, sigma = (np.reshape(f(t), (4, 1, 1, 1)) for f in (schedule.alpha, schedule.sigma))
    norm = np.sqrt(0.25 * alpha**2 + sigma**2)
    skip = 0.25 * alpha / norm**2
    return {
        "eps": noise,
        "x0": x_0,
        "v": alpha * noise - sigma * x_0,
        "score": -noise / sigma,
        "flow": noise - x_0,
        "edm": (x_0 - skip * (alpha * x_0 + sigma * noise)) / (0.5 * sigma / norm),
    }


@pytest.mark.parametrize("name", PREDICTIONS)
def test_targets_are_noise_data_and_velocity(name):
    schedule, t = SCHEDULES["linear"](), jnp.asarray(TIMES)
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
        if name != "edm":
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
