"""Folders of images: layouts, splits, labels, and every kind of bad file."""

import numpy as np
import pytest
from PIL import Image

from genjax.data import BadRecordError, ImageFolder, Source, to_memory
from genjax.data.images import check_options
from genjax.typing import UserError


def picture(number, height=8, width=8, channels=1):
    level = np.full((height, width, channels), number, np.uint8)
    return Image.fromarray(level[..., 0] if channels == 1 else level)


def write(root, names, **options):
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number, **options).save(root / name)


def levels(source):
    return to_memory(source)["image"][:, 0, 0, 0].tolist()


def test_flat_folder(tmp_path):
    write(tmp_path, [f"{i:02}.png" for i in range(23)])
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not looked at")
    source = ImageFolder(tmp_path)
    assert isinstance(source, Source) and len(source) == 23
    assert source.info.image_shape == (8, 8, 1) and source.info.num_classes is None
    assert levels(source) == list(range(23))
    assert set(source.read(np.array([4]))) == {"image"}
    assert levels(ImageFolder(tmp_path, "test")) == [9, 19]
    assert levels(ImageFolder(tmp_path, "train")) == [i for i in range(23) if i % 10 != 9]


def test_class_folders(tmp_path):
    write(tmp_path, ["cat/a.png", "dog/a.png", "dog/deep/b.png", "ant/a.png"], channels=3)
    source = ImageFolder(tmp_path)
    assert source.info.class_names == ("ant", "cat", "dog") and source.info.num_classes == 3
    assert source.info.image_shape == (8, 8, 3)
    records = source.read(np.array([3, 0, 1, 2]))
    np.testing.assert_array_equal(records["image"][:, 0, 0, 0], np.array([2, 3, 0, 1]))
    np.testing.assert_array_equal(records["label"], np.array([2, 0, 1, 2], np.int32))
    assert records["label"].dtype == np.int32


def test_split_folders(tmp_path):
    write(tmp_path, ["train/a/0.png", "train/b/1.png", "train/b/2.png", "test/b/3.png"])
    test = ImageFolder(tmp_path, "test")
    # "b" is class 1 though "test" has no other.
    assert levels(test) == [3] and test.info.num_classes == 2
    np.testing.assert_array_equal(to_memory(test)["label"], np.array([1]))
    assert levels(ImageFolder(tmp_path, "train")) == [0, 1, 2]
    assert sorted(levels(ImageFolder(tmp_path, "all"))) == [0, 1, 2, 3]
    with pytest.raises(UserError, match=r"split='val': the folder .* has 'test', 'train', 'all'"):
        ImageFolder(tmp_path, "val")


def test_a_class_may_be_called_train(tmp_path):
    """If somebody says so: it is not guessed."""
    write(tmp_path, ["car/0.png", "train/1.png"])
    assert ImageFolder(tmp_path, layout="classes").info.class_names == ("car", "train")
    with pytest.raises(UserError, match=r"'train' .* split, and 'car' does not.*layout='classes'"):
        ImageFolder(tmp_path)


def test_image_size(tmp_path):
    picture(7, height=10, width=20).save(tmp_path / "a.png")
    picture(9, height=6, width=6).save(tmp_path / "b.png")
    arrays = to_memory(ImageFolder(tmp_path, image_size=6))
    assert arrays["image"].shape == (2, 6, 6, 1)
    np.testing.assert_array_equal(arrays["image"][:, 0, 0, 0], np.array([7, 9], np.uint8))


def test_no_folder_and_no_image(tmp_path):
    with pytest.raises(UserError, match="nowhere': no such folder"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"dataset folder .*: no image in it"):
        ImageFolder(tmp_path)
    write(tmp_path, ["a.png"])
    with pytest.raises(UserError, match="split='test': empty, as every 10th image"):
        ImageFolder(tmp_path, "test")
    with pytest.raises(UserError, match="split='val': valid splits are 'train', 'test', 'all'"):
        ImageFolder(tmp_path, "val")
    write(tmp_path, ["cats/a.png"])
    with pytest.raises(UserError, match=r"a\.png lies beside class sub-folders"):
        ImageFolder(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 0}, "image_size=0: valid are positive"),
        ({"channels": 4}, "channels=4: valid are 1"),
    ],
)
def test_bad_options(tmp_path, options, message):
    write(tmp_path, ["a.png"])
    with pytest.raises(UserError, match=message):
        ImageFolder(tmp_path, **options)
    with pytest.raises(UserError, match="on_bad_record='ignore': valid are 'error' and 'skip'"):
        check_options(None, None, "ignore")


BAD = {
    "unreadable": (lambda path: path.write_bytes(b"not a png"), {}, "is not an image of a known format"),
    "wrongly sized": (
        lambda path: picture(5, 8, 12).save(path),
        {},
        r"has 8x12 pixels where others \(.*00\.png\) have 8x8: pass image_size",
    ),
    "colour among grayscale": (
        lambda path: picture(5, channels=3).save(path),
        {},
        r"is colour where others \(.*00\.png\) are grayscale",
    ),
    "colour, grayscale asked": (
        lambda path: picture(5, channels=3).save(path),
        {"channels": 1},
        r"is colour where grayscale is asked \(channels=1\)",
    ),
    "sized right, colour wrong": (
        lambda path: picture(5, 8, 12, channels=3).save(path),
        {"image_size": 8},
        "is colour where others",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_named_or_skipped(tmp_path, kind, caplog):
    spoil, options, message = BAD[kind]
    write(tmp_path, [f"a/{i:02}.png" for i in range(3)] + [f"b/{i:02}.png" for i in range(3)])
    spoil(tmp_path / "a" / "01.png")
    with pytest.raises(BadRecordError, match=r"a/01\.png " + message):
        ImageFolder(tmp_path, **options)
    assert not caplog.records
    source = ImageFolder(tmp_path, on_bad_record="skip", **options)
    assert levels(source) == [0, 2, 3, 4, 5]
    np.testing.assert_array_equal(to_memory(source)["label"], np.array([0, 0, 1, 1, 1]))
    assert len(source.skipped) == 1 and "01.png" in source.skipped[0]
    assert "skipped 1 of 6 records" in caplog.text and "01.png" in caplog.text


def test_grayscale_where_colour_is_asked(tmp_path):
    write(tmp_path, ["a.png", "b.png"])
    with pytest.raises(
        BadRecordError, match=r"a\.png is grayscale where colour is asked \(channels=3\): leave"
    ):
        ImageFolder(tmp_path, channels=3)
    with pytest.raises(UserError, match=r"skipped 2 of 2 records(.|\n)*no record is left"):
        ImageFolder(tmp_path, channels=3, on_bad_record="skip")


def test_a_truncated_file_is_found_when_it_is_read_or_skipped(tmp_path):
    write(tmp_path, ["a.png", "b.png", "c.png"], height=32, width=32, channels=3)
    whole = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[:-30])
    # Its header is fine.
    source = ImageFolder(tmp_path)
    assert source.read(np.array([0, 2]))["image"].shape == (2, 32, 32, 3)
    with pytest.raises(BadRecordError, match=r"b\.png cannot be read"):
        source.read(np.array([2, 1]))
    assert levels(ImageFolder(tmp_path, on_bad_record="skip")) == [0, 2]


def test_a_file_that_changes_later_is_named(tmp_path):
    write(tmp_path, ["a.png", "b.png"])
    source = ImageFolder(tmp_path)
    picture(1, 4, 4).save(tmp_path / "b.png")
    with pytest.raises(BadRecordError, match=r"b\.png has shape \(4, 4, 1\), and had \(8, 8, 1\)"):
        source.read(np.array([1]))
