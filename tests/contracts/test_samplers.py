"""What every sampler must do. A sampler listed in `SAMPLERS` is picked up here.

The schedules include a path to pure noise (alpha = 0 at t = 1) and an exploding variance, neither with a
table: a sampler may use the methods of `Schedule` only.
"""

import itertools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from genjax.diffusion import SAMPLERS, add_noise, denoiser, grids, guidance, initial_noise, prediction, sample
from genjax.diffusion import schedules as discrete

MEAN, STD = 0.4, 0.3
SHAPE = (4, 4, 1)


@flax.struct.dataclass
class Flow:
    """x_t = (1 - t) x_0 + t noise."""

    def log_snr(self, t):
        return 2 * (jnp.log1p(-jnp.asarray(t)) - jnp.log(t))

    def time(self, log_snr):
        return jax.nn.sigmoid(-log_snr / 2)

    def alpha(self, t):
        return 1 - jnp.asarray(t)

    def sigma(self, t):
        return jnp.asarray(t)


@flax.struct.dataclass
class Exploding:
    """x_t = x_0 + sigma_max t^2 noise."""

    sigma_max: jax.Array

    def log_snr(self, t):
        return -2 * (jnp.log(self.sigma_max) + 2 * jnp.log(t))

    def time(self, log_snr):
        return jnp.exp(-(log_snr / 2 + jnp.log(self.sigma_max)) / 2)

    def alpha(self, t):
        return jnp.ones_like(jnp.asarray(t))

    def sigma(self, t):
        return self.sigma_max * jnp.asarray(t) ** 2


SCHEDULES = discrete.SCHEDULES | {"flow": Flow, "exploding": lambda: Exploding(jnp.float32(40.0))}

each_sampler = pytest.mark.parametrize("sampler", [SAMPLERS[name]() for name in SAMPLERS], ids=list(SAMPLERS))
each_schedule = pytest.mark.parametrize("schedule", list(SCHEDULES))


def gaussian_denoiser(schedule):
    """The exact E[x_0 | x_t] of data from N(MEAN, STD^2)."""

    def denoise(x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return MEAN + STD**2 * alpha / (alpha**2 * STD**2 + sigma**2) * (x - alpha * MEAN)

    return denoise


def network(x, c_noise):
    """Small, fixed, mixes the pixels of an image and depends on the time."""
    flat = x.reshape(x.shape[0], -1)
    weights = jnp.sin(jnp.arange(flat.shape[1] ** 2, dtype=x.dtype)).reshape(flat.shape[1], -1)
    return jnp.tanh(flat @ weights / 2 + c_noise[:, None]).reshape(x.shape)


def generate(keys, sampler, schedule, num_steps=5, times=None, scale=1.0):
    times = grids.linspace(num_steps) if times is None else times
    noise, data = prediction.v, prediction.x0
    denoise = guidance.classifier_free(
        denoiser(network, schedule, noise), denoiser(network, schedule, data), scale
    )
    return sample(keys, initial_noise(keys, SHAPE, schedule), times, denoise, sampler, schedule)


@each_schedule
@each_sampler
def test_samples_have_the_mean_and_standard_deviation_of_the_data(sampler, schedule):
    """From the exact denoiser of a Gaussian. A sampler that forgets its noise misses the deviation by far."""
    schedule = SCHEDULES[schedule]()
    keys = jax.random.split(jax.random.key(0), 2048)
    times = grids.linspace(300)
    x_T = add_noise(
        schedule,
        MEAN + STD * jax.random.normal(jax.random.key(1), (2048, *SHAPE)),
        jax.random.normal(jax.random.key(2), (2048, *SHAPE)),
        1.0,
    )
    samples = np.asarray(
        jax.jit(lambda: sample(keys, x_T, times, gaussian_denoiser(schedule), sampler, schedule))()
    )
    standard_error = STD / np.sqrt(samples.size)
    assert abs(samples.mean() - MEAN) < 4.5 * standard_error + 0.01 * STD
    assert abs(samples.std() - STD) < 4.5 * standard_error + 0.03 * STD


@each_schedule
@each_sampler
def test_a_perfect_denoiser_is_followed_to_the_end(sampler, schedule):
    schedule = SCHEDULES[schedule]()
    keys = jax.random.split(jax.random.key(0), 2)
    x_0 = jax.random.uniform(jax.random.key(1), (2, *SHAPE), minval=-1.0)
    x_T = initial_noise(keys, SHAPE, schedule)
    actual = sample(keys, x_T, grids.linspace(5), lambda x, t: x_0, sampler, schedule)
    np.testing.assert_allclose(actual, x_0, atol=1e-5)


@each_sampler
def test_a_sample_depends_on_its_key_alone(sampler):
    """Number 37 of 64 is the same in a batch of 8, alone, and spread over 8 devices."""
    schedule = discrete.cosine()
    keys = jax.random.split(jax.random.key(3), 64)
    run = jax.jit(lambda keys: generate(keys, sampler, schedule))
    together = run(keys)
    assert np.std(together[37] - together[38]) > 0.1
    mesh = Mesh(np.array(jax.devices()), ("data",))
    spread = run(jax.device_put(keys, NamedSharding(mesh, PartitionSpec("data"))))
    assert len(spread.sharding.device_set) == 8
    np.testing.assert_allclose(spread, together, atol=1e-5)
    np.testing.assert_allclose(run(keys[32:40])[5], together[37], atol=1e-5)
    np.testing.assert_allclose(run(keys[37:38])[0], together[37], atol=1e-5)


@each_sampler
def test_only_the_number_of_steps_is_compiled_in(sampler):
    traces = []

    @jax.jit
    def run(keys, schedule, times, scale):
        traces.append(times.size)
        return generate(keys, sampler, schedule, times=times, scale=scale)

    results = []
    for seed, schedule, power, scale in [
        (0, discrete.linear(), 1, 1.0),
        (1, discrete.linear(), 1, 1.0),
        (1, discrete.cosine(), 1, 1.0),
        (1, discrete.cosine(), 2, 1.0),
        (1, discrete.cosine(), 2, 3.0),
    ]:
        keys = jax.random.split(jax.random.key(seed), 2)
        results.append(np.asarray(run(keys, schedule, grids.linspace(4) ** power, scale)))
    assert traces == [5]
    for before, after in itertools.pairwise(results):
        assert np.abs(after - before).max() > 1e-3


@each_schedule
@each_sampler
def test_gradients_are_finite(sampler, schedule):
    """Towards all that may be learned: x_T, the times, the schedule; s = 0 and alpha = 0 included."""
    keys = jax.random.split(jax.random.key(0), 2)
    schedule = SCHEDULES[schedule]()

    def loss(x_T, times, schedule):
        times = jnp.concatenate([jnp.ones(1), times, jnp.zeros(1)])
        denoise = denoiser(network, schedule, prediction.x0)
        return jnp.sum(sample(keys, x_T, times, denoise, sampler, schedule) ** 2)

    arguments = initial_noise(keys, SHAPE, schedule), jnp.array([0.7, 0.4]), schedule
    gradients = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*arguments)
    for gradient in jax.tree.leaves(gradients):
        assert np.all(np.isfinite(gradient))
    assert np.abs(gradients[0]).max() > 0


@each_sampler
def test_a_bfloat16_network_leaves_the_arithmetic_in_float32(sampler):
    """Bit for bit what a float32 network gives that outputs the same rounded values."""
    schedule = discrete.linear()
    keys = jax.random.split(jax.random.key(0), 2)
    x_T = initial_noise(keys, SHAPE, schedule)

    def rounded(dtype):
        def low(x, c_noise):
            return network(x, c_noise).astype(jnp.bfloat16).astype(dtype)

        return sample(
            keys, x_T, grids.linspace(5), denoiser(low, schedule, prediction.eps), sampler, schedule
        )

    assert rounded(jnp.bfloat16).dtype == jnp.float32
    np.testing.assert_array_equal(rounded(jnp.bfloat16), rounded(jnp.float32))
