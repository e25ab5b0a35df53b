"""What a sampler is: a pair of pure functions."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Key

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array, PyTree, UserError

_LARGEST_LAMBDA = 30.0


class Sampler(NamedTuple):
    """A sampler. `genjax.diffusion.sampling.sample` is the loop that runs it.

    Attributes:
        init: ``(x_T [N, ...], times [K+1]) -> carry``, what it remembers between steps: earlier estimates for a
            multistep method, ``()`` for most. Only the number of times may be compiled in. A time that is repeated, as
            the last one may be many times, is no step: `count_steps` says how many there are.
        step: ``(keys [N], carry, x [N, ...], t, s, denoise, schedule) -> (carry, x_s [N, ...])``: from time t
            to s < t, both scalar arrays. It may call `denoise` any number of times. Random numbers come from
            `keys`, one per sample (see `normal`). It knows the schedule by its `Schedule` methods only, and
            must be finite at s = 0, where sigma is 0 and the log-SNR inf.
    """

    init: Callable[[Array, Array], PyTree]
    step: Callable[[Array, PyTree, Array, Array, Array, Denoiser, Schedule], tuple[PyTree, Array]]


Needs: TypeAlias = Literal["denoiser", "consistency"]
"""What a sampler must be given as `denoise`: "denoiser", the mean of x_0 given x_t; "consistency", the end of the
trajectory of the probability-flow ODE through x_t, to which a consistency model jumps."""

_NEEDS = "_needs"
_Make = TypeVar("_Make", bound=Callable[..., Sampler])


class SamplerKind(NamedTuple):
    """A sampler that can be chosen by name. It is called as its constructor is.

    Attributes:
        make: the constructor; it can be called without arguments.
        needs: what it must be given as `denoise`.
    """

    make: Callable[..., Sampler]
    needs: Needs = "denoiser"

    def __call__(self, *args: Any, **options: Any) -> Sampler:
        """The sampler, with the options of its constructor."""
        return self.make(*args, **options)


def needs(what: Needs) -> Callable[[_Make], _Make]:
    """Marks the constructor of a sampler that needs something else than a denoiser.

    Example:
        >>> from genjax.diffusion.samplers import Sampler, base, consistency
        >>> @base.needs("consistency")
        ... def one_jump() -> Sampler:
        ...     return consistency(sigma_min=0.002)
        >>> base.kind(one_jump).needs, base.kind(lambda: consistency()).needs
        ('consistency', 'denoiser')
    """

    def mark(make: _Make) -> _Make:
        setattr(make, _NEEDS, what)
        return make

    return mark


def kind(make: Callable[..., Sampler]) -> SamplerKind:
    """The constructor of a sampler with what it needs, as `needs` has marked it."""
    return SamplerKind(make, getattr(make, _NEEDS, "denoiser"))


def stateless(x_T: Array, times: Array) -> tuple[()]:
    """The `init` of samplers that remember nothing between steps.

    Args:
        x_T: float[N, ...], not used.
        times: float[K+1], not used.
    """
    del x_T, times
    return ()


def distinct(times: Float[Array, "K_plus_1"]) -> Float[Array, "K_plus_1"]:
    """The times without those that repeat the one before; filled up with the last one to as many as before."""
    is_new = jnp.concatenate([jnp.ones(1, bool), times[1:] != times[:-1]])
    return jnp.full_like(times, times[-1]).at[jnp.cumsum(is_new) - 1].set(times)


def count_steps(times: Float[Array, "K_plus_1"]) -> Int[Array, ""]:
    """How many steps a grid has: as many as pairs of different times."""
    return jnp.sum(times[1:] != times[:-1])


def half_log_snr(schedule: Schedule, t: Float[ArrayLike, "*batch"]) -> Float[Array, "*batch"]:
    """lambda = log(alpha / sigma), the time of exponential integrators, kept within [-30, 30].

    So that differences stay finite where alpha or sigma is 0; beyond, there is nothing of the data, or of the noise,
    that float32 could show.

    References:
        Lu et al., "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling" (2022), section 3.
    """
    return jnp.clip(0.5 * schedule.log_snr(t), -_LARGEST_LAMBDA, _LARGEST_LAMBDA)


def normal(
    keys: Key[Array, "N"], shape: tuple[int, ...], dtype: Any = jnp.float32
) -> Float[Array, "N *shape"]:
    """Standard normal noise, row i from ``keys[i]`` alone.

    Drawn in float32 and then cast, so that the noise of a key is the same in every precision.

    Args:
        keys: one key per sample.
        shape: shape of one sample.
        dtype: of the result.

    Example:
        >>> import jax
        >>> from genjax.diffusion import samplers
        >>> keys = jax.random.split(jax.random.key(0), 3)
        >>> noise = samplers.normal(keys, (2, 2))
        >>> noise.shape, bool((samplers.normal(keys[2:], (2, 2))[0] == noise[2]).all())  # whatever the batch
        ((3, 2, 2), True)
    """
    return jax.vmap(lambda key: jax.random.normal(key, shape, jnp.float32))(keys).astype(dtype)


def check_range(name: str, value: ArrayLike, low: float | int, high: float | int) -> None:
    """Raises a UserError unless all values, if they are concrete, are in [low, high].

    Args:
        name: name of the argument.
        value: a number, or an array of any shape; arrays of jax are not checked.
        low: least valid value.
        high: largest valid value.
    """
    if isinstance(value, int | float | np.ndarray | np.generic) and not np.all(
        (value >= low) & (value <= high)
    ):
        raise UserError(f"{name} = {value} must be in [{low}, {high}]")
