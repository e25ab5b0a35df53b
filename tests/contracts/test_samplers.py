"""What every sampler must do. A sampler listed in `SAMPLERS` is picked up here, and given what it needs.

The schedules include a path to pure noise (alpha = 0 at t = 1) and an exploding variance, neither with a
table: a sampler may use the methods of `Schedule` only.
"""

import functools
import itertools
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from genjax.diffusion import (
    SAMPLERS,
    add_noise,
    denoiser,
    grids,
    guidance,
    initial_noise,
    prediction,
    sample,
    samplers,
    schedules,
)
from tests.diffusion.one_of import one_of

MEAN, STD = 0.4, 0.3
SHAPE = (4, 4, 1)
# Of the samples whose moments are measured: Langevin steps add too much noise where there are few pixels.
NUM, LARGE = 128, (16, 16, 1)
SCHEDULES = {"cosine": schedules.cosine, "flow": schedules.flow, "ve": lambda: schedules.ve(0.002, 40.0)}

each_sampler = pytest.mark.parametrize("name", SAMPLERS)
each_schedule = pytest.mark.parametrize("schedule_name", SCHEDULES)


def gaussian_denoiser(x, alpha, sigma, mean, std):
    """The mean of x_0 given x_t."""
    return mean + std**2 * alpha / (alpha**2 * std**2 + sigma**2) * (x - alpha * mean)


def gaussian_consistency(x, alpha, sigma, mean, std):
    """The end of the trajectory of the probability-flow ODE through x_t."""
    return mean + std * (x - alpha * mean) / jnp.sqrt(alpha**2 * std**2 + sigma**2)


EXACT = {"denoiser": gaussian_denoiser, "consistency": gaussian_consistency}
"""What a sampler may need -> such a network, exact for data from N(mean, std^2)."""


@functools.cache
def sampling(name):
    """A compiled sampler of data from N(mean, std^2), with the exact function; and how often it was traced."""
    traces = []

    @jax.jit
    def run(keys, x_T, times, schedule, mean, std):
        traces.append(times.size)

        def denoise(x, t):
            return EXACT[SAMPLERS[name].needs](x, schedule.alpha(t), schedule.sigma(t), mean, std)

        return sample(keys, x_T, times, denoise, SAMPLERS[name](), schedule)

    return run, traces


def network(x, c_noise):
    """Small, fixed, mixes the pixels of an image and depends on the time."""
    flat = x.reshape(x.shape[0], -1)
    weights = jnp.sin(jnp.arange(flat.shape[1] ** 2, dtype=x.dtype)).reshape(flat.shape[1], -1)
    return jnp.tanh(flat @ weights / 2 + c_noise[:, None]).reshape(x.shape)


@functools.cache
def generating(name):
    """A compiled sampler with a network and guidance; and how often it was traced."""
    traces = []

    @jax.jit
    def run(keys, schedule, times, scale):
        traces.append(times.size)
        denoise = guidance.classifier_free(
            denoiser(network, schedule, prediction.v), denoiser(network, schedule, prediction.x0), scale
        )
        return sample(keys, initial_noise(keys, SHAPE, schedule), times, denoise, SAMPLERS[name](), schedule)

    return run, traces


def test_what_samplers_need_is_known():
    assert {kind.needs for kind in SAMPLERS.values()} <= set(typing.get_args(samplers.Needs)) == set(EXACT)
    assert SAMPLERS["consistency"] == samplers.SamplerKind(samplers.consistency, "consistency")
    assert SAMPLERS["ddim"] == (samplers.ddim, "denoiser")
    # Called as its constructor is, with options by position and by name.
    keys, x, step = (
        jax.random.split(jax.random.key(0), 2),
        jnp.ones((2, 3)),
        (jnp.float32(0.5), jnp.float32(0.2)),
    )
    arguments = keys, (), x, *step, lambda x, t: 0.3 * x, schedules.flow()
    for made in (SAMPLERS["ddim"](0.7), SAMPLERS["ddim"](eta=0.7)):
        np.testing.assert_array_equal(made.step(*arguments)[1], samplers.ddim(0.7).step(*arguments)[1])
    assert (
        jnp.abs(SAMPLERS["ddim"]().step(*arguments)[1] - samplers.ddim(0.7).step(*arguments)[1]).max() > 0.01
    )


def test_a_denoiser_is_not_enough_for_consistency_sampling():
    """With the mean of x_0, the samples vary too little by a factor that no number of steps improves."""
    schedule, keys = schedules.linear(), jax.random.split(jax.random.key(0), 512)

    @jax.jit
    def run(times):
        def denoise(x, t):
            return gaussian_denoiser(x, schedule.alpha(t), schedule.sigma(t), MEAN, STD)

        return sample(
            keys, initial_noise(keys, SHAPE, schedule), times, denoise, SAMPLERS["consistency"](), schedule
        )

    for num_steps in (4, 400):
        assert run(grids.linspace(num_steps)).std() < 0.8 * STD


@each_schedule
@each_sampler
def test_samples_have_the_mean_and_standard_deviation_of_the_data(name, schedule_name):
    """From the exact denoiser of a Gaussian, or its consistency function.

    A sampler that forgets its noise misses the deviation by far.
    """
    schedule = one_of(SCHEDULES, schedule_name)
    keys = jax.random.split(jax.random.key(0), NUM)
    x_T = add_noise(
        schedule,
        MEAN + STD * jax.random.normal(jax.random.key(1), (NUM, *LARGE)),
        jax.random.normal(jax.random.key(2), (NUM, *LARGE)),
        1.0,
    )
    run, traces = sampling(name)
    mean = jnp.full((NUM, *LARGE), MEAN, jnp.float32)
    samples = np.asarray(run(keys, x_T, grids.linspace(300), schedule, mean, STD))
    standard_error = STD / np.sqrt(samples.size)
    assert abs(samples.mean() - MEAN) < 3.18 * standard_error + 0.01 * STD
    assert abs(samples.std() - STD) < 3.18 * standard_error + 0.03 * STD

    # Data that is a single point, with other times: a perfect denoiser is followed to the end.
    few = keys[:4]
    x_0 = jax.random.uniform(jax.random.key(3), (4, *LARGE), minval=-1.0)
    samples = run(few, initial_noise(few, LARGE, schedule), grids.quadratic(300), schedule, x_0, 0.0)
    np.testing.assert_allclose(samples, x_0, atol=1e-5)

    # Times that are repeated, the first and the last one too, make no steps.
    distinct = grids.quadratic(200)
    times = jnp.sort(jnp.concatenate([distinct, distinct[::4], distinct[::4][1:-1]]))[::-1]
    assert times.size == 301 and times[0] == times[1] and times[-1] == times[-2] == 0
    samples = run(few, initial_noise(few, LARGE, schedule), times, schedule, x_0, 0.0)
    np.testing.assert_allclose(samples, x_0, atol=1e-5)
    samples = np.asarray(run(few, x_T[:4], times, schedule, mean[:4], STD))
    others = run(jnp.roll(few, 1), x_T[:4], times, schedule, mean[:4], STD)
    if np.array_equal(samples, others):  # deterministic: the solution of the probability-flow ODE
        expected = gaussian_consistency(x_T[:4], schedule.alpha(1.0), schedule.sigma(1.0), MEAN, STD)
        np.testing.assert_allclose(samples, expected, atol=0.03)
    assert abs(samples.std() - STD) < 0.1 * STD
    assert traces == [301, 301]  # for the two numbers of images; neither for the times nor for the schedule


@each_sampler
@pytest.mark.quick_compilation
def test_a_sample_depends_on_its_key_alone(name):
    """Number 5 of 16 is the same at another place among others, alone, and spread over 8 devices."""
    keys = jax.random.split(jax.random.key(3), 48)

    def run(keys):
        return generating(name)[0](keys, schedules.cosine(), grids.linspace(5), 1.0)

    together = run(keys[:16])
    assert np.std(together[5] - together[6]) > 0.1
    np.testing.assert_allclose(run(jnp.roll(keys, 24)[16:32])[13], together[5], atol=1e-5)
    np.testing.assert_allclose(run(keys[5:6])[0], together[5], atol=1e-5)
    mesh = Mesh(np.array(jax.devices()), ("data",))
    spread = run(jax.device_put(keys[:16], NamedSharding(mesh, PartitionSpec("data"))))
    assert len(spread.sharding.device_set) == 8
    np.testing.assert_allclose(spread, together, atol=1e-5)


@each_sampler
@pytest.mark.quick_compilation
def test_only_the_number_of_steps_is_compiled_in(name):
    run, traces = generating(name)
    before = len(traces)
    results = []
    for seed, schedule, power, scale in [
        (0, schedules.linear(), 1, 1.0),
        (1, schedules.linear(), 1, 1.0),
        (1, schedules.cosine(), 1, 1.0),
        (1, schedules.cosine(), 2, 1.0),
        (1, schedules.cosine(), 2, 3.0),
    ]:
        keys = jax.random.split(jax.random.key(seed), 16)
        results.append(np.asarray(run(keys, schedule, grids.linspace(5) ** power, scale)))
    assert len(traces) <= before + 1
    for earlier, later in itertools.pairwise(results):
        assert np.abs(later - earlier).max() > 1e-3


@each_sampler
@pytest.mark.quick_compilation
def test_gradients_are_finite(name):
    """Towards all that may be learned: x_T, the times, the schedule; s = 0 and alpha = 0 included."""
    keys = jax.random.split(jax.random.key(0), 2)
    schedule = schedules.flow()

    def loss(x_T, times, schedule):
        times = jnp.concatenate([jnp.ones(1), times, jnp.zeros(1)])
        denoise = denoiser(network, schedule, prediction.x0)
        return jnp.sum(sample(keys, x_T, times, denoise, SAMPLERS[name](), schedule) ** 2)

    arguments = initial_noise(keys, SHAPE, schedule), jnp.array([0.7, 0.4]), schedule
    gradients = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*arguments)
    for gradient in jax.tree.leaves(gradients):
        assert np.all(np.isfinite(gradient))
    assert np.abs(gradients[0]).max() > 0


@each_sampler
@pytest.mark.quick_compilation
def test_a_bfloat16_network_leaves_the_arithmetic_in_float32(name):
    """Bit for bit what a float32 network gives that outputs the same rounded values."""
    schedule = schedules.linear()
    keys = jax.random.split(jax.random.key(0), 2)
    x_T = initial_noise(keys, SHAPE, schedule)

    @jax.jit
    def rounded():
        def run(dtype):
            def low(x, c_noise):
                return network(x, c_noise).astype(jnp.bfloat16).astype(dtype)

            denoise = denoiser(low, schedule, prediction.eps)
            return sample(keys, x_T, grids.linspace(5), denoise, SAMPLERS[name](), schedule)

        return run(jnp.bfloat16), run(jnp.float32)

    low, full = rounded()
    assert low.dtype == jnp.float32
    np.testing.assert_array_equal(low, full)
