"""What methods share that translate images."""

from collections.abc import Mapping

import flax.linen as nn
import jax

from genjax.methods.kind import Context
from genjax.typing import Array, PyTree, UserError


def asked_source(given: Mapping[str, Array], name: str, shape: tuple[int, int, int]) -> Array:
    """The images, under `name`, that are to be translated.

    Raises:
        UserError: if they are missing, or have another shape than H, W, C of `shape`.
    """
    if name not in given:
        raise UserError(f"{name} is missing: images of shape {shape} to translate, there are {sorted(given)}")
    if given[name].shape[1:] != shape:
        raise UserError(f"{name} has images of shape {given[name].shape[1:]}: valid are {shape}")
    return given[name]


def check_translation(
    name: str,
    network: nn.Module,
    variables: PyTree,
    shape: tuple[int, int, int],
    expected: tuple[int, int, int],
) -> None:
    """Checks that the network called `name` makes images of shape `expected` from images of shape `shape`.

    Raises:
        UserError: if not.
    """
    found = jax.eval_shape(network.apply, variables, jax.ShapeDtypeStruct((1, *shape), "float32")).shape[1:]
    if found != expected:
        remedy = (
            f"out_channels={expected[-1]} is needed"
            if found[:2] == expected[:2]
            else "images of both domains must have one size"
        )
        raise UserError(
            f"the network {name!r} makes images of shape {found} of images of shape {shape}: valid is {expected}; "
            + remedy
        )


def source_shape_of(context: Context) -> tuple[int, int, int]:
    """H, W, C of the images of the other domain, or of "image" where the data set has no other."""
    return context.info.shape_of("source") if "source" in context.info.fields else context.image_shape
