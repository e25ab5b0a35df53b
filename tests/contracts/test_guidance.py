"""What every guidance must do, whatever it guides towards."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.conditions import mask_name
from genjax.diffusion import denoiser, grids, guidance, prediction, sample, samplers, schedules
from genjax.diffusion.guidance import operators

SHAPE = (3, 4, 4, 1)
X = jax.random.normal(jax.random.key(0), SHAPE)
LABELS = jnp.array([0.5, -1.0, 2.0])
NULL = jnp.float32(0.0)
MASK = np.random.default_rng(0).random(SHAPE[1:]) < 0.5
POOL = operators.average_pool(2)
Y = jnp.linspace(-1, 1, 12).reshape(3, 2, 2, 1)
WEIGHTS = jnp.asarray(np.random.default_rng(1).normal(size=(16, 16)) / 4, jnp.float32)


def network(x, c_noise, labels):
    """Mixes the pixels of an example, and depends on time and label."""
    flat = x.reshape(x.shape[0], -1) @ WEIGHTS.astype(x.dtype)
    return jnp.tanh(flat + c_noise[:, None] + labels[:, None]).reshape(x.shape)


def classify(x, t):
    return -jnp.sum((x - LABELS[:, None, None, None]) ** 2, (1, 2, 3))


def make(name, schedule, scale, low=None):
    """The guidance of this name; `low` rounds the output of the network to that type."""

    def with_labels(x_t, t, labels):
        def call(x, c_noise):
            output = network(x, c_noise, labels)
            return output if low is None else output.astype(jnp.bfloat16).astype(low)

        return denoiser(call, schedule, prediction.v)(x_t, t)

    def with_condition(x_t, t, condition):
        has = condition.get(mask_name("label"), jnp.ones(x_t.shape[0], bool))
        return with_labels(x_t, t, jnp.where(has, condition["label"], 0))

    def conditional(x, t):
        return with_labels(x, t, LABELS)

    def unconditional(x, t):
        return with_labels(x, t, jnp.zeros(x.shape[0]))

    def negative(x, t):
        return with_labels(x, t, -LABELS)

    pair = conditional, unconditional
    some = guidance.interval(schedule, scale, 0.2, 50.0)
    free = guidance.classifier_free(*pair, scale)
    batched = with_labels, LABELS, NULL
    lacking = with_condition, {"label": LABELS}, {}
    return {
        "classifier_free": lambda: free,
        "interval": lambda: guidance.classifier_free(*pair, some),
        "batched": lambda: guidance.classifier_free_batched(*batched, scale),
        "batched interval": lambda: guidance.classifier_free_batched(*batched, some),
        "batched, lacking keys": lambda: guidance.classifier_free_batched(*lacking, scale),
        "autoguidance": lambda: guidance.autoguidance(*pair, scale),
        "rescale": lambda: guidance.rescale(free, conditional, schedule),
        "zero_star": lambda: guidance.zero_star(*guidance.batched(*batched), scale, schedule),
        "projected": lambda: guidance.projected(*pair, scale, radius=1.0),
        "classifier": lambda: guidance.classifier(unconditional, classify, schedule, scale),
        "compose": lambda: guidance.compose([conditional, negative], unconditional, [scale, -0.5]),
        "clip": lambda: guidance.clip(free),
        "dynamic_threshold": lambda: guidance.dynamic_threshold(free, 0.9),
        "inpaint": lambda: guidance.inpaint(free, 0.25, MASK),
        "ddnm": lambda: guidance.ddnm(free, POOL, Y),
        "dps": lambda: guidance.dps(unconditional, schedule, POOL, Y, scale),
        "pigdm": lambda: guidance.pigdm(unconditional, schedule, POOL, Y, 0.1, scale=scale),
        "pigdm noiseless": lambda: guidance.pigdm(unconditional, schedule, POOL, Y, scale=scale, gram=1 / 4),
    }[name]()


# fmt: off
NAMES = [
    "classifier_free", "interval", "batched", "batched interval", "batched, lacking keys", "autoguidance", "rescale",
    "zero_star", "projected", "classifier", "compose", "clip", "dynamic_threshold", "inpaint", "ddnm", "dps",
    "pigdm", "pigdm noiseless",
]
# fmt: on
each = pytest.mark.parametrize("name", NAMES)
TRACES = []


@functools.cache
def compiled(name):
    """One compilation for all schedules of a kind, and all times and scales of a shape."""

    @jax.jit
    def estimate(x, t, scale, schedule):
        TRACES.append((name, t.shape, scale.shape))
        return make(name, schedule, scale)(x, t)

    return estimate


@each
def test_changing_time_scale_or_schedule_recompiles_nothing(name):
    estimate, before = compiled(name), len(TRACES)
    results = [
        np.asarray(estimate(X, jnp.float32(t), jnp.float32(scale), schedules.flow(shift)))
        for t, scale, shift in [(0.5, 3.0, 1.0), (0.6, 3.0, 1.0), (0.6, 4.0, 1.0), (0.6, 4.0, 3.0)]
    ]
    assert len(TRACES) - before <= 1
    assert results[0].dtype == np.float32 and results[0].shape == SHAPE
    assert np.abs(results[1] - results[0]).max() > 1e-4
    assert np.abs(results[2] - results[1]).max() > 1e-4
    assert np.abs(results[3] - results[2]).max() > 1e-4


@each
def test_scale_and_time_may_differ_by_example(name):
    estimate, schedule = compiled(name), schedules.flow()
    times, scales = jnp.array([0.05, 0.5, 1.0]), jnp.array([0.0, 1.0, 3.0])
    together = estimate(X, times, scales, schedule)
    for i in range(3):
        alone = estimate(X, times[i], scales[i], schedule)
        np.testing.assert_allclose(together[i], alone[i], atol=1e-5)


@each
def test_examples_do_not_depend_on_each_other(name):
    estimate, arguments = compiled(name), (jnp.float32(0.5), jnp.float32(3.0), schedules.flow())
    changed = estimate(X.at[1].multiply(-2), *arguments)
    np.testing.assert_array_equal(changed[0], estimate(X, *arguments)[0])
    assert np.abs(changed[1] - estimate(X, *arguments)[1]).max() > 1e-3


@each
def test_gradients_are_finite(name):
    """Towards x_t, time, scale and the constants of the schedule, alpha = 0 included."""

    @jax.jit
    def gradients(x, t, scale, schedule):
        def loss(*arguments):
            return jnp.sum(make(name, arguments[3], arguments[2])(*arguments[:2]) ** 2)

        return jax.grad(loss, argnums=(0, 1, 2, 3))(x, t, scale, schedule)

    for t in (1.0, 0.5, 1e-4):
        for gradient in jax.tree.leaves(gradients(X, jnp.float32(t), jnp.float32(2.0), schedules.flow())):
            assert np.all(np.isfinite(gradient)), t
    assert np.abs(gradients(X, jnp.float32(0.5), jnp.float32(2.0), schedules.flow())[0]).max() > 1e-4


@each
def test_composes_with_clip_inside_a_sampler(name):
    """From pure noise to t = 0."""
    keys = jax.random.split(jax.random.key(0), 3)

    @jax.jit
    def generate(scale, schedule):
        denoise = guidance.clip(make(name, schedule, scale), -0.7, 0.7)
        return sample(keys, X, grids.linspace(4), denoise, samplers.ddim(), schedule)

    samples = np.asarray(generate(jnp.float32(2.0), schedules.flow()))
    assert np.all(np.abs(samples) <= np.float32(0.7)) and samples.std() > 0.05


@each
def test_a_bfloat16_network_leaves_the_arithmetic_in_float32(name):
    """Bit for bit what a float32 network gives that outputs the same rounded values."""
    schedule = schedules.flow()
    results = [
        make(name, schedule, jnp.float32(2.0), low)(X, jnp.float32(0.5))
        for low in (jnp.bfloat16, jnp.float32)
    ]
    assert results[0].dtype == jnp.float32
    np.testing.assert_array_equal(*results)
