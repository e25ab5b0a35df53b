"""Training times: their distributions, and that each belongs to its example however the batch is split."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from genjax.diffusion import SCHEDULES, schedules, times
from genjax.diffusion.times import TIMES, Adaptive
from genjax.typing import UserError

N = 20_000
# Kolmogorov-Smirnov: 1.95 / sqrt(n) is exceeded with probability 0.001.
KS = 1.95 / np.sqrt(N)


def randomness(key, index, batch_size):
    """What a method gives a sampler: a key for each example, and the strata."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
    return keys, times.strata(jax.random.fold_in(key, 2**31), index, batch_size)


def draw(sampler, schedule=None, n=N, seed=0):
    keys, strata = randomness(jax.random.key(seed), jnp.arange(n), n)
    return np.asarray(jax.jit(sampler)(schedule or schedules.vp(), keys, strata), np.float64)


@pytest.mark.parametrize("stratified", [False, True])
def test_discrete_times_are_those_of_the_schedule_equally_often(stratified):
    values, counts = np.unique(draw(times.discrete(5, stratified)), return_counts=True)
    np.testing.assert_array_equal(values, np.float32([0.2, 0.4, 0.6, 0.8, 1.0]))
    assert np.abs(counts - 4000).max() < (2 if stratified else 4.5 * np.sqrt(N * 0.2 * 0.8))


CONTINUOUS = {
    "uniform": (times.uniform, lambda t: t),
    "logit_normal": (
        lambda **k: times.logit_normal(0.5, 0.7, **k),
        lambda t: stats.norm.cdf(np.log(t / (1 - t)), 0.5, 0.7),
    ),
    "log_normal": (
        times.log_normal,
        lambda t: stats.norm.cdf(-0.5 * np.asarray(schedules.vp().log_snr(t)), -1.2, 1.2),
    ),
}


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_times_have_their_distribution(name, stratified):
    """The cumulative distribution of the paper, at the times: uniform numbers. Stratified, far more evenly so."""
    sampler, cumulative = CONTINUOUS[name]
    t = draw(sampler(stratified=stratified))
    assert t.min() > 0 and t.max() <= 1
    u = np.sort(cumulative(t))
    error = np.abs(u - (np.arange(N) + 0.5) / N).max()
    assert error < (2 / N + 1e-4 if stratified else KS)
    assert stratified or error > 0.1 * KS  # independent ones are not evenly spread


@pytest.mark.parametrize("name", ["edm", "vp", "flow", "linear"])
def test_edm_noise_levels_have_their_moments(name):
    """E[log sigma] = -1.2 and standard deviation 1.2, on every schedule that has these levels."""
    schedule = SCHEDULES[name]()
    t = draw(times.log_normal(), schedule)
    log_sigma = -0.5 * np.asarray(schedule.log_snr(jnp.asarray(t, jnp.float32)), np.float64)
    assert abs(log_sigma.mean() + 1.2) < 4.5 * 1.2 / np.sqrt(N)
    assert abs(log_sigma.std() - 1.2) < 4.5 * 1.2 / np.sqrt(2 * N)


def test_no_time_is_zero_however_small_the_noise_asked_for():
    """At t = 0 there is no target; a schedule may give that as the time of less noise than it has."""

    class Clean(schedules.VariancePreserving):
        def time(self, log_snr):
            return jnp.zeros_like(log_snr)

    keys, strata = randomness(jax.random.key(0), jnp.arange(4), 4)
    assert (times.log_normal()(Clean(), keys, strata) > 0).all()
    schedule = schedules.edm()
    t = draw(times.log_normal(mean=-9.0), schedule, n=256)
    np.testing.assert_allclose(schedule.sigma(jnp.float32(t.min())), 0.002, rtol=1e-4)


def test_a_batch_has_one_time_in_each_stratum():
    for seed in range(20):
        u = np.asarray(times.strata(jax.random.key(seed), jnp.arange(64), 64), np.float64)
        spacing = np.diff(np.sort(u))
        np.testing.assert_allclose(spacing, np.full(63, 1 / 64), atol=1e-6)
        assert u.min() >= 0 and u.max() < 1
    firsts = [float(times.strata(jax.random.key(s), jnp.arange(1), 64)[0]) for s in range(200)]
    assert stats.kstest(firsts, "uniform").pvalue > 0.001  # each example alone is uniform on [0, 1)


@pytest.mark.parametrize("name", TIMES)
def test_a_time_belongs_to_its_example_however_the_batch_is_split(name):
    sampler = TIMES[name]()
    if isinstance(sampler, Adaptive):
        state = sampler.init()
        state = {
            "losses": jnp.abs(state["losses"] + jnp.arange(1.0, 1001)[:, None]),
            "count": state["count"] + 10,
        }

        def times_of(index):
            return sampler.draw(state, schedules.vp(), *randomness(jax.random.key(3), index, 16))[0]
    else:

        def times_of(index):
            return sampler(schedules.vp(), *randomness(jax.random.key(3), index, 16))

    whole = times_of(jnp.arange(16))
    assert len(np.unique(whole)) > 10
    np.testing.assert_array_equal(times_of(jnp.array([7, 2, 11])), whole[jnp.array([7, 2, 11])])
    np.testing.assert_array_equal(times_of(jnp.arange(8, 16)), whole[8:])


def filled(sampler, losses):
    """The state after every time has had its losses, [T, history], one batch for each."""
    state, num_steps = sampler.init(), losses.shape[0]
    t = (jnp.arange(num_steps) + 1) / num_steps
    for column in losses.T:
        state = sampler.update(state, t, jnp.asarray(column, jnp.float32))
    return state


def test_loss_aware_is_uniform_until_every_time_has_its_losses():
    sampler = times.loss_aware(4, 3)
    state = filled(sampler, np.arange(1.0, 9).reshape(4, 2))
    np.testing.assert_allclose(times.probabilities(state), np.full(4, 0.25))
    state = sampler.update(state, jnp.array([0.25, 0.5, 0.75]), jnp.ones(3))
    np.testing.assert_allclose(times.probabilities(state), np.full(4, 0.25))  # one is still missing
    state = sampler.update(state, jnp.array([1.0]), jnp.ones(1))
    assert np.ptp(times.probabilities(state)) > 0.05


def test_loss_aware_probabilities_are_roots_of_mean_squares():
    losses = np.random.default_rng(0).uniform(0.1, 3, (5, 10))
    p = times.probabilities(filled(times.loss_aware(5), losses))
    root = np.sqrt((losses**2).mean(1))
    np.testing.assert_allclose(p, 0.999 * root / root.sum() + 0.001 / 5, rtol=1e-6)


def test_loss_aware_draws_by_its_probabilities_and_weighs_them_away():
    losses = np.array([0.1, 1, 5, 0.5, 2])
    sampler = times.loss_aware(5, 2)
    state = filled(sampler, np.stack([losses, losses], 1))
    keys, strata = randomness(jax.random.key(0), jnp.arange(N), N)
    t, importance = sampler.draw(state, schedules.vp(), keys, strata)
    step = np.round(np.asarray(t) * 5).astype(int) - 1
    p = np.asarray(times.probabilities(state), np.float64)
    counts = np.bincount(step, minlength=5)
    assert np.all(np.abs(counts - N * p) < 4.5 * np.sqrt(N * p * (1 - p)))
    np.testing.assert_allclose(importance, 1 / (5 * p[step]), rtol=1e-5)
    # The mean loss is that at uniform times, and the draws were chosen to make it vary little.
    weighted = importance * losses[step]
    np.testing.assert_allclose(weighted.mean(), losses.mean(), rtol=2e-3)
    assert weighted.std() < 0.1 * losses.std()


@pytest.mark.parametrize("size", [1, 3, 40])
def test_loss_aware_remembers_the_latest_losses_of_each_time(size):
    """Against a list for each time, appended to example by example, also where one comes up many times at once."""
    rng, num_steps, history = np.random.default_rng(size), 4, 3
    sampler = times.loss_aware(num_steps, history)
    state, lists = sampler.init(), [[] for _ in range(num_steps)]
    update = jax.jit(sampler.update)
    for _ in range(12):
        step, losses = rng.integers(0, num_steps, size), rng.uniform(size=size).astype(np.float32)
        state = update(state, jnp.asarray((step + 1) / num_steps, jnp.float32), jnp.asarray(losses))
        for i, loss in zip(step, losses, strict=True):
            lists[i] = [*lists[i], loss][-history:]
        for i in range(num_steps):
            kept = np.sort(state["losses"][i])[history - len(lists[i]) :]  # unused places hold 0
            np.testing.assert_array_equal(kept, np.sort(lists[i]))


def test_loss_aware_with_no_loss_at_all_stays_uniform():
    p = times.probabilities(filled(times.loss_aware(4, 2), np.zeros((4, 2))))
    np.testing.assert_allclose(p, np.full(4, 0.25))


def test_arguments_out_of_range_are_errors():
    with pytest.raises(UserError, match="num_steps = 0 must be at least 1"):
        times.discrete(0)
    with pytest.raises(UserError, match="history = 0 must be at least 1"):
        times.loss_aware(10, 0)
    with pytest.raises(UserError, match=r"uniform_share = 2.0 in \[0, 1\]"):
        times.loss_aware(10, uniform_share=2.0)
