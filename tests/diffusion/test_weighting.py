"""Loss weights in closed form, for every prediction; distances; and the learned uncertainty."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import PREDICTIONS, SCHEDULES, prediction, schedules, weighting
from genjax.diffusion.distance import DISTANCES, pseudo_huber, squared
from genjax.diffusion.uncertainty import attenuate, fourier
from genjax.diffusion.weighting import WEIGHTINGS
from genjax.typing import UserError

TIMES = np.array([0.02, 0.3, 0.6, 0.95])

# The weights of the error of x0_hat, from the papers: functions of the SNR and of -d log_snr / dt.
OF_X_0 = {
    "vlb": lambda snr, rate: 0.5 * snr * rate,
    "min_snr": lambda snr, rate: np.minimum(snr, 5),
    "soft_min_snr": lambda snr, rate: 5 * snr / (snr + 5),
    "edm": lambda snr, rate: (1 / snr + 0.25) / (0.5**2 / snr),
    "sigmoid": lambda snr, rate: 0.5 * snr * rate / (1 + np.exp(np.log(snr) - 2)),
}


def slope(schedule, t, h=1e-6):
    """-d log_snr / dt, by differences."""
    return -(schedule.log_snr(t + h) - schedule.log_snr(t - h)) / (2 * h)


@pytest.mark.parametrize("schedule_name", ["vp", "flow", "edm", "shifted_cosine"])
@pytest.mark.parametrize("name", OF_X_0)
def test_the_weighted_error_of_x_0_is_the_same_whatever_the_network_predicts(name, schedule_name):
    with jax.enable_x64(True):
        schedule, t = SCHEDULES[schedule_name](), jnp.asarray(TIMES)
        expected = OF_X_0[name](np.exp(schedule.log_snr(t)), np.asarray(slope(schedule, t)))
        for kind, predict in PREDICTIONS.items():
            c = predict(schedule, t)
            # An error e of the output is an error c_out e of x0_hat.
            np.testing.assert_allclose(
                WEIGHTINGS[name](schedule, t, c) / c.c_out**2, expected, rtol=1e-6, err_msg=kind
            )


def at_snr(schedule, snr):
    return schedule.time(jnp.log(jnp.asarray(snr)))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("x0", [0.1, 1, 5, 5]), ("eps", [1, 1, 1, 0.5]), ("v", [0.1 / 1.1, 0.5, 5 / 6, 5 / 11])],
)
def test_min_snr_as_in_the_paper(kind, expected):
    schedule = schedules.vp()
    t = at_snr(schedule, [0.1, 1.0, 5.0, 10.0])
    weight = weighting.min_snr(5.0)(schedule, t, PREDICTIONS[kind](schedule, t))
    np.testing.assert_allclose(weight, expected, rtol=1e-4)


@pytest.mark.parametrize("sigma_data", [0.5, 1.3])
def test_edm_weights_the_output_of_its_own_network_by_one(sigma_data):
    schedule = schedules.edm()
    t = jnp.linspace(0.01, 1, 9)
    weight = weighting.edm(sigma_data)(schedule, t, prediction.edm(sigma_data)(schedule, t))
    np.testing.assert_allclose(weight, np.ones(9), rtol=1e-5)


def test_edm_at_sigma_data_is_eight():
    schedule = schedules.edm()
    t = at_snr(schedule, [4.0])  # sigma = 0.5
    np.testing.assert_allclose(weighting.edm()(schedule, t, prediction.x0(schedule, t)), [8], rtol=1e-4)


def test_soft_min_snr_is_half_of_both_where_they_meet():
    schedule = schedules.vp()
    t = at_snr(schedule, [1e-3, 4.0, 1e3])
    weight = weighting.soft_min_snr(4.0)(schedule, t, prediction.x0(schedule, t))
    np.testing.assert_allclose(weight, [1e-3, 2, 4], rtol=5e-3)


def test_vlb_of_eps_in_log_snr_is_one_half():
    """Integrated over t, the weight of the error of the noise is half the range of the log-SNR."""
    schedule = schedules.shifted_cosine()
    t = jnp.linspace(0.1, 0.9, 2001)
    weight = weighting.vlb(schedule, t, prediction.eps(schedule, t))
    integral = np.trapezoid(weight, t)
    np.testing.assert_allclose(integral, 0.5 * (schedule.log_snr(0.1) - schedule.log_snr(0.9)), rtol=1e-4)


def test_vlb_of_a_table_is_the_finite_difference():
    schedule = schedules.linear()
    t = jnp.array([0.2505, 0.7005])  # between two points
    expected = 0.5 * 1000 * (schedule.log_snr(t - 0.0005) - schedule.log_snr(t + 0.0005))
    weight = weighting.vlb(schedule, t, prediction.eps(schedule, t))
    np.testing.assert_allclose(weight, expected, rtol=2e-4)


def test_sigmoid_keeps_half_the_bound_at_its_bias():
    schedule = schedules.vp()
    t = schedule.time(jnp.array([-1.5, 30.0, -9.0]))
    c = prediction.eps(schedule, t)
    share = weighting.sigmoid(-1.5)(schedule, t, c) / weighting.vlb(schedule, t, c)
    np.testing.assert_allclose(share, [0.5, 0, 1], atol=1e-3)


def test_simple_weight_is_one():
    schedule, t = schedules.linear(), jnp.array([0.1, 0.5, 1.0])
    np.testing.assert_array_equal(weighting.simple(schedule, t, prediction.v(schedule, t)), [1, 1, 1])


@pytest.mark.parametrize("schedule_name", SCHEDULES)
def test_weights_and_their_gradients_are_finite(schedule_name):
    """At all times at which one may train, t = 1 with alpha = 0 included, towards the schedule and the time."""
    schedule = SCHEDULES[schedule_name]()
    t = jnp.array([2.0**-23, 1e-3, 0.5, 1.0])

    def totals(schedule, t):
        weights = [w(schedule, t, prediction.v(schedule, t)) for w in WEIGHTINGS.values()]
        return jnp.sum(jnp.stack(weights), 1), jnp.stack(weights)

    gradients, weights = jax.jit(jax.jacrev(totals, argnums=(0, 1), has_aux=True))(schedule, t)
    assert jnp.isfinite(weights).all() and (weights >= 0).all() and (weights.sum(1) > 0).all()
    for gradient in jax.tree.leaves(gradients):
        assert jnp.isfinite(gradient).all()


def test_squared_is_the_mean_and_pseudo_huber_is_between_both_norms():
    output = jnp.array([[3.0, 4.0], [3e-4, 4e-4], [0.0, 0.0]])[:, None, :, None]
    target = jnp.zeros_like(output)
    np.testing.assert_allclose(squared(output, target), [12.5, 1.25e-7, 0], rtol=1e-6)
    np.testing.assert_allclose(
        pseudo_huber(0.1)(output, target), np.sqrt(np.array([25, 25e-8, 0]) + 0.01) - 0.1, rtol=1e-3
    )
    c = 0.00054 * np.sqrt(2)
    np.testing.assert_allclose(
        pseudo_huber()(output, target), np.sqrt(np.array([25, 25e-8, 0]) + c**2) - c, rtol=1e-5
    )


@pytest.mark.parametrize("name", DISTANCES)
def test_distances_have_finite_gradients_at_the_target(name):
    gradient = jax.grad(lambda x: DISTANCES[name](x, jnp.ones((2, 3))).sum())(jnp.ones((2, 3)))
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


def test_arguments_out_of_range_are_errors():
    with pytest.raises(UserError, match=r"c = 0\.0 must be positive"):
        pseudo_huber(0.0)
    with pytest.raises(UserError, match="width = 0 must be at least 1"):
        fourier(0)


def test_uncertainty_learns_the_logarithm_of_the_loss():
    """Losses that depend on the noise level alone: their logarithms are where the loss with u is least."""
    uncertainty = fourier(64)
    params = uncertainty.init(jax.random.key(0))
    c_noise = jnp.linspace(-1, 1, 16)
    np.testing.assert_array_equal(uncertainty.apply(params, c_noise), np.zeros(16))
    truth = jnp.sin(2 * c_noise) - 1

    @jax.jit
    def descend(params):
        def total(params):
            return attenuate(jnp.exp(truth), uncertainty.apply(params, c_noise)).mean()

        def one(params, _):
            return jax.tree.map(lambda p, g: p - 0.5 * g, params, jax.grad(total)(params)), None

        return jax.lax.scan(one, params, length=2000)[0]

    np.testing.assert_allclose(uncertainty.apply(descend(params), c_noise), truth, atol=0.02)
