"""Which network and which method a config is of, by the tables."""

from typing import Any

from genjax.app.methods import METHODS
from genjax.app.networks import NETWORKS
from genjax.methods.kind import MethodKind
from genjax.models.kind import NetworkKind
from genjax.typing import UserError

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


def networks_for(config: Any) -> list[str]:
    """The names of the networks that a config's method can train."""
    role = method(config).role
    return [name for name, kind in NETWORKS.items() if role in kind.roles]
