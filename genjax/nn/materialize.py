"""A hint to compute an array once."""

import jax
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from genjax.typing import Array


def materialize(x: Array) -> Array:
    """`x`, of any shape. On CPU, XLA computes it and its gradient once and keeps it, not once in each place of use.

    Where many cheap operations follow each other, as along the residual connections of a deep network, XLA on CPU
    merges them into their users: the gradient of an early block is then a sum over all later ones, computed anew for
    each block. On other platforms this is the identity.

    Example:
        >>> import jax
        >>> from genjax import nn
        >>> float(jax.grad(lambda x: nn.materialize(x) ** 2)(3.0))  # the identity, of every derivative
        6.0
    """
    return _materialize.bind(x)


_materialize = Primitive("materialize")
_materialize.def_impl(jax.jit(_materialize.bind))
_materialize.def_abstract_eval(lambda x: x)
ad.deflinear2(_materialize, lambda ct, x: [materialize(ct)])
batching.defvectorized(_materialize)
mlir.register_lowering(_materialize, lambda context, x: [x])
mlir.register_lowering(
    _materialize, mlir.lower_fun(lax.optimization_barrier, multiple_results=False), platform="cpu"
)
