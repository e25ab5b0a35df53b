"""Perceptrons and convolutions of autoencoders: what a label that is missing is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.conditions import mask_name
from genjax.models.vae.autoencoder import Autoencoder
from genjax.models.vae.conv import ConvDecoder, ConvEncoder
from genjax.models.vae.mlp import MLPDecoder, MLPEncoder
from genjax.models.vae.vae import VAE, SharedScale
from genjax.typing import UserError

SHAPE, CLASSES, LATENT = (4, 4, 1), 3, 2
KEYS = jax.random.split(jax.random.key(0), 3)
X = jax.random.normal(jax.random.key(1), (3, *SHAPE))
Z = jax.random.normal(jax.random.key(2), (3, LATENT))
LABEL = {"label": jnp.array([2, 0, 1])}

HALVES = {
    "mlp": lambda classes: (MLPEncoder((6,), classes), MLPDecoder(SHAPE, (6,), classes)),
    "conv": lambda classes: (ConvEncoder((4,), 6, classes), ConvDecoder(SHAPE, (4,), 6, classes)),
}
NETWORKS = {
    "vae": lambda encoder, decoder: VAE(encoder, SharedScale(decoder), LATENT),
    "autoencoder": lambda encoder, decoder: Autoencoder(encoder, decoder, LATENT),
}
ARGUMENTS = {
    "vae": {"infer": (KEYS, X), "encode": (X,), "decode": (Z,), "posterior": (X,), "generate": (KEYS,)},
    "autoencoder": {"__call__": (X,), "encode": (X,), "decode": (Z,)},
}


@functools.cache
def subject(halves, kind, classes=CLASSES):
    network = NETWORKS[kind](*HALVES[halves](classes))
    first = next(iter(ARGUMENTS[kind].values()))
    return network, network.init(jax.random.key(0), *first, LABEL if classes else None)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("halves", HALVES)
def test_a_label_that_is_masked_is_one_that_is_missing(halves, kind):
    """Of one example, or of all: bit for bit, in all functions."""
    network, variables = subject(halves, kind)
    for name, arguments in ARGUMENTS[kind].items():
        apply = functools.partial(network.apply, variables, *arguments, method=name)
        missing, given = apply({}), apply(LABEL)
        jax.tree.map(np.testing.assert_array_equal, apply(None), missing)
        for there in (jnp.zeros(3, bool), jnp.array([True, False, True])):
            masked = apply({**LABEL, mask_name("label"): there})

            def expected(a, b, there=there):
                return jnp.where(there.reshape(-1, *[1] * (a.ndim - 1)), a, b)

            jax.tree.map(np.testing.assert_array_equal, masked, jax.tree.map(expected, given, missing))
        assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (missing, given)), strict=True)), name


@pytest.mark.parametrize("halves", HALVES)
def test_without_a_label_its_code_is_zero(halves):
    """The weights of the classes have no say then."""
    network, variables = subject(halves, "autoencoder")

    def without_classes(path, x):
        """Zeros where the last inputs of the first layers are the classes."""
        first = {
            "mlp": ("encoder/hidden_0", "decoder/hidden_0"),
            "conv": ("encoder/down_0", "decoder/hidden"),
        }
        name = "/".join(entry.key for entry in path[1:])
        classes = any(name == f"{layer}/kernel" for layer in first[halves])
        return x.at[..., -CLASSES:, :].set(0) if classes else x

    changed = jax.tree_util.tree_map_with_path(without_classes, variables)
    missing, of_none = network.apply(variables, X, {})[0], network.apply(changed, X, LABEL)[0]
    np.testing.assert_allclose(missing, of_none, atol=1e-6)
    assert jnp.abs(network.apply(variables, X, LABEL)[0] - missing).max() > 1e-3


@pytest.mark.parametrize("halves", HALVES)
def test_an_unconditional_network_refuses_a_label(halves):
    network, variables = subject(halves, "vae", None)
    with pytest.raises(UserError, match="label is given, but the network is unconditional"):
        network.apply(variables, X, LABEL, method="encode")
