"""The diffusion method: its loss in closed form, its moving average, guidance, and that it samples what it should."""

import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax.conditions import label_or_null, mask_name
from genjax.diffusion import PREDICTIONS, SCHEDULES, distance, grids, learned_variance, samplers, schedules
from genjax.diffusion import times as time_samplers
from genjax.diffusion.uncertainty import fourier
from genjax.diffusion.weighting import WEIGHTINGS
from genjax.methods import averages, diffusion, gradients
from genjax.methods.diffusion import choices
from genjax.models import UNet
from genjax.typing import DATA_AXIS, TrainState, UserError
from tests.diffusion.one_of import OneOf

SHAPE = (2, 2, 1)
NULL = 3


class Affine(nn.Module):
    """``scale * x + shift[label] + time * c_noise``: small enough to write its loss down."""

    @nn.compact
    def __call__(self, x, c_noise, condition=None, *, dropout_index=None):
        scale = self.param("scale", nn.initializers.constant(0.5), ())
        time = self.param("time", nn.initializers.constant(0.25), ())
        shift = self.param("shift", nn.initializers.normal(1.0), (NULL + 1,))
        label = label_or_null(condition, "label", NULL, x.shape[0])
        return scale * x + (shift[label] + time * c_noise)[:, None, None, None]


def method(schedule=None, optimizer=None, **options):
    defaults = {"image_shape": SHAPE, "conditions": ("label",), "clip": False, "condition_dropout": 0.0}
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
    if name in ("edm", "consistency_edm"):
        sigma, x, data, least = sigma / alpha, x_t / alpha, 0.5, 0.002 if name == "consistency_edm" else 0.0
        skip, out = (
            data**2 / ((sigma - least) ** 2 + data**2),
            data * (sigma - least) / jnp.sqrt(sigma**2 + data**2),
        )
        shown = x / jnp.sqrt(sigma**2 + data**2)
        return (x_0 - skip * x) / out, shown, 0.25 * jnp.log(sigma.ravel())
    tau = 10 * (1000 * t[:, None, None, None] - 1)
    lcm_skip, lcm_out = 0.25 / (tau**2 + 0.25), tau / jnp.sqrt(tau**2 + 0.25)
    targets = {
        "eps": noise,
        "x0": x_0,
        "v": alpha * noise - sigma * x_0,
        "score": -noise / sigma,
        "flow": noise - x_0,
        "lcm": (x_t - alpha * (x_0 - lcm_skip * x_t) / lcm_out) / sigma,
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
        def __call__(self, x, c_noise, condition=None, *, dropout_index=None):
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
    m = method(average=averages.exponential(0.5))
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
    def __call__(self, x, c_noise, condition=None, *, dropout_index=None):
        shift = self.param("shift", nn.initializers.constant(0.2), (NULL + 1,))
        v = self.param("v", nn.initializers.constant(0.5), ())
        label = label_or_null(condition, "label", NULL, x.shape[0])
        predicted = jnp.zeros_like(x) + shift[label][:, None, None, None]
        return jnp.concatenate([predicted, jnp.full_like(x, v)], -1)


def doubled(sampler=samplers.ddpm, network=Doubled, num_steps=8, **options):
    schedule = schedules.cosine(100)
    defaults = {"image_shape": SHAPE, "conditions": ("label",), "clip": False, "condition_dropout": 0.0}
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
    method(draw_times=draw, gradient=gradients.mean_gradient(2)).step(jax.random.key(1), state, b)
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

    options = {"gradient": gradients.mean_gradient(accumulate), "draw_times": sampler._replace(draw=draw)}
    m = method(optimizer=optax.sgd(0.0), **options)
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


# Conditions.


TOTALS = []


class Told(nn.Module):
    """Predicts x0: 1 where an example has its label, plus 2 where it has its text. Appends that to `TOTALS`."""

    @nn.compact
    def __call__(self, x, c_noise, condition=None, *, dropout_index=None):
        self.param("unused", nn.initializers.zeros, ())
        total = jnp.zeros(x.shape[0])
        for name, value in (("label", 1.0), ("text", 2.0)):
            if name in (condition or {}):
                has = condition.get(mask_name(name), jnp.ones(x.shape[0], bool))
                total += jnp.where(has, value, 0.0)
        TOTALS.append(total)
        return jnp.broadcast_to(total[:, None, None, None], x.shape)


def told(**options):
    defaults = {"image_shape": SHAPE, "conditions": ("label", "text"), "predict": PREDICTIONS["x0"]}
    arguments = Told(), optax.sgd(0.1), schedules.cosine(100), samplers.ddim(), grids.linspace(4)
    return diffusion(*arguments, **defaults | {"clip": False} | options)


def captioned(n):
    """Black images, so that the loss of an example is the square of what the network was told of it."""
    index = jnp.arange(n)
    return {
        "image": jnp.zeros((n, *SHAPE)),
        "label": index % NULL,
        "text": jnp.ones((n, 2)),
        "_index": index,
    }


def values_told(m, b, seed=1):
    """0 to 3 for each example: 1 if it was told its label, plus 2 if it was told its text, in one call for all."""

    def loss_alone(loss, params, key, batch):
        TOTALS.clear()
        return {"loss": loss(params, key, batch)[0]}, jax.tree.map(jnp.zeros_like, params)

    method = m(gradient=loss_alone)
    method.step(jax.random.key(seed), method.init(jax.random.key(0), b), b)
    (totals,) = TOTALS
    return np.asarray(totals).astype(int)


def test_conditions_are_hidden_together_and_each_at_the_configured_rates():
    """Jointly with probability 0.2; else the label with 0.3, and the text, independently, with 0.1."""

    def m(**options):
        return told(condition_dropout=0.2, drop_each={"label": 0.3, "text": 0.1}, **options)

    n = 4096
    counts = np.bincount(values_told(m, captioned(n)), minlength=4) / n
    label, text = 0.7, 0.9  # that each is kept, if not both are hidden
    expected = [
        0.2 + 0.8 * (1 - label) * (1 - text),
        0.8 * label * (1 - text),
        0.8 * (1 - label) * text,
        0.8 * label * text,
    ]
    for actual, p in zip(counts, expected, strict=True):
        assert actual == pytest.approx(p, abs=4.5 * (p * (1 - p) / n) ** 0.5)


def test_what_is_hidden_depends_on_the_position_and_on_no_other_example():
    def m(**options):
        return told(condition_dropout=0.3, drop_each={"label": 0.4}, **options)

    b = captioned(64)
    values = values_told(m, b)
    assert len(set(values)) >= 3
    order = np.random.default_rng(0).permutation(64)[:24]
    np.testing.assert_array_equal(values_told(m, {name: x[order] for name, x in b.items()}), values[order])
    other = b | {
        "image": jax.random.normal(jax.random.key(3), b["image"].shape) * 1e-3,
        "label": b["label"][::-1],
    }
    np.testing.assert_array_equal(values_told(m, other), values)
    # By name, not by the place of the name: another condition, or none, changes nothing for the first.
    alone = values_told(lambda **options: m(**options | {"conditions": ("label",)}), b)
    np.testing.assert_array_equal(alone, values % 2)
    swapped = values_told(lambda **options: m(**options | {"conditions": ("text", "label")}), b)
    np.testing.assert_array_equal(swapped, values)
    assert (values_told(m, b, seed=2) != values).any()


def test_an_example_that_lacks_a_condition_is_not_given_it_in_training():
    def m(**options):
        return told(condition_dropout=0.0, **options)

    b = captioned(6) | {mask_name("text"): jnp.arange(6) % 2 == 0}
    np.testing.assert_array_equal(values_told(m, b), [3, 1] * 3)
    value = m().evaluate(jax.random.key(0), m().init(jax.random.key(0), b), b)["loss"]
    np.testing.assert_allclose(value, np.float32([9, 1] * 3))
    without_text = {name: x for name, x in captioned(6).items() if name != "text"}
    np.testing.assert_array_equal(values_told(m, without_text | {"text": b["text"]}), [3] * 6)


@pytest.mark.parametrize(
    ("lacking", "second"),
    [(None, 0.0), (("label",), 2.0), (("text",), 1.0), (("label", "text"), 0.0), ((), 3.0)],
)
def test_guidance_lacks_the_conditions_that_it_is_told_to(lacking, second):
    """The estimate is second + scale (3 - second), the second evaluation's value and the first's, which is 3."""
    m, b = told(guidance_without=lacking), captioned(3)
    state = m.init(jax.random.key(0), b)
    condition = {"label": b["label"], "text": b["text"]}
    keys = jax.random.split(jax.random.key(0), 3)
    scale = jnp.array([1.0, 2.0, 0.5])
    images = m.sample(keys, state, condition | {"guidance": scale})
    np.testing.assert_allclose(images[:, 0, 0, 0], second + scale * (3 - second), atol=1e-5)
    np.testing.assert_allclose(m.sample(keys, state, condition)[:, 0, 0, 0], np.full(3, 3.0), atol=1e-5)


def test_conditions_that_do_not_exist_are_errors():
    with pytest.raises(UserError, match=r"drop_each=\['caption'\]: valid are \['label', 'text'\]"):
        told(drop_each={"caption": 0.1})
    with pytest.raises(
        UserError, match=r"guidance_without=\['caption', 'label'\]: valid are \['label', 'text'\]"
    ):
        told(guidance_without=("label", "caption"))


@pytest.mark.quick_compilation
def test_a_missing_condition_makes_the_images_of_a_masked_one_bit_for_bit():
    """In the samples of a U-Net: missing for the whole call, or for each example by its mask, guided or not."""
    network = UNet(channels=4, multipliers=(1,), blocks=1, num_classes=NULL)
    m = diffusion(
        network,
        optax.sgd(0.1),
        schedules.cosine(100),
        samplers.ddpm(),
        grids.linspace(2),
        image_shape=(4, 4, 1),
        conditions=("label",),
        clip=False,
    )
    b = {"image": jnp.zeros((3, 4, 4, 1)), "label": jnp.arange(3), "_index": jnp.arange(3)}
    state = m.init(jax.random.key(0), b)
    rng = np.random.default_rng(0)
    state = state.replace(
        ema=jax.tree.map(lambda p: p + 0.2 * rng.normal(size=p.shape).astype(np.float32), state.ema)
    )
    keys, sample = jax.random.split(jax.random.key(1), 3), jax.jit(m.sample)
    full = {"label": b["label"]}

    def masked(extra, *has):
        return sample(keys, state, full | extra | {mask_name("label"): jnp.array(has)})

    for extra in ({}, {"guidance": jnp.array([0.5, 1.0, 3.0])}):
        missing, given = sample(keys, state, extra), sample(keys, state, full | extra)
        np.testing.assert_array_equal(masked(extra, False, False, False), missing)
        np.testing.assert_array_equal(masked(extra, True, True, True), given)
        some = masked(extra, True, False, True)
        np.testing.assert_array_equal(some[1], missing[1])
        np.testing.assert_array_equal(some[::2], given[::2])
        assert np.abs(given - missing).max() > 1e-3


# Averages and gradients.


def test_several_averages_at_once_and_the_first_makes_the_images():
    several = averages.several(averages.exponential(0.05), slow=averages.exponential(0.2))
    m, fast, slow = (
        method(average=average)
        for average in (several, averages.exponential(0.05), averages.exponential(0.2))
    )
    states = [one.init(jax.random.key(0), batch()) for one in (m, fast, slow)]
    for i in range(12):
        steps = zip((m, fast, slow), states, strict=True)
        states = [one.step(jax.random.key(i), state, batch())[0] for one, state in steps]
    ours, of_fast, of_slow = states
    jax.tree.map(np.testing.assert_array_equal, ours.params, of_fast.params)
    jax.tree.map(np.testing.assert_array_equal, ours.ema.first, of_fast.ema)
    jax.tree.map(np.testing.assert_array_equal, ours.ema.others["slow"], of_slow.ema)
    assert ours.ema.first["scale"] != ours.ema.others["slow"]["scale"]

    keys = jax.random.split(jax.random.key(0), 2)
    images = m.sample(keys, ours, {})
    np.testing.assert_array_equal(images, fast.sample(keys, of_fast, {}))
    assert np.abs(images - slow.sample(keys, of_slow, {})).max() > 1e-5
    value = m.evaluate(jax.random.key(5), ours, batch())["loss"]
    np.testing.assert_array_equal(value, fast.evaluate(jax.random.key(5), of_fast, batch())["loss"])


def test_a_gradient_function_of_ones_own_is_used():
    """Signs of the gradient: what is added to the parameters is the learning rate, and its metrics come back."""

    def signs(loss, params, key, batch):
        metrics, gradient = gradients.mean_gradient()(loss, params, key, batch)
        return {**metrics, "mine": jnp.float32(7)}, jax.tree.map(jnp.sign, gradient)

    m, plain = method(gradient=signs), method()
    state = m.init(jax.random.key(0), batch())
    after, metrics = m.step(jax.random.key(1), state, batch())
    usual, of_usual = plain.step(jax.random.key(1), state, batch())
    assert float(metrics["mine"]) == 7 and metrics["loss"] == of_usual["loss"]
    for start, new, other in zip(*(jax.tree.leaves(s.params) for s in (state, after, usual)), strict=True):
        np.testing.assert_allclose(new - start, 0.1 * np.sign(other - start), rtol=1e-5, atol=1e-7)


# What goes together, and what can be trained.


def config_of(prediction="x0", schedule="cosine", sampler="ddim", grid="linspace", eta=None):
    sampling = types.SimpleNamespace(sampler=sampler, grid=grid, eta=eta, num_steps=4)
    options = types.SimpleNamespace(prediction=prediction, schedule=schedule, timesteps=1000, times=None)
    return types.SimpleNamespace(sampling=sampling, method=options)


def mistakes(config):
    return [message for wrong, message in choices.contradictions(config) if wrong]


@pytest.mark.parametrize("name", PREDICTIONS)
def test_a_prediction_is_trained_with_finite_losses_or_refused(name):
    """With each schedule, at the first and the last time that may be drawn, and between.

    With weights of the error of x0_hat from t = 1e-5 on: `vlb` of x0 grows as 1 / t^3, which ends in inf.
    """
    constructors = {key: make for key, make in SCHEDULES.items() if key != "learned"}
    b = batch(2)

    @jax.jit
    def trained(schedule_index, weight_index, t):
        m = method(
            OneOf(schedule_index, tuple(constructors.values())),
            predict=PREDICTIONS[name],
            draw_times=lambda *_: jnp.full(2, t),
            weight=lambda *arguments: jnp.stack([w(*arguments) for w in WEIGHTINGS.values()])[weight_index],
        )
        after, metrics = m.step(jax.random.key(1), m.init(jax.random.key(0), b), b)
        return jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves((after.params, metrics))]).all()

    finite = {}
    for i, schedule_name in enumerate(constructors):
        finite[schedule_name] = all(
            trained(i, j, t)
            for j, weight in enumerate(WEIGHTINGS)
            for t in (2.0**-24 if weight == "simple" else 1e-5, 1e-3, 0.5, 1.0)
        )
        refused = mistakes(config_of(name, schedule_name))
        for message in refused:
            assert message.startswith(f"method.prediction={name!r}")
            assert repr(name) not in message.split("valid are")[1]
        # The predictions with a boundary are refused altogether.
        assert finite[schedule_name] or refused, schedule_name
        assert name in ("consistency_edm", "lcm") or finite[schedule_name] == (not refused), schedule_name
    if name in ("consistency_edm", "lcm"):
        assert sum(finite.values()) <= 2


def test_what_does_not_go_together_is_named():
    assert mistakes(config_of("x0", "flow")) == mistakes(config_of("eps", "cosine")) == []
    (message,) = mistakes(config_of("lcm"))
    assert message.endswith("valid are 'eps', 'x0', 'v', 'score', 'flow', 'edm'")
    (message,) = mistakes(config_of("eps", "flow"))
    assert "method.schedule='flow' ends in pure noise" in message
    assert message.endswith("valid are 'x0', 'v', 'flow', 'edm', 'consistency_edm'")
    (message,) = mistakes(config_of(sampler="heun", eta=0.5))
    assert message.startswith("sampling.eta=0.5 is for ddim, ")
    assert mistakes(config_of(sampler="ddim", eta=0.5)) == []
    # However a model is trained.
    wrong = [
        message for wrong, message in choices.of_sampling(config_of("lcm", "flow", grid="karras")) if wrong
    ]
    assert [message.split(":")[0] for message in wrong] == [
        "sampling.grid='karras'",
        "method.prediction='lcm'",
    ]


def test_a_sampler_is_given_what_it_needs():
    choices.check_sampler(config_of(sampler="ddim"), "denoiser", "diffusion")
    choices.check_sampler(config_of(sampler="consistency"), "consistency", "distillation")
    with pytest.raises(UserError) as error:
        choices.check_sampler(config_of(sampler="consistency"), "denoiser", "diffusion")
    message = str(error.value)
    assert message.startswith(
        "sampling.sampler='consistency' needs a consistency model, and the method diffusion trains a denoiser; "
        "valid are ddim, "
    )
    assert "consistency" not in message.split("valid are")[1]
    with pytest.raises(
        UserError, match=r"'ddim' needs a denoiser.*trains a consistency model; valid are consistency$"
    ):
        choices.check_sampler(config_of(), "consistency", "distillation")


def test_the_noise_of_a_sampler_is_what_the_config_says():
    assert choices.has_eta("ddim") and not choices.has_eta("heun") and not choices.has_eta("consistency")
    keys, x, times = (
        jax.random.split(jax.random.key(0), 2),
        jnp.ones((2, 3)),
        (jnp.float32(0.5), jnp.float32(0.2)),
    )
    arguments = keys, (), x, *times, lambda x, t: 0.3 * x, schedules.cosine()
    made = choices.sampler(config_of(eta=0.7).sampling).step(*arguments)[1]
    np.testing.assert_array_equal(made, samplers.ddim(0.7).step(*arguments)[1])
