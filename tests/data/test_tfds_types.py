"""Data sets of TFDS that somebody sent: what they name is not imported."""

import json
import sys

import pytest

from genjax.data import confirmed, load, load_tfds
from genjax.data.confirmed import Foreign
from genjax.typing import UserError

IMAGE = "tensorflow_datasets.core.features.image_feature.Image"
DICT = "tensorflow_datasets.core.features.features_dict.FeaturesDict"
SEQUENCE = "tensorflow_datasets.core.features.sequence_feature.Sequence"
FEATURE = {"image": {"dtype": "uint8", "shape": {"dimensions": ["6", "5", "1"]}}, "pythonClassName": IMAGE}


def prepared(root, features, name="sent"):
    """A data set as TFDS leaves it on disk, without its records."""
    folder = root / name / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "features.json").write_text(json.dumps(features))
    split = {"name": "train", "numBytes": "1", "shardLengths": ["1"]}
    info = {"name": name, "version": "1.0.0", "fileFormat": "array_record", "splits": [split]}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return root


def proto(**features):
    return {"pythonClassName": DICT, "featuresDict": {"features": features}}


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A module that can be imported, and the file that it makes when it is."""
    mark = tmp_path / "was_run"
    (tmp_path / "sent_code.py").write_text(
        "import pathlib\nfrom tensorflow_datasets.core.features import Image\n"
        f"pathlib.Path({str(mark)!r}).touch()\nclass F(Image): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield mark
    sys.modules.pop("sent_code", None)


def test_tfds_itself_runs_it(tmp_path, code):
    """Otherwise the other tests would show nothing."""
    import tensorflow_datasets as tfds

    root = prepared(tmp_path / "data", {"type": "sent_code.F", "content": {}})
    with pytest.raises(Exception):  # noqa: B017  # an image alone is no record
        tfds.builder("sent", data_dir=root)
    assert code.exists()


@pytest.mark.parametrize(
    "features",
    [
        {"type": "sent_code.F", "content": {}},
        {"type": DICT, "content": {"image": {"type": "sent_code.F", "content": {}}}},
        {"pythonClassName": "sent_code.F", "jsonFeature": {"json": "{}"}},
        proto(image=FEATURE, other={"pythonClassName": "sent_code.F", "text": {}}),
        proto(image=FEATURE, other={"pythonClassName": SEQUENCE, "sequence": {"feature": {"pythonClassName":
        "sent_code.F"}}}), {
            "pythonClassName": DICT,
            "jsonFeature": {"json": json.dumps({"image": {"type": "sent_code.F", "content": {}}})},
        },
    ],
    ids=["type", "in a dict", "class", "beside an image", "in a sequence", "in a string"],
)  # fmt: skip
def test_a_type_of_somebody_else_is_not_imported(tmp_path, code, features):
    root = prepared(tmp_path / "data", features)
    for name in ("sent", "sent:1.0.0"):
        with pytest.raises(UserError, match=r"names the type 'sent_code\.F', which is none of TFDS's own"):
            load_tfds(name, "train", data_dir=root)
    assert not code.exists() and "sent_code" not in sys.modules


@pytest.mark.parametrize(
    "name", ["antigravity.F", "tensorflow_datasets.scripts.cli.main.F", "tensorflow_datasets.F"]
)
def test_installed_modules_are_not_imported_either(tmp_path, name):
    before = set(sys.modules)
    root = prepared(tmp_path, proto(image={"pythonClassName": name}))
    with pytest.raises(UserError, match=f"names the type '{name}'"):
        load_tfds("sent", "train", data_dir=root)
    assert name.rpartition(".")[0] not in set(sys.modules) - before


def test_a_class_that_calls_itself_tfds_is_none(tmp_path):
    import tensorflow_datasets as tfds

    alias = "tensorflow_datasets.core.features.sent.F"
    known = tfds.features.FeatureConnector._registered_features
    try:
        type("F", (tfds.features.Image,), {"ALIASES": [alias], "__module__": "sent"})
        with pytest.raises(UserError, match="none of TFDS's own"):
            load_tfds("sent", "train", data_dir=prepared(tmp_path, proto(image={"pythonClassName": alias})))
    finally:
        for name in (alias, "sent.F"):
            known.pop(name, None)


def test_tfds_is_as_before_afterwards(tmp_path, code):
    import tensorflow_datasets as tfds

    original = tfds.features.FeatureConnector.__dict__["cls_from_name"]
    with pytest.raises(UserError):
        load_tfds(
            "sent", "train", data_dir=prepared(tmp_path / "data", {"type": "sent_code.F", "content": {}})
        )
    assert tfds.features.FeatureConnector.__dict__["cls_from_name"] is original


@pytest.mark.parametrize(
    "name",
    [
        *("kaggle:sent", "huggingface:mnist", "somebody:sent/config"),
        *("sent/data_dir=there", "sent/a=1,b=2", "sent:1.0.0/a=b", "sent/..", "sent/../x"),
    ],
)
def test_names_say_nothing_else(name, tmp_path):
    with pytest.raises(UserError, match="valid are NAME, NAME/CONFIG and NAME:VERSION of TFDS"):
        load(name, "train", data_dir=tmp_path)


def test_a_folder_that_a_file_names(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "default"))
    folder = tmp_path / "data"
    for named in (folder, "data", "../data"):
        with pytest.raises(UserError, match="nobody has given it to a command on this machine"):
            confirmed.check(Foreign(named))
    confirmed.check(folder)  # given by hand
    confirmed.check(None)
    confirmed.check(Foreign(tmp_path / "default"))
    confirmed.confirm(Foreign(folder))  # a file confirms nothing
    with pytest.raises(UserError, match=f"data_dir='{folder}'"):
        load("mnist", "train", data_dir=Foreign(folder))
    monkeypatch.chdir(tmp_path)
    confirmed.confirm("data")
    confirmed.confirm("data")
    for named in (folder, "data", "x/../data"):
        confirmed.check(Foreign(named))
    assert (tmp_path / "state/genjax/data_dirs").read_text() == f"{folder}\n"
    with pytest.raises(UserError, match="nobody has given it"):
        confirmed.check(Foreign(tmp_path))


def test_a_list_that_cannot_be_written_confirms_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    confirmed.confirm(tmp_path)
    with pytest.raises(UserError, match="nobody has given it"):
        confirmed.check(Foreign(tmp_path))


def test_the_module_of_the_builder_is_not_imported(tmp_path, code):
    root = prepared(tmp_path / "data", proto(image=FEATURE))
    path = root / "sent/1.0.0/dataset_info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"moduleName": "sent_code"}))
    assert (
        len(load_tfds("sent", "train", data_dir=root)) == 1
    )  # its records are looked for when they are read
    assert not code.exists() and "sent_code" not in sys.modules
