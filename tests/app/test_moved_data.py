"""Runs whose data has moved, or has changed where it was."""

import dataclasses
import json
import logging
import re
import shlex
import shutil
import types

import numpy as np
import pytest
from etils import epath
from PIL import Image

import genjax
from experiments.presets import PRESETS
from genjax.app import build, image_scores, run_data, workdir
from genjax.app.config import DataConfig, with_absolute_paths
from genjax.app.run_data import Places
from genjax.data import confirmed
from genjax.train.sharding import make_mesh
from genjax.typing import UserError
from tests.data.test_tfds import png, write_dataset
from tests.experiments.conftest import run_verb

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), np.uint8)
TRAIN = "train vae-digits --model.hidden 8 --batch-size 8 --dataset folder:photos --evaluation.num 0 --workdir run"


def write_photos(folder, images=IMAGES[:20]):
    """Images in two classes."""
    for i, image in enumerate(images):
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(folder / f"{'ab'[i % 2]}/{i:02d}.bmp")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with photos."""
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos")
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run on photos beside it, which were given by a relative path."""
    home = tmp_path_factory.mktemp("trained")
    write_photos(home / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        ended = run_verb(*shlex.split(f"{TRAIN} --steps 2"))
    assert ended.code == 0, ended.err
    return home


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of `trained`, whose run still names the original."""
    return shutil.copytree(trained, tmp_path / "copied")


def config_of(**options):
    return dataclasses.replace(PRESETS["vae-digits"][1], data=DataConfig(**options))


def claim(config, directory="run"):
    """As training does with a run that has a checkpoint; what it says."""
    config = with_absolute_paths(config)
    sources = [
        build.source(config.data, split) for split in (config.data.train_split, config.data.test_split)
    ]
    said = workdir.claim(epath.Path(directory), config, workdir.describe_data(*sources), False)
    (epath.Path(directory) / "checkpoints/4").mkdir(parents=True, exist_ok=True)
    return said


def read(directory="run", **places):
    """As evaluation does."""
    config = workdir.load_config(epath.Path(directory))
    return run_data.sources(epath.Path(directory), config.data, Places(**places))


def stored(name, directory="run"):
    return json.loads((epath.Path(directory) / name).read_text())


def rewrite(name, change, directory="run"):
    content = stored(name, directory)
    change(content)
    (epath.Path(directory) / name).write_text(json.dumps(content))


def forget_digests(directory="run"):
    """The run as older versions wrote it."""
    rewrite("data.json", lambda facts: [facts.pop(f"{role}_digest") for role in ("train", "test")], directory)


def test_paths_are_stored_absolute(trained):
    assert stored("config.json", trained / "run")["data"]["dataset"] == f"folder:{trained / 'photos'}"
    (manifest,) = stored("manifest.json", trained / "run")
    assert "--dataset folder:photos" in manifest["command"]
    facts = stored("data.json", trained / "run")
    assert facts["train_digest"]["files"] == "18" and facts["test_digest"]["files"] == "2"


def test_a_moved_folder_is_evaluated_and_looked_at(copied, trained, monkeypatch, digest):
    monkeypatch.chdir(copied)
    where = copied.parent / "new/pictures"
    where.parent.mkdir()
    (copied / "photos").rename(where)
    rewrite("config.json", lambda config: config["data"].update(dataset=f"folder:{copied}/photos"))
    before = digest("run")
    for verb in ("evaluate --num 2 --workdir run", "sample --show reconstructions --workdir run"):
        ended = run_verb(*shlex.split(verb))
        assert ended.code == 2 and f"{copied / 'photos'}'" in ended.err
        assert "If the data of the run has moved, --dataset says where it is" in ended.err
    assert digest("run") == before
    given = ("--workdir", "run", "--dataset", "folder:../new/pictures")
    ended = run_verb("evaluate", "--reference", "photos", *given)
    assert ended.code == 2 and "dataset='folder:../new/pictures': the data of a run is not read" in ended.err
    ended = run_verb("evaluate", "--num", "2", *given)
    assert ended.code == 0, ended.err
    loss = ended.json["test_loss"]
    assert genjax.load(trained / "run").evaluate(num=2)["test_loss"] == loss  # from another current folder
    assert genjax.load("run").evaluate(num=2, dataset=f"folder:{where}")["test_loss"] == loss
    for name, more in (("a", given), ("b", ("--workdir", trained / "run"))):
        ended = run_verb("sample", "--show", "reconstructions", "--num", "2", "--out", f"{name}.png", *more)
        assert ended.code == 0, ended.err
    assert (copied / "a.png").read_bytes() == (copied / "b.png").read_bytes()


def test_a_moved_folder_is_trained_on(copied, trained, monkeypatch):
    """The copy has the photos of the run; then it has others."""
    monkeypatch.chdir(copied)
    ended = run_verb(*shlex.split(f"{TRAIN} --steps 2"))
    assert ended.code == 0, ended.err
    old, new = f"folder:{trained / 'photos'}", f"folder:{copied / 'photos'}"
    assert f"the data has moved; data.dataset: {old!r} before, {new!r} now\n" in ended.out
    assert stored("config.json")["data"]["dataset"] == new == stored("data.json")["name"]
    ended = run_verb(*shlex.split(f"{TRAIN} --steps 2"))
    assert ended.code == 0 and "moved" not in ended.out
    (copied / "photos/a/00.bmp").rename(copied / "photos/a/01.bmp")
    ended = run_verb(*shlex.split(f"{TRAIN} --steps 2"))
    assert ended.code == 2 and "  the data of split 'train' differs in: names of files\n" in ended.err


def other_bytes(folder):
    content = bytearray((folder / "a/04.bmp").read_bytes())
    content[-1] ^= 255
    (folder / "a/04.bmp").write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_bytes, "split 'train' differs in: contents"),
        (lambda photos: (photos / "a/04.bmp").rename(photos / "a/05.bmp"), "names of files"),
        (lambda photos: write_photos(photos, IMAGES[:21]), "number of files (18 before, 19 now)"),
        (lambda photos: (photos / "b").rename(photos / "c"), "split 'test' differs in: names of files"),
    ],
    ids=["bytes", "renamed", "added", "class"],
)
@pytest.mark.parametrize("where", ["photos", "elsewhere"])
def test_other_data_is_refused(here, change, said, where):
    claim(config_of(dataset="folder:photos"))
    before = stored("config.json")
    if where != "photos":
        (here / "photos").rename(here / where)
    change(here / where)
    with pytest.raises(UserError, match=re.escape(said)) as resumed:
        claim(config_of(dataset=f"folder:{where}"))
    place = f"  data.dataset: 'folder:{here}/photos' before, 'folder:{here}/elsewhere' now\n"
    assert (place in str(resumed.value)) == (where != "photos")
    with pytest.raises(UserError, match=re.escape(said)) as scored:
        read(dataset=f"folder:{where}")
    assert "workdir='run': the run was trained on other data" in str(scored.value)
    assert "--reference FOLDER" in str(scored.value)
    assert stored("config.json") == before


def test_what_else_differs_is_said_without_the_place(here):
    claim(config_of(dataset="folder:photos"))
    (here / "photos").rename(here / "elsewhere")
    with pytest.raises(UserError) as error:
        claim(config_of(dataset="folder:elsewhere", image_size=4))
    lines = str(error.value).splitlines()
    assert lines[1:-1] == ["  data.image_size: None before, 4 now"]


def test_a_run_of_an_older_version(here, monkeypatch, caplog):
    claim(config_of(dataset="folder:photos"))
    forget_digests()
    rewrite("config.json", lambda config: config["data"].update(dataset="folder:photos"))
    note = "which wrote no digest of its data"
    with caplog.at_level(logging.WARNING):
        read()
    assert [note in record.getMessage() for record in caplog.records] == [True]
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    with pytest.raises(UserError, match="--dataset says where it is"):
        read("../run")  # as before, from the folder of the training only
    read("../run", dataset="folder:../photos")
    write_photos(here / "elsewhere/photos", IMAGES[:19])
    with pytest.raises(
        UserError, match=r"data.train_records: 18 before, 17|data.test_records: 2 before, 1 now"
    ):
        read("../run", dataset="folder:photos")
    monkeypatch.chdir(here)
    said = claim(config_of(dataset="folder:photos"))
    assert len(said) == 1 and note in said[0] and "moved" not in said[0]
    assert claim(config_of(dataset="folder:photos")) == []  # it has one now
    forget_digests()
    (here / "photos").rename(here / "new")
    said = claim(config_of(dataset="folder:new"))
    assert said[0].startswith("the data has moved; ") and note in said[1]
    forget_digests()
    with pytest.raises(UserError, match=r"data.dataset: .* before, 'inverted:folder"):
        claim(config_of(dataset="inverted:folder:new"))


def test_images_to_translate(here):
    np.savez("maps.npz", images=IMAGES[:20])
    claim(config_of(dataset="folder:photos", source="maps.npz", pairing="unpaired"))
    (here / "photos").rename(here / "new")
    (here / "maps.npz").rename(here / "other.npz")
    with pytest.raises(UserError, match=r"maps.npz': no such file. If the data .* --source says where"):
        read(dataset="folder:new")
    assert len(read(dataset="folder:new", source="other.npz")[0]) == 18
    np.savez("changed.npz", images=IMAGES[1:21])
    with pytest.raises(UserError, match="split 'train' differs in: source: contents"):
        read(dataset="folder:new", source="changed.npz")
    moved = config_of(dataset="folder:new", source="other.npz", pairing="unpaired")
    assert ["data.dataset" in claim(moved)[0], claim(moved)] == [True, []]
    assert stored("config.json")["data"]["source"] == str(here / "other.npz")


def test_sources_made_from_the_data_set_go_with_it(here):
    claim(config_of(dataset="folder:photos", source="edges:folder:photos"))
    (here / "photos").rename(here / "new")
    train, _ = read(dataset="folder:new")
    assert set(train.read(np.arange(2))) == {"image", "label", "source"}
    claim(config_of(dataset="digits"), "digits")
    with pytest.raises(UserError, match="source='digits': the run translates no images"):
        read("digits", source="digits")


def test_data_sets_of_tfds(here, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(here / "state"))
    files, labels = [png(image) for image in IMAGES], np.zeros(60, int)
    splits = {"train": (0, 40), "test": (40, 60)}
    for name, content in {"a": files, "b": files, "other": files[::-1]}.items():
        write_dataset(here / name, content, labels, (8, 8, 1), splits)
    claim(config_of(dataset="tiny_digits", data_dir="a"))
    assert stored("config.json")["data"]["data_dir"] == str(here / "a")
    with pytest.raises(UserError, match="the config of the run names this folder"):
        read()  # nobody has confirmed it: this is not a training
    assert len(read(data_dir="b")[0]) == 40
    assert (here / "state/genjax/data_dirs").read_text() == f"{here / 'b'}\n"
    with pytest.raises(UserError, match="split 'train' differs in: contents"):
        read(data_dir="other")
    with pytest.raises(UserError, match="split 'test' differs in: contents"):
        claim(config_of(dataset="tiny_digits", data_dir="other"))
    assert claim(config_of(dataset="tiny_digits", data_dir="b")) == [
        f"the data has moved; data.data_dir: '{here / 'a'}' before, '{here / 'b'}' now"
    ]
    confirmed.confirm("b")
    read()


def test_protocols_do_not_say_where_the_data_lies(here, monkeypatch):
    config = with_absolute_paths(config_of(dataset="folder:photos"))
    train, test = (build.source(config.data, split) for split in ("train", "test"))
    monkeypatch.setattr(image_scores, "Scorer", lambda *_, **options: options["reference"])
    extractor = types.SimpleNamespace(name="of the test")
    scorer = image_scores.ImageScorer(config, train, test, make_mesh(), num=2, extractor=extractor)
    assert scorer.scorer == "folder:photos/test"
