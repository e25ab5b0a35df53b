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
    ("scaled_linear", 1000, 0.00466009851),
]


@pytest.mark.parametrize(("name", "step", "expected"), ALPHA_BAR)
@pytest.mark.parametrize(("x64", "tolerance"), [(False, 2e-6), (True, 1e-9)])
def test_alpha_bar_is_the_published_one(name, step, expected, x64, tolerance):
    with jax.enable_x64(x64):
        schedule = SCHEDULES[name]()
        np.testing.assert_allclose(schedule.alpha(step / 1000) ** 2, expected, rtol=tolerance)
        np.testing.assert_allclose(schedule.sigma(step / 1000) ** 2, 1 - expected, rtol=tolerance * 10)


B = 0.1 * 0.3 + 0.5 * 0.3**2 * 19.9  # the integral of beta up to t = 0.3
LAST, FIRST = 1 / (1 + np.exp(-3)), 1 / (1 + np.exp(3))
CLOSED_FORMS = {
    "vp": (schedules.vp(), np.exp(-B / 2), np.sqrt(1 - np.exp(-B))),
    "sub_vp": (schedules.sub_vp(), np.exp(-B / 2), 1 - np.exp(-B)),
    "ve": (schedules.ve(0.01, 50.0), 1, 0.01 * 5000**0.3),
    "edm": (schedules.edm(), 1, (0.002 ** (1 / 7) + 0.3 * (80 ** (1 / 7) - 0.002 ** (1 / 7))) ** 7),
    "flow": (schedules.flow(), 0.7, 0.3),
    "flow-shift-3": (schedules.flow(3.0), 1 - 0.9 / 1.6, 0.9 / 1.6),
    "shifted_cosine": (schedules.shifted_cosine(), np.cos(0.15 * np.pi), np.sin(0.15 * np.pi)),
    "polynomial": (schedules.polynomial(3.0, 0.01), 1 - 0.99 * 0.027, np.sqrt(1 - (1 - 0.99 * 0.027) ** 2)),
    "sigmoid": (
        schedules.sigmoid(),
        np.sqrt((LAST - 1 / (1 + np.exp(1.2))) / (LAST - FIRST)),
        np.sqrt((1 / (1 + np.exp(1.2)) - FIRST) / (LAST - FIRST)),
    ),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_forms_at_three_tenths(name):
    schedule, alpha, sigma = CLOSED_FORMS[name]
    np.testing.assert_allclose([schedule.alpha(0.3), schedule.sigma(0.3)], [alpha, sigma], rtol=2e-6)


def test_shifted_cosine_scales_the_snr():
    """Images of twice the height need a quarter of the signal-to-noise ratio."""
    t = np.float32([0.1, 0.5, 0.9])
    shift = schedules.shifted_cosine(0.5).log_snr(t) - schedules.shifted_cosine().log_snr(t)
    np.testing.assert_allclose(shift, np.log(0.25) * np.ones(3), rtol=1e-5)


def test_sigmoid_betas_are_a_sigmoid_between_the_bounds():
    with jax.enable_x64(True):
        alpha_bar = schedules.sigmoid_betas(7, 0.1, 0.5).alpha(np.arange(1, 8) / 7) ** 2
        betas = 1 - alpha_bar[1:] / alpha_bar[:-1]
        expected = 0.1 + 0.4 / (1 + np.exp(-np.linspace(-6, 6, 7)))
        np.testing.assert_allclose(betas, expected[1:], rtol=1e-9)
        np.testing.assert_allclose(alpha_bar[0], 1 - expected[0], rtol=1e-9)


def test_zero_terminal_snr_moves_the_end_and_keeps_the_start():
    with jax.enable_x64(True):
        before, t = schedules.scaled_linear(), np.arange(1, 1001) / 1000
        after = schedules.zero_terminal_snr(before)
        root = np.asarray(before.alpha(t))
        expected = (root - root[-1]) * root[0] / (root[0] - root[-1])
        np.testing.assert_allclose(after.alpha(t), expected, rtol=1e-9, atol=1e-12)
        assert after.sigma(1.0) == 1


def test_a_learned_schedule_has_its_ends_and_gradients():
    schedule = schedules.learned(jax.random.key(1), 10.0, -4.0)
    np.testing.assert_allclose(schedule.log_snr(np.float32([1e-9, 1])), [10, -4], rtol=1e-5)
    gradient = jax.grad(lambda s: s.log_snr(0.4))(schedule)
    assert np.abs(gradient.a).max() > 1e-3 and np.abs(gradient.b).max() > 1e-3
    slope = jax.grad(schedule.log_snr)(schedule.time(2.0))
    np.testing.assert_allclose(jax.grad(schedule.time)(2.0), 1 / slope, rtol=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.vp(2.0, 1.0), "beta_min = 2.0 and beta_max = 1.0"),
        (lambda: schedules.edm(0.0), "sigma_min = 0.0"),
        (lambda: schedules.flow(0.0), "shift = 0.0 must be positive"),
        (lambda: schedules.shifted_cosine(-1.0), "ratio = -1.0 must be positive"),
        (lambda: schedules.polynomial(2.0, 1.0), r"s = 1.0 in \(0, 1\)"),
        (lambda: schedules.learned(None, 1.0, 2.0), "log_snr_min = 2.0 must be less than log_snr_max = 1.0"),
    ],
)
def test_bad_constants_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()


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
    if log_snr[1] < 15:  # jumps to its least noise at t = 0, beside which 1e-9 and 1e-6 are the same
        assert log_snr[1] >= log_snr[2] >= log_snr[3]
        t, log_snr = np.delete(t, [1, 2]), np.delete(log_snr, [1, 2])
    assert np.all(np.diff(log_snr) < 0)
    np.testing.assert_allclose(schedule.time(log_snr), t, rtol=1e-5, atol=1e-6 if log_snr[1] < 15 else 0)
    # The cosine's log-SNR falls by 7 in its last step of 1/1000: one ulp of t is 4e-4 there.
    np.testing.assert_allclose(
        schedule.log_snr(schedule.time(log_snr[1:])), log_snr[1:], rtol=1e-5, atol=5e-4
    )
    t, log_snr = t[1:-1], log_snr[1:-1]  # alpha may be 0 at the last
    np.testing.assert_allclose(
        2 * (jnp.log(schedule.alpha(t)) - jnp.log(schedule.sigma(t))),
        log_snr,
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


@pytest.mark.parametrize("name", SCHEDULES)
def test_constants_given_as_numbers_and_as_arrays_are_one_compilation(name):
    schedule = SCHEDULES[name]()
    strong = jax.tree.map(lambda leaf: leaf * jnp.ones_like(leaf), schedule)
    assert jax.tree.map(jax.typeof, schedule) == jax.tree.map(jax.typeof, strong)


@pytest.mark.parametrize("make", [schedules.ve, schedules.edm, schedules.learned])
def test_the_least_noise_is_not_taken_for_none(make):
    schedule = make()
    least = schedule.log_snr(np.float32(1e-9))
    for log_snr in (least, least + 1e-4, least + 1):
        np.testing.assert_allclose(schedule.log_snr(schedule.time(log_snr)), least, rtol=1e-5)
    assert schedule.time(jnp.inf) == 0
