"""What a generator gives: images of latent variables, whether or not it has a latent space of its own in between.

A plain generator is ``network.apply(variables, z, condition, train=...) -> images``. One with a latent space of its
own has two methods more, and its call, which takes ``(z, condition, keys, *, train)``, composes them::

    mapping(z float[B,Z], condition, *, train) -> w
    synthesis(w, keys Key[B], *, train) -> images float[B,H,W,C]

w is any pytree of floats with the leading axis B. The keys are of noise inside of the network, one for each image, so
that image i is the same in any batch. The functions here treat both alike: the w of a plain generator is z.

References:
    Karras, Laine and Aila, "A Style-Based Generator Architecture for Generative Adversarial Networks" (2019), figure 1.
"""

from typing import Any

import flax.linen as nn
import jax

from genjax.methods.variables import run
from genjax.nn import initialize
from genjax.random import fold_in
from genjax.typing import Array, Condition, Key, PyTree

_NOISE = 2**31 - 2
"""A position that no other draw of an image reaches: its latent variables count from 0."""


def noise_keys(keys: Key) -> Key:
    """Key[B]: of the noise inside of a generator, from the keys Key[B] of its images."""
    return fold_in(keys, _NOISE)


def has_latent_space(generator: nn.Module) -> bool:
    """Whether a generator has a mapping and a synthesis."""
    kind = type(generator)
    return all(callable(getattr(kind, name, None)) for name in ("mapping", "synthesis"))


def initial(generator: nn.Module, key: Key, z: Array, condition: Condition) -> dict[str, PyTree]:
    """The variables of a generator; of its arguments only the shapes matter.

    Args:
        generator: the network.
        key: key of the draws.
        z: float[1,Z].
        condition: condition of one example.
    """
    keys = (jax.random.split(key, 1),) if has_latent_space(generator) else ()
    return dict(initialize(generator, key, z, condition, *keys, train=False))


def latent(
    generator: nn.Module, variables: PyTree, z: Array, condition: Condition, *, train: bool = False
) -> tuple[PyTree, PyTree]:
    """What images are synthesised from.

    Args:
        generator: the network.
        variables: variables of the generator.
        z: float[B,Z], latent variables.
        condition: what the generator is told.
        train: as the network takes it.

    Returns:
        w, a pytree with the leading axis B, z itself for a plain generator; and the variables beside parameters after
        it, which are unchanged unless `train`.
    """
    if not has_latent_space(generator):
        return z, _beside_parameters(variables)
    return _apply(generator, variables, z, condition, train=train, method="mapping")


def image(
    generator: nn.Module,
    variables: PyTree,
    w: PyTree,
    keys: Key,
    condition: Condition,
    *,
    train: bool = False,
) -> tuple[Array, PyTree]:
    """Images, and the variables beside parameters after it, as in `latent`.

    Args:
        generator: the network.
        variables: variables of the generator.
        w: from `latent`.
        keys: Key[B], see `noise_keys`; a plain generator has no noise.
        condition: what a plain generator is told; one with a latent space has been told it before.
        train: as the network takes it.
    """
    if not has_latent_space(generator):
        return _apply(generator, variables, w, condition, train=train)
    return _apply(generator, variables, w, keys, train=train, method="synthesis")


def generate(
    generator: nn.Module,
    variables: PyTree,
    z: Array,
    keys: Key,
    condition: Condition,
    *,
    train: bool = False,
) -> tuple[Array, PyTree, PyTree]:
    """Images float[B,H,W,C], their w, and the variables beside parameters after it; arguments as of `image`."""
    w, changed = latent(generator, variables, z, condition, train=train)
    images, changed = image(generator, {**variables, **changed}, w, keys, condition, train=train)
    return images, w, changed


def _apply(
    generator: nn.Module, variables: PyTree, *args: Any, train: bool, **options: Any
) -> tuple[Any, PyTree]:
    if train:
        return run(generator, variables, *args, **options)
    return generator.apply(variables, *args, train=False, **options), _beside_parameters(variables)


def _beside_parameters(variables: PyTree) -> PyTree:
    return {name: value for name, value in variables.items() if name != "params"}
