"""Small files: whole or not there, and valid JSON."""

import errno
import json
import math
import os
import pathlib
import re
import resource

import pytest

from genjax.train import files
from genjax.typing import NonFiniteError, UserError


def test_a_file_is_the_old_one_or_the_new_one(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})

    def full(self, content):
        with self.open("wb") as file:
            file.write(content[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"a\.json"):
        files.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1} and os.listdir(tmp_path) == ["a.json"]


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    (tmp_path / "parameters.txt").mkdir()
    with pytest.raises(IsADirectoryError, match=r"parameters\.txt"):
        files.write_bytes(tmp_path / "parameters.txt", b"x")
    with pytest.raises(UserError, match=r"parameters\.txt cannot be read: it is a folder"):
        files.read_json(tmp_path / "parameters.txt", {})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_named_and_nothing_is_written(tmp_path, value):
    with pytest.raises(NonFiniteError, match=re.escape(f"a.json is not written: scores[1].rho is {value}")):
        files.write_json(tmp_path / "a.json", {"scores": [{"rho": 1.0}, {"rho": value}]})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b'{"a": ', "Expecting value"),
        (b"[]", "holds no JSON object"),
        (b"null", "holds no JSON object"),
        (b"\xff\xfe\x00", "codec can't decode"),
        (b"[" * 100_000, "recursion"),
    ],
)
def test_damaged_json_is_named(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.json cannot be read: .*{message}"):
        files.read_json(tmp_path / "a.json", {})


def test_lists_hold_objects_and_a_mark_of_the_byte_order_is_no_damage(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf[{"a": 1}]\n')
    assert files.read_json(path, []) == [{"a": 1}]
    path.write_text("[1]")
    with pytest.raises(UserError, match="holds no JSON list of objects"):
        files.read_json(path, [])
    assert files.read_json(tmp_path / "none.json", {}) == {}


def test_a_line_is_whole_or_not_there(tmp_path):
    """A limit on the size of files stands for a full disk: the kernel takes a part of the write, then refuses."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "lines"
    with path.open("ab", buffering=0) as file:
        files.append_line(file, b"x" * 50)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        try:
            with pytest.raises(OSError, match="lines"):
                files.append_line(file, b"y" * 70)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert path.read_bytes() == b"x" * 50 + b"\n"
        files.append_line(file, b"z")
    assert path.read_bytes() == b"x" * 50 + b"\nz\n"


def test_two_writers_leave_one_of_theirs(tmp_path, monkeypatch):
    """Each has a temporary file of its own: none takes half of the other's."""
    write, path = pathlib.Path.write_bytes, tmp_path / "a"

    def slowly(self, content):
        write(self, content)
        if content == b"first":
            files.write_bytes(path, b"second")
            assert path.read_bytes() == b"second"

    monkeypatch.setattr(pathlib.Path, "write_bytes", slowly)
    files.write_bytes(path, b"first")
    assert path.read_bytes() == b"first" and os.listdir(tmp_path) == ["a"]


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(UserError, match=r"a\.json cannot be read: it is a pipe or a device"):
        files.read_json(tmp_path / "a.json", {})
    with pytest.raises(UserError, match=r"mem cannot be read: Input/output error"):
        files.read_bytes(pathlib.Path("/proc/self/mem"))


@pytest.mark.parametrize(
    "line", [b"[]", b"1", b"null", b"{}", b'{"step": "x"}', b'{"step": 1.5}', b"[" * 10_000]
)
def test_a_logged_line_has_a_step(tmp_path, line):
    with pytest.raises(UserError, match=r"m, line 3: not a JSON object with a step"):
        files.logged(tmp_path / "m", 3, line)
    assert files.logged(tmp_path / "m", 3, b'{"step": 7, "loss": 0.5}') == {"step": 7, "loss": 0.5}
