"""What stands in the files of a workdir."""

import json

import pytest
from etils import epath

from genjax.app import workdir
from genjax.data import fields, labelled_images
from genjax.typing import UserError


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["train", "--workdir", "/home/me/runs/a b"], "train --workdir ~/'runs/a b'"),
        (["train", "--workdir=/home/me/project/runs/a"], "train --workdir=runs/a"),
        (["train", "--data-dir=/home/me/data", "/srv/x"], "train --data-dir=~/data /srv/x"),
        (["train", "/home/meadow", "--lr=1e-3", "x y"], "train /home/meadow --lr=1e-3 'x y'"),
    ],
)
def test_commands_show_no_home(monkeypatch, words, shown):
    monkeypatch.setattr(workdir.os, "getcwd", lambda: "/home/me/project")
    monkeypatch.setenv("HOME", "/home/me")
    assert workdir.command(words) == shown


def test_a_folder_that_was_looked_into_is_empty(tmp_path):
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "Thumbs.db").touch()
    workdir.check_ours(epath.Path(tmp_path))
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="is not empty and holds no run"):
        workdir.check_ours(epath.Path(tmp_path))


@pytest.mark.parametrize(
    ("name", "there"), [("samples", "file"), ("tensorboard", "file"), ("metrics.jsonl", "folder")]
)
def test_what_cannot_be_written_is_found_before_the_training(tmp_path, name, there):
    (tmp_path / "config.json").write_text('{"fit": {}, "data": {}, "method": {}}')
    (tmp_path / "metrics.json").mkdir()  # which is only warned of
    workdir.check_ours(epath.Path(tmp_path))
    (tmp_path / name).mkdir() if there == "folder" else (tmp_path / name).write_text("x")
    with pytest.raises(UserError, match=rf"{name} is a {there}, and a (file|folder) is expected"):
        workdir.check_ours(epath.Path(tmp_path))


def test_pictures_of_somebody_else_stay(tmp_path):
    (tmp_path / "samples").mkdir()
    for name in ("00000002.png", "00000009.png", "best.png", "00000009 (copy).png", "\u0663.png"):
        (tmp_path / "samples" / name).write_bytes(b"x")
    workdir.write_picture(epath.Path(tmp_path), 5, b"new")
    names = {path.name for path in (tmp_path / "samples").iterdir()}
    assert names == {"00000002.png", "00000005.png", "best.png", "00000009 (copy).png", "\u0663.png"}
    assert list(workdir.numbered(tmp_path / "samples")) == [2, 5]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("shape", [8, "x"]),
            ("shape", [8, 0]),
            ("shape", [2**20, 2**20, 1]),
            ("dtype", "str"),
            ("dtype", 7),
        ),
        *(("num_classes", 1.5), ("names", ["a", 1]), ("names", ["a"])),
    ],
)
def test_a_damaged_description_of_the_data_is_named(tmp_path, field, value):
    whole = fields.to_json(labelled_images("digits", "train", (8, 8, 1), 2, ("a", "b")))
    (tmp_path / "data.json").write_text(json.dumps(whole))
    assert workdir.load_info(epath.Path(tmp_path)).image_shape == (8, 8, 1)
    one = "label" if field in ("num_classes", "names") else "image"
    whole["fields"][one][field] = value
    (tmp_path / "data.json").write_text(json.dumps(whole))
    with pytest.raises(UserError, match=r"data\.json cannot be read: "):
        workdir.load_info(epath.Path(tmp_path))
