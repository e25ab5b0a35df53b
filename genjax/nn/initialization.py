"""Initialisation of a network without running, or compiling, its forward pass."""

from typing import Any

import flax.linen as nn
import jax
from jax.extend.core import jaxpr_as_fun
from jax.interpreters import partial_eval

from genjax.typing import Key, PyTree, UserError


def initialize(network: nn.Module, key: Key, *args: Any, **kwargs: Any) -> PyTree:
    """The variables `network.init` would return, bit for bit, in a fraction of its time.

    `network.init` also runs the network, and under `jax.jit` it compiles hundreds of random draws into one large
    program (13-23 s for a U-Net on a CPU). Here the forward pass is traced abstractly and thrown away, and what is
    left, one small draw per parameter, is run operation by operation, each compiled once per shape.

    Args:
        network: a Linen module.
        key: the key of the "params" stream.
        *args: arguments of the module's call; only their shapes and dtypes matter.
        **kwargs: static keyword arguments of the module's call.

    Returns:
        The variable collections, as `network.init({"params": key}, *args, **kwargs)` returns them.

    Raises:
        UserError: the network is not a Linen module; an NNX module can become one.

    Example:
        >>> import flax.linen, jax, jax.numpy as jnp
        >>> from genjax import nn
        >>> network, key, x = flax.linen.Dense(2), jax.random.key(0), jnp.zeros((1, 3))
        >>> quick, usual = nn.initialize(network, key, x), network.init(key, x)
        >>> bool((quick["params"]["kernel"] == usual["params"]["kernel"]).all())
        True
    """
    if not isinstance(network, nn.Module):
        kind = network if isinstance(network, type) else type(network)
        raise UserError(
            f"network={kind.__name__}: it is no flax.linen module. An NNX class becomes one by "
            f"flax.nnx.bridge.ToLinen({kind.__name__}, args=(...), metadata_fn=None), where args are what its __init__ "
            "takes beside rngs"
        )
    closed, shapes = jax.make_jaxpr(
        lambda key, *args: network.init({"params": key}, *args, **kwargs), return_shape=True
    )(key, *args)
    leaves, treedef = jax.tree.flatten(shapes)
    used_jaxpr, used = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(leaves))
    inputs = [x for x, keep in zip(jax.tree.leaves((key, *args)), used, strict=True) if keep]
    draws = jaxpr_as_fun(jax.extend.core.ClosedJaxpr(used_jaxpr, closed.consts))
    return jax.tree.unflatten(treedef, draws(*inputs))
