"""The diffusion method: its loss in closed form, its moving average, guidance, and that it samples what it should."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax.diffusion import PREDICTIONS, SCHEDULES, distance, grids, learned_variance, samplers, schedules
from genjax.diffusion import times as time_samplers
from genjax.diffusion.uncertainty import fourier
from genjax.diffusion.weighting import WEIGHTINGS
from genjax.methods import diffusion
from genjax.typing import DATA_AXIS, TrainState, UserError

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


def noises(key, n=6):
    """The noise of each example, from its own key."""
    example_key = jax.random.split(key)[1]
    keys = [jax.random.split(jax.random.fold_in(example_key, i), 3)[1] for i in range(n)]
    return jnp.stack([jax.random.normal(k, SHAPE) for k in keys])


def recording(sampler):
    """A sampler of training times that also appends them to a list."""
    drawn = []

    def draw(schedule, keys, strata):
        drawn.append(sampler(schedule, keys, strata))
        return drawn[-1]

    return draw, drawn


def truth(name, schedule, x_0, noise, t):
    """What the papers have the network predict, what it is shown, and the noise level it is told."""
    alpha, sigma = (f(t)[:, None, None, None] for f in (schedule.alpha, schedule.sigma))
    x_t = alpha * x_0 + sigma * noise
    if name == "edm":
        sigma, x, data = sigma / alpha, x_t / alpha, 0.5
        skip, out = data**2 / (sigma**2 + data**2), sigma * data / jnp.sqrt(sigma**2 + data**2)
        shown = x / jnp.sqrt(sigma**2 + data**2)
        return (x_0 - skip * x) / out, shown, 0.25 * jnp.log(sigma.ravel())
    targets = {
        "eps": noise,
        "x0": x_0,
        "v": alpha * noise - sigma * x_0,
        "score": -noise / sigma,
        "flow": noise - x_0,
    }
    return targets[name], x_t, t


@pytest.mark.parametrize("name", PREDICTIONS)
def test_loss_is_the_error_of_the_prediction(name):
    """Recomputed from what the papers say, with the times and noises recovered from the per-example keys."""
    schedule = schedules.cosine(100)
    draw, drawn = recording(time_samplers.discrete(100))
    m = method(schedule, predict=PREDICTIONS[name], draw_times=draw)
    state, b = m.init(jax.random.key(0), batch()), batch()
    value = m.evaluate(jax.random.key(5), state, b)["loss"]
    (t,) = drawn
    assert len(np.unique(t)) > 3

    target, shown, level = truth(name, schedule, b["image"], noises(jax.random.key(5)), t)
    p = state.params
    output = p["scale"] * shown + (p["shift"][b["label"]] + p["time"] * level)[:, None, None, None]
    np.testing.assert_allclose(value, jnp.square(output - target).mean((1, 2, 3)), rtol=1e-3)


@pytest.mark.parametrize("schedule_name", ["vp", "flow"])
def test_a_weight_of_x_0_gives_the_same_loss_whatever_the_network_predicts(schedule_name):
    """Networks that are the same denoiser: each outputs its own target of the same wrong x0_hat."""
    schedule, b, t = SCHEDULES[schedule_name](), batch(), jnp.linspace(0.05, 0.95, 6)
    alpha, sigma = (f(t)[:, None, None, None] for f in (schedule.alpha, schedule.sigma))
    x_t = alpha * b["image"] + sigma * noises(jax.random.key(5))
    wrong = b["image"] + 0.3
    expected = np.minimum((alpha / sigma).ravel() ** 2, 5) * 0.09

    class Constant(nn.Module):
        """The output that means `wrong`."""

        name_of: str

        @nn.compact
        def __call__(self, x, c_noise, label=None, *, dropout_index=None):
            self.param("unused", nn.initializers.zeros, ())
            return truth(self.name_of, schedule, wrong, (x_t - alpha * wrong) / sigma, t)[0]

    for name, predict in PREDICTIONS.items():
        m = diffusion(
            Constant(name),
            optax.sgd(0.1),
            schedule,
            samplers.ddim(),
            grids.linspace(2),
            image_shape=SHAPE,
            predict=predict,
            draw_times=lambda *_: t,
            weight=WEIGHTINGS["min_snr"],
        )
        state = TrainState(step=0, params={}, opt=(), ema={"unused": jnp.zeros(())})
        loss = m.evaluate(jax.random.key(5), state, b)["loss"]
        np.testing.assert_allclose(loss, expected, rtol=2e-4, err_msg=name)


def test_a_distance_takes_the_place_of_the_squared_error():
    m, huber = method(), method(distance=distance.pseudo_huber(0.1))
    state = m.init(jax.random.key(0), batch())
    mean = m.evaluate(jax.random.key(5), state, batch())["loss"]
    actual = huber.evaluate(jax.random.key(5), state, batch())["loss"]
    np.testing.assert_allclose(actual, jnp.sqrt(4 * mean + 0.01) - 0.1, rtol=1e-5)


def test_uncertainty_divides_the_loss_and_is_trained_with_the_network():
    plain, m = method(), method(uncertainty=fourier(8))
    state = m.init(jax.random.key(0), batch())
    bare = state.replace(params=state.params["network"], ema=state.ema["network"])
    first = plain.evaluate(jax.random.key(5), bare, batch())["loss"]
    np.testing.assert_allclose(
        m.evaluate(jax.random.key(5), state, batch())["loss"], first, rtol=1e-6
    )  # u = 0
    u = {"weight": jnp.zeros(8), "bias": jnp.asarray(0.7)}
    shifted = state.replace(ema={**state.ema, "uncertainty": u})
    expected = first * np.exp(-0.7) + 0.7
    np.testing.assert_allclose(m.evaluate(jax.random.key(5), shifted, batch())["loss"], expected, rtol=1e-6)
    after, _ = m.step(jax.random.key(1), state, batch())
    assert (after.params["uncertainty"]["weight"] != 0).all()
    keys = jax.random.split(jax.random.key(0), 2)
    np.testing.assert_array_equal(m.sample(keys, state, {}), plain.sample(keys, bare, {}))


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


class Doubled(nn.Module):
    """Predicts x0 = shift[label]; the variance is a parameter."""

    @nn.compact
    def __call__(self, x, c_noise, label=None, *, dropout_index=None):
        shift = self.param("shift", nn.initializers.constant(0.2), (NULL + 1,))
        v = self.param("v", nn.initializers.constant(0.5), ())
        label = jnp.full(x.shape[:1], NULL) if label is None else label
        predicted = jnp.zeros_like(x) + shift[label][:, None, None, None]
        return jnp.concatenate([predicted, jnp.full_like(x, v)], -1)


def doubled(sampler=samplers.ddpm, network=Doubled, num_steps=8, **options):
    schedule = schedules.cosine(100)
    defaults = {"image_shape": SHAPE, "num_classes": NULL, "clip": False, "condition_dropout": 0.0}
    defaults |= {"predict": PREDICTIONS["x0"], "learn_variance": True, "variance_steps": 100}
    arguments = network(), optax.sgd(0.1), schedule, sampler, grids.linspace(num_steps)
    return diffusion(*arguments, **defaults | options)


def test_the_hybrid_loss_adds_the_bound_of_the_learned_variance():
    draw, drawn = recording(time_samplers.discrete(100))
    m = doubled(draw_times=draw)
    state, b, schedule = m.init(jax.random.key(0), batch()), batch(), schedules.cosine(100)
    value = m.evaluate(jax.random.key(5), state, b)["loss"]
    estimate = jnp.full_like(b["image"], 0.2)
    bound = learned_variance.bound(
        schedule, b["image"], estimate, drawn[0], jnp.full_like(estimate, 0.75), 100
    )
    expected = jnp.square(b["image"] - 0.2).mean((1, 2, 3)) + 0.001 * bound
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert (0.001 * bound > 1e-3 * value).any()
    # The variance learns from the bound alone, the prediction from the rest alone.
    after, _ = m.step(jax.random.key(1), state, b)
    assert after.params["v"] != state.params["v"]
    plain = doubled(draw_times=draw, distance=lambda output, target: 0 * distance.squared(output, target))
    after, _ = plain.step(jax.random.key(1), state, b)
    np.testing.assert_array_equal(after.params["shift"], state.params["shift"])


@pytest.mark.parametrize("v", [-1.0, 0.5])
def test_sampling_with_a_learned_variance(v):
    """That of DDPM with the same variance given; with guidance too."""
    keys, state = jax.random.split(jax.random.key(0), 4), doubled().init(jax.random.key(0), batch())
    state = state.replace(ema={**state.ema, "v": jnp.asarray(v), "shift": jnp.array([0.1, 0.3, -0.2, 0.0])})
    for condition in ({}, {"label": jnp.array([0, 1, 2, 0]), "guidance": jnp.full(4, 2.0)}):
        # Where sampling stops early the noise of the steps is seen.
        learned, given = (
            doubled(sampler, num_steps=8).sample(keys, state, condition)
            for sampler in (
                lambda variance: stopped(samplers.ddpm(variance)),
                stopped(samplers.ddpm(0.5 * (v + 1))),
            )
        )
        np.testing.assert_allclose(learned, given, rtol=1e-5, atol=1e-6)
    other = doubled(stopped(samplers.ddpm(0.9))).sample(keys, state, {})
    assert jnp.abs(other - doubled(lambda f: stopped(samplers.ddpm(f))).sample(keys, state, {})).max() > 0.05


def stopped(sampler):
    """The sampler without its last step, which adds no noise."""

    def step(keys, carry, x, t, s, denoise, schedule):
        new, moved = sampler.step(keys, carry, x, t, s, denoise, schedule)
        return new, jnp.where(s > 0, moved, x)

    return samplers.Sampler(sampler.init, step)


def test_networks_and_samplers_that_do_not_fit_are_errors():
    with pytest.raises(UserError, match="only with learn_variance = True"):
        doubled(learn_variance=False)
    m = doubled(network=Affine)
    with pytest.raises(UserError, match="must have 2 output channels"):
        m.step(jax.random.key(0), m.init(jax.random.key(0), batch()), batch())
    m = doubled(samplers.ddpm(), learn_variance=False)
    with pytest.raises(UserError, match="2 output channels, the images have 1"):
        m.step(jax.random.key(0), m.init(jax.random.key(0), batch()), batch())


def test_stratified_times_cover_the_global_batch_however_it_is_computed():
    """One time in each of 8 strata; in micro-batches and in any order, the same for each example."""
    draw, drawn = recording(time_samplers.uniform(stratified=True))
    b = batch(8)
    m = method(draw_times=draw)
    state = m.init(jax.random.key(0), b)
    m.step(jax.random.key(1), state, b)
    whole = np.asarray(drawn.pop())
    np.testing.assert_array_equal(np.sort(np.floor(whole * 8)), np.arange(8))
    method(draw_times=draw, accumulate=2).step(jax.random.key(1), state, b)
    np.testing.assert_array_equal(drawn[0], whole[::2])  # micro-batch i takes every second example
    np.testing.assert_array_equal(drawn[1], whole[1::2])


@pytest.mark.parametrize("accumulate", [1, 4])
def test_loss_aware_times_learn_from_the_losses_of_the_whole_batch(accumulate):
    """The history after each step is the unweighted losses of the batch at their times; then draws follow it."""
    sampler = time_samplers.loss_aware(4, 2, uniform_share=0.0)
    recorded = []

    def draw(state, schedule, keys, strata):
        t, importance = sampler.draw(state, schedule, keys, strata)
        recorded.append((np.asarray(t), np.asarray(importance)))
        return t, importance

    m = method(optimizer=optax.sgd(0.0), accumulate=accumulate, draw_times=sampler._replace(draw=draw))
    b, key = batch(8), jax.random.key(1)
    state = m.init(jax.random.key(0), b)
    for i in range(6):
        recorded.clear()
        before, key = state, jax.random.fold_in(key, i)
        state, metrics = m.step(key, state, b)
        assert set(metrics) == {"loss", "grad_norm"}
        t, importance = recorded[-1]  # of the whole batch, drawn once more for the history
        # Losses of the same examples at these times, without importance.
        fixed = method(draw_times=lambda *_: jnp.asarray(t), optimizer=optax.sgd(0.0))
        losses = fixed.evaluate(key, before, b)["loss"]
        np.testing.assert_allclose(metrics["loss"], (importance * losses).mean(), rtol=1e-5)
        expected = sampler.update(before.mutable, jnp.asarray(t), losses)
        np.testing.assert_array_equal(state.mutable["count"], expected["count"])
        np.testing.assert_allclose(state.mutable["losses"], expected["losses"], rtol=1e-5)
    p = time_samplers.probabilities(state.mutable, 0.0)
    assert np.ptp(p) > 0.01  # by now every time has its losses
    assert importance.std() > 0


def test_evaluation_is_at_uniform_times_whatever_was_learned():
    m = method(draw_times=time_samplers.loss_aware(100))
    state = m.init(jax.random.key(0), batch())
    learned = state.replace(
        mutable={"losses": jnp.arange(1000.0).reshape(100, 10), "count": jnp.full(100, 10)}
    )
    one, two = (m.evaluate(jax.random.key(2), s, batch())["loss"] for s in (state, learned))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "draw_times",
    [time_samplers.uniform(stratified=True), time_samplers.loss_aware(4, 2)],
    ids=["strata", "losses"],
)
def test_times_of_a_batch_that_is_spread_by_pmap(draw_times):
    """Each device sees two of eight examples, and learns from the losses of all."""
    m, b = method(draw_times=draw_times), batch(8)
    state = m.init(jax.random.key(0), b)
    copies = jax.tree.map(lambda x: jnp.stack([x] * 4), state)
    spread = {name: x.reshape(4, 2, *x.shape[1:]) for name, x in b.items()}
    each = jax.pmap(m.step, axis_name=DATA_AXIS, in_axes=(None, 0, 0), devices=jax.devices()[:4])
    for i in range(4):
        state, metrics = m.step(jax.random.key(i), state, b)
        copies, of_copies = each(jax.random.key(i), copies, spread)
        np.testing.assert_allclose(of_copies["loss"], np.full(4, metrics["loss"]), rtol=1e-5)
    for copied, whole in zip(jax.tree.leaves(copies.mutable), jax.tree.leaves(state.mutable), strict=True):
        np.testing.assert_allclose(copied, jnp.stack([whole] * 4), rtol=1e-5)
