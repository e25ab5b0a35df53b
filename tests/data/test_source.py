"""Arrays and .npz files as data sets, and what is said of bad ones."""

import numpy as np
import pytest

from genjax.data import ArraySource, Source, load_npz
from genjax.data.source import split_indices
from genjax.typing import UserError

IMAGES = np.arange(12 * 4 * 5, dtype=np.uint8).reshape(12, 4, 5, 1)
LABELS = np.arange(12) % 3


def test_records_by_index():
    source = ArraySource(IMAGES, LABELS, name="mine", split="train", class_names=("a", "b", "c"))
    assert isinstance(source, Source) and len(source) == 12 and source.skipped == ()
    assert source.info.image_shape == (4, 5, 1) and source.info.num_classes == 3
    records = source.read(np.array([7, 0, 7]))
    np.testing.assert_array_equal(records["image"], IMAGES[[7, 0, 7]])
    np.testing.assert_array_equal(records["label"], np.array([1, 0, 1], np.int32))
    assert records["image"].dtype == np.uint8 and records["label"].dtype == np.int32


def test_without_labels():
    source = ArraySource(IMAGES[..., 0])
    assert source.info.num_classes is None and source.info.image_shape == (4, 5, 1)
    assert set(source.read(np.arange(2))) == {"image"}


@pytest.mark.parametrize(
    ("images", "labels", "num_classes", "message"),
    [
        (IMAGES.astype(np.float32), None, None, "dtype float32, valid is uint8"),
        (IMAGES[0, 0], None, None, r"shape \(5, 1\), valid are"),
        (np.zeros((3, 4, 4, 2), np.uint8), None, None, r"shape \(3, 4, 4, 2\)"),
        (IMAGES[:0], None, None, "no image in it"),
        (IMAGES, LABELS[:5], None, r"labels have shape \(5,\), valid is \(12,\)"),
        (IMAGES, LABELS.astype(float), None, "dtype float64, valid are integers"),
        (
            IMAGES,
            LABELS,
            2,
            r"labels out of range: record 2 has label 2, valid are 0\.\.1 \(4 such records\)",
        ),
        (IMAGES, LABELS - 1, 3, r"labels out of range: record 0 has label -1, valid are 0\.\.2"),
    ],
)
def test_bad_arrays(images, labels, num_classes, message):
    with pytest.raises(UserError, match=message):
        ArraySource(images, labels, num_classes=num_classes)


@pytest.mark.parametrize("every", [5, 10])
def test_splits_of_a_set_without_splits(every):
    parts = {split: split_indices(1797, split, every) for split in ("train", "test", "all")}
    np.testing.assert_array_equal(parts["test"], np.arange(every - 1, 1797, every))
    np.testing.assert_array_equal(np.sort(np.concatenate([parts["train"], parts["test"]])), parts["all"])
    np.testing.assert_array_equal(parts["all"], np.arange(1797))
    with pytest.raises(UserError, match="split='val': valid splits are 'train', 'test', 'all'"):
        split_indices(10, "val", every)


@pytest.mark.parametrize("names", [("images", "labels"), ("arr_0", "arr_1")])
def test_npz_of_one_set_is_split(tmp_path, names):
    np.savez(tmp_path / "a.npz", **dict(zip(names, (IMAGES, LABELS), strict=True)))
    test = load_npz(tmp_path / "a.npz", "test")
    np.testing.assert_array_equal(test.read(np.arange(len(test)))["image"], IMAGES[9:10])
    np.testing.assert_array_equal(test.read(np.arange(len(test)))["label"], LABELS[9:10])
    # The classes are those of the whole file.
    assert test.info.num_classes == 3 and len(load_npz(tmp_path / "a.npz", "train")) == 11


@pytest.mark.parametrize("pattern", ["{}_images {}_labels", "x_{} y_{}"])
def test_npz_with_splits_of_its_own(tmp_path, pattern):
    arrays = {}
    for split, rows in (("train", slice(0, 8)), ("test", slice(9, 11))):
        image, label = pattern.format(split, split).split()
        arrays |= {image: IMAGES[rows], label: LABELS[rows]}
    np.savez(tmp_path / "a.npz", **arrays)
    test = load_npz(tmp_path / "a.npz", "test")
    np.testing.assert_array_equal(test.read(np.arange(2))["image"], IMAGES[9:11])
    # Class 2 is missing from "test", and counts all the same.
    assert test.info.num_classes == load_npz(tmp_path / "a.npz", "train").info.num_classes == 3


def test_bad_npz(tmp_path):
    with pytest.raises(UserError, match=r"none\.npz': no such file"):
        load_npz(tmp_path / "none.npz", "train")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(UserError, match=r"text\.npz' is not a readable \.npz file"):
        load_npz(tmp_path / "text.npz", "train")
    np.savez(tmp_path / "other.npz", pictures=IMAGES)
    with pytest.raises(UserError, match=r"has \['pictures'\]; it needs an array 'images'"):
        load_npz(tmp_path / "other.npz", "train")
    np.savez(tmp_path / "few.npz", images=IMAGES[:4])
    with pytest.raises(UserError, match="split='test': empty, the file has only 4 images"):
        load_npz(tmp_path / "few.npz", "test")
    np.savez(tmp_path / "labels.npz", images=IMAGES, labels=np.where(LABELS == 1, -5, LABELS))
    with pytest.raises(UserError, match="labels out of range: record 1 has label -5"):
        load_npz(tmp_path / "labels.npz", "train")


LEVELS = np.array([0, 1, 51, 255], np.uint8).reshape(1, 2, 2, 1)


@pytest.mark.parametrize(
    ("images", "advice"),
    [
        (LEVELS / np.float32(255), "(255 * images).round().astype('uint8')"),
        (LEVELS.astype(np.float64), "images.round().astype('uint8')"),
        (LEVELS.astype(np.int64), "images.round().astype('uint8')"),
        (LEVELS > 100, "255 * images.astype('uint8')"),
    ],
)
def test_images_of_other_types_are_told_how_to_become_levels(images, advice):
    """By the range of their values: images in [0, 1] would be washed out by what is for [-1, 1]."""
    with pytest.raises(UserError) as error:
        ArraySource(images)
    assert str(error.value).endswith(f"take {advice}")
    made = eval(advice, {"images": images})
    np.testing.assert_array_equal(made, 255 * (LEVELS > 100) if images.dtype == bool else LEVELS)
    assert ArraySource(made).info.image_shape == (2, 2, 1)


def test_other_types_that_need_no_numpy():
    for images, advice in [
        (LEVELS / np.float32(127.5) - 1, "genjax.data.to_uint8 converts values in [-1, 1]"),
        (LEVELS.astype(np.uint16) * 257, "convert=['8-bit'] converts uint16"),
        (LEVELS * 9.0, "their values are in [0, 2295]"),
    ]:
        with pytest.raises(UserError) as error:
            ArraySource(images)
        assert str(error.value).endswith(advice)


def test_labels_of_other_types_are_told_how_to_become_numbers(tmp_path):
    images, texts = np.zeros((3, 2, 2), np.uint8), np.array(["dog", "cat", "dog"])
    for labels, advice in [
        (texts, "class_names, labels = numpy.unique(labels.astype(str), return_inverse=True)"),
        (texts.astype("S"), "return_inverse=True)"),
        (np.array([1.0, 0.0, 1.0]), "take labels.astype('int32')"),
        (np.array([0.5, 0.0, 1.0]), "valid are integers"),
    ]:
        with pytest.raises(UserError) as error:
            ArraySource(images, labels)
        assert str(error.value).endswith(advice)
    names, labels = np.unique(texts.astype("S").astype(str), return_inverse=True)
    np.savez(tmp_path / "a.npz", images=images, labels=labels, class_names=names)
    source = load_npz(tmp_path / "a.npz", "all")
    assert source.info.class_names == ("cat", "dog")
    np.testing.assert_array_equal(source.labels, [1, 0, 1])
