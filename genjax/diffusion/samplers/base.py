"""What a sampler is: a pair of pure functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Key

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array, PyTree


class Sampler(NamedTuple):
    """A sampler. `genjax.diffusion.sampling.sample` is the loop that runs it.

    Attributes:
        init: ``(x_T [N, ...]) -> carry``, what it remembers between steps: earlier estimates for a multistep
            method, ``()`` for most.
        step: ``(keys [N], carry, x [N, ...], t, s, denoise, schedule) -> (carry, x_s [N, ...])``: from time t
            to s < t, both scalar arrays. It may call `denoise` any number of times. Random numbers come from
            `keys`, one per sample (see `normal`). It knows the schedule by its `Schedule` methods only, and
            must be finite at s = 0, where sigma is 0 and the log-SNR inf.
    """

    init: Callable[[Array], PyTree]
    step: Callable[[Array, PyTree, Array, Array, Array, Denoiser, Schedule], tuple[PyTree, Array]]


def stateless(x_T: Array) -> tuple[()]:
    """The `init` of samplers that remember nothing between steps."""
    del x_T
    return ()


def normal(
    keys: Key[Array, "N"], shape: tuple[int, ...], dtype: Any = jnp.float32
) -> Float[Array, "N *shape"]:
    """Standard normal noise, row i from ``keys[i]`` alone.

    Drawn in float32 and then cast, so that the noise of a key is the same in every precision.
    """
    return jax.vmap(lambda key: jax.random.normal(key, shape, jnp.float32))(keys).astype(dtype)
