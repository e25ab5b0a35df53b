"""What stands in the files of a workdir."""

import pytest

from genjax.app import workdir


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
