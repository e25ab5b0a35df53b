"""A network and a method that compile in a second, for tests of what surrounds them."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax.conditions import label_or_null, present, select
from genjax.methods import update
from genjax.methods.averages import averaged
from genjax.methods.diffusion.diffusion import denoiser_of
from genjax.methods.kind import MethodKind
from genjax.models.kind import NetworkKind, num_classes, options
from genjax.nn import initialize
from genjax.typing import Method


class Toy(nn.Module):
    """A perceptron that is told a class and a vector of attributes."""

    width: int = 8
    num_classes: int | None = None
    attributes: bool = False

    @nn.compact
    def __call__(self, x, c_noise, condition=None, *, dropout_index=None):
        condition, parts = condition or {}, [x.reshape(len(x), -1), c_noise[:, None]]
        if self.num_classes is not None:
            label = label_or_null(condition, "label", self.num_classes, len(x))
            parts.append(jax.nn.one_hot(label, self.num_classes + 1))
        if self.attributes:
            parts.append(self.told(condition, len(x)))
        h = nn.silu(nn.Dense(self.width)(jnp.concatenate(parts, 1)))
        return nn.Dense(x[0].size)(h).reshape(x.shape)

    @nn.compact
    def told(self, condition, batch):
        """float[B,4]: the attributes and a one, or zeros where they are missing."""
        if "attributes" not in condition:
            return jnp.zeros((batch, 4))
        values = jnp.concatenate([condition["attributes"], jnp.ones((batch, 1))], 1)
        mask = present(condition, "attributes")
        return values if mask is None else jnp.where(mask[:, None], values, 0.0)


@dataclasses.dataclass(frozen=True)
class ToyConfig:
    """The network.

    Attributes:
        width: Width of the hidden layer.
    """

    width: int = 8


def _build(config, image_shape, conditions):
    return Toy(**options(config), num_classes=num_classes(conditions), attributes="attributes" in conditions)


NETWORK = NetworkKind(ToyConfig, {"denoiser": _build}, conditions=("label", "attributes"))


@dataclasses.dataclass(frozen=True)
class CopyConfig:
    """The training method: to be like a teacher.

    Attributes:
        teacher: The trained run.
    """

    teacher: str | None = None
    class_conditional: bool = True
    ema_decay: float = 0.5


def _copy(context):
    teacher, network = context.frozen["teacher"], denoiser_of(context)
    theirs, names = denoiser_of(teacher.context), tuple(context.conditions)
    optimizer = context.optimizer()

    def outputs(module, params, batch):
        noise = jnp.full(len(batch["image"]), 0.5)
        return module.apply({"params": params}, batch["image"], noise, select(batch, names))

    def init(key, batch):
        blank = update.example_condition(batch, names)
        image = jnp.zeros((1, *context.image_shape))
        params = initialize(network, key, image, jnp.zeros(1), blank)["params"]
        return update.start(params, optimizer, context.average, frozen=teacher.params)

    def losses(params, frozen, batch):
        wanted = outputs(theirs, frozen, batch)
        return jnp.square(outputs(network, params, batch) - wanted).mean((1, 2, 3))

    def step(key, state, batch):
        def loss(params, key, batch):
            return losses(params, state.frozen, batch).mean(), {}

        metrics, grads = context.gradient(loss, state.params, key, batch)
        return update.advance(state, optimizer, grads, context.average), metrics

    def evaluate(key, state, batch):
        return {"loss": losses(averaged(state), state.frozen, batch)}

    def sample(keys, state, condition):
        noise = jax.vmap(lambda key: jax.random.normal(key, context.image_shape))(keys)
        return jnp.clip(outputs(network, averaged(state), {"image": noise, **condition}), -1, 1)

    return Method(init, step, evaluate, sample)


METHOD = MethodKind(CopyConfig, "denoiser", _copy, denoiser_of, sampling=("num_steps",), frozen=("teacher",))
