"""The VAE and the DCGAN in PyTorch that `bench train` compares with: the same layers, and what they refuse."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bench import baselines, torch_gan, torch_vae
from experiments.bench.measure import Options, measure
from genjax.app import kinds
from genjax.app.config import Config, DataConfig, EvaluationConfig
from genjax.data import labelled_images
from genjax.methods.diffusion.diffusion import DiffusionConfig
from genjax.methods.gan.gan_kind import GANConfig
from genjax.methods.optimizers import OptimizerConfig
from genjax.methods.vae.vae import VAEConfig
from genjax.models.gan.dcgan import DCGANConfig
from genjax.models.vae.mlp import MLPConfig
from genjax.nn import initialize
from genjax.train.options import FitOptions
from genjax.typing import UserError

CONFIG = Config(
    fit=FitOptions(steps=8, batch_size=8, log_every=4, checkpoint_every=4, steps_per_dispatch=4),
    data=DataConfig(dataset="digits", binarize="static"),
    model=MLPConfig(latent=3, hidden=(6, 5)),
    method=VAEConfig(),
    optimizer=OptimizerConfig(warmup_steps=1),
    evaluation=EvaluationConfig(loss_every=4, sample_every=4),
)
GAN = dataclasses.replace(CONFIG, model=DCGANConfig(channels=4), method=GANConfig(latent=6))


def networks(config, info):
    return kinds.method(config).network(kinds.context(config, info))


def test_the_layers_are_ours():
    torch = pytest.importorskip("torch")
    ours = networks(CONFIG, labelled_images("digits", "train", (8, 8, 1), 10))
    x = jax.random.normal(jax.random.key(0), (4, 8, 8, 1))
    params = initialize(ours, jax.random.key(1), jax.random.split(jax.random.key(2), 4), x)["params"]
    theirs = torch_vae.layers(CONFIG, 64)
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.size for p in jax.tree.leaves(params))

    encoder, decoder = params["encoder"], params["decoder"]
    dense = [encoder["hidden_0"], encoder["hidden_1"], params["parameters"]]
    dense += [decoder["hidden_0"], decoder["hidden_1"], decoder["out"]]
    linear = [layer for layer in theirs.modules() if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        for mine, other in zip(dense, linear, strict=True):
            other.weight.copy_(torch.tensor(np.asarray(mine["kernel"]).T.copy()))
            other.bias.copy_(torch.tensor(np.asarray(mine["bias"]) + 0.1))
            mine["bias"] = mine["bias"] + 0.1
        parameters = theirs["encoder"](torch.tensor(np.asarray(x)).flatten(1))
        logits = theirs["decoder"](parameters[:, :3])

    def apply(method, *args):
        return ours.apply({"params": params}, *args, method=method)

    posterior = apply("posterior", x)
    expected = jnp.concatenate([posterior.mean, posterior.log_variance], -1)
    np.testing.assert_allclose(parameters, expected, atol=1e-5)
    np.testing.assert_allclose(logits.reshape(4, 8, 8, 1), apply("decode", posterior.mean), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "hidden"), [((8, 8, 1), None), ((28, 28, 1), 5), ((28, 28, 1), None), ((32, 32, 3), None)]
)
def test_the_networks_of_the_gan_are_ours(shape, hidden):
    """Their layers, one by one, are compared with ours in tests/parity."""
    torch = pytest.importorskip("torch")
    config = dataclasses.replace(GAN, model=DCGANConfig(4, hidden))
    ours = networks(config, labelled_images("", "", shape))
    z, x = jnp.zeros((2, 6)), jnp.zeros((2, *shape))
    theirs = torch_gan.generator(config, shape), torch_gan.discriminator(config, shape)
    given = torch.zeros(2, 6, 1, 1), torch.zeros(2, shape[2], *shape[:2])
    for mine, other, argument, tensor in zip(ours, theirs, (z, x), given, strict=True):
        params = jax.eval_shape(lambda x, net=mine: net.init(jax.random.key(0), x), argument)["params"]
        sizes = sorted(p.size for p in jax.tree.leaves(params))
        assert sizes == sorted(p.numel() for p in other.parameters())
        assert tuple(other(tensor).shape) == ((2, shape[2], *shape[:2]) if mine is ours[0] else (2, 1, 1, 1))


@pytest.mark.parametrize("config", [CONFIG, GAN], ids=["VAE", "GAN"])
def test_is_measured(config):
    pytest.importorskip("torch")
    options = Options(repeats=1, seconds=0.01, against=("one-step", "torch"), fresh=False)
    against = measure("train", config, options, {})["against"]
    assert list(against) == ["one-step", "torch"]
    assert all(one["ratio"]["median"] > 0 for one in against.values())
    assert against["one-step"]["memory"] and not against["torch"]["memory"]
    assert np.float32(1e-40) * np.float32(1) > 0, "numbers below the normal ones are flushed to 0 ever after"


def test_steps_of_a_dispatch_are_counted():
    several, one = (baselines.workloads.train(CONFIG), baselines.BUILT_IN["train"]["one-step"](CONFIG))
    assert (several.images, one.images) == (4 * 8, 8)


@pytest.mark.parametrize(
    "changed",
    [
        {"method": DiffusionConfig()},
        {"method": dataclasses.replace(CONFIG.method, beta=2.0)},
        {"method": dataclasses.replace(CONFIG.method, free_bits=1.0)},
        {"model": dataclasses.replace(CONFIG.model, posterior_flow="iaf")},
        {"method": dataclasses.replace(CONFIG.method, likelihood="gaussian")},
    ],
)
def test_something_else(changed, monkeypatch):
    monkeypatch.setattr(torch_vae.libraries, "why_no_torch", lambda: None)
    with pytest.raises(UserError, match="knows the plain VAE of perceptrons"):
        torch_vae.textbook(dataclasses.replace(CONFIG, **changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"method": dataclasses.replace(GAN.method, penalty="r1")},
        {"method": dataclasses.replace(GAN.method, discriminator_steps=2)},
        {"model": dataclasses.replace(GAN.model, discriminator_norm="none")},
        {"model": MLPConfig()},
    ],
)
def test_another_gan(changed, monkeypatch):
    monkeypatch.setattr(torch_gan.libraries, "why_no_torch", lambda: None)
    with pytest.raises(UserError, match="knows the plain DCGAN"):
        baselines.in_torch(dataclasses.replace(GAN, **changed))
