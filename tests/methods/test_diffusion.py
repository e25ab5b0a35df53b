"""The diffusion method: its loss in closed form, its moving average, guidance, and that it samples what it should."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax.diffusion import PREDICTIONS, grids, samplers, schedules, weighting
from genjax.methods import diffusion
from genjax.typing import TrainState

SHAPE = (2, 2, 1)
NULL = 3


class Affine(nn.Module):
    """``scale * x + shift[label] + time * c_noise``: small enough to write its loss down."""

    @nn.compact
    def __call__(self, x, c_noise, label=None, *, dropout_index=None):
        scale = self.param("scale", nn.initializers.constant(0.5), ())
        time = self.param("time", nn.initializers.constant(0.25), ())
        shift = self.param("shift", nn.initializers.normal(1.0), (NULL + 1,))
        label = jnp.full(x.shape[:1], NULL) if label is None else label
        return scale * x + (shift[label] + time * c_noise)[:, None, None, None]


def method(schedule=None, optimizer=None, **options):
    defaults = {"image_shape": SHAPE, "num_classes": NULL, "clip": False, "condition_dropout": 0.0}
    schedule = schedule or schedules.cosine(100)
    return diffusion(
        Affine(),
        optimizer or optax.sgd(0.1),
        schedule,
        samplers.ddim(),
        grids.linspace(20),
        **defaults | options,
    )


def batch(n=6, seed=0):
    image = jnp.clip(jax.random.normal(jax.random.key(seed), (n, *SHAPE)), -1, 1)
    return {"image": image, "label": jnp.arange(n) % NULL, "_index": jnp.arange(n)}


@pytest.mark.parametrize("name", PREDICTIONS)
def test_loss_is_the_error_of_the_prediction(name):
    """Recomputed from what DDPM's text says, with the times and noises recovered from the per-example keys."""
    schedule = schedules.cosine(100)
    times = []

    def draw(keys):
        times.append(weighting.uniform_times(keys, 100))
        return times[-1]

    m = method(schedule, predict=PREDICTIONS[name], draw_times=draw)
    state, b = m.init(jax.random.key(0), batch()), batch()
    value = m.evaluate(jax.random.key(5), state, b)["loss"]
    (t,) = times
    assert len(np.unique(t)) > 3

    _, example_key = jax.random.split(jax.random.key(5))
    noise = jnp.stack(
        [
            jax.random.normal(jax.random.split(jax.random.fold_in(example_key, i), 3)[1], SHAPE)
            for i in range(6)
        ]
    )
    alpha, sigma = (f(t)[:, None, None, None] for f in (schedule.alpha, schedule.sigma))
    x_t = alpha * b["image"] + sigma * noise
    p = state.params
    output = p["scale"] * x_t + (p["shift"][b["label"]] + p["time"] * t)[:, None, None, None]
    truth = {"eps": noise, "x0": b["image"], "v": alpha * noise - sigma * b["image"]}[name]
    np.testing.assert_allclose(value, jnp.square(output - truth).mean((1, 2, 3)), rtol=1e-4)


def test_step_descends_and_averages():
    m = method(ema_decay=0.5)
    state = m.init(jax.random.key(0), batch())
    after, metrics = m.step(jax.random.key(1), state, batch())
    assert int(after.step) == 1
    norm = float(metrics["grad_norm"])
    moved = optax.tree.norm(jax.tree.map(lambda a, b: a - b, after.params, state.params))
    assert float(moved) == pytest.approx(0.1 * norm, rel=1e-5)
    decay = 2 / 11  # (1 + step) / (10 + step), smaller than 0.5
    expected = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, state.ema, after.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), after.ema, expected)


def test_average_and_parameters_do_not_share_buffers():
    state = method().init(jax.random.key(0), batch())
    step = jax.jit(method().step, donate_argnums=1)
    step(jax.random.key(0), state, batch())  # donating one buffer twice would raise


def test_labels_are_hidden_at_the_configured_rate():
    """With every label hidden only the null shift gets a gradient; with none, only the others do."""
    for rate, hidden in ((1.0, True), (0.0, False)):
        m = method(condition_dropout=rate)
        state = m.init(jax.random.key(0), batch())
        after, _ = m.step(jax.random.key(1), state, batch())
        changed = np.asarray(after.params["shift"] != state.params["shift"])
        assert changed[NULL] == hidden
        assert changed[:NULL].any() == (not hidden)


def test_rate_of_hidden_labels():
    """A network that outputs 1 for the null label and 0 else, on black images: the loss is the share of nulls."""
    m = method(condition_dropout=0.2, predict=PREDICTIONS["x0"])
    b = batch(4096)
    b["image"] = jnp.zeros_like(b["image"])
    params = {"scale": jnp.zeros(()), "time": jnp.zeros(()), "shift": jnp.zeros(NULL + 1).at[NULL].set(1.0)}
    _, metrics = m.step(jax.random.key(1), m.init(jax.random.key(0), b).replace(params=params), b)
    assert float(metrics["loss"]) == pytest.approx(0.2, abs=5 * (0.2 * 0.8 / 4096) ** 0.5)


def test_evaluation_hides_no_label_and_uses_the_average():
    m = method(condition_dropout=1.0)
    state = m.init(jax.random.key(0), batch())
    value = m.evaluate(jax.random.key(2), state, batch())["loss"]
    same = method(condition_dropout=0.0).evaluate(jax.random.key(2), state, batch())["loss"]
    np.testing.assert_array_equal(value, same)
    broken = state.replace(params=jax.tree.map(jnp.zeros_like, state.params))
    np.testing.assert_array_equal(m.evaluate(jax.random.key(2), broken, batch())["loss"], value)


def exact_state(schedule_data_std=0.3, mean=(0.2, -0.1, 0.4, 0.0)):
    """Parameters for which the network with x0-prediction is the same constant for all inputs of a class."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params={},
        opt=(),
        ema={"scale": jnp.zeros(()), "time": jnp.zeros(()), "shift": jnp.asarray(mean)},
    )


def test_sampling_uses_label_guidance_and_average():
    """A network that predicts x0 = shift[label] whatever it sees makes samples that are exactly that; guidance moves
    them along the difference to the null class."""
    m = method(predict=PREDICTIONS["x0"])
    keys = jax.random.split(jax.random.key(0), 3)
    label = jnp.array([0, 1, 2])
    images = m.sample(keys, exact_state(), {"label": label})
    np.testing.assert_allclose(images[:, 0, 0, 0], [0.2, -0.1, 0.4], atol=1e-6)
    np.testing.assert_allclose(m.sample(keys, exact_state(), {})[:, 1, 1, 0], np.zeros(3), atol=1e-6)
    guided = m.sample(keys, exact_state(), {"label": label, "guidance": jnp.array([1.0, 2.0, 3.0])})
    np.testing.assert_allclose(guided[:, 0, 0, 0], [0.2, -0.2, 1.2], atol=1e-6)
    clipped = method(predict=PREDICTIONS["x0"], clip=True).sample(
        keys, exact_state(), {"label": label, "guidance": jnp.full(3, 3.0)}
    )
    np.testing.assert_allclose(clipped[:, 0, 0, 0], [0.6, -0.3, 1.0], atol=1e-6)


def test_per_example_randomness_ignores_the_order_of_the_batch():
    m, b = method(), batch()
    state = m.init(jax.random.key(0), b)
    order = jnp.array([4, 2, 0, 5, 1, 3])
    shuffled = {name: x[order] for name, x in b.items()}
    value = m.evaluate(jax.random.key(2), state, b)["loss"]
    np.testing.assert_allclose(
        m.evaluate(jax.random.key(2), state, shuffled)["loss"], value[order], rtol=1e-6
    )


def test_training_learns_the_mean_of_each_class():
    """Data that is one constant per class: x0-prediction must find the constants, and sampling return them."""
    constants = jnp.array([0.5, -0.5, 0.1])
    m = method(predict=PREDICTIONS["x0"], optimizer=optax.adam(0.05))
    labels = jnp.arange(48) % NULL
    b = {
        "image": jnp.broadcast_to(constants[labels][:, None, None, None], (48, *SHAPE)),
        "label": labels,
        "_index": jnp.arange(48),
    }
    state = m.init(jax.random.key(0), b)

    @jax.jit
    def train(state):
        def one(state, i):
            return m.step(jax.random.fold_in(jax.random.key(0), i), state, b)

        return jax.lax.scan(one, state, jnp.arange(300))

    state, metrics = train(state)
    assert float(metrics["loss"][-20:].mean()) < 2e-3
    images = m.sample(jax.random.split(jax.random.key(1), 3), state, {"label": jnp.arange(3)})
    np.testing.assert_allclose(images.mean((1, 2, 3)), constants, atol=0.06)
