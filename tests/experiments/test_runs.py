"""The table of runs: what state each is in, by its files alone; damaged and foreign ones do no harm."""

import json
import os
import pathlib
import sys

import pytest
from etils import epath

from experiments import runs
from genjax.app import lock
from genjax.typing import UserError
from tests.experiments.fake_study import write_run


def saved(folder, *steps):
    for step in steps:
        (folder / "checkpoints" / f"{step:08d}").mkdir(parents=True)
    return folder


@pytest.fixture
def folder(tmp_path):
    saved(write_run(tmp_path / "a" / "scored", rho=3.25, steps=400), 200, 400)
    saved(write_run(tmp_path / "a" / "trained", rho=None, steps=400), 400)
    saved(write_run(tmp_path / "b" / "stopped", rho=None, steps=400), 200)
    saved(write_run(tmp_path / "b" / "longer", rho=9.0, steps=400, metrics={"step": 200}), 400)
    write_run(tmp_path / "new", rho=None)
    evil = write_run(tmp_path / "c", rho=1.5, fields={"data.dataset": "folder:/home/me/\x1b[2Jphotos"})
    saved(evil, 400)
    for name, content in {"torn": '{"fit": {"st', "list": "[]", "foreign": '{"model_type": "x"}'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(content)
    return tmp_path


def test_the_state_of_each_run(folder):
    rows = {row["name"]: row for row in runs.rows_of(str(folder))}
    assert {name: row["state"] for name, row in rows.items()} == {
        "a/scored": "scored",
        "a/trained": "trained",
        "b/stopped": "stopped",
        "b/longer": "trained",  # the score is of an earlier step
        "c": "scored",
        "new": "no checkpoint",
        "torn": "unreadable",
        "list": "unreadable",
        "foreign": "unreadable",
    }
    first = rows["a/scored"]
    assert (first["step"], first["saved"], first["steps"]) == (400, 400, 400)
    assert (first["metric"], first["score"], first["dataset"]) == ("rho", 3.25, "digits")
    lines = (folder / "a" / "scored" / "metrics.jsonl").read_text().splitlines()
    last = [json.loads(line) for line in lines if "train/loss" in line][-1]
    assert first["loss"] == last["train/loss"] and first["preset"] == "seed-vae"
    assert first["size"] == sum(p.stat().st_size for p in (folder / "a/scored").rglob("*") if p.is_file())
    assert "config.json" in rows["torn"]["reason"]


def test_a_run_that_somebody_writes(folder):
    path = epath.Path(folder / "b" / "stopped")
    with lock.held(path):
        assert lock.holder(path) == f"process {os.getpid()} on {lock._me()['host']}"
        (row,) = [row for row in runs.rows_of(str(folder)) if row["name"] == "b/stopped"]
        assert row["state"] == "running"
        gone = json.loads((path / lock.LOCK).read_text()) | {"pid": 2**22 + 1}
        (folder / "new" / lock.LOCK).write_text(json.dumps(gone))
    assert lock.holder(path) is None and lock.holder(epath.Path(folder / "new")) is None


def test_sorted_and_cut(folder):
    rows = runs.rows_of(str(folder))
    assert [row["name"] for row in runs.ordered(rows, "score")][:3] == ["c", "a/scored", "b/longer"]
    os.utime(folder / "new" / "config.json", (10**10, 10**10))
    newest = runs.ordered(runs.rows_of(str(folder)), "age")[0]
    assert newest["name"] == "new"
    text = runs.table(rows, now=10**10 + 7200)
    lines = text.splitlines()
    assert lines[0].split() == ["name", "data", "model", "step", "loss", "score", "state", "size", "age"]
    assert max(map(len, lines[: len(rows) + 1])) <= 120
    assert runs.table([], 0.0) == "no runs"
    sizes = [row["size"] for row in runs.ordered(rows, "size") if "size" in row]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (20_440, "20.4 kB"), (2.5e13, "25 TB")]
)
def test_sizes(number, text):
    assert runs._size(number) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (90, "2 min"), (7200, "2 h"), (200_000, "2 d")])
def test_ages(seconds, text):
    assert runs._age(seconds) == text


def test_the_verb(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["runs", str(folder), "--state", "scored", "--sort", "score"])
    runs.main()
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and r"\x1b[2Jphotos" in printed and "/home/me" not in printed
    assert [line.split()[0] for line in printed.splitlines()] == ["name", "c", "a/scored"]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.setattr(sys, "argv", ["runs", str(folder), "--json"])
    runs.main()
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 9 and all(pathlib.Path(row["path"]).is_dir() for row in rows)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    with pytest.raises(UserError, match="folders='nowhere': there is no such folder"):
        runs.rows_of("nowhere")
