"""What the sub-folders of a folder are taken for, what is followed, and that nothing vanishes uncounted."""

import os

import numpy as np
import pytest
from PIL import Image

from genjax.data import ImageFiles, ImageFolder, Paired, ignored, to_memory
from genjax.data.layout import find, in_order
from genjax.data.listing import listing, suffixes
from genjax.data.splits import looks_like_split, split_of
from genjax.typing import UserError


def write(root, *names):
    """Image i of the names shows level i."""
    for level, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2), level).save(root / name, "PNG" if name.endswith("jfif") else None)


def levels(source):
    return to_memory(source)["image"][:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("split", "names"),
    {
        "train": "train Train TRAINING trn training_set train-images trainset train2017 seg_train images_train",
        "test": "test Test testing tst test_set Testset test2017 seg_test test.images",
        "val": "val Valid validation VALIDATE dev development eval evaluation holdout hold-out held_out val2017",
    }.items(),
)
def test_names_of_splits(split, names):
    for name in names.split():
        assert split_of(name) == split, name


def test_names_that_are_no_splits():
    for name in ("trains", "contest", "devil", "value", "protest", "medieval", "rose", "extra", "", "2017"):
        assert split_of(name) is None and not looks_like_split(name), name
    for name in ("trainA", "testB", "train_A"):
        assert split_of(name) is None and looks_like_split(name)


@pytest.mark.parametrize(
    ("first", "second"), [("Train", "TEST"), ("training_set", "Testing"), ("train2017", "test2017")]
)
def test_splits_in_any_case_and_by_synonyms(tmp_path, first, second):
    write(tmp_path, f"{first}/a/0.png", f"{first}/b/1.png", f"{second}/b/2.png")
    test = ImageFolder(tmp_path, "test")
    assert levels(test) == [2] and test.info.class_names == ("a", "b")
    assert levels(ImageFolder(tmp_path, "train")) == levels(ImageFolder(tmp_path, first)) == [0, 1]
    with pytest.raises(UserError, match=f"split='val': the folder .* has '.*{second}.*'all'"):
        ImageFolder(tmp_path, "val")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("Train/0.png", "test/1.png", "extras/2.png"),
            r"'Train', 'test' look like .* 'extras' does not name",
        ),
        (("trainA/0.png", "trainB/1.png"), r"'trainA', 'trainB' look like .* 'trainB' do not name a split"),
        (("Train/0.png", "training/1.png"), r"'Train' and 'training' are both the split 'train'"),
        (
            ("train/a/0.png", "test/a/1.png", "cover.png"),
            r"cover\.png lies beside the splits 'test', 'train'",
        ),
        (
            ("photos/train/0.png", "photos/test/1.png"),
            r"'photos' has 'test', 'train' in it.*/photos' if that",
        ),
        (
            ("cat/train/0.png", "dog/train/1.png"),
            r"the folder 'cat' has 'train' in it, which look like splits",
        ),
        (("train/a/0.png", "test/1.png"), r"1\.png lies beside class sub-folders"),
    ],
)
def test_layouts_are_not_guessed(tmp_path, names, message):
    write(tmp_path, *names)
    with pytest.raises(UserError, match=message):
        ImageFolder(tmp_path)


def test_layouts_that_are_said(tmp_path):
    write(tmp_path, "train/0.png", "extras/1.png", "extras/2.png")
    assert ImageFolder(tmp_path, layout="classes").info.class_names == ("extras", "train")
    assert levels(ImageFolder(tmp_path, "extras", layout="splits")) == [1, 2]
    nested = tmp_path / "nested"
    write(nested, "photos/train/0.png", "photos/test/1.png")
    assert ImageFolder(nested, layout="classes").info.class_names == ("photos",)
    with pytest.raises(UserError, match="layout='splits', and there are no sub-folders"):
        ImageFolder(tmp_path / "extras", layout="splits")
    with pytest.raises(UserError, match="layout='flat': valid are 'auto', 'classes', 'splits'"):
        find(tmp_path, "all", "flat")


def test_a_word_of_a_class_below_is_no_split(tmp_path):
    """One folder of several, deep in a class, is called like a split: that is no layout."""
    write(tmp_path, "car/train/0.png", "car/side/1.png", "bus/2.png")
    assert ImageFolder(tmp_path).info.class_names == ("bus", "car")


def test_links_are_followed_and_loops_are_not(tmp_path):
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "mixed"
    write(elsewhere, "x.png")
    write(root, "b/0.png", "c/1.png")
    (root / "a").symlink_to(elsewhere, target_is_directory=True)
    (root / "b" / "again").symlink_to(root, target_is_directory=True)
    (root / "self").symlink_to(root, target_is_directory=True)
    (root / "c" / "file.png").symlink_to(elsewhere / "x.png")
    (root / "c" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    source = ImageFolder(root)
    assert source.info.class_names == ("a", "b", "c") and levels(source) == [0, 0, 1, 0]
    assert source.ignored.files == {"link to a folder above it": 2, "broken link": 1}
    files = ImageFiles(root)
    assert len(files) == 4 and files.ignored.files == source.ignored.files


def test_all_that_is_left_out_is_counted(tmp_path):
    write(tmp_path, "a/0.png", "a/1.jfif", "b/2.PNG")
    for name in ("a/x.txt", "b/y.TXT", "README", "b/z.xyz", ".hidden/q.png", "a/.DS_Store", "c/only.xyz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no image")
    source = ImageFolder(tmp_path)
    assert levels(source) == [0, 1, 2] and source.info.class_names == ("a", "b")
    expected = {".txt": 2, "no suffix": 1, ".xyz": 2, "hidden": 2}
    assert source.ignored.files == ImageFiles(tmp_path).ignored.files == expected
    assert str(source.ignored) == (
        "7 files ignored (2 .txt, 2 .xyz, 2 hidden, 1 no suffix); 1 folder without an image (c)"
    )
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "photo.xyz").touch()
    with pytest.raises(UserError, match=r"no image in it .*; 1 file ignored \(1 .xyz\)"):
        ImageFolder(tmp_path / "empty")
    with pytest.raises(UserError, match=r"no image in it.*; 1 file ignored \(1 .xyz\)"):
        ImageFiles(tmp_path / "empty")


def test_photos_that_nothing_here_reads_are_counted_with_what_would_read_them(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("PIL.features.check", lambda name: False)
    suffixes.cache_clear()
    write(tmp_path, "0.png")
    for name in ("a.heic", "b.HEIC", "c.avif"):
        (tmp_path / name).touch()
    try:
        text = str(ImageFolder(tmp_path).ignored)
    finally:
        suffixes.cache_clear()
    assert text == (
        "3 files ignored (2 .heic, 1 .avif); pip install -e '.[heic]' reads .heic; "
        "a Pillow that is built with AVIF reads .avif"
    )


def test_frames_are_counted(tmp_path):
    first, second = Image.new("RGB", (2, 2), (10, 0, 0)), Image.new("RGB", (2, 2), (200, 0, 0))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    first.save(tmp_path / "b.gif")
    first.save(tmp_path / "c.png", save_all=True, append_images=[second])
    for options in ({}, {"on_bad_record": "skip"}):
        source = ImageFolder(tmp_path, **options)
        assert levels(source) == [10, 10, 10]
        assert str(source.ignored) == "2 files with several frames, of which the first is used"


def test_an_unreadable_folder_is_named(tmp_path, monkeypatch):
    write(tmp_path, "a/0.png", "b/1.png")
    plain = os.scandir

    def refuse(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied")
        return plain(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"b' cannot be read: Permission denied"):
        listing(tmp_path)


def test_what_is_ignored_reaches_every_wrapper(tmp_path):
    from genjax.data import ArraySource, Binarized, Stacked, Unpaired, load

    write(tmp_path, "0.png", "1.png")
    (tmp_path / "x.txt").touch()
    folder = ImageFolder(tmp_path)
    in_memory = ArraySource.from_records(to_memory(folder), folder.info, (), folder.ignored)
    for source in (Binarized(folder), Stacked(folder, 3), load(f"inverted:{tmp_path}", "all"), in_memory):
        assert ignored(source).files == {".txt": 1}, source
    for source in (Paired(folder, folder), Unpaired(folder, folder)):
        assert ignored(source).files == {".txt": 2}, source
    assert not str(ignored(load("digits", "test")))


def test_pairs_need_one_file_of_a_name(tmp_path):
    write(tmp_path / "photos", "a.png", "b.png")
    write(tmp_path / "maps", "a.png", "a.bmp", "b.png")
    photos, maps = ImageFolder(tmp_path / "photos"), ImageFolder(tmp_path / "maps")
    for pair in ((photos, maps), (maps, photos)):
        with pytest.raises(UserError, match=r"'a' is in '.*maps' twice, with two suffixes"):
            Paired(*pair)


def test_the_order_of_records_is_as_it_was(tmp_path):
    """By the parts of the path, as `pathlib` sorts: trainings of before go on with the same batches."""
    names = ["b/1.png", "b-a/2.png", "b/10.png", "B/3.png", "b/a/4.png", "a/z.png"]
    write(tmp_path, *names)
    expected = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert ImageFolder(tmp_path).names == tuple(
        path.relative_to(tmp_path).with_suffix("").as_posix() for path in expected
    )
    files = ImageFiles(tmp_path)
    np.testing.assert_array_equal(
        files[np.arange(6)][:, 0, 0, 0], [names.index(p.relative_to(tmp_path).as_posix()) for p in expected]
    )


def test_numbers_of_classes_are_sorted_by_size(tmp_path):
    """Class 2 is class 2, and not class 10, as it would be in the order of texts."""
    numbers = [str(i) for i in range(12)]
    write(tmp_path / "numbers", *(f"{i}/a.png" for i in numbers))
    source = ImageFolder(tmp_path / "numbers")
    assert source.info.class_names == tuple(numbers)
    records = to_memory(source)
    np.testing.assert_array_equal(records["image"][:, 0, 0, 0], records["label"])
    write(tmp_path / "mixed", "10/a.png", "2/a.png", "b/a.png")  # not all are numbers
    assert ImageFolder(tmp_path / "mixed").info.class_names == ("10", "2", "b")
    assert in_order(["010", "9", "10", "1"]) == ["1", "9", "010", "10"]


def test_folders_of_the_system_are_no_classes(tmp_path):
    write(tmp_path, "cat/a.png", "dog/a.png", "@eaDir/a.png/SYNOPHOTO_THUMB_M.png", "__MACOSX/cat/b.png")
    write(tmp_path, "cat/@eaDir/a.png/SYNOPHOTO_THUMB_M.png", "cat/.ipynb_checkpoints/a-checkpoint.png")
    source = ImageFolder(tmp_path)
    assert source.info.class_names == ("cat", "dog") and len(source) == 2
    assert str(source.ignored) == "4 files ignored (3 of the system, 1 hidden)"


@pytest.mark.parametrize("kind", [ImageFolder, ImageFiles])
def test_an_archive_is_no_folder(tmp_path, kind):
    (tmp_path / "photos.zip").touch()
    with pytest.raises(UserError, match=r"photos\.zip': this is a file; unpack an archive"):
        kind(tmp_path / "photos.zip")
