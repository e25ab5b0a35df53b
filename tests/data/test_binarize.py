"""Black and white drawn from grey: probabilities, and of what a draw is a function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax import data
from genjax.typing import UserError


def grey(level, n=400, split="train"):
    return data.ArraySource(
        np.full((n, 5, 5, 1), level, np.uint8), np.arange(n) % 3, name="grey", split=split
    )


@pytest.mark.parametrize("level", [0, 1, 100, 254, 255])
def test_white_has_the_probability_of_the_level(level):
    """Static and dynamic alike; black and white pixels stay what they are."""
    static = data.Binarized(grey(level)).read(np.arange(400))["image"]
    batch = {"image": jnp.asarray(grey(level).read(np.arange(400))["image"]), "_index": jnp.arange(400)}
    dynamic = data.preprocess(jax.random.key(0), batch, binarize=True)["image"]
    assert set(np.unique(static)) <= {0, 255} and set(np.unique(dynamic)) <= {-1, 1}
    for share in ((static == 255).mean(), (dynamic == 1).mean()):
        np.testing.assert_allclose(share, level / 255, atol=0.02 if 1 < level < 254 else 2e-3)
        assert level not in (0, 255) or share == level / 255


def test_static_draw_is_a_function_of_record_seed_and_split():
    source = data.Binarized(grey(128))
    whole = source.read(np.arange(400))
    some = source.read(np.array([7, 3, 7]))
    np.testing.assert_array_equal(some["image"], whole["image"][[7, 3, 7]])
    np.testing.assert_array_equal(some["label"], [1, 0, 1])
    for other in (data.Binarized(grey(128), seed=1), data.Binarized(grey(128, split="test"))):
        assert (other.read(np.arange(400))["image"] != whole["image"]).mean() > 0.4
    assert len({image.tobytes() for image in whole["image"]}) > 390
    assert len(source) == 400 and source.info.num_classes == 3


def test_dynamic_draw_belongs_to_key_and_place_in_the_batch():
    batch = {"image": jnp.full((6, 5, 5, 1), 128, jnp.uint8), "_index": jnp.arange(6)}
    whole = data.preprocess(jax.random.key(0), batch, binarize=True)["image"]
    part = data.preprocess(jax.random.key(0), {k: x[2:4] for k, x in batch.items()}, binarize=True)["image"]
    np.testing.assert_array_equal(part, whole[2:4])
    assert (whole != data.preprocess(jax.random.key(1), batch, binarize=True)["image"]).any()


def test_seed_is_checked():
    with pytest.raises(UserError, match="seed=-1"):
        data.Binarized(grey(1), seed=-1)
