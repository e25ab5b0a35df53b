"""Two conditions in one call of the network."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from genjax.conditions import hide, mask_name
from genjax.diffusion.guidance.base import Scale, at
from genjax.diffusion.guidance.classifier_free import extrapolate
from genjax.diffusion.prediction import Denoiser
from genjax.typing import Array, PyTree, UserError


def classifier_free_batched(
    denoise: Callable[[Array, Array, PyTree], Array],
    condition: PyTree,
    null_condition: PyTree,
    scale: Scale,
) -> Denoiser:
    """As `classifier_free`, with one call of the network on a batch of twice the size.

    For instance::

        def denoise(x_t, t, condition):
            network = lambda x, c_noise: unet.apply(params, x, c_noise, condition)
            return denoiser(network, schedule, prediction.v)(x_t, t)

        guided = classifier_free_batched(denoise, condition, without(condition, ["label"]), scale)

    One large call is faster than two small ones where the device is not full; it needs more memory. The two
    copies of an example lie side by side, so that a batch spread over devices stays where it is.

    Args:
        denoise: ``(x_t [2B, ...], t scalar or [2B], condition of 2B examples) -> x0_hat [2B, ...]``. No
            example may depend on another.
        condition: a pytree of arrays [B, ...].
        null_condition: the same tree. Each array broadcasts to the corresponding array of `condition`, so it may be a
            single label or embedding. Where the two are mappings as in `genjax.conditions`, it may also lack keys of
            `condition`, as ``without(condition, keys)`` does: `denoise` is then given the arrays under these keys for
            all 2B examples, and masks that are False in the second copies.
        scale: as in `classifier_free`. Where it is a function of the time and 1 for all examples, the network
            is called with the condition only.

    Raises:
        UserError: if the conditions do not fit each other, or `condition` does not fit x_t.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import guidance
        >>> denoise = lambda x_t, t, label: 0 * x_t + label[:, None]  # called once, with four examples
        >>> guided = guidance.classifier_free_batched(denoise, jnp.array([1.0, 2.0]), jnp.array(0.5), 3.0)
        >>> guided(jnp.zeros((2, 1)), jnp.array(0.5))
        Array([[2.],
               [5.]], dtype=float32)

    References:
        Ho and Salimans, "Classifier-Free Diffusion Guidance" (2022), equation 6.
    """
    both = _both(denoise, condition, null_condition)

    def guided(x_t: Float[Array, "B *shape"], t: Array) -> Float[Array, "B *shape"]:
        w = at(scale, t) - 1

        def together() -> Array:
            with_condition, without = both(x_t, t)
            return extrapolate(with_condition, without, w)

        if not callable(scale):
            return together()
        return jax.lax.cond(jnp.any(w != 0), together, lambda: denoise(x_t, t, condition))

    return guided


def batched(
    denoise: Callable[[Array, Array, PyTree], Array], condition: PyTree, null_condition: PyTree
) -> tuple[Denoiser, Denoiser]:
    """The conditional and the unconditional denoiser that one call of the network on a doubled batch gives.

    For guidances that take the two, as ``zero_star(*batched(denoise, labels, null_label), scale, schedule)``.
    Each of the two makes the whole call, and the compiler merges equal calls: use them inside `jax.jit`.

    Args:
        denoise, condition, null_condition: see `classifier_free_batched`.

    Returns:
        The two, each ``(x_t float[B, ...], t scalar or [B]) -> x0_hat float[B, ...]``.

    Raises:
        UserError: see `classifier_free_batched`.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import guidance
        >>> denoise = lambda x_t, t, label: 0 * x_t + label[:, None]
        >>> conditional, unconditional = guidance.batched(denoise, jnp.array([1.0, 2.0]), jnp.array(0.5))
        >>> conditional(jnp.zeros((2, 1)), jnp.array(0.5))[:, 0], unconditional(jnp.zeros((2, 1)), jnp.array(0.5))[:, 0]
        (Array([1., 2.], dtype=float32), Array([0.5, 0.5], dtype=float32))
    """
    both = _both(denoise, condition, null_condition)
    return lambda x_t, t: both(x_t, t)[0], lambda x_t, t: both(x_t, t)[1]


def _both(
    denoise: Callable[[Array, Array, PyTree], Array], condition: PyTree, null_condition: PyTree
) -> Callable[[Array, Array], tuple[Array, Array]]:
    if isinstance(condition, Mapping) and isinstance(null_condition, Mapping):
        condition, null_condition = _of_equal_keys(condition, null_condition)
    tree, null_tree = str(jax.tree.structure(condition)), str(jax.tree.structure(null_condition))
    if null_tree != tree:
        raise UserError(f"null_condition has the tree {null_tree}, it must be that of condition, {tree}")
    conditions = jax.tree.map(_doubled, condition, null_condition)

    def both(x_t: Array, t: Array) -> tuple[Array, Array]:
        for leaf in jax.tree.leaves(conditions):
            if leaf.shape[0] != 2 * x_t.shape[0]:
                raise UserError(f"condition has {leaf.shape[0] // 2} examples, and x_t {x_t.shape[0]}")
        times = t if jnp.ndim(t) == 0 else _doubled(t, t)
        estimates = denoise(_doubled(x_t, x_t), times, conditions)
        pairs = estimates.reshape(x_t.shape[0], 2, *estimates.shape[1:])
        return pairs[:, 0], pairs[:, 1]

    return both


def _of_equal_keys(condition: Mapping[str, Any], null: Mapping[str, Any]) -> tuple[PyTree, PyTree]:
    """The two with masks in place of the keys that `null` lacks, and where only one of them has a mask."""
    masks = {mask_name(name) for name in (*condition, *null)}
    for name, array in [(name, array) for name, array in condition.items() if name not in masks]:
        nobody = jnp.zeros(jnp.shape(array)[:1], bool)
        if name not in null:
            null = hide({**null, name: array}, name, ~nobody)
        if mask_name(name) in condition and mask_name(name) not in null:
            null = hide(null, name, nobody)
        elif mask_name(name) in null and mask_name(name) not in condition:
            condition = hide(condition, name, nobody)
    return condition, null


def _doubled(a: ArrayLike, b: ArrayLike) -> Array:
    """Rows a[0], b[0], a[1], b[1], ...; b broadcasts to the shape of a."""
    first, shape = jnp.asarray(a), jnp.shape(b)
    if first.ndim == 0:
        raise UserError("condition has an array without an axis of examples; each must be of shape [B, ...]")
    axes = zip(shape[::-1], first.shape[::-1], strict=False)
    if len(shape) > first.ndim or any(n not in (1, m) for n, m in axes):
        raise UserError(
            f"null_condition of shape {list(shape)} does not broadcast to condition's {list(first.shape)}"
        )
    second = jnp.broadcast_to(jnp.asarray(b, first.dtype), first.shape)
    return jnp.stack([first, second], 1).reshape(2 * first.shape[0], *first.shape[1:])
