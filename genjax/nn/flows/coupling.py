"""A flow of affine couplings: one half of the components scales and shifts the other half."""

import flax.linen as nn
import jax.numpy as jnp

from genjax.typing import Array, UserError


class Conditioner(nn.Module):
    """A perceptron that starts at zero, so that the coupling starts as the identity.

    Attributes:
        outputs: number of outputs.
        hidden: width of each hidden layer.
    """

    outputs: int
    hidden: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Array, context: Array | None) -> Array:
        """float[B,D], float[B,E] -> float[B,outputs]."""
        h = x if context is None else jnp.concatenate([x, context], axis=-1)
        for i, width in enumerate(self.hidden):
            h = nn.silu(nn.Dense(width, name=f"hidden_{i}")(h))
        return nn.Dense(self.outputs, kernel_init=nn.initializers.zeros, name="out")(h)


class RealNVP(nn.Module):
    """Affine couplings; a half of the components scales and shifts the other, and the next coupling swaps them.

    Both directions cost the same. The components of a half are every second one.

    Attributes:
        couplings: number of couplings.
        hidden: widths of the hidden layers of each coupling's network.
        max_log_scale: bound of the logarithm of a coupling's scale, approached softly.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.nn import flows
        >>> flow, u = flows.RealNVP(couplings=2, hidden=(8,)), jnp.array([[0.5, -1.0, 2.0]])
        >>> (z, log_det), variables = jax.jit(flow.init_with_output)(jax.random.key(0), u)
        >>> z.tolist(), log_det.tolist()  # at initialisation the identity
        ([[0.5, -1.0, 2.0]], [0.0])

    References:
        Dinh et al., "Density estimation using Real NVP" (2017), sections 3.2 and 3.5.
    """

    couplings: int = 4
    hidden: tuple[int, ...] = (64,)
    max_log_scale: float = 2.0

    def __call__(self, u: Array, context: Array | None = None) -> tuple[Array, Array]:
        """See `forward`."""
        return self.forward(u, context)

    def forward(self, u: Array, context: Array | None = None) -> tuple[Array, Array]:
        """float[B,D], float[B,E] -> z float[B,D], log|det dz/du| float[B].

        Raises:
            UserError: if D is below 2.
        """
        halves, log_det = _halves(u), jnp.zeros(len(u), u.dtype)
        for i in range(self.couplings):
            fixed, moved = halves
            log_scale, shift = self._affine(i, u.shape[1], fixed, context)
            halves = (moved * jnp.exp(log_scale) + shift, fixed)
            log_det = log_det + log_scale.sum(-1)
        return _join(halves if self.couplings % 2 == 0 else halves[::-1]), log_det

    def inverse(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """float[B,D], float[B,E] -> u float[B,D], log|det du/dz| float[B].

        Raises:
            UserError: if D is below 2.
        """
        halves, log_det = _halves(z), jnp.zeros(len(z), z.dtype)
        if self.couplings % 2:
            halves = halves[::-1]
        for i in reversed(range(self.couplings)):
            moved, fixed = halves
            log_scale, shift = self._affine(i, z.shape[1], fixed, context)
            halves = (fixed, (moved - shift) * jnp.exp(-log_scale))
            log_det = log_det - log_scale.sum(-1)
        return _join(halves), log_det

    @nn.compact
    def _affine(self, i: int, size: int, fixed: Array, context: Array | None) -> tuple[Array, Array]:
        """Log-scale and shift of coupling `i`, each of the width of the half that is moved."""
        network = Conditioner(2 * (size - fixed.shape[1]), self.hidden, name=f"coupling_{i}")
        log_scale, shift = jnp.split(network(fixed, context), 2, axis=-1)
        return self.max_log_scale * jnp.tanh(log_scale / self.max_log_scale), shift


def _halves(x: Array) -> tuple[Array, Array]:
    if x.shape[1] < 2:
        raise UserError(f"vectors of {x.shape[1]} components: a coupling needs at least 2")
    return x[:, ::2], x[:, 1::2]


def _join(halves: tuple[Array, ...]) -> Array:
    even, odd = halves
    size = even.shape[1] + odd.shape[1]
    return jnp.zeros((len(even), size), even.dtype).at[:, ::2].set(even).at[:, 1::2].set(odd)
