"""What is known again when data has moved, and what is noticed when it has changed."""

import importlib
import shutil

import numpy as np
import pytest
from PIL import Image

from genjax import data
from genjax.data import names
from genjax.data.digest import NOTHING, differences, of_files, spread
from tests.data.test_tfds import png, write_dataset

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1), np.uint8)


@pytest.fixture
def folder(tmp_path):
    for i, image in enumerate(IMAGES[:16]):  # all of which are read
        (tmp_path / f"photos/{i % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(tmp_path / f"photos/{i % 2}/{i:02d}.bmp")
    return tmp_path / "photos"


def of(path, split="all", **options):
    return data.load(f"folder:{path}", split, **options).digest


def test_of_a_folder_it_does_not_say_where_nor_how(folder, tmp_path):
    before, splits = of(folder), [of(folder, split) for split in ("train", "test")]
    for options in (
        {"image_size": 4},
        {"convert": ["colour"]},
        {"layout": "classes"},
        {"on_bad_record": "skip"},
    ):
        assert of(folder, **options) == before
    moved = shutil.move(folder, tmp_path / "elsewhere")
    (moved / "notes.txt").touch()  # is no image
    assert of(moved) == before and [of(moved, split) for split in ("train", "test")] == splits
    assert before["files"] == "16" and splits[0]["files"] == "15"
    assert differences(before, of(moved)) == []


def changed(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: changed(folder / "0/02.bmp"), ["contents"]),
        (lambda folder: (folder / "0/02.bmp").rename(folder / "0/02a.bmp"), ["names of files"]),
        (
            lambda folder: shutil.copy(folder / "0/02.bmp", folder / "0/03.bmp"),
            ["number of files (16 before, 17 now)", "names of files"],
        ),
        (
            lambda folder: (folder / "0/02.bmp").unlink(),
            ["number of files (16 before, 15 now)", "names of files"],
        ),
        (
            lambda folder: Image.fromarray(IMAGES[2, ..., 0]).save(folder / "0/02.bmp", "PNG"),
            ["sizes of files", "contents"],
        ),
        (lambda folder: (folder / "1").rename(folder / "one"), ["names of files"]),
    ],
    ids=["bytes", "renamed", "added", "removed", "size", "class"],
)
def test_what_is_noticed(folder, change, said):
    before = of(folder)
    change(folder)
    assert differences(before, of(folder)) == said


def test_it_is_cheap_whatever_the_number_of_files(tmp_path, monkeypatch):
    asked = {"size": [], "content": []}
    module = importlib.import_module("genjax.data.digest")
    monkeypatch.setattr(module, "_size", lambda file: asked["size"].append(file) or b"1")
    monkeypatch.setattr(module, "_content", lambda file: asked["content"].append(file) or b"1")
    files = [tmp_path / f"{i:05d}" for i in range(20_000)]
    of_files(tmp_path, files)
    assert len(asked["size"]) == 1000 and len(asked["content"]) == 16
    assert asked["content"][0] == files[0] and asked["content"][-1] == files[-1]
    steps = np.diff(spread(20_000, 1000))
    assert set(steps) == {20, 21}
    assert spread(3, 16) == [0, 1, 2]


def test_an_unreadable_file_is_a_bad_record_and_no_crash(folder, tmp_path):
    whole = of_files(folder, [folder / "0/00.bmp"])
    (folder / "0/00.bmp").unlink()
    assert differences(whole, of_files(folder, [folder / "0/00.bmp"])) == ["sizes of files", "contents"]


def test_of_arrays(tmp_path):
    def saved(name, **arrays):
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    labels = np.arange(30) % 3
    path = saved("a.npz", images=IMAGES, labels=labels)
    train, test = (data.load(str(path), split) for split in ("train", "test"))
    assert train.digest["shape"] == "uint8[27, 8, 8, 1]" and train.digest != test.digest
    for options in ({"image_size": 4}, {"convert": ["colour"]}):
        assert data.load(str(path), "train", **options).digest == train.digest
    (tmp_path / "other").mkdir()
    same = saved("other/b.npz", images=IMAGES, labels=labels.astype(np.int32)[:, None])
    assert data.load(str(same), "train").digest == train.digest
    other = IMAGES.copy()
    other[7, 0, 0] ^= 1
    for arrays, said in [
        ({"images": other, "labels": labels}, ["contents"]),
        ({"images": IMAGES, "labels": labels[::-1]}, ["labels"]),
        (
            {"images": IMAGES[:, :, :4], "labels": labels},
            ["type and shape (uint8[27, 8, 8, 1] before, uint8[27, 8, 4, 1] now)", "contents"],
        ),
    ]:
        now = data.load(str(saved("c.npz", **arrays)), "train").digest
        assert differences(train.digest, now) == said
    deep = saved("d.npz", images=IMAGES.astype(np.uint16))
    assert data.load(str(deep), "test", convert=["8-bit"]).digest["shape"] == "uint16[3, 8, 8, 1]"
    np.save(tmp_path / "e.npy", IMAGES)
    assert "labels" not in data.load(str(tmp_path / "e.npy"), "train").digest


def test_of_bundled_data():
    digits = data.load("digits", "train").digest
    assert digits["shape"] == "uint8[1442, 8, 8]" and digits["contents"] == "ea61d83ced22d259"
    assert data.load("digits", "train", image_size=5, convert=["colour"]).digest == digits
    sizes = [data.load("shapes", "test", image_size=size).digest for size in (16, 17)]
    assert sizes[0] == sizes[1] and sizes[0]["labels"]


def test_of_tfds(tmp_path):
    files = [png(image) for image in IMAGES]
    write_dataset(tmp_path / "a", files, np.zeros(30, int))
    write_dataset(tmp_path / "b", files, np.zeros(30, int))
    write_dataset(tmp_path / "c", [*files[:-1], files[0]], np.zeros(30, int))
    write_dataset(tmp_path / "d", [*files[:-1], b""], np.zeros(30, int))
    one, same, other, bad = (
        data.load_tfds("tiny_digits", "train", data_dir=tmp_path / name, image_size=4).digest
        for name in "abcd"
    )
    assert one == same and one["name"] == "tiny_digits/1.0.0" and one["records"] == "30"
    assert differences(one, other) == ["contents"] and differences(one, bad) == ["contents"]
    part = data.load_tfds("tiny_digits", "train[:10]", data_dir=tmp_path / "a", image_size=4).digest
    assert differences(one, part) == [
        "number of records (30 before, 10 now)",
        "lengths of the shards",
        "contents",
    ]


def test_wrappers_pass_it_on():
    digits, others = data.load("digits", "train"), data.load("digits", "test")
    for wrapped in (
        data.Binarized(digits),
        data.Limited(digits, 5),
        data.Converted(digits, 3),
        data.ArraySource.from_records(data.to_memory(digits), digits.info, digest=digits.digest),
    ):
        assert wrapped.digest == digits.digest
    edges, stacked = data.load("edges:digits", "train"), data.load("stacked:digits", "train")
    assert differences(digits.digest, edges.digest) == ["what is made of it (nothing before, edges now)"]
    assert differences(edges.digest, stacked.digest) == ["what is made of it (edges before, stacked now)"]
    twice = data.load("inverted:edges:digits", "train")
    assert twice.digest["made"] == "inverted:edges:"
    for pair in (data.Paired(edges, digits), data.Unpaired(edges, digits).map(lambda part: part)):
        assert differences(edges.digest, pair.digest) == []
        other = data.Unpaired(edges, others)
        assert differences(pair.digest, other.digest) == [
            "source: type and shape (uint8[1442, 8, 8] before, uint8[355, 8, 8] now)",
            "source: labels",
            "source: contents",
        ]
    nobody = data.ArraySource(IMAGES)
    assert data.digest(nobody) == NOTHING == data.digest(data.Unpaired(nobody, digits))
    assert data.digest(data.Limited(nobody, 3)) == NOTHING == data.digest(object())


def test_another_kind_is_all_that_is_said(folder):
    assert differences(of(folder), data.load("digits", "test").digest) == ["kind (files before, arrays now)"]
    assert differences(of(folder), {**of(folder), "of a later version": "x"}) == []


def test_names_that_are_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "c.npz").mkdir()
    for name, wanted in {
        "folder:photos": f"folder:{tmp_path}/photos",
        "folder:../photos/": f"folder:{tmp_path.parent}/photos",
        "./photos": f"folder:{tmp_path}/photos",
        "a/b": f"folder:{tmp_path}/a/b",
        "folder:c.npz": f"folder:{tmp_path}/c.npz",
        "x.npz": f"{tmp_path}/x.npz",
        "x.NPY": f"{tmp_path}/x.NPY",
        "edges:folder:~/photos": f"edges:folder:{tmp_path}/home/photos",
        "stacked:inverted:~/x.npy": f"stacked:inverted:{tmp_path}/home/x.npy",
    }.items():
        assert names.absolute(name) == wanted == names.absolute(wanted)
        assert names.short(name) == names.short(wanted)
    for name in ("digits", "edges:mnist", "downsampled_imagenet/32x32", "mnist:3.0.1", "folder:gs://x/y"):
        assert names.absolute(name) == name
    assert names.short("edges:folder:a/photos/") == "edges:folder:photos"
    assert names.may_be_moved("folder:a", "folder:b") and names.may_be_moved("edges:a.npz", "edges:b.npy")
    for before, now in [("mnist", "emnist"), ("folder:a", "edges:folder:a"), ("a.npz", "folder:a")]:
        assert not names.may_be_moved(before, now)
