"""What stands in the files of a workdir."""

import pytest
from etils import epath

from genjax.app import workdir
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
