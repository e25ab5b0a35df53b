"""Data sets of which a part is used."""

import dataclasses

import numpy as np
import pytest

from genjax import data
from genjax.app import build
from genjax.app.config import DataConfig
from genjax.typing import UserError


def test_the_same_records_at_any_time():
    whole = data.digits("train")
    some = data.Limited(whole, 50)
    assert len(some) == 50 and some.info == whole.info
    records = some.read(np.arange(50))
    again = data.Limited(whole, 50).read(np.array([7, 3]))
    np.testing.assert_array_equal(again["image"], records["image"][[7, 3]])
    assert len(set(records["label"].tolist())) == 10  # drawn from all of it, not its beginning
    numbers = some._numbers
    assert (np.diff(numbers) > 0).all() and numbers[-1] > 1000
    np.testing.assert_array_equal(records["image"], whole.read(numbers)["image"])
    np.testing.assert_array_equal(some.labels, records["label"])
    assert len(data.Limited(whole, 10**9)) == len(whole)
    with pytest.raises(UserError, match="limit=0: valid are 1 and more"):
        data.Limited(whole, 0)


def test_pairs_stay_pairs():
    config = DataConfig(dataset="digits", source="inverted:digits", limit=20)
    for resident in (1024, 0):
        pair = build.source(dataclasses.replace(config, resident_mb=resident), "train")
        records = pair.read(np.arange(20))
        assert len(pair) == 20
        np.testing.assert_array_equal(records["source"], 255 - records["image"])
