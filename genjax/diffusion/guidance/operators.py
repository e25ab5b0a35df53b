"""Linear operators A of inverse problems ``y = A x_0 + noise``, and what is derived from them.

An operator is a function of a batch, ``x [B, ...] -> y [B, ...]``, that is linear and treats each example
by itself: those below, or any other (a blur, a projection). Its transpose is found by
`jax.linear_transpose`.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from genjax.diffusion.guidance.base import inner
from genjax.diffusion.process import expand
from genjax.typing import Array, UserError

Operator: TypeAlias = Callable[[Array], Array]
"""``x [B, ...] -> A x [B, ...]``, linear."""

_State: TypeAlias = tuple[Array, Array, Array, Array, Array]


def average_pool(size: int) -> Operator:
    """The mean of each square of size x size pixels: float[B, H, W, C] to float[B, H / size, W / size, C].

    A measurement through it asks for super-resolution. A A^T is 1 / size^2.

    Raises:
        UserError: if H or W is not a multiple of `size`.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion.guidance import operators
        >>> operators.average_pool(2)(jnp.arange(8.0).reshape(1, 2, 4, 1)).ravel()  # of [[0, 1, 2, 3], [4, 5, 6, 7]]
        Array([2.5, 4.5], dtype=float32)
    """

    def pool(x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
        b, h, w, c = x.shape
        if size < 1 or h % size or w % size:
            raise UserError(f"size = {size} must divide the height and width of the images, {h} and {w}")
        return x.reshape(b, h // size, size, w // size, size, c).mean((2, 4))

    return pool


def masked(mask: Bool[Array, "..."] | Bool[ArrayLike, "..."]) -> Operator:
    """Keeps the pixels where `mask` (bool, broadcasts against x) is True, and puts 0 elsewhere.

    A A^T is 1 on what it can give (a measurement, too, must be 0 elsewhere).

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion.guidance import operators
        >>> operators.masked(jnp.array([True, False]))(jnp.array([[1.0, 2.0], [3.0, 4.0]]))
        Array([[1., 0.],
               [3., 0.]], dtype=float32)
    """

    def apply(x: Float[Array, "B *shape"]) -> Float[Array, "B *shape"]:
        return jnp.where(jnp.broadcast_to(mask, x.shape), x, 0)

    return apply


def residual(operator: Operator, measurement: ArrayLike, x: Array) -> Array:
    """``y - A x``; the measurement broadcasts to the shape of A x.

    Args:
        operator: the operator A.
        measurement: y, a measurement.
        x: float[B, ...].

    Returns:
        float[B, ...], of the shape of A x.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion.guidance import operators
        >>> operators.residual(lambda x: 2 * x, 5.0, jnp.array([[1.0], [2.0]]))
        Array([[3.],
               [1.]], dtype=float32)
    """
    projected = operator(x)
    return jnp.broadcast_to(jnp.asarray(measurement, projected.dtype), projected.shape) - projected


def transpose(operator: Operator, x: Array) -> Operator:
    """A^T, from the space of the measurement to the space of x.

    Args:
        operator: the operator A.
        x: float[B, ...]; only its shape and type matter.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion.guidance import operators
        >>> back = operators.transpose(operators.average_pool(2), jnp.zeros((1, 2, 2, 1)))
        >>> back(jnp.full((1, 1, 1, 1), 8.0)).ravel()
        Array([2., 2., 2., 2.], dtype=float32)
    """
    transposed = jax.linear_transpose(operator, jax.ShapeDtypeStruct(x.shape, x.dtype))
    return lambda u: transposed(u)[0]


def solve(
    operator: Operator,
    transposed: Operator,
    b: Float[Array, "B *shape"],
    weight: ArrayLike = 1.0,
    ridge: ArrayLike = 0.0,
    gram: ArrayLike | None = None,
    max_iterations: int = 50,
    tolerance: float = 1e-6,
) -> Float[Array, "B *shape"]:
    """The u with ``(weight A A^T + ridge I) u = b``.

    By conjugate gradients, for each example its own, so that a solution does not depend on the rest of the
    batch (`jax.scipy.sparse.linalg.cg` has the same step for all). Where A does not have full rank and ridge
    is 0, b must be in its range.

    Args:
        operator: the operator A.
        transposed: A^T, as `transpose` gives it.
        b: of the shape of a measurement.
        weight: scalar or [B], at least 0.
        ridge: scalar or [B], at least 0.
        gram: where A A^T is a multiple of the identity, that number; then nothing is iterated.
        max_iterations: as many as A A^T has different eigenvalues are enough, but for rounding.
        tolerance: bound on the norm of the residual, relative to the norm of b.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion.guidance import operators
        >>> double = lambda x: 2 * x  # A A^T = 4
        >>> operators.solve(double, double, jnp.array([[8.0]]), weight=0.75, ridge=1.0)
        Array([[2.]], dtype=float32)

    References:
        Hestenes and Stiefel, "Methods of Conjugate Gradients for Solving Linear Systems" (1952).
    """
    if gram is not None:
        return (b / expand(jnp.asarray(weight) * gram + ridge, b)).astype(b.dtype)

    def system(u: Array) -> Array:
        return (expand(weight, b) * operator(transposed(u)) + expand(ridge, b) * u).astype(b.dtype)

    def iterate(system: Operator, b: Array) -> Array:
        enough = tolerance**2 * inner(b, b)

        def unfinished(state: _State) -> Array:
            i, _, _, _, square = state
            return jnp.any(square > enough) & (i < max_iterations)

        def improve(state: _State) -> _State:
            i, u, rest, direction, square = state
            image = system(direction)
            curvature = inner(direction, image)
            going = (square > enough) & (curvature > 0)
            step = jnp.where(going, square / jnp.where(going, curvature, 1), 0)
            u, rest = u + step * direction, rest - step * image
            new_square = inner(rest, rest)
            kept = jnp.where(going, new_square / jnp.where(going, square, 1), 0)
            return i + 1, u, rest, rest + kept * direction, new_square

        state = jnp.asarray(0), jnp.zeros_like(b), b, b, inner(b, b)
        return jax.lax.while_loop(unfinished, improve, state)[1]

    # Gives it derivatives, which a loop of unknown length has not.
    return jax.lax.custom_linear_solve(system, b, iterate, symmetric=True)
