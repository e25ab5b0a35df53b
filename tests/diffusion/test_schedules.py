"""Schedules: published constants, the inverse, the ends of the time axis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import SCHEDULES, Schedule, schedules
from genjax.typing import UserError

ALPHA_BAR = [
    ("linear", 1, 0.9999),
    ("linear", 500, 0.0785872429),
    ("linear", 1000, 4.0358297654e-5),
    ("cosine", 500, 0.4938435904),
]


@pytest.mark.parametrize(("name", "step", "expected"), ALPHA_BAR)
@pytest.mark.parametrize(("x64", "tolerance"), [(False, 2e-6), (True, 1e-9)])
def test_alpha_bar_is_the_published_one(name, step, expected, x64, tolerance):
    with jax.enable_x64(x64):
        schedule = SCHEDULES[name]()
        np.testing.assert_allclose(schedule.alpha(step / 1000) ** 2, expected, rtol=tolerance)
        np.testing.assert_allclose(schedule.sigma(step / 1000) ** 2, 1 - expected, rtol=tolerance * 10)


def test_noise_of_the_first_step_keeps_its_digits_in_float32():
    """1 - alpha_bar in float32 would be off by 6e-4 here."""
    np.testing.assert_allclose(schedules.linear().sigma(1e-3) ** 2, 1e-4, rtol=2e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_satisfies_the_protocol(name):
    assert isinstance(SCHEDULES[name](), Schedule)


@pytest.mark.parametrize("name", SCHEDULES)
def test_log_snr_falls_and_time_inverts_it(name):
    schedule = SCHEDULES[name]()
    t = np.concatenate([[0.0, 1e-9, 1e-6, 3e-4], np.linspace(1e-3, 1, 4001)]).astype(np.float32)
    log_snr = schedule.log_snr(t)
    # Those that jump from no noise to their least noise at t = 0 do not tell 1e-9 from 1e-6 in float32.
    jumps = log_snr[1] < 15
    assert np.all(np.diff(log_snr[3 * jumps :]) < 0)
    assert np.all(np.diff(log_snr) <= 0)
    np.testing.assert_allclose(schedule.time(log_snr), t, rtol=1e-5, atol=1e-6 if jumps else 0)
    # The cosine's log-SNR falls by 7 in its last step of 1/1000: one ulp of t is 4e-4 there.
    np.testing.assert_allclose(
        schedule.log_snr(schedule.time(log_snr[1:])), log_snr[1:], rtol=1e-5, atol=5e-4
    )
    np.testing.assert_allclose(
        2 * (jnp.log(schedule.alpha(t[1:])) - jnp.log(schedule.sigma(t[1:]))),
        log_snr[1:],
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("name", SCHEDULES)
def test_time_zero_is_clean_data_and_gradients_are_finite_everywhere(name):
    schedule = SCHEDULES[name]()
    assert schedule.alpha(0.0) == 1
    assert schedule.sigma(0.0) == 0
    assert schedule.log_snr(0.0) == jnp.inf
    assert schedule.time(jnp.inf) == 0

    def total(schedule, t):
        return jnp.sum(schedule.alpha(t)) + jnp.sum(schedule.sigma(t))

    for t in (0.0, 1e-6, 1e-3, 0.5, 1.0):
        for gradient in jax.tree.leaves(jax.grad(total, argnums=(0, 1))(schedule, jnp.float32(t))):
            assert np.all(np.isfinite(gradient)), t


def test_variance_is_proportional_to_time_below_the_first_step():
    schedule = schedules.linear()
    variance = schedule.sigma(np.float32([1e-3, 1e-4, 1e-6])) ** 2
    np.testing.assert_allclose(variance, [1e-4, 1e-5, 1e-7], rtol=1e-4)


def test_log_snr_is_linear_between_the_points():
    schedule = schedules.linear(10, 0.1, 0.5)
    middle = schedule.log_snr(0.35)
    np.testing.assert_allclose(middle, (schedule.log_snr(0.3) + schedule.log_snr(0.4)) / 2, rtol=1e-6)


def test_tables_of_one_step_and_of_zero_terminal_snr():
    one = schedules.from_betas(np.array([0.36]))
    np.testing.assert_allclose([one.alpha(1.0), one.sigma(1.0)], [0.8, 0.6], rtol=1e-6)
    np.testing.assert_allclose(one.time(one.log_snr(0.25)), 0.25, rtol=1e-6)

    zero = schedules.from_betas(np.array([0.1, 0.5, 1.0]))
    np.testing.assert_allclose(zero.alpha(np.float32([2 / 3, 1])) ** 2, [0.45, 0], rtol=1e-6, atol=1e-25)
    assert zero.sigma(1.0) == 1


@pytest.mark.parametrize(
    ("betas", "message"),
    [
        ([0.1, 0.0], r"betas\[1\] = 0.0 is not in \(0, 1\)"),
        ([0.1, 1.0, 0.2], r"betas\[1\] = 1.0"),
        ([0.1, np.nan], r"betas\[1\] = nan"),
        ([[0.1]], r"not of shape \[1, 1\]"),
        ([], r"not of shape \[0\]"),
    ],
)
def test_bad_betas_are_named(betas, message):
    with pytest.raises(UserError, match=message):
        schedules.from_betas(np.array(betas))


def test_a_schedule_is_an_argument_and_its_constants_do_not_retrace():
    traces = []

    @jax.jit
    def sigma(schedule, t):
        traces.append(t)
        return schedule.sigma(t)

    a, b = sigma(schedules.linear(), 0.3), sigma(schedules.cosine(), 0.6)
    assert len(traces) == 1
    np.testing.assert_allclose(
        [a, b], [schedules.linear().sigma(0.3), schedules.cosine().sigma(0.6)], rtol=1e-6
    )
    assert jax.tree.map(jnp.shape, schedules.linear(7)).table == (7,)
