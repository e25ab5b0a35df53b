"""The arrays of a state by name."""

from typing import Any

import jax

from genjax.typing import PyTree, UserError


def named_leaves(tree: PyTree) -> dict[str, Any]:
    """The leaves of a state by path, such as ``opt/0/mu/kernel``; empty nodes (`optax.EmptyState`) have no entry."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    named = {jax.tree_util.keystr(path, simple=True, separator="/") or ".": leaf for path, leaf in leaves}
    if len(named) != len(leaves):
        raise UserError("two leaves of the state have the same path: no key of the state may contain '/'")
    return named
