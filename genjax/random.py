"""Keys by position: randomness is a function of where something is, not of what was drawn before."""

import jax
from jax.typing import ArrayLike
from jaxtyping import Int, Key

from genjax.typing import Array


def fold_in(keys: Key[Array, "N"], position: ArrayLike) -> Key[Array, "N"]:
    """Each key folded with the same number: for several draws that are made with one key a sample."""
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, position)


def example_keys(key: Key[Array, ""], index: Int[Array, "B"]) -> Key[Array, "B"]:
    """A key for each example, from that of the step and the example's position in the global batch."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)
