"""What a generator starts from: noise, and codes whose meaning it is to find."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from genjax.random import fold_in
from genjax.typing import Array, Key, UserError


class LatentPrior(NamedTuple):
    """A distribution of latent variables ``z = (noise, one-hot categorical codes, continuous codes)``.

    Attributes:
        noise: number of components of the noise.
        draw_noise: ``(key, shape) -> float[shape]``.
        categorical: number of values of each categorical code; they are equally likely.
        continuous: number of continuous codes, uniform in [-1, 1].
    """

    noise: int
    draw_noise: Callable[[Key, tuple[int, ...]], Array]
    categorical: tuple[int, ...] = ()
    continuous: int = 0

    @property
    def width(self) -> int:
        """Number of components of z."""
        return self.noise + sum(self.categorical) + self.continuous

    @property
    def has_codes(self) -> bool:
        """Whether there is anything but noise."""
        return bool(self.categorical or self.continuous)


def normal(width: int) -> LatentPrior:
    """Standard normal noise.

    Raises:
        UserError: a width below 1.

    Example:
        >>> from genjax.methods.gan import latent_prior
        >>> prior = latent_prior.normal(64)
        >>> prior.width, prior.has_codes
        (64, False)
    """
    return _noise(width, jax.random.normal)


def uniform(width: int) -> LatentPrior:
    """Noise that is uniform in [-1, 1].

    Raises:
        UserError: a width below 1.

    Example:
        >>> import jax
        >>> from genjax.methods.gan import latent_prior
        >>> z = latent_prior.draw(latent_prior.uniform(3), jax.random.split(jax.random.key(0), 100))
        >>> z.shape, bool(z.min() < -0.9), bool(abs(z).max() <= 1)
        ((100, 3), True, True)
    """
    return _noise(width, lambda key, shape: jax.random.uniform(key, shape, minval=-1.0))


def with_codes(prior: LatentPrior, categorical: tuple[int, ...] = (10,), continuous: int = 2) -> LatentPrior:
    """The noise of `prior`, and codes beside it.

    Args:
        prior: distribution of the noise.
        categorical: number of values of each categorical code, at least 2.
        continuous: number of continuous codes.

    Raises:
        UserError: if there is no code, or one with fewer than two values.

    Example:
        >>> from genjax.methods.gan import latent_prior
        >>> latent_prior.with_codes(latent_prior.normal(62), categorical=(10,), continuous=2).width
        74

    References:
        Chen et al., "InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial
        Nets" (2016), section 4.
    """
    if min((*categorical, 2)) < 2 or continuous < 0 or not (categorical or continuous):
        raise UserError(
            f"categorical={categorical}, continuous={continuous}: valid are at least one code, and categorical ones "
            "of 2 and more values"
        )
    return prior._replace(categorical=tuple(categorical), continuous=continuous)


def draw(prior: LatentPrior, keys: Key, temperature: Array | None = None, code: Array | None = None) -> Array:
    """Latent variables, one for each key.

    Args:
        prior: the distribution.
        keys: Key[N].
        temperature: float[N], factors of the noise; None: 1.
        code: int32[N], the values of the first categorical code; None: drawn as the others are.

    Returns:
        float[N,Z].

    Raises:
        UserError: a `code` where there is no categorical one.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.methods.gan import latent_prior
        >>> prior = latent_prior.with_codes(latent_prior.normal(2), categorical=(3,), continuous=0)
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> z = latent_prior.draw(prior, keys, code=jnp.array([0, 2]))
        >>> z.shape, z[:, 2:].tolist()  # the code comes after the noise
        ((2, 5), [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    """
    noise = _each(lambda key: prior.draw_noise(key, (prior.noise,)), fold_in(keys, 0))
    if temperature is not None:
        noise = noise * temperature[:, None]
    parts = [noise]
    if code is not None and not prior.categorical:
        raise UserError("code is given, but the latent variables have no categorical code")
    for i, count in enumerate(prior.categorical):
        values = _each(functools.partial(_one_of, count), fold_in(keys, 1 + i))
        parts.append(jax.nn.one_hot(values if i or code is None else code, count))
    if prior.continuous:
        last = fold_in(keys, 1 + len(prior.categorical))
        parts.append(_each(lambda key: jax.random.uniform(key, (prior.continuous,), minval=-1.0), last))
    return jnp.concatenate(parts, axis=1)


def codes(prior: LatentPrior, z: Array) -> tuple[tuple[Array, ...], Array]:
    """The codes in z float[N,Z]: one-hot categorical ones float[N,K_i], and continuous ones float[N,M]."""
    parts, start = [], prior.noise
    for count in prior.categorical:
        parts.append(z[:, start : start + count])
        start += count
    return tuple(parts), z[:, start:]


def _noise(width: int, draw_noise: Callable[[Key, tuple[int, ...]], Array]) -> LatentPrior:
    if width < 1:
        raise UserError(f"width={width}: valid are 1 and more")
    return LatentPrior(width, draw_noise)


def _one_of(count: int, key: Key) -> Array:
    return jax.random.randint(key, (), 0, count)


def _each(function: Callable[[Key], Array], keys: Key) -> Array:
    return jax.vmap(function)(keys)
