"""The bundled digits are scikit-learn's, with the documented split."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from genjax.data import digits, to_memory
from genjax.typing import UserError


def test_levels_and_labels_are_those_of_scikit_learn():
    arrays, original = to_memory(digits("all")), load_digits()
    assert arrays["image"].shape == (1797, 8, 8, 1) and arrays["image"].dtype == np.uint8
    # 17 levels, invertible, black is 0 and full ink 255.
    np.testing.assert_array_equal(np.round(arrays["image"][..., 0] * (16 / 255)), original.images)
    assert arrays["image"].max() == 255 and len(np.unique(arrays["image"])) == 17
    np.testing.assert_array_equal(arrays["label"], original.target)


def test_splits():
    train, test, whole = (to_memory(digits(split)) for split in ("train", "test", "all"))
    assert (len(train["image"]), len(test["image"])) == (1442, 355)
    # Every fifth of each class, in the order of the whole set; the rest, and nothing twice, is for training.
    rank = np.array([np.sum(whole["label"][:i] == label) for i, label in enumerate(whole["label"])])
    np.testing.assert_array_equal(test["image"], whole["image"][rank % 5 == 4])
    np.testing.assert_array_equal(train["label"], whole["label"][rank % 5 != 4])
    counts = np.bincount(test["label"], minlength=10)
    assert (counts.min(), counts.max()) == (34, 36)
    assert digits("test").info.num_classes == 10
    with pytest.raises(UserError, match="split='validation': valid splits are"):
        digits("validation")
