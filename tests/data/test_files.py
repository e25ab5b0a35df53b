"""Image files of any sizes: what is read, in which order, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from genjax.data import BadRecordError, ImageFiles
from genjax.typing import UserError


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    pictures = {
        "b.png": random.integers(256, size=(4, 5, 3), dtype=np.uint8),
        "a.png": random.integers(256, size=(4, 5, 3), dtype=np.uint8),
        "deeper/c.png": random.integers(256, size=(6, 2), dtype=np.uint8),
    }
    for name, pixels in pictures.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / name)
    return tmp_path, pictures


def test_sorted_and_stacked_where_the_sizes_are_equal(folder):
    path, pictures = folder
    files = ImageFiles(path)
    assert len(files) == 3
    pair = files[np.array([1, 0])]
    np.testing.assert_array_equal(pair, np.stack([pictures["b.png"], pictures["a.png"]]))
    several = files[np.arange(3)]
    assert [image.shape for image in several] == [(4, 5, 3), (4, 5, 3), (6, 2, 3)]
    np.testing.assert_array_equal(several[2], np.repeat(pictures["deeper/c.png"][..., None], 3, -1))


def test_colour_is_no_grayscale(folder):
    path, pictures = folder
    with pytest.raises(BadRecordError, match=r"a\.png is colour where grayscale is needed"):
        ImageFiles(path, channels=1)[np.arange(1)]
    gray = ImageFiles(path / "deeper", channels=1)
    np.testing.assert_array_equal(gray[np.arange(1)][0, ..., 0], pictures["deeper/c.png"])


def test_bad_files_are_named_or_skipped(folder, caplog):
    path, pictures = folder
    (path / "aa.png").write_bytes(b"no image")
    with pytest.raises(BadRecordError, match=r"aa\.png is not an image"):
        ImageFiles(path)[np.arange(4)]
    files = ImageFiles(path, on_bad_record="skip")
    assert len(files) == 3 and "skipped 1 of 4" in caplog.text
    np.testing.assert_array_equal(files[np.array([1])][0], pictures["b.png"])


def test_nothing_to_read(tmp_path):
    with pytest.raises(UserError, match="no image in it"):
        ImageFiles(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        ImageFiles(tmp_path / "missing")
