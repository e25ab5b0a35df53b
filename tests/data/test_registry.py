"""One name, one source: which names mean what, and that options reach all of them."""

import numpy as np
import pytest
from PIL import Image

from genjax.data import digits, load, to_memory
from genjax.data.images import resize_array
from genjax.typing import UserError


def test_digits():
    np.testing.assert_array_equal(
        to_memory(load("digits", "test"))["image"], to_memory(digits("test"))["image"]
    )
    large = load("digits", "test", image_size=28)
    assert large.info.image_shape == (28, 28, 1) and large.info.num_classes == 10
    arrays = to_memory(large)
    np.testing.assert_array_equal(arrays["image"], resize_array(to_memory(digits("test"))["image"], 28))
    np.testing.assert_array_equal(arrays["label"], to_memory(digits("test"))["label"])
    with pytest.raises(UserError, match="'digits' is grayscale where colour is asked"):
        load("digits", "test", channels=3)


def test_npz(tmp_path):
    images = np.arange(20 * 4 * 4 * 3, dtype=np.uint8).reshape(20, 4, 4, 3)
    np.savez(tmp_path / "a.npz", images=images)
    source = load(str(tmp_path / "a.npz"), "all", channels=3)
    np.testing.assert_array_equal(to_memory(source)["image"], images)
    with pytest.raises(UserError, match="is colour where grayscale is asked"):
        load(str(tmp_path / "a.npz"), "all", channels=1)


def test_folders(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    Image.new("L", (4, 4), 77).save(tmp_path / "sub" / "a.png")
    monkeypatch.chdir(tmp_path.parent)
    for name in (f"folder:{tmp_path}", str(tmp_path), f"./{tmp_path.name}", f"{tmp_path.name}/sub"):
        assert to_memory(load(name, "all"))["image"].ravel().tolist() == [77] * 16
    with pytest.raises(UserError, match="no such folder"):
        load("./nowhere", "all")
    with pytest.raises(UserError, match="no such folder"):
        load("folder:nowhere", "all")


def test_other_names_are_those_of_tfds(tmp_path, monkeypatch):
    # A folder of the same name does not hide the data set.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnis").mkdir()
    with pytest.raises(UserError, match="dataset='mnis': no such data set; near matches: mnist"):
        load("mnis", "train")
    with pytest.raises(UserError, match="data_dir='nowhere': no such directory"):
        load("mnist", "train", data_dir="nowhere")


@pytest.mark.parametrize("name", ["digits", "folder:nowhere", "nowhere.npz", "mnist"])
def test_options_are_checked_for_all(name):
    with pytest.raises(UserError, match="image_size=-2"):
        load(name, "all", image_size=-2)
