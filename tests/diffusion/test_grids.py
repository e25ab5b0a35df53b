"""Grids of sampling times."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import grids, schedules
from genjax.typing import UserError


def ratios(times, schedule):
    """sigma / alpha at all times but the last."""
    return np.exp(-0.5 * np.asarray(schedule.log_snr(times[:-1])))


def test_linspace_goes_from_noise_to_clean_in_equal_steps():
    np.testing.assert_allclose(grids.linspace(4), [1, 0.75, 0.5, 0.25, 0], rtol=1e-7)


def test_linspace_of_all_steps_is_the_discrete_schedule():
    np.testing.assert_array_equal(grids.linspace(1000), (np.arange(1000, -1, -1) / 1000).astype(np.float32))


def test_grids_of_whole_steps():
    """Table 2 of Lin et al., for T = 10 and K = 4 there counted from 0; and Stable Diffusion's offset of 1."""
    np.testing.assert_allclose(10 * grids.trailing(4, 10), [10, 8, 5, 2, 0])
    np.testing.assert_allclose(10 * grids.leading(4, 10), [7, 5, 3, 1, 0])
    np.testing.assert_allclose(10 * grids.leading(4, 10, offset=1), [8, 6, 4, 2, 0])
    np.testing.assert_allclose(10 * grids.endpoints(4, 10), [10, 7, 4, 1, 0])
    np.testing.assert_allclose(10 * grids.endpoints(3, 10, whole=False), [10, 5.5, 1, 0], rtol=1e-6)
    np.testing.assert_array_equal(grids.trailing(50, 1000), grids.linspace(50))


def test_quadratic_is_linear_in_the_square_root():
    np.testing.assert_allclose(np.sqrt(grids.quadratic(4, 0.64)), [0.8, 0.6, 0.4, 0.2, 0], rtol=1e-6)


def test_karras_sigmas_are_the_published_ones():
    with jax.enable_x64(True):
        schedule = schedules.edm()
        sigmas = ratios(grids.karras(18, schedule, 0.002, 80.0), schedule)
        np.testing.assert_allclose(sigmas[[0, 1, 16, 17]], [80, 57.5859847, 0.00752801996, 0.002], rtol=1e-8)


@pytest.mark.parametrize("make", [schedules.scaled_linear, schedules.vp, schedules.flow, schedules.edm])
def test_steps_in_sigma_are_what_they_say_under_every_schedule(make):
    with jax.enable_x64(True):
        schedule = make()
        roots = ratios(grids.karras(9, schedule, 0.05, 12.0, rho=3.0), schedule) ** (1 / 3)
        np.testing.assert_allclose(np.diff(roots, 2), 0, atol=1e-6)
        logs = np.log(ratios(grids.exponential(9, schedule, 0.05, 12.0), schedule))
        np.testing.assert_allclose(np.diff(logs, 2), 0, atol=1e-6)
        poly = np.log(ratios(grids.exponential(9, schedule, 0.05, 12.0, rho=2.0), schedule) / 0.05)
        np.testing.assert_allclose(np.diff(np.sqrt(np.abs(poly)), 2), 0, atol=1e-3)
        for sigmas in (roots**3, np.exp(logs)):
            np.testing.assert_allclose(sigmas[[0, -1]], [12, 0.05], rtol=1e-6)


def test_bounds_left_out_are_those_of_the_schedule():
    schedule = schedules.scaled_linear()
    for grid in (grids.karras, grids.exponential):
        times = grid(10, schedule)
        np.testing.assert_allclose(times[jnp.array([0, -2, -1])], [1, 1e-3, 0], rtol=1e-5)
        assert np.all(np.diff(times) < 0)
    np.testing.assert_allclose(grids.karras(5, schedules.ve())[-2], 1e-3, rtol=1e-2)


def test_align_your_steps_has_the_published_sigmas_and_interpolates_their_logarithms():
    with jax.enable_x64(True):
        schedule = schedules.scaled_linear()
        ten = grids.align_your_steps(10, schedule)
        table = grids.ALIGNED["stable-diffusion-1.5"]
        np.testing.assert_allclose(ratios(ten, schedule), table[:-1], rtol=2e-3)  # 14.615 is rounded
        assert ten.size == 11 and ten[-1] == 0
        twenty = ratios(grids.align_your_steps(20, schedule), schedule)
        np.testing.assert_allclose(twenty[1:19:2] ** 2, twenty[:18:2] * twenty[2:20:2], rtol=2e-3)


@pytest.mark.parametrize("name", grids.GRIDS)
def test_every_grid_falls_to_zero_and_traces_the_schedule_only(name):
    traces = []

    @jax.jit
    def run(schedule):
        traces.append(name)
        return grids.GRIDS[name](7, schedule)

    for make in (schedules.linear, schedules.scaled_linear):
        times = run(make())
        assert times.shape == (8,) and times[-1] == 0 and times[0] <= 1
        assert np.all(np.diff(times) < 0)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grids.linspace(0), "num_steps = 0 must be at least 1"),
        (lambda: grids.karras(0, schedules.edm()), "num_steps = 0 must be at least 1"),
        (lambda: grids.trailing(11, 10), "num_steps = 11 must be between 1 and num_train_steps = 10"),
        (lambda: grids.leading(10, 10, 1), "offset = 1 leads to time 11 of 10"),
        (lambda: grids.quadratic(3, 1.5), r"start = 1.5 must be in \(0, 1\]"),
        (lambda: grids.karras(3, schedules.flow()), "sigma_max is needed"),
        (
            lambda: grids.karras(3, schedules.linear(), 2.0, 1.0),
            "sigma_min = 2.0 must be above 0 and at most",
        ),
        (lambda: grids.exponential(3, schedules.linear(), 0.0, 1.0), "sigma_min = 0.0 must be above 0"),
        (lambda: grids.align_your_steps(3, schedules.linear(), "sd"), "model = 'sd' must be one of stable-"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()
