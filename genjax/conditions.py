"""Conditions: what a network is told in addition to its input.

They are arrays by the names that they have in a batch: "label" int32[B], and whatever else the records of a data set
have. Any of them may be missing:

* for the whole call, when there is no such key;
* for single examples, when ``mask_name(name)`` is a key too: bool[B], False where the condition is missing.

For a network the two are the same, bit for bit. So dropping a condition in training, and leaving it out for the second
evaluation of classifier-free guidance, need nothing else, and adding a condition is adding a key.
"""

import zlib
from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp

from genjax.typing import Array, Batch, Condition, Key, UserError

_MASK = "_has_"


def mask_name(name: str) -> str:
    """The key of the mask that says which examples have the condition `name`.

    Example:
        >>> from genjax import conditions
        >>> conditions.mask_name("label")
        '_has_label'
    """
    return _MASK + name


def present(condition: Condition, name: str) -> Array | None:
    """bool[B]: which examples have a condition; None: all of them.

    Raises:
        KeyError: the whole call lacks it.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax import conditions
        >>> label = {"label": jnp.array([3, 7])}
        >>> conditions.present(label, "label") is None  # all examples have it
        True
        >>> conditions.present(conditions.hide(label, "label", jnp.array([False, True])), "label").tolist()
        [True, False]
    """
    condition[name]
    return condition.get(mask_name(name))


def select(batch: Batch, names: Iterable[str], *, required: bool = False) -> Condition:
    """The conditions of a batch that are called `names`, with their masks.

    Args:
        batch: arrays of shape [B,...], others too; one of `names` may be missing in it.
        names: names of the conditions.
        required: whether all of them must be there.

    Raises:
        UserError: one is required and missing.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax import conditions
        >>> image, has_label = jnp.zeros((2, 8, 8, 1)), jnp.array([True, False])
        >>> batch = {"image": image, "label": jnp.array([3, 7]), "_has_label": has_label}
        >>> sorted(conditions.select(batch, ["label", "caption"]))
        ['_has_label', 'label']
    """
    names = tuple(names)
    missing = [name for name in names if name not in batch]
    if required and missing:
        raise UserError(f"{missing[0]} is missing: the model needs the conditions {', '.join(names)}")
    found = [name for name in names if name in batch]
    masks = [mask_name(name) for name in found if mask_name(name) in batch]
    return {name: batch[name] for name in (*found, *masks)}


def without(condition: Condition, names: Iterable[str] | None = None) -> Condition:
    """A condition, arrays of shape [B,...] by name, that lacks the keys `names`; None: all of them.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax import conditions
        >>> told = {"label": jnp.array([3]), "_has_label": jnp.array([True]), "style": jnp.array([0])}
        >>> sorted(conditions.without(told, ["label"])), conditions.without(told)
        (['style'], {})
    """
    lacking = set(condition if names is None else names)
    lacking |= {mask_name(name) for name in lacking}
    return {name: array for name, array in condition.items() if name not in lacking}


def hide(condition: Condition, name: str, hidden: Array) -> Condition:
    """A condition that the examples ``hidden`` bool[B] no longer have under `name`.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax import conditions
        >>> told = conditions.hide({"label": jnp.array([3, 7])}, "label", jnp.array([True, False]))
        >>> told["label"].tolist(), told["_has_label"].tolist()
        ([3, 7], [False, True])
    """
    mask = condition.get(mask_name(name))
    left = ~hidden if mask is None else mask & ~hidden
    return {**condition, mask_name(name): left}


def drop(
    condition: Condition, keys: Key, jointly: float, each: Mapping[str, float] | None = None
) -> Condition:
    """Hides conditions at random, as training for classifier-free guidance needs it.

    Args:
        condition: condition of a batch.
        keys: Key[B], one for each example; they decide what is hidden, whatever else is in the batch.
        jointly: probability of hiding all conditions of an example at once.
        each: by name, probability of hiding one condition, whatever happens to the others.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax import conditions
        >>> told = {"label": jnp.array([3, 7]), "style": jnp.array([0, 1])}
        >>> dropped = conditions.drop(told, jax.random.split(jax.random.key(0), 2), 0.0, {"style": 1.0})
        >>> dropped["_has_label"].tolist(), dropped["_has_style"].tolist()
        ([True, True], [False, False])

    References:
        Ho and Salimans, "Classifier-Free Diffusion Guidance" (2022), algorithm 1; Brooks et al., "InstructPix2Pix"
        (2023), section 3.2.1, for conditions that are dropped jointly and each.
    """
    together = jax.vmap(lambda key: jax.random.bernoulli(key, jointly))(keys)
    for name in [name for name in condition if not name.startswith(_MASK)]:
        hidden, probability = together, (each or {}).get(name, 0.0)
        if probability:
            own = zlib.crc32(name.encode())

            def alone(key: Key, own: int = own, probability: float = probability) -> Array:
                return jax.random.bernoulli(jax.random.fold_in(key, own), probability)

            hidden = hidden | jax.vmap(alone)(keys)
        condition = hide(condition, name, hidden)
    return condition


def label_or_null(condition: Condition | None, name: str, num_classes: int, batch_size: int) -> Array:
    """int32[B] in [0, num_classes]: the classes of examples under `name`, and `num_classes` where they have none.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax import conditions
        >>> told = {"label": jnp.array([3, 7]), "_has_label": jnp.array([True, False])}
        >>> conditions.label_or_null(told, "label", num_classes=10, batch_size=2).tolist()
        [3, 10]
    """
    if condition is None or name not in condition:
        return jnp.full((batch_size,), num_classes, jnp.int32)
    mask = condition.get(mask_name(name))
    return condition[name] if mask is None else jnp.where(mask, condition[name], num_classes)
