"""Spectral normalisation: a layer divided by the largest factor by which it can stretch its input."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from genjax.typing import Array, PyTree, UserError

COLLECTION = "spectral"
"""Name of the collection of variables that holds the vectors of the power iteration."""


class SpectralNorm(nn.Module):
    """A layer whose kernel is divided by its spectral norm sigma, as it is found by power iteration.

    It wraps the layer: ``SpectralNorm(Conv(64, (3, 3)))(x, train=train)``. The layer's own parameters keep their
    names, places and values; the vector u is float32 in the collection "spectral"::

        logits, changed = network.apply({"params": params, **state}, images, train=True, mutable=["spectral"])

    With ``train=True`` the iteration goes `num_steps` further before the kernel is divided, and u is stored where the
    collection is mutable; where it is not, the result is the same and u stays. So all calls of a step that start from
    the same u see the same network. With ``train=False`` u is taken as it is.

    ``sigma = u^T W v`` with ``v = W^T u / |W^T u|`` after the last step. It has a gradient in W, but not through u and
    v. A kernel with sigma below `epsilon`, as one of zeros, is left as it is.

    Attributes:
        layer: `Conv`, `ConvTranspose`, `flax.linen.Dense`, `flax.linen.Embed`, ...: a layer with one kernel.
        num_steps: steps of the power iteration in a call with ``train=True``, at least 1.
        epsilon: vectors are divided by their length, or by this where they are shorter.
        operator: False: W is the kernel as a matrix with the output channels as rows (Miyato et al.), which for a
            convolution is another matrix than the one it applies to an image. True: W is the map from image to image,
            with its strides and padding; u has the shape of the layer's output of one example.
        parameter: name of the kernel among the layer's parameters ("embedding" for `flax.linen.Embed`).

    Example:
        >>> import flax.linen, jax, jax.numpy as jnp, numpy as np
        >>> from genjax import nn
        >>> layer, x = nn.SpectralNorm(flax.linen.Dense(2), num_steps=10), jnp.array([[4.0, 4.0]])
        >>> variables = layer.init(jax.random.key(0), x)
        >>> variables["params"]["layer"]["kernel"] = jnp.diag(jnp.array([4.0, 1.0]))  # its spectral norm is 4
        >>> y, changed = layer.apply(variables, x, train=True, mutable=["spectral"])
        >>> print(np.asarray(y).round(3))
        [[4. 1.]]

    References:
        Miyato et al., "Spectral Normalization for Generative Adversarial Networks" (2018), section 2.1, appendix A and
        algorithm 1. Convolutions as operators: Gouk et al., "Regularisation of Neural Networks by Enforcing Lipschitz
        Continuity" (2021).
    """

    layer: nn.Module
    num_steps: int = 1
    epsilon: float = 1e-12
    operator: bool = False
    parameter: str = "kernel"

    @nn.compact
    def __call__(self, *args: Any, train: bool = False, **kwargs: Any) -> Any:
        """What the layer makes of the arguments, with the normalised kernel.

        Raises:
            UserError: less than one step, a layer without the kernel, or an operator of what is not an array of floats.
        """
        if self.num_steps < 1:
            raise UserError(f"num_steps={self.num_steps}: valid are whole numbers of 1 and more")
        if self.is_initializing():
            self.layer(*args, **kwargs)  # for its parameters
        variables = self.layer.variables
        params: PyTree = variables.get("params", {})
        if self.parameter not in params:
            raise UserError(f"parameter={self.parameter!r}: the layer has {sorted(params)}")
        kernel = params[self.parameter]

        forward = self._operator(args[0], kernel.dtype) if self.operator else _matrix
        # The iteration itself is not differentiated.
        fixed = jax.lax.stop_gradient(kernel)
        domain = jax.ShapeDtypeStruct(args[0].shape[1:], kernel.dtype) if self.operator else _domain(kernel)
        codomain = jax.eval_shape(forward, fixed, domain)

        def transposed(u: Array) -> Array:
            (v,) = jax.linear_transpose(lambda v: forward(fixed, v), domain)(u)
            return v

        def start() -> Array:
            return self._unit(jax.random.normal(self.make_rng("params"), codomain.shape, codomain.dtype))

        def advance(_: Array, vectors: tuple[Array, Array]) -> tuple[Array, Array]:
            u = self._unit(forward(fixed, vectors[1]))
            return u, self._unit(transposed(u))

        stored = self.variable(COLLECTION, "u", start)
        u = jax.lax.stop_gradient(stored.value)
        v = self._unit(transposed(u))
        if train and not self.is_initializing():
            u, v = jax.lax.fori_loop(0, self.num_steps, advance, (u, v))
            if self.is_mutable_collection(COLLECTION):
                stored.value = u
        sigma = (u * forward(kernel, v)).sum()
        sigma = jnp.where(sigma > self.epsilon, sigma, 1.0)
        normalised = {**variables, "params": {**params, self.parameter: kernel / sigma}}
        return self.layer.clone(parent=None).apply(normalised, *args, **kwargs)

    def _unit(self, x: Array) -> Array:
        return x / jnp.maximum(jnp.sqrt(jnp.square(x).sum()), self.epsilon)

    def _operator(self, x: Array, dtype: jnp.dtype) -> Callable[[Array, Array], Array]:
        """``(kernel, image) -> image``: what the layer does to one example, without the bias."""
        if not jnp.issubdtype(jnp.result_type(x), jnp.floating):
            raise UserError(f"operator=True with an input of {jnp.result_type(x)}: valid are floats")
        linear: Any = self.layer.clone(parent=None, use_bias=False, dtype=dtype)
        return lambda kernel, v: linear.apply({"params": {self.parameter: kernel}}, v[None])[0]


def _matrix(kernel: Array, v: Array) -> Array:
    """``W v`` of the kernel as a matrix with the last axis as rows."""
    return jnp.tensordot(v, kernel, v.ndim, precision=jax.lax.Precision.HIGHEST)


def _domain(kernel: Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(kernel.shape[:-1], kernel.dtype)
