"""What methods with a discriminator share."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from genjax.nn import initialize
from genjax.typing import Array, Batch, Key, PyTree, TrainState


def with_discriminator(
    state: TrainState,
    discriminator: nn.Module,
    optimizers: Mapping[str, optax.GradientTransformation],
    key: Key,
    batch: Batch,
) -> TrainState:
    """The state of a network and its discriminator.

    Args:
        state: state of the network alone.
        discriminator: ``network.apply(variables, images) -> (logits, features)``.
        optimizers: one for "network", one for "discriminator".
        key: key of the draws.
        batch: "image" float[B,H,W,C], of which only H, W and C matter.
    """
    image = jnp.zeros((1, *batch["image"].shape[1:]))
    params = {
        "network": state.params,
        "discriminator": initialize(discriminator, jax.random.fold_in(key, 1), image)["params"],
    }
    opt = {name: optimizer.init(params[name]) for name, optimizer in optimizers.items()}
    return dataclasses.replace(state, params=params, opt=opt)


def judge(discriminator: nn.Module, params: PyTree, images: Array) -> tuple[Array, tuple[Array, ...]]:
    """The logits of images float[B,H,W,C], float[B] or float[B,h,w], and the features (float[B,h_i,w_i,c_i], ...)."""
    result: Any = discriminator.apply({"params": params}, images)
    return result


def descend(
    optimizers: Mapping[str, optax.GradientTransformation], grads: PyTree, opt: PyTree, params: PyTree
) -> tuple[dict[str, PyTree], dict[str, PyTree]]:
    """One step of several optimizers, each with its own part of the parameters: these, and the optimizers' states."""
    new_params, new_opt = {}, {}
    for name, optimizer in optimizers.items():
        changes, new_opt[name] = optimizer.update(grads[name], opt[name], params[name])
        new_params[name] = optax.apply_updates(params[name], changes)
    return new_params, new_opt


def initialize_all(
    networks: Mapping[str, tuple[nn.Module, tuple[int, ...]]], key: Key
) -> tuple[dict[str, PyTree], dict[str, PyTree]]:
    """Parameters and other variables of networks by name, each given with the shape (H, W, C) of what it takes."""
    params, others = {}, {}
    for i, (name, (network, shape)) in enumerate(networks.items()):
        variables = dict(initialize(network, jax.random.fold_in(key, i), jnp.zeros((1, *shape))))
        params[name], others[name] = variables.pop("params"), variables
    return params, others
