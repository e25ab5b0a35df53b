"""Keys by position: randomness is a function of where something is, not of what was drawn before."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Key

from genjax.typing import Array


def fold_in(keys: Key[Array, "N"], position: ArrayLike) -> Key[Array, "N"]:
    """Each key folded with the same number: for several draws that are made with one key a sample.

    Example:
        >>> import jax
        >>> from genjax import random
        >>> keys = jax.random.split(jax.random.key(0), 3)
        >>> bool(random.fold_in(keys, 7)[1] == jax.random.fold_in(keys[1], 7))
        True
    """
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, position)


def example_keys(key: Key[Array, ""], index: Int[Array, "B"]) -> Key[Array, "B"]:
    """A key for each example, from the step's key and the example's position in the global batch.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax import random
        >>> key = jax.random.key(0)
        >>> whole = random.example_keys(key, jnp.arange(4))
        >>> bool((random.example_keys(key, jnp.array([2, 3])) == whole[2:]).all())  # half of the batch: the same keys
        True
    """
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)


_CHOICE = 2**31 - 1
"""A position that no sampler reaches: what is chosen must say nothing of what is then drawn with the same key."""


def choose(keys: Key[Array, "N"], weights: Float[ArrayLike, "M"]) -> Int[Array, "N"]:
    """Which of M, drawn by their weights, for each key: a function of the key and the weights alone.

    By the inverse of the distribution function, so that weights that change a little change few choices.

    Args:
        keys: one for each choice. It may draw other things, too: this takes its position 2^31 - 1 (see `fold_in`).
        weights: at least 0, of sum 1; one that is 0 is never chosen.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax import random
        >>> keys = jax.random.split(jax.random.key(0), 1000)
        >>> chosen = random.choose(keys, jnp.array([0.25, 0.75, 0.0]))
        >>> bool(0.7 < chosen.mean() < 0.8), int(chosen.max())
        (True, 1)
    """
    w = jnp.asarray(weights, jnp.float32)
    uniform = jax.vmap(jax.random.uniform)(fold_in(keys, _CHOICE))  # in [0, 1)
    last = jnp.max(jnp.where(w > 0, jnp.arange(w.size), 0))  # rounding of the sum must not reach beyond it
    return jnp.minimum(jnp.searchsorted(jnp.cumsum(w), uniform, side="right"), last)
