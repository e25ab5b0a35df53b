"""Perceptrons as encoder and decoder of one code, for variational and plain autoencoders."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from genjax.models.kind import num_classes
from genjax.models.labels import with_label
from genjax.models.vae.vae import PosteriorFlow, PriorFlow, one_code
from genjax.ranges import Count, Counts
from genjax.typing import Array, Condition


class MLPEncoder(nn.Module):
    """A perceptron on the pixels; without hidden layers, the pixels.

    Attributes:
        hidden: widths of the layers.
        num_classes: number of classes of a conditional network.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.models.vae.mlp import MLPEncoder
        >>> pixels, label = jnp.ones((2, 1, 2, 1)), {"label": jnp.array([1])}
        >>> MLPEncoder(hidden=(), num_classes=3).apply({}, pixels[:1], label).tolist()  # the pixels, and the class
        [[1.0, 1.0, 0.0, 1.0, 0.0]]
    """

    hidden: tuple[int, ...] = (512,)
    num_classes: int | None = None

    @nn.compact
    def __call__(self, x: Array, condition: Condition | None) -> Array:
        """float[B,H,W,C] -> float[B,F]."""
        h = with_label(x.reshape(x.shape[0], -1), condition, self.num_classes)
        for i, width in enumerate(self.hidden):
            h = nn.relu(nn.Dense(width, name=f"hidden_{i}")(h))
        return h


class MLPDecoder(nn.Module):
    """A perceptron to the pixels.

    Attributes:
        outputs: (H, W, P) of the outputs.
        hidden: widths of the layers.
        num_classes: number of classes of a conditional network.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.models.vae.mlp import MLPDecoder
        >>> network, z = MLPDecoder((8, 8, 3), hidden=(16,), num_classes=10), jnp.zeros((2, 4))
        >>> y, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), z, {"label": jnp.array([3, 7])})
        >>> y.shape, variables["params"]["hidden_0"]["kernel"].shape  # 4 latent variables and 10 classes
        ((2, 8, 8, 3), (14, 16))
    """

    outputs: tuple[int, int, int]
    hidden: tuple[int, ...] = (512,)
    num_classes: int | None = None

    @nn.compact
    def __call__(self, z: Array, condition: Condition | None) -> Array:
        """float[B,D] -> float[B,H,W,P]."""
        h = with_label(z, condition, self.num_classes)
        for i, width in enumerate(self.hidden):
            h = nn.relu(nn.Dense(width, name=f"hidden_{i}")(h))
        return nn.Dense(math.prod(self.outputs), name="out")(h).reshape(-1, *self.outputs)


@dataclasses.dataclass(frozen=True)
class MLPConfig:
    """The networks: perceptrons (genjax.models.vae.mlp).

    Attributes:
        latent: Number of latent variables.
        hidden: Widths of the encoder's layers. The decoder has the same widths in reverse.
        posterior_flow: Normalising flow that transforms the posterior's normal distribution.
        prior_flow: Normalising flow that transforms the prior's normal distribution.
        flow_steps: Number of steps of each flow.
    """

    latent: Count = 16
    hidden: Counts = (512,)
    posterior_flow: PosteriorFlow = "none"
    prior_flow: PriorFlow = "none"
    flow_steps: Count = 4


def _halves(
    config: MLPConfig, outputs: tuple[int, int, int], conditions: Mapping[str, Any]
) -> tuple[nn.Module, nn.Module]:
    classes = num_classes(conditions)
    return MLPEncoder(config.hidden, classes), MLPDecoder(outputs, config.hidden[::-1], classes)


NETWORK = one_code(MLPConfig, _halves, small={"latent": 4, "hidden": (16,)})
