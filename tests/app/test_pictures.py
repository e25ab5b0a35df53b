"""Grids of images."""

import io

import numpy as np
import pytest
from PIL import Image

from genjax.app import pictures, workdir


def constant(*levels, size=2, channels=1):
    return np.stack([np.full((size, size, channels), level, np.uint8) for level in levels])


def test_a_grid_by_hand():
    w = 255
    expected = [
        [w, w, w, w, w, w, w],
        [w, 1, 1, w, 2, 2, w],
        [w, 1, 1, w, 2, 2, w],
        [w, w, w, w, w, w, w],
        [w, 3, 3, w, w, w, w],
        [w, 3, 3, w, w, w, w],
        [w, w, w, w, w, w, w],
    ]
    made = pictures.grid(constant(1, 2, 3), columns=2, scale=1)
    np.testing.assert_array_equal(made[..., 0], expected)
    np.testing.assert_array_equal(
        pictures.grid(constant(1, 2, 3), columns=2, scale=3), made.repeat(3, 0).repeat(3, 1)
    )


@pytest.mark.parametrize(("num", "columns"), [(1, 1), (64, 1), (100, 10), (64, 64)])
def test_pictures_are_large_and_not_huge(num, columns):
    height, width, _ = pictures.grid(np.zeros((num, 8, 8, 1), np.uint8), columns).shape
    assert 450 < max(height, width) <= 900


def test_one_row_a_class():
    images, labels = constant(10, 20, 11, 30, 21, 12), np.array([1, 2, 1, 3, 2, 1])
    made = pictures.by_class(images, labels, columns=2)
    scale = made.shape[1] // 7
    middles = made[scale::scale, scale::scale, 0][::3, ::3]
    np.testing.assert_array_equal(middles, [[10, 11], [12, 255], [20, 21], [30, 255]])


@pytest.mark.parametrize(
    ("num", "classes", "columns"), [(64, 10, 7), (100, 10, 10), (3, 3, 1), (64, 1, 8), (10_000, 10, 100)]
)
def test_columns(num, classes, columns):
    assert pictures.columns(num, classes) == columns


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_pictures_can_be_read_back(tmp_path, channels, mode):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    with Image.open(io.BytesIO(pictures.encode(image))) as picture:
        assert picture.format == "PNG" and picture.mode == mode
        np.testing.assert_array_equal(np.asarray(picture).reshape(image.shape), image)


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    from etils import epath

    path = epath.Path(tmp_path) / "samples.png"
    workdir.write_bytes(path, b"old")

    def full(self, content):
        with open(self, "wb") as file:
            file.write(content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        workdir.write_bytes(path, b"new")
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["samples.png"]


def test_pictures_of_later_steps_go(tmp_path):
    from etils import epath

    directory = epath.Path(tmp_path / "lr=[1e-3]")  # no pattern
    (directory / "samples").mkdir(parents=True)
    (directory / "samples" / "mine.png").write_bytes(b"of somebody else")
    for step in (10, 20, 30):
        workdir.write_picture(directory, step, b"old %d" % step)
    workdir.write_picture(directory, 15, b"new 15")  # after a restart from before step 15
    found = {path.name: path.read_bytes() for path in (directory / "samples").iterdir()}
    assert found.pop("mine.png") == b"of somebody else"
    assert found == {"00000010.png": b"old 10", "00000015.png": b"new 15"}
    assert (directory / "samples.png").read_bytes() == b"new 15"
