"""How a network is chosen by name: its config, and the roles that it can play in methods.

A network's file has a module; a config, which is a frozen dataclass whose docstring is the help of the command line and
whose fields say what is valid (`genjax.ranges`); and ``NETWORK``, a `NetworkKind`. A line in `genjax.app.networks`
gives it a name. Methods ask for a role, not for a class.
"""

import dataclasses
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

ROLES = {
    "denoiser": "(config, image_shape, conditions) -> nn.Module, called as "
    "network(x float[B,H,W,C], c_noise float[B], condition, *, dropout_index) -> float32[B,H,W,C]",
    "adversaries": "(config, image_shape, conditioning) -> (generator, discriminator), see genjax.methods.gan",
    "vae": "(config, outputs, shared_scale, conditions) -> nn.Module with infer and generate, see genjax.methods.vae",
    "encoder_decoder": "(config, outputs, conditions) -> (encoder, decoder), see genjax.models.vae.vae",
    "translator": "(config, out_channels) -> nn.Module from images to images",
    "codes": "(config, image_shape) -> nn.Module, see genjax.models.codes.vq_vae",
    "code_prior": "(config, num_codes, coarser_codes, conditions) -> nn.Module, see genjax.methods.code_prior",
}
"""What a network can be to a method, and how it is built for that. ``conditions`` maps the names of the conditions that
the network is told to their `genjax.data.Field`."""


class NetworkKind(NamedTuple):
    """A network, or a pair of networks, that can be chosen by name.

    Attributes:
        config: the class of its configs.
        roles: by the name of a role in `ROLES`, a function that builds it for that role.
        conditions: the names of the conditions it can be told.
        check: ``(config, image_shape) -> None``; raises UserError if the network does not fit the images.
        small: fields that make a small network for tests, for images of 8x8 pixels, which compiles in seconds.
    """

    config: type
    roles: Mapping[str, Callable[..., Any]]
    conditions: tuple[str, ...] = ()
    check: Callable[[Any, tuple[int, int, int]], None] = lambda config, image_shape: None
    small: Mapping[str, Any] = types.MappingProxyType({})


def options(config: Any, *left_out: str) -> dict[str, Any]:
    """The fields of a config as arguments of a module, but for those `left_out`; a dtype's name becomes the dtype."""
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.name not in left_out}
    return values | ({"dtype": jnp.dtype(values["dtype"])} if "dtype" in values else {})


def num_classes(conditions: Mapping[str, Any]) -> int | None:
    """Number of classes of the condition "label"; None where a network is not told it."""
    return conditions["label"].num_classes if "label" in conditions else None
