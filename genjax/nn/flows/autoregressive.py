"""Inverse autoregressive flow: each component is scaled and shifted by a function of the components before it."""

import itertools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from genjax.typing import Array

# Sigmoid of it is 0.88: a step starts as little more than the identity.
_GATE_BIAS = 2.0


class MADE(nn.Module):
    """A perceptron whose outputs for component i depend on the components before i only, by masks on its weights.

    Attributes:
        hidden: widths of the hidden layers. To depend on all components before it, an output needs at least D units.
        outputs: number of outputs for each component; zero at the start but for a bias.

    References:
        Germain et al., "MADE: Masked Autoencoder for Distribution Estimation" (2015), equations 8 and 9.
    """

    hidden: tuple[int, ...]
    outputs: int

    @nn.compact
    def given(self, size: int, context: Array | None) -> Callable[[Array], Array]:
        """The function float[B,D] -> float[B,outputs,D], D = `size`, for a context float[B,E].

        What does not depend on its argument is computed now, once for all calls.
        """
        layers = []
        masks = _masks(size, self.hidden)
        for i, mask in enumerate(masks):
            last = i == len(masks) - 1
            shape = (*mask.shape, self.outputs) if last else mask.shape
            init = nn.initializers.zeros if last else nn.initializers.lecun_normal()
            kernel = self.param(f"kernel_{i}", init, shape)
            bias = self.param(f"bias_{i}", nn.initializers.zeros, shape[1:])
            kernel = (kernel * jnp.asarray(mask, kernel.dtype).reshape(mask.shape + (1,) * last)).reshape(
                len(mask), -1
            )
            layers.append((kernel, bias.reshape(1, -1)))
        if context is not None:
            first, bias = layers[0]
            width = first.shape[1]
            layers[0] = first, bias + nn.Dense(width, use_bias=False, name="context")(context)

        def network(x: Array) -> Array:
            (kernel, bias), *others = layers
            h = x @ kernel + bias
            for kernel, bias in others:
                h = nn.silu(h) @ kernel + bias
            return jnp.moveaxis(h.reshape(len(x), size, self.outputs), -1, 1)

        return network


class InverseAutoregressive(nn.Module):
    """Steps ``z = sigma * u + (1 - sigma) * m``, where m and sigma of a component depend on the components of u before
    it; every second step takes them in reversed order.

    `forward` is parallel in the components, `inverse` takes them one after the other: see `Inverse` for the opposite.

    Attributes:
        steps: number of steps.
        hidden: widths of the hidden layers of each step's network.

    Example:
        >>> import jax, jax.numpy as jnp, numpy as np
        >>> from genjax.nn import flows
        >>> flow, u = flows.InverseAutoregressive(steps=1, hidden=(4,)), jnp.array([[1.0, 2.0]])
        >>> (z, log_det), variables = jax.jit(flow.init_with_output)(jax.random.key(0), u)
        >>> print(np.asarray(z).round(3), np.asarray(log_det).round(3))  # sigma is 0.881 at first, and m is 0
        [[0.881 1.762]] [-0.254]

    References:
        Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow" (2016), equations 12 to 14.
    """

    steps: int = 2
    hidden: tuple[int, ...] = (64,)

    def setup(self) -> None:
        self.networks = [MADE(self.hidden, outputs=2) for _ in range(self.steps)]

    def __call__(self, u: Array, context: Array | None = None) -> tuple[Array, Array]:
        """See `forward`."""
        return self.forward(u, context)

    def forward(self, u: Array, context: Array | None = None) -> tuple[Array, Array]:
        """float[B,D], float[B,E] -> z float[B,D], log|det dz/du| float[B]."""
        log_det = jnp.zeros(len(u), u.dtype)
        for i, made in enumerate(self.networks):
            u = _ordered(u, i)
            m, log_sigma, log_rest = _gate(made.given(u.shape[1], context)(u))
            u = _ordered(jnp.exp(log_sigma) * u + jnp.exp(log_rest) * m, i)
            log_det = log_det + log_sigma.sum(-1)
        return u, log_det

    def inverse(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """float[B,D], float[B,E] -> u float[B,D], log|det du/dz| float[B]."""
        log_det = jnp.zeros(len(z), z.dtype)
        for i, made in reversed(list(enumerate(self.networks))):
            network, z = made.given(z.shape[1], context), _ordered(z, i)

            def component(d: Array, u: Array, network=network, z=z) -> Array:
                # Of component d only: those after it are not known yet, and their values may be huge.
                z_d, outputs = (jax.lax.dynamic_index_in_dim(x, d, -1) for x in (z, network(u)))
                m, log_sigma, log_rest = _gate(outputs)
                u_d = (z_d - jnp.exp(log_rest) * m) * jnp.exp(-log_sigma)
                return jax.lax.dynamic_update_index_in_dim(u, u_d, d, -1)

            u = jax.lax.fori_loop(0, z.shape[1], component, jnp.zeros_like(z))
            _, log_sigma, _ = _gate(network(u))
            log_det = log_det - log_sigma.sum(-1)
            z = _ordered(u, i)
        return z, log_det


def _masks(size: int, hidden: tuple[int, ...]) -> list[np.ndarray]:
    """bool[inputs,outputs] of each layer: what a unit may see, from how many of the first components it knows."""
    # A unit that knows none of them sees the context alone, on which the first component may depend too.
    known = [np.arange(1, size + 1), *(np.arange(width) * size // width for width in hidden)]
    masks = [below[:, None] <= above[None] for below, above in itertools.pairwise(known)]
    return [*masks, known[-1][:, None] < np.arange(1, size + 1)[None]]


def _gate(outputs: Array) -> tuple[Array, Array, Array]:
    """float[B,2,D] -> m, log(sigma), log(1 - sigma), each float[B,D]."""
    m, s = outputs[:, 0], outputs[:, 1] + _GATE_BIAS
    return m, jax.nn.log_sigmoid(s), jax.nn.log_sigmoid(-s)


def _ordered(x: Array, step: int) -> Array:
    return x[:, ::-1] if step % 2 else x
