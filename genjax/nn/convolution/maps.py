"""A convolution and its gradients: three bilinear maps, closed under differentiation.

A convolution y(x, k), paired with a cotangent of y, is a trilinear form

    T(x, k, y) = sum over b, p, q, c, o of  x[b, s p + d q - pad, c] k[q, c, o] y[b, p, o] ,

and the gradient of T in each of its arguments is a bilinear map of the other two: in y the convolution, in x its input
gradient (a transposed convolution), in k its kernel gradient. The gradients of these maps are again such maps, so that
one JAX primitive with three forms has derivatives of every order, forward and reverse.

The primitive is there for one reason: how it is computed is chosen when it is lowered, by platform. GPU and TPU get
what `lax.conv_general_dilated` and its transposes give. For CPU, see `genjax.nn.convolution.cpu`.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from genjax.nn.convolution import cpu
from genjax.nn.convolution.plain import output_shape, plain
from genjax.nn.convolution.window import Form, Window
from genjax.typing import Array


def convolve(x: Array, kernel: Array, window: Window) -> Array:
    """y(x, k): ``float[B,*S,C], float[*K,C/groups,O] -> float[B,*S',O]``."""
    return _bind(x, kernel, "output", window, window.output_size(x.shape[1:-1], kernel.shape[:-2]))


def input_gradient(dy: Array, kernel: Array, window: Window, size: tuple[int, ...]) -> Array:
    """x(y, k): ``float[B,*S',O], float[*K,C/groups,O] -> float[B,*size,C]``: the transposed convolution."""
    return _bind(dy, kernel, "input", window, size)


def kernel_gradient(x: Array, dy: Array, window: Window, size: tuple[int, ...]) -> Array:
    """k(x, y): ``float[B,*S,C], float[B,*S',O] -> float[*size,C/groups,O]``."""
    return _bind(x, dy, "kernel", window, size)


def _bind(a: Array, b: Array, form: Form, window: Window, size: tuple[int, ...]) -> Array:
    a, b = _vary_alike(a, b)
    return _map.bind(a, b, form=form, window=window, size=tuple(size))


def _vary_alike(a: Array, b: Array) -> tuple[Array, Array]:
    """Inside `jax.shard_map`: an argument that is the same on all devices, beside one that is not, is cast."""
    axes = [frozenset(jax.typeof(x).manual_axis_type.varying) for x in (a, b)]
    every = axes[0] | axes[1]
    if every == axes[0] == axes[1]:
        return a, b
    first, second = (
        lax.pcast(x, tuple(every - own), to="varying") for x, own in zip((a, b), axes, strict=True)
    )
    return first, second


_map = Primitive("convolution_map")
_map.def_impl(functools.partial(jax.jit, static_argnames=("form", "window", "size"))(_map.bind))


@_map.def_abstract_eval
def _abstract(a: Any, b: Any, *, form: Form, window: Window, size: tuple[int, ...]) -> Any:
    return a.update(shape=output_shape(a.shape, b.shape, form, window, size), weak_type=False)


# Derivatives: each form's gradient in either argument is another form.


def _in_first(ct: Array, a: Any, b: Array, *, form: Form, window: Window, size: tuple[int, ...]) -> Array:
    shape = a.aval.shape
    if form == "output":
        return input_gradient(ct, b, window, shape[1:-1])
    if form == "input":
        return convolve(ct, b, window)
    return input_gradient(b, ct, window, shape[1:-1])


def _in_second(ct: Array, a: Array, b: Any, *, form: Form, window: Window, size: tuple[int, ...]) -> Array:
    shape = b.aval.shape
    if form == "output":
        return kernel_gradient(a, ct, window, shape[:-2])
    if form == "input":
        return kernel_gradient(ct, a, window, shape[:-2])
    return convolve(a, ct, window)


ad.defbilinear(_map, _in_first, _in_second)


def _batch(
    args: tuple, axes: tuple, *, form: Form, window: Window, size: tuple[int, ...]
) -> tuple[Array, int]:
    """`vmap`: joins the mapped axis with the batch; where a kernel is mapped too, JAX's own rule takes over."""
    (a, b), (axis, other) = args, axes
    if form == "kernel" or other is not None:
        mapped = functools.partial(plain, form=form, window=window, size=size)
        return jax.vmap(mapped, in_axes=(axis, other))(a, b), 0
    a = jnp.moveaxis(a, axis, 0)
    y = _bind(a.reshape(-1, *a.shape[2:]), b, form, window, size)
    return y.reshape(*a.shape[:2], *y.shape[1:]), 0


batching.primitive_batchers[_map] = _batch

mlir.register_lowering(_map, mlir.lower_fun(plain, multiple_results=False))


mlir.register_lowering(_map, mlir.lower_fun(cpu.run, multiple_results=False), platform="cpu")
