"""Own images from end to end: what a training says of them, single files, arrays, and scores of both."""

import json
import shutil

import numpy as np
import pytest

from experiments import image_folders, sample
from experiments.found import data_found
from experiments.report import data_sets
from genjax import data
from genjax.app import labels, pictures
from genjax.data import fields
from genjax.typing import UserError

METRICS = ("--metrics", "fd", "--extractor", "digits")


def colour(n, size=4):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)


@pytest.fixture(scope="module")
def digits():
    return data.to_memory(data.load("digits", "train"))


def test_the_first_line_of_a_training(tmp_path, write_images):
    for name in ("petunia", "rose", "aster", "lily", "iris", "poppy"):
        write_images(tmp_path / name, colour(5))
    for name in ("a.heicx", "b.heicx", "c.heicx", "rose/x.txt", "y.txt"):
        (tmp_path / name).touch()
    write_images(tmp_path / "rose", colour(1, size=2), ["small.png"])

    def found(**options):
        parts = (data.ImageFolder(tmp_path, split, **options) for split in ("train", "test"))
        return data_found(*parts)

    assert found(on_bad_record="skip") == (
        "27 training and 3 test images, 6 classes (aster, iris, ...), 4x4x3; "
        "5 files ignored (3 .heicx, 2 .txt); 1 bad record skipped"
    )
    (tmp_path / "rose" / "small.png").unlink()
    assert found() == (
        "27 training and 3 test images, 6 classes (aster, iris, ...), 4x4x3; 5 files ignored (3 .heicx, 2 .txt)"
    )


def test_the_line_of_other_data_sets(tmp_path):
    train, test = (data.load("digits", split) for split in ("train", "test"))
    assert data_found(train, test) == "1,442 training and 355 test images, 10 classes, 8x8x1"
    pair = data.Paired(train, data.load("digits", "train", image_size=12, convert=["colour"]))
    assert data_found(pair, test) == (
        "1,442 training and 355 test images, 10 classes, 8x8x1, made from 12x12x3"
    )
    one = data.ArraySource(colour(3), np.zeros(3, int), class_names=["rose"])
    assert data_found(one, one) == "3 training and 3 test images, 1 class (rose), 4x4x3"


def test_classes_that_are_never_seen_are_named(tmp_path, write_images):
    """As class 0 where labels begin at 1: the model has a class more, and makes noise of it."""
    from_one = data.ArraySource(colour(6), np.array([1, 2, 3, 1, 2, 3]))
    assert data_found(from_one, from_one) == (
        "6 training and 6 test images, 4 classes, 4x4x3; no training image of class 0"
    )
    gaps = data.Limited(data.ArraySource(colour(6), np.array([90, 5, 90, 5, 90, 5])), 5)
    assert "91 classes, 4x4x3; no training image of 89 classes (0, 1, ...)" in data_found(gaps, from_one)
    for name in ("train/cat", "train/dog", "test/cat", "test/dog", "test/fox"):
        write_images(tmp_path / name, colour(2))
    parts = (data.ImageFolder(tmp_path, split) for split in ("train", "test"))
    assert data_found(*parts).endswith("3 classes (cat, dog, fox), 4x4x3; no training image of class fox")


def test_a_training_says_it_first(run):
    first = (run.parent / "out.txt").read_text().splitlines()[0]
    assert first == "1,442 training and 355 test images, 10 classes, 8x8x1"


def test_single_files_are_read_back(tmp_path):
    images, classes = colour(7), np.array([0, 1, 2, 1, 0, 0, 2])
    names = ("rose", "a/b", "..")
    image_folders.write(tmp_path / "made", image_folders.files(images, classes, names, first=41))
    assert sorted(p.relative_to(tmp_path / "made").as_posix() for p in (tmp_path / "made").rglob("*.png"))[
        0
    ] == ("_/000043.png")
    source = data.ImageFolder(tmp_path / "made")
    assert source.info.class_names == ("_", "a_b", "rose")
    order = [2, 6, 1, 3, 0, 4, 5]  # by class, and then by number
    np.testing.assert_array_equal(data.to_memory(source)["image"], images[order])
    np.testing.assert_array_equal(data.ImageFiles(tmp_path / "made")[np.arange(7)], images[order])
    image_folders.write(tmp_path / "flat", image_folders.files(images, None, ()))
    np.testing.assert_array_equal(data.to_memory(data.ImageFolder(tmp_path / "flat"))["image"], images)
    assert (tmp_path / "flat" / "000006.png").exists()


def test_names_of_folders():
    """Whatever classes are called: no path leads out of the folder, none is hidden, and no two are one."""
    names = [
        "rose",
        "Rose",
        "../..",
        "a/b",
        "a\\b",
        ".git",
        "",
        " ",
        "x" * 300,
        "x" * 300 + "y",
        "é" * 200,
        "a:b",
    ]
    found = image_folders.folder_names(names)
    assert len({name.casefold() for name in found}) == len(names)
    for name in found:
        assert (
            name
            and not name.startswith(".")
            and not set(name) & set('/\\:*?"<>|')
            and len(name.encode()) < 130
        )
    assert found[0] == "rose" and found[3] == "a_b" and found[5] == "_git"
    assert len(set(image_folders.folder_names(["same"] * 5))) == 5


def test_a_folder_for_images_is_empty(tmp_path, run, verb, monkeypatch):
    from genjax.app import scoring

    monkeypatch.setattr(scoring, "make", lambda *_, **__: pytest.fail("images are made"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x.png").touch()
    (tmp_path / "file").touch()
    (tmp_path / "seen").mkdir()
    (tmp_path / "seen" / ".DS_Store").touch()  # somebody has looked into it
    image_folders.check(tmp_path / "seen")
    for out, message in [
        (f"{tmp_path}/full/", "the folder is not empty"),
        (f"{tmp_path}/no/folder/", "there is no folder"),
        (f"{tmp_path}/file/", "is a file, and not a folder"),
        (f"{tmp_path}/made", "the name of a folder of single images ends with '/'"),
    ]:
        ended = verb("sample", "--workdir", run, "--out", out)
        assert ended.code == 2 and message in ended.err, ended.err
    assert {p.name for p in tmp_path.iterdir()} == {"full", "file", "seen"}


def test_samples_are_scored_alike_as_files_and_as_arrays(tmp_path, run, verb, digits, write_images):
    """What `sample` writes `evaluate` reads: a folder, its .npz, and ADM's names of arrays."""
    ended = verb("sample", "--workdir", run, "--num", "30", "--first", "7", "--out", f"{tmp_path}/made/")
    assert ended.code == 0 and ended.out == f"30 images of step 6 written to {tmp_path}/made/\n", ended.err
    assert {p.name for p in (tmp_path / "made" / "3").iterdir()} == {"000013.png", "000023.png", "000033.png"}
    source = data.ImageFolder(tmp_path / "made")
    records = data.to_memory(source)
    np.testing.assert_array_equal(records["label"], np.repeat(np.arange(10), 3))
    assert len(np.unique(records["image"], axis=0)) == 30
    np.savez(tmp_path / "made.npz", images=records["image"], labels=records["label"])
    np.savez(tmp_path / "adm.npz", arr_0=records["image"], arr_1=records["label"].astype(np.int64))
    real = write_images(tmp_path / "real", digits["image"][:70])
    np.savez(tmp_path / "real.npz", arr_0=digits["image"][:70], mu=np.zeros(64), sigma=np.eye(64))
    folder, own, adm = (
        verb("evaluate", "--images", tmp_path / name, "--reference", real, *METRICS)
        for name in ("made", "made.npz", "adm.npz")
    )
    for ended in (folder, own, adm):
        assert ended.code == 0, ended.err
        assert ended.json["num_samples"] == 30
        assert ended.json["fd_generated"] == folder.json["fd_generated"]
    both = ("--metrics", "fd,kid", "--extractor", "digits")
    ended = verb("evaluate", "--images", tmp_path / "adm.npz", "--reference", tmp_path / "real.npz", *both)
    assert ended.code == 0 and "2 arrays ignored (mu, sigma)" in ended.out, ended.err
    assert ended.json["fd_generated"] == pytest.approx(adm.json["fd_generated"], rel=1e-6)
    # Where statistics are enough, they are what such a file means.
    ended = verb("evaluate", "--images", tmp_path / "adm.npz", "--reference", tmp_path / "real.npz", *METRICS)
    assert ended.code == 0 and json.loads(ended.json["protocol"])["extractor"] == "unknown"


def test_images_are_converted_to_be_measured(tmp_path, verb, digits, write_images):
    real = write_images(tmp_path / "real", digits["image"][:30])
    made = write_images(tmp_path / "made", np.repeat(digits["image"][30:60], 3, -1))
    (made / "notes.txt").touch()
    options = ("--images", made, "--reference", real, *METRICS)
    ended = verb("evaluate", *options)
    assert ended.code == 2 and "convert=['grayscale'] converts it" in ended.err
    ended = verb("evaluate", *options, "--convert", "grayscale")
    assert ended.code == 0, ended.err
    assert f"{made}: 30 images; 1 file ignored (1 .txt)\n" in ended.out
    ended = verb("evaluate", "--workdir", "x", "--convert", "grayscale")
    assert ended.code == 2 and "convert=('grayscale',) goes with images" in ended.err


def test_arrays_of_samples_have_the_names_of_their_classes(tmp_path):
    """So that label 2 is not taken for class "2" where the classes are called 1, 2, 3."""
    images, classes = colour(4), np.array([2, 0, 2, 0])
    (tmp_path / "made.npz").write_bytes(sample._as_arrays(images, classes, ("1", "2", "3")))
    source = data.load_npz(tmp_path / "made.npz", "all")
    assert source.info.class_names == ("1", "2", "3") and source.ignored.arrays == ()
    np.testing.assert_array_equal(source.labels, classes)


def test_images_of_several_sizes_are_brought_to_one(tmp_path, verb, digits, write_images, caplog):
    """Generated images of 8x8 pixels, and the photographs they were trained on, of 20x8 and more."""
    made = write_images(tmp_path / "made", digits["image"][:20])
    wide = np.zeros((30, 8, 20, 1), np.uint8)
    wide[:, :, 6:14] = digits["image"][20:50]  # what training crops out of them
    real = write_images(tmp_path / "real", wide)
    small = write_images(tmp_path / "small", digits["image"][20:50])
    expected = verb("evaluate", "--images", made, "--reference", small, *METRICS).json
    assert "real ones" not in caplog.text
    found = verb("evaluate", "--images", made, "--reference", real, *METRICS)
    assert "generated images are 8x8 and real ones 8x20" in caplog.text
    assert "image_size=8 scales and crops" in caplog.text
    assert found.json["fd_generated"] > 1.5 * expected["fd_generated"]
    caplog.clear()
    options = (*METRICS, "--image-size", "8")
    found = verb("evaluate", "--images", made, "--reference", real, *options)
    assert found.code == 0 and "real ones" not in caplog.text, found.err
    assert found.json["fd_generated"] == expected["fd_generated"]
    np.savez(tmp_path / "real.npz", images=wide)
    arrays = verb("evaluate", "--images", made, "--reference", tmp_path / "real.npz", *options)
    assert arrays.json["fd_generated"] == expected["fd_generated"]
    statistics = tmp_path / "statistics.npz"
    written = verb("reference", "--images", real, "--out", statistics, *METRICS[2:], "--image-size", "8")
    assert written.code == 0, written.err
    against = verb("evaluate", "--images", made, "--reference", statistics, *options)
    assert against.json["fd_generated"] == pytest.approx(expected["fd_generated"], rel=1e-6)
    refused = verb("evaluate", "--workdir", "x", "--image-size", "8")
    assert refused.code == 2 and "image_size=8 goes with images" in refused.err


def test_a_run_is_compared_with_a_folder_as_it_was_trained(tmp_path, run, verb, digits, write_images):
    """Images of the folder are brought to the size of the run's, and converted as its data are."""
    plain = write_images(tmp_path / "plain", digits["image"][:20])
    wide = np.zeros((20, 8, 20, 1), np.uint8)
    wide[:, :, 6:14] = digits["image"][:20]
    opaque = np.full_like(wide, 255)
    opaque[:, :, :6] = opaque[:, :, 14:] = 0  # transparent where it is cropped
    raw = write_images(tmp_path / "raw", np.concatenate([wide, wide, wide, opaque], -1))
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    config = json.loads((copy / "config.json").read_text())
    config["data"]["convert"] = ["on:white", "grayscale"]
    (copy / "config.json").write_text(json.dumps(config))
    options = ("--workdir", copy, "--num", "20", *METRICS)
    expected, found = (verb("evaluate", *options, "--reference", folder) for folder in (plain, raw))
    assert found.code == expected.code == 0, found.err + expected.err
    assert found.json["fd_generated"] == expected.json["fd_generated"]


def test_pictures_show_names_of_classes():
    images, classes = np.zeros((6, 8, 8, 3), np.uint8), np.repeat([0, 1, 2], 2)
    plain = pictures.by_class(images, classes, 2)
    named = pictures.by_class(images, classes, 2, ("rose", "a class of a very long name", "ü"))
    strip = named.shape[1] - plain.shape[1]
    assert 20 < strip < 300
    np.testing.assert_array_equal(named[:, strip:], plain)
    height = plain.shape[0] // 3
    for row in range(3):  # black letters in the middle of each row, and none between
        part = named[row * height : (row + 1) * height, :strip]
        assert part[height // 3 : -(height // 3)].min() < 100 and part[: height // 5].min() == 255
    numbers = pictures.by_class(images, classes, 2, ("0", "1", "2"))
    np.testing.assert_array_equal(numbers, plain)
    few = pictures.by_class(images[2:], classes[2:], 1, ("rose", "lily", "iris"))  # rows of classes 1 and 2
    assert few.shape[0] > 100


def test_grids_are_bounded():
    """1,000 classes are 20 rows of a drawing, and a square of what somebody samples."""
    np.testing.assert_array_equal(pictures.shown_classes(20), np.arange(20))
    shown = pictures.shown_classes(1000)
    assert len(shown) == 20 and shown[0] == 0 and shown[-1] == 999 and (np.diff(shown) > 50).all()
    square = pictures.by_class(
        np.zeros((100, 8, 8, 1), np.uint8), np.arange(100), 1, [f"c{i}" for i in range(100)]
    )
    assert square.shape[0] == square.shape[1] <= 900


def test_a_drawing_of_many_classes_makes_few_images(monkeypatch):
    from experiments import drawing
    from genjax.app import build

    asked = {}

    def generator(method, mesh, batch_size):
        def generate(state, key, condition, numbers):
            asked.update(condition, num=len(numbers))
            return [np.zeros((len(numbers), 4, 4, 1), np.float32)]

        return generate

    config = _config(columns=3)
    source = data.ArraySource(
        np.zeros((2, 4, 4, 1), np.uint8),
        np.zeros(2, int),
        num_classes=1000,
        class_names=[f"n{i}" for i in range(1000)],
    )
    monkeypatch.setattr(drawing, "generator", generator)
    monkeypatch.setattr(build, "num_classes", lambda config, info: info.num_classes)
    picture = drawing.drawer(config, None, None, source, 0)(None)
    assert asked["num"] == 60 and picture.shape[0] <= 900
    np.testing.assert_array_equal(asked["label"], np.repeat(pictures.shown_classes(1000), 3))


def _config(columns):
    import dataclasses

    from experiments.presets import PRESETS
    from genjax.app.config import EvaluationConfig

    return dataclasses.replace(PRESETS["ddpm-digits"][1], evaluation=EvaluationConfig(grid_columns=columns))


def test_classes_by_name():
    field = fields.label(3, ("rose", "Lily", "iris"))
    np.testing.assert_array_equal(labels.class_numbers(["iris", "rose", "Lily", "1"], field), [2, 0, 1, 1])
    for asked, message in [
        ("lily", "perhaps you meant 'Lily'"),
        ("roses", "perhaps you meant 'rose'"),
        ("oak", r"valid are 0\.\.2, or rose, Lily, iris$"),
    ]:
        with pytest.raises(UserError, match=message):
            labels.class_numbers([asked], field)


def test_reports_say_what_the_data_is(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    info = fields.labelled_images("folder:/home/me/flowers", "train", (32, 32, 3), 2, ("rose", "lily"))
    stored = fields.to_json(info) | {"train_records": 1594, "test_records": 66}
    assert data_sets.described(stored) == (
        "folder:~/flowers; 1,594 training and 66 test images; 32x32x3; 2 classes: rose, lily"
    )
    assert data_sets.described({}) == "" and data_sets.described({"name": 3}) == ""
    assert data_sets.at_home("folder:/home/mercy/x") == "folder:/home/mercy/x"
    assert data_sets.at_home("/home/me/a.npz") == "~/a.npz" and data_sets.at_home("mnist") == "mnist"
    many = fields.labelled_images("x", "train", (4, 4, 1), 100, tuple(f"n{i}" for i in range(100)))
    assert data_sets.described(fields.to_json(many)).endswith("n39, ...")
