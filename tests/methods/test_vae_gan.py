"""VAE-GAN: without a discriminator's say it is the VAE, and its three updates follow the gradients of three losses."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax.data.digits import digits
from genjax.losses import adversarial, likelihood
from genjax.methods import vae
from genjax.methods.averages import averaged, exponential, several
from genjax.methods.gradients import mean_gradient
from genjax.methods.latent_space import vae_space
from genjax.methods.vae import regularizers
from genjax.methods.vae.vae_gan import in_encoder, vae_gan
from genjax.models.gan.discriminator import ImageDiscriminator
from genjax.models.vae.conv import ConvDecoder, ConvEncoder
from genjax.models.vae.mlp import MLPDecoder, MLPEncoder
from genjax.models.vae.vae import VAE
from genjax.typing import UserError

SHAPE = (8, 8, 1)
CLASSES, N = 3, 16
DECODER, ENCODER = {"decoder"}, {"encoder", "parameters"}


def mlp():
    return VAE(MLPEncoder((6,), CLASSES), MLPDecoder(SHAPE, (6,), CLASSES), 2)


def conv():
    return VAE(ConvEncoder((4, 8), 8, CLASSES), ConvDecoder(SHAPE, (4, 8), 8, CLASSES), 2)


class Judge(nn.Module):
    """A discriminator with two logits and two features, small enough to compile at once."""

    @nn.compact
    def __call__(self, x):
        first = jnp.tanh(nn.Dense(5)(x.reshape(len(x), -1)))
        second = jnp.tanh(nn.Dense(4)(first))
        return nn.Dense(2)(second), (first, second)


def method(network=None, optimizer=None, discriminator=None, **options):
    optimizer = optimizer or optax.sgd(1.0)
    kind = options.pop("likelihood", likelihood.bernoulli())
    options = {"image_shape": SHAPE, "conditions": ("label",), **options}
    discriminator = discriminator or Judge()
    return vae_gan(network or mlp(), discriminator, optimizer, optax.sgd(1.0), kind, **options)


def batch(seed=0):
    image = jax.random.uniform(jax.random.key(seed), (N, *SHAPE), minval=-1)
    return {"image": image, "label": jnp.arange(N) % CLASSES, "_index": jnp.arange(N)}


def trained(method, steps):
    state, step = method.init(jax.random.key(0), batch()), jax.jit(method.step)
    for i in range(steps):
        state, _ = step(jax.random.key(i), state, batch(i))
    return state


def test_with_weight_zero_it_is_the_vae_bit_for_bit():
    optimizer, kind, beta = optax.adam(1e-2), likelihood.bernoulli(), regularizers.kl(2.0, warmup_steps=5)
    plain = vae(conv(), optimizer, kind, image_shape=SHAPE, conditions=("label",), regularizer=beta)
    expected = trained(plain, 4)
    state = trained(method(conv(), optimizer, weight=0.0, regularizer=beta), 4)
    found = state.params["network"], state.opt["network"], state.ema, state.step
    wanted = expected.params, expected.opt, expected.ema, expected.step
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
    keys, condition = jax.random.split(jax.random.key(1), 3), {"label": jnp.arange(3)}
    ours, theirs = (m.sample(keys, state, condition) for m in (method(conv()), plain))
    np.testing.assert_array_equal(ours, theirs)


def by_hand(key, options, real_weight):
    """The losses as functions of the parameters, from the paper; D is a probability."""
    network, kind, b = mlp(), likelihood.bernoulli(), batch()
    judge = Judge()
    keys, prior_keys = (
        jnp.stack([jax.random.fold_in(k, i) for i in range(N)]) for k in (key, jax.random.split(key)[1])
    )

    def parts(params):
        p = {"params": params["network"]}
        x, label = b["image"], b["label"]
        told = {"label": label}
        posterior = network.apply(p, x, told, method="posterior")
        noise, prior = (jax.vmap(lambda k: jax.random.normal(k, (2,)))(each) for each in (keys, prior_keys))
        z = posterior.mean + jnp.exp(posterior.log_variance / 2) * noise
        logits, drawn = (network.apply(p, code, told, method="decode") for code in (z, prior))
        kl = 0.5 * (jnp.exp(posterior.log_variance) + posterior.mean**2 - 1 - posterior.log_variance).sum(1)
        white = (1 + x) / 2
        distortion = -(white * jax.nn.log_sigmoid(logits) + (1 - white) * jax.nn.log_sigmoid(-logits)).sum(
            (1, 2, 3)
        )
        images = x, kind.mean(logits), kind.mean(drawn)
        judged = [judge.apply({"params": params["discriminator"]}, i) for i in images]
        features = [f[options["layer"]] for _, f in judged]
        feature = 0.5 * ((features[0] - features[1]) ** 2).sum(1)
        return kl, distortion, feature, [jax.nn.sigmoid(d) for d, _ in judged]

    gamma, weight, pixel, (first, second) = (options[k] for k in ("gamma", "weight", "pixel", "fakes"))

    def encoder(params):
        kl, distortion, feature, _ = parts(params)
        return (kl + pixel * distortion + weight * feature).mean()

    def decoder(params):
        kl, distortion, feature, (_, reconstructed, drawn) = parts(params)
        fooled = first * jnp.log(1 - reconstructed).mean() + second * jnp.log(1 - drawn).mean()
        return (kl + pixel * distortion + weight * gamma * feature).mean() + weight * fooled

    def discriminator(params):
        *_, (real, reconstructed, drawn) = parts(params)
        told = first * jnp.log(1 - reconstructed).mean() + second * jnp.log(1 - drawn).mean()
        return -real_weight * (first + second) * jnp.log(real).mean() - told

    return {"encoder": encoder, "decoder": decoder, "discriminator": discriminator}


LARSEN = {"pixel": 0.0, "weight": 1.0, "gamma": 0.3, "layer": -1, "fakes": (1.0, 1.0)}
MIXED = {"pixel": 0.7, "weight": 0.4, "gamma": 2.0, "layer": 0, "fakes": (0.3, 2.0)}


@pytest.mark.parametrize(("options", "real_weight", "accumulate"), [(LARSEN, 0.5, 1), (MIXED, 1.0, 2)])
def test_each_part_follows_the_gradient_of_its_own_loss(options, real_weight, accumulate):
    """The optimizers take steps of one gradient, whether or not it is accumulated."""
    m = method(**options, game=adversarial.minimax(real_weight), gradient=mean_gradient(accumulate))
    state, key = m.init(jax.random.key(0), batch()), jax.random.key(7)
    after, metrics = jax.jit(m.step)(key, state, batch())
    losses = by_hand(key, options, real_weight)
    both = jax.jit(lambda params: {k: jax.value_and_grad(loss)(params) for k, loss in losses.items()})
    values, grads = ({k: v[i] for k, v in both(state.params).items()} for i in (0, 1))
    expected = {
        "network": {
            k: grads["encoder" if k in ENCODER else "decoder"]["network"][k] for k in ENCODER | DECODER
        },
        "discriminator": grads["discriminator"]["discriminator"],
    }
    moved = jax.tree.map(lambda a, b: a - b, state.params, after.params)
    assert moved.keys() == expected.keys() and moved["network"].keys() == expected["network"].keys()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), moved, expected)
    np.testing.assert_allclose(metrics["loss"], values["decoder"], rtol=1e-5)
    np.testing.assert_allclose(metrics["discriminator"], values["discriminator"], rtol=1e-5)


def test_evaluation_is_that_of_the_vae_and_the_distance_of_features():
    m = method()
    state = m.init(jax.random.key(0), batch())
    plain = vae(mlp(), optax.sgd(1.0), likelihood.bernoulli(), image_shape=SHAPE, conditions=("label",))
    values, key = m.evaluate(jax.random.key(5), state, batch()), jax.random.key(5)
    for name, value in plain.evaluate(key, state, batch()).items():
        np.testing.assert_array_equal(values[name], value)
    reconstruction = vae_space(mlp(), likelihood.bernoulli(), ("label",)).reconstruct(key, state, batch())
    real, fake = (
        Judge().apply({"params": state.params["discriminator"]}, images)[1][-1]
        for images in (batch()["image"], reconstruction)
    )
    expected = 0.5 * jnp.square(real - fake).sum(1)
    np.testing.assert_allclose(values["feature"], expected, rtol=1e-5)


def test_learns_digits_from_features_alone():
    """Without a likelihood of pixels, so that nothing but the discriminator's features says what an image is."""
    images = digits("train").read(np.arange(512))["image"].astype(np.float32) / 127.5 - 1
    m = vae_gan(
        VAE(MLPEncoder((64,)), MLPDecoder(SHAPE, (64,)), 8),
        ImageDiscriminator((8, 16), 16),
        optax.adam(3e-3),
        optax.adam(3e-4),
        likelihood.bernoulli(),
        image_shape=SHAPE,
        pixel=0.0,
    )

    def rows(i):
        rows = np.random.default_rng(i).integers(0, len(images), 64)
        return {"image": jnp.asarray(images[rows]), "_index": jnp.arange(64)}

    state, step = m.init(jax.random.key(0), rows(0)), jax.jit(m.step)
    reconstruct = jax.jit(
        vae_space(VAE(MLPEncoder((64,)), MLPDecoder(SHAPE, (64,)), 8), likelihood.bernoulli())[0]
    )

    def error(state):
        return float(jnp.square(reconstruct(jax.random.key(0), state, rows(0)) - rows(0)["image"]).mean())

    before = error(state)
    for i in range(150):
        state, metrics = step(jax.random.key(i), state, rows(i))
    assert error(state) < before / 2
    assert 0 < float(metrics["discriminator"]) < 2 * np.log(2)


def test_errors():
    for options in ({"weight": -1.0}, {"pixel": -1.0}, {"gamma": float("nan")}, {"fakes": (1.0, -1.0)}):
        name = next(iter(options))
        with pytest.raises(UserError, match=f"{name}=.*: valid are"):
            method(**options)
    with pytest.raises(UserError, match=r"pixel=0.0 with weight=0: valid is 1"):
        method(weight=0.0, pixel=0.0)
    with pytest.raises(UserError, match=r"layer=2: the discriminator has 2 feature maps, 0\.\.1"):
        method(layer=2).init(jax.random.key(0), batch())
    for every in (True, False):
        with pytest.raises(
            UserError, match=rf"encodes says {every} of every parameter.*'decoder', 'encoder'"
        ):
            method(encodes=lambda path, every=every: every).init(jax.random.key(0), batch())


def test_parameters_of_the_encoder_are_known_by_name():
    assert in_encoder("encoder/hidden_0/kernel") and in_encoder("parameters/bias")
    assert not in_encoder("decoder/out/kernel") and not in_encoder("prior_flow/encoder")


def test_several_averages_and_another_gradient():
    """The averages are of the network alone; both arguments reach the step of this method."""

    def none(loss, params, key, batch):
        metrics, grads = mean_gradient()(loss, params, key, batch)
        return metrics, jax.tree.map(jnp.zeros_like, grads)

    m = method(average=several(exponential(0.5), slow=exponential(0.9)), gradient=none)
    state = m.init(jax.random.key(0), batch())
    after, _ = jax.jit(m.step)(jax.random.key(0), state, batch())
    jax.tree.map(np.testing.assert_array_equal, after.params, state.params)
    for average in (averaged(after), after.ema.others["slow"]):
        jax.tree.map(np.testing.assert_array_equal, average, state.params["network"])
    assert m.evaluate(jax.random.key(0), after, batch())["feature"].shape == (N,)
