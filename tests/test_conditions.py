"""Conditions: missing for the call and for examples, dropping by position, and what a second evaluation lacks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import conditions
from genjax.typing import UserError

N = 4000
KEYS = jax.random.split(jax.random.key(0), N)
CONDITION = {"label": jnp.arange(N) % 10, "text": jnp.ones((N, 3, 2))}


def hidden(condition, name):
    return ~np.asarray(condition[conditions.mask_name(name)])


def test_dropping_jointly_and_each_has_the_rates_that_are_asked_for():
    found = conditions.drop(CONDITION, KEYS, 0.2, {"text": 0.5})
    label, text = hidden(found, "label"), hidden(found, "text")
    error = 3 * np.sqrt(0.25 / N)
    assert abs(label.mean() - 0.2) < error
    assert abs(text.mean() - (1 - 0.8 * 0.5)) < error
    assert text[label].all()  # jointly: where all are hidden, each is
    assert abs(text[~label].mean() - 0.5) < error
    np.testing.assert_array_equal(found["label"], CONDITION["label"])  # the values stay; the mask tells


def test_what_is_hidden_depends_on_the_key_of_the_example_alone():
    whole = conditions.drop(CONDITION, KEYS, 0.2, {"text": 0.5})
    order = jax.random.permutation(jax.random.key(1), N)[:100]
    some = conditions.drop({k: x[order] for k, x in CONDITION.items()}, KEYS[order], 0.2, {"text": 0.5})
    alone = conditions.drop({"text": CONDITION["text"]}, KEYS, 0.2, {"text": 0.5})
    for name in CONDITION:
        np.testing.assert_array_equal(hidden(some, name), hidden(whole, name)[order])
    np.testing.assert_array_equal(hidden(alone, "text"), hidden(whole, "text"))


def test_two_conditions_are_hidden_independently():
    found = conditions.drop(CONDITION, KEYS, 0.0, {"text": 0.5, "label": 0.5})
    both = (hidden(found, "label") & hidden(found, "text")).mean()
    assert abs(both - 0.25) < 3 * np.sqrt(0.25 / N)


def test_hiding_what_is_missing_already_keeps_it_missing():
    once = conditions.hide(CONDITION, "label", jnp.arange(N) < 10)
    twice = conditions.hide(once, "label", jnp.arange(N) >= N - 10)
    np.testing.assert_array_equal(np.flatnonzero(hidden(twice, "label")), [*range(10), *range(N - 10, N)])


def test_a_class_that_is_missing_is_the_null_class():
    masked = conditions.hide({"label": jnp.array([3, 1, 2])}, "label", jnp.array([False, True, False]))
    np.testing.assert_array_equal(conditions.label_or_null(masked, "label", 10, 3), [3, 10, 2])
    np.testing.assert_array_equal(conditions.label_or_null({}, "label", 10, 3), [10, 10, 10])
    np.testing.assert_array_equal(conditions.label_or_null(None, "label", 10, 3), [10, 10, 10])


def test_select_takes_what_is_named_with_its_mask():
    batch = conditions.hide(
        {"image": jnp.zeros(2), "label": jnp.arange(2)}, "label", jnp.array([True, False])
    )
    found = conditions.select(batch, ("label", "text"))
    assert found.keys() == {"label", conditions.mask_name("label")}
    with pytest.raises(UserError, match="text is missing: the model needs the conditions label, text"):
        conditions.select(batch, ("label", "text"), required=True)


def test_without_takes_the_masks_away_too():
    told = conditions.drop(CONDITION, KEYS, 0.5)
    assert conditions.without(told, ["label"]).keys() == {"text", conditions.mask_name("text")}
    assert conditions.without(told) == {}
