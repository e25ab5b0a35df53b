"""Classes, as networks are told them: by their number, or by a code that joins the features."""

import jax
import jax.numpy as jnp

from genjax.conditions import label_or_null
from genjax.typing import Array, Condition, UserError


def label_of(condition: Condition | None, num_classes: int | None, batch_size: int) -> Array | None:
    """int32[B] in [0, num_classes], where `num_classes` says that an example has no class; None without classes.

    Raises:
        UserError: an unconditional network (``num_classes=None``) is given a label.
    """
    if num_classes is None:
        if condition is not None and "label" in condition:
            raise UserError("label is given, but the network is unconditional (num_classes=None)")
        return None
    return label_or_null(condition, "label", num_classes, batch_size)


def with_label(h: Array, condition: Condition | None, num_classes: int | None) -> Array:
    """float[B,...,F] -> float[B,...,F + num_classes]: the label's one-hot code joins the features.

    The code of an example without a label is zero. Without classes the features stay as they are.

    Raises:
        UserError: an unconditional network (``num_classes=None``) is given a label.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.models.labels import with_label
        >>> told = {"label": jnp.array([1, 0]), "_has_label": jnp.array([True, False])}
        >>> with_label(jnp.array([[0.5], [0.5]]), told, num_classes=2).tolist()
        [[0.5, 0.0, 1.0], [0.5, 0.0, 0.0]]
    """
    label = label_of(condition, num_classes, h.shape[0])
    if label is None or num_classes is None:
        return h
    return join(h, jax.nn.one_hot(label, num_classes))


def one_hot(condition: Condition | None, num_classes: int, batch_size: int, key: str = "label") -> Array:
    """float32[B,num_classes]: the one-hot codes of the labels under `key`, and zeros for examples without one."""
    return jax.nn.one_hot(label_or_null(condition, key, num_classes, batch_size), num_classes)


def join(x: Array, code: Array) -> Array:
    """float[B,...,F], float[B,E] -> float[B,...,F + E]: the code becomes more channels, the same at every position."""
    code = code.reshape(code.shape[0], *(1,) * (x.ndim - 2), code.shape[-1]).astype(x.dtype)
    return jnp.concatenate([x, jnp.broadcast_to(code, (*x.shape[:-1], code.shape[-1]))], axis=-1)
