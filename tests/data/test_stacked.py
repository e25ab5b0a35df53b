"""Stacked images: what is in the channels, what the labels say, and of what the draw is a function."""

import numpy as np
import pytest

from genjax import data
from genjax.data.stacked import RECORDS, Stacked
from genjax.typing import UserError


def numbered(n=30, classes=3, split="train", names=("x", "y", "z"), labels=True):
    """Image i is of level i and of class ``i % classes``."""
    images = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 4, 5, 1))
    return data.ArraySource(
        images,
        np.arange(n) % classes if labels else None,
        name="numbered",
        split=split,
        num_classes=classes if labels else None,
        class_names=names,
    )


def test_labels_are_those_of_the_channels():
    source = Stacked(numbered(), 500)
    records = source.read(np.arange(500))
    image = records["image"]
    assert image.shape == (500, 4, 5, 3) and image.dtype == np.uint8 and records["label"].dtype == np.int32
    assert (image == image[:, :1, :1]).all()  # whole images, none mixed
    a, b, c = (image[:, 0, 0] % 3).T.astype(int)
    np.testing.assert_array_equal(records["label"], 9 * a + 3 * b + c)
    assert source.info.num_classes == 27 and source.info.image_shape == (4, 5, 3)
    assert source.info.class_names[9 * 2 + 3 * 0 + 1] == "z-x-y" and len(source.info.class_names) == 27


def test_draws_are_even_and_independent():
    drawn = Stacked(numbered(10, classes=10, names=()), 20_000).read(np.arange(20_000))
    counts = np.bincount(drawn["label"], minlength=1000)
    # 20 of each triple: the sum of (n - 20)^2 / 20 is chi-squared with 999 degrees of freedom, deviation 45.
    assert np.square(counts - 20).sum() / 20 == pytest.approx(999, abs=180)


def test_draw_is_a_function_of_record_seed_and_split():
    whole = Stacked(numbered(), 400).read(np.arange(400))["image"]
    np.testing.assert_array_equal(
        whole[[7, 3, 7]], Stacked(numbered(), 20).read(np.array([7, 3, 7]))["image"]
    )
    for other in (Stacked(numbered(), 400, seed=1), Stacked(numbered(split="test"), 400)):
        assert (other.read(np.arange(400))["image"] != whole).any((1, 2)).mean() > 0.9
    # Recorded: the data set of a published number must not change.
    np.testing.assert_array_equal(whole[:3, 0, 0], [[3, 26, 10], [9, 5, 9], [12, 2, 8]])


def test_sizes():
    assert RECORDS == {"train": 128_000, "test": 26_000}
    for split, num in {"train": 128_000, "test": 26_000, "all": 128_000}.items():
        assert len(Stacked(numbered(split=split))) == num


def test_by_name():
    source = data.load("stacked:digits", "test")
    assert isinstance(source, Stacked) and isinstance(source, data.Source)
    assert source.info.name == "stacked:digits" and source.info.num_classes == 1000
    assert source.info.class_names[123] == "1-2-3"
    records, digits = source.read(np.arange(50)), data.to_memory(data.load("digits", "test"))
    known = {image.tobytes(): label for image, label in zip(digits["image"], digits["label"], strict=True)}
    for image, label in zip(records["image"], records["label"], strict=True):
        assert label == sum(
            10 ** (2 - c) * known[np.ascontiguousarray(image[..., c : c + 1]).tobytes()] for c in range(3)
        )
    large = data.load("stacked:digits", "test", image_size=28, channels=3)
    assert large.info.image_shape == (28, 28, 3)


def test_without_labels():
    source = Stacked(numbered(labels=False, names=()), 10)
    assert source.read(np.arange(3)).keys() == {"image"} and source.info.num_classes is None


def test_nothing_is_read_before_the_first_record():
    class Counting:
        def __init__(self):
            self.source, self.reads = numbered(), 0
            self.info, self.skipped = self.source.info, ("one",)

        def __len__(self):
            return len(self.source)

        def read(self, indices):
            self.reads += 1
            return self.source.read(indices)

    counting = Counting()
    source = Stacked(counting, 10)
    assert counting.reads == 0 and source.skipped == ("one",)
    source.read(np.arange(2))
    source.read(np.arange(2))
    assert counting.reads == 1


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: data.load("stacked:shapes", "train"), "images of 'shapes' have 3 channels; only grayscale"),
        (lambda: data.load("stacked:stacked:digits", "train"), "only grayscale"),
        (lambda: data.load("stacked:digits", "trian"), "split='trian'"),
        (lambda: data.load("stacked:digits", "train", channels=1), "is colour where grayscale is asked"),
        (lambda: Stacked(numbered(), 0), "num=0"),
        (lambda: Stacked(numbered(), 2, seed=-1), "seed=-1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=message):
        call()
