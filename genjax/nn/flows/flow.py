"""What a normalising flow is, and turning one round."""

from typing import Protocol

import flax.linen as nn

from genjax.typing import Array


class Flow(Protocol):
    """An invertible map of vectors, given a context."""

    def forward(self, u: Array, context: Array | None = None) -> tuple[Array, Array]:
        """float[B,D], float[B,E] -> z float[B,D], log|det dz/du| float[B]."""

    def inverse(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """float[B,D], float[B,E] -> u float[B,D], log|det du/dz| float[B]."""


class Inverse(nn.Module):
    """A flow with its directions swapped.

    An inverse autoregressive flow draws in parallel and gives densities of other points in sequence, which suits a
    posterior. Turned round it is a masked autoregressive flow: densities in parallel, which suits a prior.

    Attributes:
        flow: the flow.

    Example:
        >>> import jax, jax.numpy as jnp, numpy as np
        >>> from genjax.nn import flows
        >>> flow, u = flows.Inverse(flows.InverseAutoregressive(steps=1, hidden=(4,))), jnp.array([[1.0, 2.0]])
        >>> (z, log_det), variables = jax.jit(flow.init_with_output)(jax.random.key(0), u)
        >>> print(np.asarray(z).round(3), np.asarray(log_det).round(3))  # 1 / 0.881, see InverseAutoregressive
        [[1.135 2.271]] [0.254]

    References:
        Papamakarios et al., "Masked Autoregressive Flow for Density Estimation" (2017), section 3.2.
    """

    flow: Flow

    def __call__(self, u: Array, context: Array | None = None) -> tuple[Array, Array]:
        """See `forward`."""
        return self.forward(u, context)

    def forward(self, u: Array, context: Array | None = None) -> tuple[Array, Array]:
        """float[B,D], float[B,E] -> z float[B,D], log|det dz/du| float[B]."""
        return self.flow.inverse(u, context)

    def inverse(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """float[B,D], float[B,E] -> u float[B,D], log|det du/dz| float[B]."""
        return self.flow.forward(z, context)
