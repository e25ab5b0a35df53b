"""Draws that every transform makes."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from genjax.typing import Array


def sometimes(key: Array, p: ArrayLike, value: Array, neutral: ArrayLike) -> Array:
    """`value`, of any shape, with probability `p`, else `neutral`; `value` must be drawn from another key."""
    return jnp.where(jax.random.uniform(key) < p, value, neutral)


def log_normal(key: Array, octaves: float) -> Array:
    """float[], 2 to the power of a normal number with standard deviation `octaves`."""
    return jnp.exp(octaves * math.log(2.0) * jax.random.normal(key))
