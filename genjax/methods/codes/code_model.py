"""What a prior over codes needs of the first stage that makes them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from genjax.typing import Array, Key, TrainState


class CodeModel(NamedTuple):
    """Images to integer codes of one or more levels, and back; `state` is the first stage's `TrainState`.

    Attributes:
        encode: ``(state, image float32[B,H,W,C] in [-1, 1]) -> (int32[B,h,w], ...)``, coarsest level first.
        decode: ``(state, codes) -> float32[B,H,W,C]`` in [-1, 1].
        shapes: h, w of each level.
        num_codes: K of each level: its codes are in [0, K).
    """

    encode: Callable[[TrainState, Array], tuple[Array, ...]]
    decode: Callable[[TrainState, tuple[Array, ...]], Array]
    shapes: tuple[tuple[int, int], ...]
    num_codes: tuple[int, ...]


def reconstruct(model: CodeModel, state: TrainState, image: Array) -> Array:
    """float32[B,H,W,C] in [-1, 1] -> what is left of it after encoding and decoding."""
    return model.decode(state, model.encode(state, image))


def uniform(model: CodeModel, keys: Key) -> tuple[Array, ...]:
    """Codes int32[N,h,w] of each level of which all are equally likely; `keys`: Key[N]."""

    def draw(key: Key, level: int) -> Array:
        key = jax.random.fold_in(key, level)
        return jax.random.randint(key, model.shapes[level], 0, model.num_codes[level], jnp.int32)

    return tuple(jax.vmap(draw, (0, None))(keys, level) for level in range(len(model.shapes)))
