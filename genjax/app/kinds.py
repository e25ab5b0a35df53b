"""Which network and which method a config is of, by the tables."""

import types
from collections.abc import Mapping
from typing import Any, TypeAlias

from genjax.app.methods import METHODS
from genjax.app.networks import NETWORKS
from genjax.data import DataInfo
from genjax.methods.kind import Context, Frozen, MethodKind
from genjax.models.kind import NetworkKind
from genjax.typing import UserError

Frozens: TypeAlias = Mapping[str, Frozen]
"""Trained runs that a config names, by the name of the field, see `genjax.app.origins`."""
NONE: Frozens = types.MappingProxyType({})

TABLES: dict[str, Any] = {"model": NETWORKS, "method": METHODS}
"""By the part of a config that it is about."""


def name(part: str, config: Any) -> str:
    """What the table calls the kind of a config.

    Args:
        part: "model" or "method".
        config: config of the part, as ``Config.model``.
    """
    return next(name for name, kind in TABLES[part].items() if kind.config is type(config))


def named(part: str, kind: str) -> Any:
    """The kind with a name.

    Raises:
        UserError: there is none.
    """
    if kind not in TABLES[part]:
        raise UserError(f"{part}={kind!r}: valid are {', '.join(TABLES[part])}")
    return TABLES[part][kind]


def network(config: Any) -> NetworkKind:
    """The kind of network of a whole config."""
    return NETWORKS[name("model", config.model)]


def method(config: Any) -> MethodKind:
    """The kind of method of a whole config."""
    return METHODS[name("method", config.method)]


def networks_for(method: MethodKind) -> list[str]:
    """The names of the networks that a method can train."""
    return [name for name, kind in NETWORKS.items() if method.role in kind.roles]


def context(config: Any, info: DataInfo, *, scoring: bool = False, frozen: Frozens = NONE) -> Context:
    """From what the method of a whole config is made."""
    return Context(config, info, network(config), scoring, frozen)
