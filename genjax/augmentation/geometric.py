"""Transforms of place: flips, turns, moves and scales, composed into one affine map.

Each group is ``(key, p, size) -> float[3,3]``, the map from target to source pixels, (y, x, 1) from the middle of the
image of `size` (H, W), in homogeneous coordinates. Where one transform follows another, the map of the first is
applied last, so the product is from left to right.

Karras et al., "Training Generative Adversarial Networks with Limited Data" (2020), appendix B.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from genjax.augmentation.draws import log_normal, sometimes
from genjax.typing import Array

Size = tuple[int, int]


def blit(key: Array, p: ArrayLike, size: Size) -> Array:
    """float[3,3]: mirror left to right, turn by quarters, move by whole pixels: no pixel's value changes.

    A draw of the mirror is no mirror half of the time, and one of four turns is none. Moves are U(-1/8, 1/8) of height
    and width, rounded.
    """
    keys = jax.random.split(key, 6)
    mirror = sometimes(keys[0], p, 1.0 - 2.0 * jax.random.bernoulli(keys[1]), 1.0)
    quarters = sometimes(keys[2], p, jax.random.randint(keys[3], (), 0, 4), 0)
    # Cosines from a table: the cosines of rounded angles are not 0.
    cos, sin = jnp.array([1.0, 0.0, -1.0, 0.0])[quarters], jnp.array([0.0, 1.0, 0.0, -1.0])[quarters]
    move = jax.random.uniform(keys[4], (2,), minval=-0.125, maxval=0.125)
    move = jnp.round(sometimes(keys[5], p, move, 0.0) * jnp.array(size))
    return compose(_scale(jnp.ones(()), mirror), _turn(cos, sin), _move(move))


def geometric(key: Array, p: ArrayLike, size: Size) -> Array:
    """float[3,3]: scale, turn, stretch, turn and move.

    Scales are log-normal with a fifth of an octave, in both directions alike, and then inversely in the two. Turns are
    by any angle, each with the probability ``1 - sqrt(1 - p)``, so that one or both happen with p. Moves are normal
    with 1/8 of height and width.
    """
    keys = jax.random.split(key, 10)
    p_turn = 1.0 - jnp.sqrt(1.0 - p)

    def turn(key_if: Array, key_angle: Array) -> Array:
        angle = jax.random.uniform(key_angle, minval=-math.pi, maxval=math.pi)
        angle = sometimes(key_if, p_turn, angle, 0.0)
        return _turn(jnp.cos(angle), jnp.sin(angle))

    zoom = sometimes(keys[0], p, log_normal(keys[1], 0.2), 1.0)
    stretch = sometimes(keys[2], p, log_normal(keys[3], 0.2), 1.0)
    move = sometimes(keys[4], p, 0.125 * jax.random.normal(keys[5], (2,)), 0.0) * jnp.array(size)
    return compose(
        _scale(1 / zoom, 1 / zoom),
        turn(keys[6], keys[7]),
        _scale(stretch, 1 / stretch),
        turn(keys[8], keys[9]),
        _move(move),
    )


def compose(*maps: Array) -> Array:
    """The product, float[3,3], at full precision."""
    return functools.reduce(lambda a, b: jnp.matmul(a, b, precision="highest"), maps)


def _scale(y: Array, x: Array) -> Array:
    return jnp.diag(jnp.stack([y, x, jnp.ones(())]))


def _turn(cos: Array, sin: Array) -> Array:
    """Target to source of a turn, counter-clockwise where rows go down."""
    zero, one = jnp.zeros(()), jnp.ones(())
    rows = [[cos, sin, zero], [-sin, cos, zero], [zero, zero, one]]
    return jnp.stack([jnp.stack(row) for row in rows])


def _move(by: Array) -> Array:
    """Target to source of a move by (down, right)."""
    return jnp.eye(3).at[:2, 2].set(-by)
