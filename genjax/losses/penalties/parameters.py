"""Constraints on parameters, whatever the images: orthogonal kernels, and bounded ones."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.typing import Array, PyTree, UserError

_PRECISION = jax.lax.Precision.HIGHEST


def is_kernel(path: str) -> bool:
    """Whether a parameter with this path ("block/conv/kernel") is a kernel by its name."""
    return path.rsplit("/", 1)[-1] == "kernel"


def orthogonal(params: PyTree, select: Callable[[str], bool] = is_kernel) -> Float[Array, ""]:
    """``sum over kernels of |W^T W - 1|^2``, the columns of W the filters of a kernel; no weight.

    A kernel with more filters than entries a filter cannot reach 0.

    Args:
        params: parameters of a network.
        select: which of the parameters count, by path; each has its output channels last.

    Raises:
        UserError: if `select` selects none, or one without two axes.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses import penalties
        >>> params = {"conv": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}
        >>> penalties.orthogonal(params).item()  # W^T W is 2 everywhere: 1 + 4 + 4 + 1
        10.0

    References:
        Brock et al., "Neural Photo Editing with Introspective Adversarial Networks" (2017), in the form of
        Brock et al., "Large Scale GAN Training for High Fidelity Natural Image Synthesis" (2019), equation 2.
    """
    return _sum(params, select, lambda gram: gram - jnp.eye(len(gram), dtype=gram.dtype))


def off_diagonal_orthogonal(params: PyTree, select: Callable[[str], bool] = is_kernel) -> Float[Array, ""]:
    """``sum over kernels of |W^T W * (1 - identity)|^2``: filters are orthogonal, of any length; no weight.

    Args:
        params: see `orthogonal`.
        select: see `orthogonal`.

    Raises:
        UserError: see `orthogonal`.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses import penalties
        >>> params = {"conv": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}
        >>> penalties.off_diagonal_orthogonal(params).item()  # W^T W is 2 everywhere: 4 + 4
        8.0

    References:
        Brock et al., "Large Scale GAN Training for High Fidelity Natural Image Synthesis" (2019), equation 3.
    """
    return _sum(params, select, lambda gram: gram * (1 - jnp.eye(len(gram), dtype=gram.dtype)))


def clip_weights(params: PyTree, bound: ArrayLike = 0.01) -> PyTree:
    """The parameters with every entry brought into [-bound, bound]; done after each update of the critic.

    Args:
        params: parameters of a critic.
        bound: float[], above 0.

    Raises:
        UserError: a bound that is not above 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.losses import penalties
        >>> penalties.clip_weights({"kernel": jnp.array([-1.0, 0.25, 2.0])}, bound=0.5)["kernel"].tolist()
        [-0.5, 0.25, 0.5]

    References:
        Arjovsky et al., "Wasserstein GAN" (2017), algorithm 1.
    """
    if isinstance(bound, (int, float)) and not bound > 0:
        raise UserError(f"bound={bound}: valid are numbers above 0")
    return jax.tree.map(lambda x: jnp.clip(x, jnp.negative(bound), bound), params)


def _sum(params: PyTree, select: Callable[[str], bool], error: Callable[[Array], Array]) -> Array:
    chosen: dict[str, Any] = {}
    for entries, value in jax.tree_util.tree_leaves_with_path(params):
        path = jax.tree_util.keystr(entries, simple=True, separator="/")
        if select(path):
            chosen[path] = value
    if not chosen or min(value.ndim for value in chosen.values()) < 2:
        shapes = {path: value.shape for path, value in chosen.items()}
        raise UserError(f"select gives {shapes}: valid is at least one parameter, each of two axes and more")

    def of_kernel(kernel: Array) -> Array:
        matrix = kernel.reshape(-1, kernel.shape[-1])
        return jnp.square(error(jnp.matmul(matrix.T, matrix, precision=_PRECISION))).sum()

    return jnp.stack([of_kernel(value) for value in chosen.values()]).sum()
