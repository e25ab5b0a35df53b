"""Files of NumPy: which array is what, and that none is ignored without a word."""

import numpy as np
import pytest

from genjax.data import ImageArray, load, load_npz, open_images, to_memory
from genjax.data.arrays import array_names, holds_images
from genjax.typing import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 4, 5, 3), np.uint8)
LABELS = np.arange(12) % 3


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        *(("images", "y"), ("images", "targets"), ("image", "classes"), ("x", "y"), ("X", "Y")),
        *(("data", "target"), ("imgs", "label"), ("arr_0", "arr_1"), ("images", "Labels")),
    ],
)
@pytest.mark.parametrize("shape", [(12,), (12, 1)])
def test_names_and_shapes_of_labels(tmp_path, images, labels, shape):
    """Labels of shape [N,1] as Keras saves them."""
    path = saved(tmp_path / "a.npz", **{images: IMAGES, labels: LABELS.reshape(shape).astype(np.uint8)})
    source = load_npz(path, "all")
    assert source.info.num_classes == 3 and not source.ignored.arrays
    np.testing.assert_array_equal(to_memory(source)["label"], LABELS)
    np.testing.assert_array_equal(to_memory(source)["image"], IMAGES)


@pytest.mark.parametrize(
    "names", ["train_images test_labels", "x_train y_test", "X_train Y_test", "training_data valid_targets"]
)
def test_names_of_splits(tmp_path, names):
    image, label = names.split()
    first, second = ("train", "test") if "valid" not in label else ("training", "valid")
    arrays = {}
    for split, part in ((first, slice(8)), (second, slice(8, 12))):
        arrays |= {
            image.replace(first, split): IMAGES[part],
            label.replace(second, split): LABELS[part, None],
        }
    path = saved(tmp_path / "a.npz", **arrays)
    train, test = load_npz(path, "train"), load_npz(path, "val" if second == "valid" else "test")
    np.testing.assert_array_equal(to_memory(train)["label"], LABELS[:8])
    np.testing.assert_array_equal(to_memory(test)["image"], IMAGES[8:])
    assert train.info.num_classes == test.info.num_classes == 3


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES, "labels": LABELS, "y": LABELS}, "'labels' and 'y' both mean the labels"),
        ({"images": IMAGES, "arr_0": IMAGES}, "'images' and 'arr_0' both mean the images"),
        ({"images": IMAGES, "fine_labels": LABELS}, "no images belong to 'fine_labels'.*looks like labels"),
        (
            {"images": IMAGES, "fine_labels": LABELS, "coarse_labels": LABELS},
            "'fine_labels', 'coarse_labels'",
        ),
        ({"x_train": IMAGES, "y_train": LABELS, "labels": LABELS}, "no images belong to 'labels'"),
        ({"x_train": IMAGES, "images": IMAGES}, "'images' and 'x_train': images without a split"),
        ({"x_train": IMAGES}, r"split='test': the file has \['x_train'\]; it needs"),
        ({"images": IMAGES, "labels": np.eye(3)[LABELS]}, r"labels have shape \(12, 3\).*argmax"),
        ({"images": IMAGES.transpose(0, 3, 1, 2)}, r"channels come last: images.transpose\(0, 2, 3, 1\)"),
        ({"images": np.zeros((64, 48, 3), np.uint8)}, "looks like a single colour image"),
        ({"images": IMAGES, "labels": LABELS, "class_names": np.array(["a"])}, "'class_names' is <U1"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path, arrays, message):
    with pytest.raises(UserError, match=message):
        load_npz(saved(tmp_path / "a.npz", **arrays), "test")


def test_other_arrays_are_listed_and_classes_have_names(tmp_path):
    names = np.array(["rose", "lily", "iris", "aster"])
    others = {"files": np.arange(12), "image_ids": LABELS, "class_weights": np.ones(4)}
    path = saved(tmp_path / "a.npz", images=IMAGES, y=LABELS, class_names=names, **others)
    source = load_npz(path, "train")
    assert str(source.ignored) == "3 arrays ignored (class_weights, files, image_ids)"
    assert source.info.class_names == tuple(names) and source.info.num_classes == 4


def test_npy_and_capitals(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    (tmp_path / "a.npy").rename(tmp_path / "B.NPY")
    saved(tmp_path / "a.npz", images=IMAGES, labels=LABELS).rename(tmp_path / "B.NPZ")
    for name, fields in (("B.NPY", {"image"}), ("B.NPZ", {"image", "label"})):
        source = load(str(tmp_path / name), "test", image_size=4)
        assert set(to_memory(source)) == fields and source.info.image_shape == (4, 4, 3) and len(source) == 1
        np.testing.assert_array_equal(to_memory(load(str(tmp_path / name), "all"))["image"], IMAGES)
    np.save(tmp_path / "c.npy", np.array([{}]))
    with pytest.raises(UserError, match=r"c\.npy' is not a readable \.npy file"):
        load(str(tmp_path / "c.npy"), "all")
    with pytest.raises(UserError, match=r"layout='classes' is for folders, and dataset='.*B\.NPZ' is none"):
        load(str(tmp_path / "B.NPZ"), "all", layout="classes")


def test_images_of_a_file_to_be_measured(tmp_path):
    path = saved(tmp_path / "a.npz", arr_0=IMAGES, arr_1=LABELS, mu=np.zeros(3))
    images = open_images(path)
    assert isinstance(images, ImageArray) and len(images) == 12 and images.ignored.arrays == ("mu",)
    np.testing.assert_array_equal(images[np.array([3, 1])], IMAGES[[3, 1]])
    with pytest.raises(UserError, match=r"is colour where grayscale is needed; convert=\['grayscale'\]"):
        open_images(path, channels=1)
    assert open_images(path, channels=1, convert=["grayscale"])[np.arange(2)].shape == (2, 4, 5, 1)
    with pytest.raises(UserError, match=r"images='.*none\.npz': no such file"):
        open_images(tmp_path / "none.npz")
    gray = saved(tmp_path / "gray.npz", images=IMAGES[..., 0])
    np.testing.assert_array_equal(open_images(gray)[np.arange(2)], np.stack([IMAGES[:2, ..., 0]] * 3, -1))


def test_what_a_file_holds(tmp_path):
    assert holds_images(saved(tmp_path / "a.npz", arr_0=IMAGES, mu=LABELS))
    assert not holds_images(saved(tmp_path / "b.npz", mu=LABELS, sigma=LABELS))
    assert array_names(tmp_path / "b.npz") == ("mu", "sigma") and array_names(tmp_path / "none.npz") == ()
    for name, array, expected in (("c", IMAGES, True), ("d", np.zeros((5, 3), np.float32), False)):
        np.save(tmp_path / f"{name}.npy", array)
        assert holds_images(tmp_path / f"{name}.npy") == expected
    assert not holds_images(tmp_path / "missing.npy")
