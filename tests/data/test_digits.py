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
    assert (len(train["image"]), len(test["image"])) == (1438, 359)
    is_test = np.arange(1797) % 5 == 4
    np.testing.assert_array_equal(train["image"], whole["image"][~is_test])
    np.testing.assert_array_equal(test["label"], whole["label"][is_test])
    # Every class is in both, about as often.
    assert np.bincount(test["label"], minlength=10).min() > 25
    assert digits("test").info.num_classes == 10
    with pytest.raises(UserError, match="split='validation': valid splits are"):
        digits("validation")
