"""pix2pix: the discriminator learns first, then the generator from what it has learned; both see pairs."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax.losses import adversarial
from genjax.methods.averages import averaged, exponential, several
from genjax.methods.gan.pix2pix import pix2pix
from genjax.methods.gradients import mean_gradient
from genjax.models.gan.translation_unet import UNetGenerator
from genjax.nn.batch_norm import BatchNorm
from genjax.nn.dropout import Dropout
from genjax.typing import UserError

SHAPE, SOURCE, N = (4, 4, 1), (4, 4, 2), 8


class Translator(nn.Module):
    """A bias for all, and a multiple of the first channel."""

    @nn.compact
    def __call__(self, x, *, train=False, dropout_index=None):
        bias = self.param("bias", nn.initializers.constant(0.1), (1, 1, 1, 1))
        scale = self.param("scale", nn.initializers.constant(0.3), (1, 1, 1, 1))
        return bias + scale * x[..., :1]


class Judge(nn.Module):
    """Two logits, of products of the channels."""

    @nn.compact
    def __call__(self, x, *, train=False):
        products = jnp.concatenate([x, x * jnp.roll(x, 1, axis=-1)], axis=-1).mean((1, 2))
        return nn.Dense(2)(products)[:, None], (x,)


def method(generator=None, rate=1.0, judge_rate=1.0, discriminator=None, **options):
    options = {"image_shape": SHAPE, "source_shape": SOURCE, **options}
    optimizers = optax.sgd(rate), optax.sgd(judge_rate)
    return pix2pix(generator or Translator(), discriminator or Judge(), *optimizers, **options)


def batch(seed=0):
    keys = jax.random.split(jax.random.key(seed))
    image, source = (
        jax.random.uniform(key, (N, *shape), minval=-1)
        for key, shape in zip(keys, (SHAPE, SOURCE), strict=True)
    )
    return {"image": image, "source": source, "_index": jnp.arange(N, dtype=jnp.int32)}


def by_hand(b, weight):
    """Both losses from the paper, as functions of all parameters; D is a probability."""

    def logits(params, image):
        pair = jnp.concatenate([b["source"], image], axis=-1)
        return jax.nn.sigmoid(Judge().apply({"params": params["discriminator"]}, pair)[0])

    def fake(params):
        return Translator().apply({"params": params["generator"]}, b["source"])

    def judge(params):
        return -0.5 * (
            jnp.log(logits(params, b["image"])).mean() + jnp.log(1 - logits(params, fake(params))).mean()
        )

    def make(params):
        return (
            -jnp.log(logits(params, fake(params))).mean() + weight * jnp.abs(fake(params) - b["image"]).mean()
        )

    return judge, make


@pytest.mark.parametrize(("weight", "accumulate"), [(100.0, 1), (0.3, 2)])
def test_discriminator_then_generator_follow_their_gradients(weight, accumulate):
    m, b = method(l1_weight=weight, gradient=mean_gradient(accumulate)), batch()
    state = m.init(jax.random.key(0), b)
    after, metrics = jax.jit(m.step)(jax.random.key(1), state, b)
    judge, make = by_hand(b, weight)
    value, grads = jax.value_and_grad(judge)(state.params)
    moved = jax.tree.map(lambda a, b: a - b, state.params, after.params)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)  # noqa: E731
    jax.tree.map(close, moved["discriminator"], grads["discriminator"])
    np.testing.assert_allclose(metrics["discriminator"], value, rtol=1e-5)
    # The generator meets the discriminator as it is now.
    met = {"generator": state.params["generator"], "discriminator": after.params["discriminator"]}
    value, grads = jax.value_and_grad(make)(met)
    jax.tree.map(close, moved["generator"], grads["generator"])
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
    values = jax.jit(m.evaluate)(jax.random.key(1), after.replace(ema={"params": met["generator"]}), b)
    np.testing.assert_allclose(values["loss"].mean(), value, rtol=1e-5)
    assert values["l1"].shape == values["adversarial"].shape == (N,)
    np.testing.assert_allclose(values["loss"], values["adversarial"] + weight * values["l1"], rtol=1e-5)


def test_the_difference_alone_has_the_gradient_of_a_mean_of_signs():
    game = adversarial.hinge()._replace(generator=lambda real, fake: jnp.zeros(len(fake)))
    m, b = method(game=game), batch()
    state = m.init(jax.random.key(0), b)
    after, metrics = jax.jit(m.step)(jax.random.key(1), state, b)
    made = 0.1 + 0.3 * b["source"][..., :1]
    signs = np.sign(made - b["image"])
    moved = jax.tree.map(lambda a, b: np.ravel(a - b), state.params["generator"], after.params["generator"])
    np.testing.assert_allclose(moved["bias"], [100 * signs.mean()], rtol=1e-4)
    np.testing.assert_allclose(moved["scale"], [100 * (signs * b["source"][..., :1]).mean()], rtol=1e-4)
    np.testing.assert_allclose(metrics["loss"], 100 * np.abs(made - b["image"]).mean(), rtol=1e-5)


def test_each_side_leaves_the_other_alone():
    for rates, still in (((0.0, 1.0), "generator"), ((1.0, 0.0), "discriminator")):
        m = method(rate=rates[0], judge_rate=rates[1])
        state = m.init(jax.random.key(0), batch())
        after, _ = jax.jit(m.step)(jax.random.key(1), state, batch())
        for name in ("generator", "discriminator"):
            pairs = zip(jax.tree.leaves(state.params[name]), jax.tree.leaves(after.params[name]), strict=True)
            assert all((a == b).all() for a, b in pairs) == (name == still)


def test_the_discriminator_sees_sources():
    """A generator that looks at nothing: only the discriminator can tell sources apart."""
    m, b = method(), batch()
    state = m.init(jax.random.key(0), b)
    blind = state.replace(ema={"params": {**state.ema["params"], "scale": jnp.zeros((1, 1, 1, 1))}})
    evaluate = jax.jit(m.evaluate)
    values = evaluate(jax.random.key(0), blind, b)
    others = evaluate(jax.random.key(0), blind, {**b, "source": b["source"][::-1]})
    np.testing.assert_array_equal(values["l1"], others["l1"])
    assert (jnp.abs(values["adversarial"] - others["adversarial"]) > 1e-5).all()


class Noisy(nn.Module):
    """Batch normalisation, whose statistics can be told, and dropout."""

    @nn.compact
    def __call__(self, x, *, train=False, dropout_index=None):
        x = BatchNorm(momentum=0.75, name="norm")(x[..., :1], train=train)
        return jnp.tanh(Dropout(0.5, name="drop")(x, dropout_index))


def test_statistics_change_once_a_step_and_are_averaged():
    m, b = method(Noisy(), average=exponential(0.9)), batch()
    state = m.init(jax.random.key(0), b)
    after, _ = jax.jit(m.step)(jax.random.key(1), state, b)
    x = b["source"][..., 0]
    found = after.mutable["generator"]["batch_stats"]["norm"]
    np.testing.assert_allclose(found["mean"], [0.25 * x.mean()], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found["var"], [0.75 + 0.25 * x.var()], rtol=1e-5)
    rate = 1 - 2 / 11  # of the first update
    average = after.ema["batch_stats"]["norm"]
    np.testing.assert_allclose(average["var"], [1 + rate * (found["var"][0] - 1)], rtol=1e-5)
    scale, bias = (float(after.ema["params"]["norm"][name][0]) for name in ("scale", "bias"))
    made = m.sample(jax.random.split(jax.random.key(0), N), after, {"source": b["source"]})
    clean = scale * (x[..., None] - float(average["mean"][0])) / np.sqrt(average["var"].item() + 1e-5) + bias
    # Dropout with a rate of one half: nothing, or twice as much, for each image by its own key.
    kept = np.asarray(made != 0)
    np.testing.assert_allclose(made, np.where(kept, np.tanh(2 * clean), 0), rtol=1e-4, atol=1e-6)
    assert 0.3 < kept.mean() < 0.7 and len({k.tobytes() for k in kept}) == N
    again = m.sample(jax.random.split(jax.random.key(1), N), after, {"source": b["source"]})
    assert ((again != 0) != kept).any()


def test_errors():
    with pytest.raises(UserError, match=r"l1_weight=-1.0"):
        method(l1_weight=-1.0)
    with pytest.raises(UserError, match=r"discriminator_weight=0.0: valid are 0 and more, and above 0"):
        method(discriminator_weight=0.0)
    with pytest.raises(UserError, match=r"source_shape=\(2, 4, 1\): .* valid are \(4, 4\) pixels"):
        method(source_shape=(2, 4, 1))
    m, b = method(), batch()
    with pytest.raises(UserError, match=r"source is missing: images of shape \(4, 4, 2\)"):
        m.init(jax.random.key(0), {"image": b["image"]})
    state = m.init(jax.random.key(0), b)
    with pytest.raises(UserError, match=r"source has images of shape \(4, 4, 1\): valid are \(4, 4, 2\)"):
        m.sample(jax.random.split(jax.random.key(0), N), state, {"source": b["image"]})
    with pytest.raises(UserError, match=r"'generator' makes .* out_channels=1 is needed"):
        method(UNetGenerator(3, 2, levels=1)).init(jax.random.key(0), b)


def test_gradients_and_averages_are_as_asked():
    def threefold(loss, params, key, batch):
        metrics, grads = mean_gradient()(loss, params, key, batch)
        return metrics, jax.tree.map(lambda g: 3 * g, grads)

    b = batch()
    options = {"rate": 3.0, "judge_rate": 3.0}
    asked = method(gradient=threefold, average=several(exponential(0.5), last=exponential(0.0)))
    plain = method(**options, average=exponential(0.5))
    state, other = (
        jax.jit(m.step)(jax.random.key(1), m.init(jax.random.key(0), b), b)[0] for m in (asked, plain)
    )
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # noqa: E731
    jax.tree.map(close, state.params, other.params)
    jax.tree.map(close, averaged(state), other.ema)
    jax.tree.map(close, [state.ema.others["last"]["params"]], [state.params["generator"]])
    keys, condition = jax.random.split(jax.random.key(0), N), {"source": b["source"]}
    close(asked.sample(keys, state, condition), plain.sample(keys, other, condition))
