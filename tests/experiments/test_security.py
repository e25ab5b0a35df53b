"""Ways to make a command run code or write elsewhere, by a workdir, a data set or weights that somebody sent.

tests/data/test_tfds_types.py and tests/metrics/test_torch_file.py have more of them, below the commands.
docs/security.md says what holds.
"""

import json
import os
import pickle
import shutil
import sys
import zipfile

import numpy as np
import pytest

import genjax
from genjax.app.terminal import printable
from genjax.typing import UserError

CODE = {"type": "sent_code.F", "content": {}}
"""What TFDS would import ``sent_code.py`` for."""


class Runs:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def sent(run, tmp_path, monkeypatch):
    """A run that somebody sent, in a folder from where commands are run, with a data set whose types are code."""
    shutil.copytree(run, tmp_path / "sent/run")
    folder = tmp_path / "sent/data/evil/1.0.0"
    folder.mkdir(parents=True)
    (folder / "features.json").write_text(json.dumps(CODE))
    split = {"name": "train", "numBytes": "1", "shardLengths": ["1"]}
    info = {"name": "evil", "version": "1.0.0", "fileFormat": "array_record", "splits": [split]}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (tmp_path / "sent_code.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'was_run')!r})\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "sent/run"
    assert not (tmp_path / "was_run").exists() and "sent_code" not in sys.modules


def says(workdir, **data):
    """Changes what config.json says of the data."""
    path = workdir / "config.json"
    config = json.loads(path.read_text())
    config["data"] |= data
    path.write_text(json.dumps(config))


def refused(verb, message, *command):
    ended = verb(*command)
    assert ended.code == 2 and message in ended.err, (ended.code, ended.err)


@pytest.mark.parametrize("where", ["sent/data", "absolute", "gs://bucket/data"])
def test_the_folder_that_a_config_names_is_not_read(sent, where, digest):
    where = str(sent.parent / "data") if where == "absolute" else where
    says(sent, dataset="evil", data_dir=where)
    before, run = digest(sent), genjax.load(sent)
    with pytest.raises(UserError, match=f"data_dir='{where}': the config of the run names this folder"):
        run.evaluate(num=20)
    assert digest(sent) == before


def test_no_command_reads_it(sent, verb):
    says(sent, dataset="evil", data_dir="sent/data")
    message = "data_dir='sent/data': the config of the run names this folder, and nobody has given it"
    other = shutil.copytree(sent, sent.parent / "other")
    refused(verb, message, "evaluate", "--workdir", sent)
    refused(verb, message, "sample", "--workdir", sent, "--show", "reconstructions")
    refused(verb, message, "ensemble", sent, other, "--out", "mixture", "--extractor", "digits")


def test_types_of_a_data_set_that_is_given_are_not_imported(sent, verb, train_tiny, tmp_path):
    message = "names the type 'sent_code.F', which is none of TFDS's own"
    given = ("--data-dir", sent.parent / "data")
    says(sent, dataset="evil")
    refused(verb, message, "evaluate", "--workdir", sent, *given)
    refused(verb, message, "sample", "--workdir", sent, "--show", "reconstructions", *given)
    ended = train_tiny(tmp_path / "new", "--dataset", "evil", *given)
    assert ended.code == 2 and message in ended.err and not (tmp_path / "new").exists()
    with pytest.raises(UserError, match="which is none of TFDS's own"):
        genjax.load(sent).evaluate(num=20, data_dir=str(given[1]))


@pytest.mark.parametrize("name", ["somebody:evil", "huggingface:evil", "evil/data_dir=sent", "evil/../../x"])
def test_names_of_data_sets(sent, verb, name):
    says(sent, dataset=name)
    refused(verb, f"dataset={name!r}: valid are NAME", "evaluate", "--workdir", sent)


@pytest.mark.parametrize("dataset", ["sent/data.npz", "edges:sent/data.npz", "stacked:sent/data.npz"])
def test_pickled_arrays(sent, verb, dataset):
    images = np.array([Runs(sent.parents[1] / "was_run")], dtype=object)
    np.savez("sent/data.npz", images=images)
    says(sent, dataset=dataset)
    refused(verb, "is not a readable .npz file of plain arrays", "evaluate", "--workdir", sent)


def test_a_picture_that_is_a_program(sent, verb, tmp_path):
    """Pillow would start Ghostscript for it."""
    folder = tmp_path / "sent/pictures"
    folder.mkdir()
    (folder / "a.png").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    )
    says(sent, dataset=f"folder:{folder}")
    refused(verb, "a.png is not an image of a known format", "evaluate", "--workdir", sent)
    shutil.copy(folder / "a.png", sent / "samples.png")
    shutil.rmtree(sent / "samples")
    ended = verb("report.__main__", sent, "--out", tmp_path / "report.html")
    assert ended.code == 0, ended.err
    assert "samples.png" in (tmp_path / "report.html").read_text().partition("Left out, because")[2]


def test_weights_and_statistics(sent, verb, tmp_path):
    mark = tmp_path / "was_run"
    evaluate = (
        "evaluate",
        "--workdir",
        sent,
        "--extractor",
        "efficientnet-lite0",
        "--any-weights",
        "--weights",
    )
    pickled = pickle.dumps({"_fc.bias": Runs(mark)}, protocol=2)
    with zipfile.ZipFile("weights.pth", "w") as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/version", "3")
    refused(verb, "posix.mkdir", *evaluate, tmp_path / "weights.pth")
    (tmp_path / "old.pth").write_bytes(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19." + pickled)
    refused(verb, "old.pth", *evaluate, tmp_path / "old.pth")
    (tmp_path / "raw.pth").write_bytes(pickled)
    refused(verb, "not a safetensors file", *evaluate, tmp_path / "raw.pth")
    np.save("features.npy", np.array([Runs(mark)] * 2, dtype=object), allow_pickle=True)
    features = ("evaluate", "--images", "features.npy", "--reference", "features.npy", "--features", "mine")
    refused(verb, "is not a .npy file of plain numbers", *features)
    assert not mark.exists()


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "metrics.json", "samples", "checkpoints", "metrics.jsonl.tmp"]
)
def test_training_writes_through_no_link(sent, train_tiny, tmp_path, name, digest):
    victim = tmp_path / "victim"
    if (sent / name).is_dir():
        shutil.move(sent / name, victim)
    else:
        victim.write_text("mine\n")
        (sent / name).unlink(missing_ok=True)
    (sent / name).symlink_to(victim)
    before = digest(victim) if victim.is_dir() else victim.read_bytes()
    ended = train_tiny(sent, "--steps=8")
    assert ended.code == 2 and f"{name!r} in it is a link to {str(victim)!r}" in ended.err
    assert (digest(victim) if victim.is_dir() else victim.read_bytes()) == before


def test_other_commands_write_through_no_link(sent, verb, tmp_path, monkeypatch):
    victim, folder = tmp_path / "victim", tmp_path / "victims"
    victim.write_text("mine\n")
    folder.mkdir()
    for name in ("metrics.json", "report.html", "report.csv", "report.md", "w.safetensors", "s.png"):
        (sent / f"{name}.tmp").symlink_to(victim)
    (sent / "sweep").symlink_to(folder)
    sweep = ("evaluate", "--workdir", sent, "--num", "20", "--sweep", "2")
    refused(verb, "'sweep' in it is a link", *sweep)
    (sent / "sweep").unlink()
    (sent / "sweep").mkdir()
    (sent / "sweep/00002.png.tmp").symlink_to(victim)
    refused(verb, "'sweep/00002.png.tmp' in it is a link", *sweep)
    shutil.rmtree(sent / "sweep")
    for command in [
        ("evaluate", "--workdir", sent, "--num", "0", "--cost"),
        ("report.__main__", sent),
        ("export", "--workdir", sent, "--out", sent / "w.safetensors"),
        ("sample", "--workdir", sent, "--num", "2", "--out", sent / "s.png"),
    ]:
        ended = verb(*command)
        assert ended.code == 0, ended.err
    assert victim.read_text() == "mine\n" and not list(folder.iterdir())


@pytest.mark.parametrize("name", ["runs", ".lock", "runs/vae-digits,seed=0", "runs/vae-digits,seed=0.log"])
def test_a_study_writes_through_no_link(tmp_path, verb, name):
    victims = tmp_path / "victims"
    victims.mkdir()
    (victims / "file").write_text("mine\n")
    link = tmp_path / "study" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(victims / "file" if name.endswith(("lock", "log")) else victims)
    refused(
        verb, f"{name!r} in it is a link", "study.__main__", "vae-digits", "--workdir", tmp_path / "study"
    )
    assert [path.read_text() for path in victims.iterdir()] == ["mine\n"]


def test_what_a_study_that_was_sent_says_is_not_run(sent, verb, tmp_path):
    study = tmp_path / "study"
    shutil.copytree(sent, study / "runs/one")
    command = f"touch {tmp_path / 'was_run'}"
    one = {"preset": "x", "command": command, "overrides": {}, "seed": 0, "steps": 6, "sweep": False}
    runs = [{"name": name, **one} for name in ("one", "../../x")]
    (study / "study.json").write_text(
        json.dumps({"name": "sent", "command": command, "runs": runs, "presets": ["x"]})
    )
    (study / "claims.json").write_text(json.dumps([{"claim": "c", "command": command, "status": "holds"}]))
    assert verb("report.__main__", study).code == 0
    refused(verb, "another study", "study.__main__", "vae-digits", "--workdir", study)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("part", "kind"), [("model", "os.system"), ("method", "../sent_code"), ("model", "sent_code.F")]
)
def test_kinds_are_looked_up_in_a_table(sent, verb, part, kind):
    config = json.loads((sent / "config.json").read_text())
    config[part] = {"kind": kind, "command": "touch was_run"}
    (sent / "config.json").write_text(json.dumps(config))
    for command in [("evaluate",), ("sample",), ("export", "--out", "w.safetensors")]:
        refused(verb, kind, *command, "--workdir", sent)
    with pytest.raises(UserError, match=kind):
        genjax.load(sent)


def test_a_run_that_was_sent_is_used_without_its_paths(sent, verb, tmp_path):
    """Loading, making images and exporting open none of the folders that it names."""
    says(sent, dataset="evil", data_dir="sent/data")
    config = json.loads((sent / "config.json").read_text())
    config["initial"]["init_from"] = str(tmp_path / "nowhere")
    (sent / "config.json").write_text(json.dumps(config))
    origin = {"workdir": str(tmp_path / "nowhere"), "step": 1, "digest": "0", "config": config, "data": {}}
    (sent / "origins.json").write_text(json.dumps({"init_from": origin}))
    assert genjax.load(sent).sample(2).shape == (2, 8, 8, 1)
    assert verb("sample", "--workdir", sent, "--num", "2", "--out", tmp_path / "s.npz").code == 0
    assert verb("export", "--workdir", sent, "--out", tmp_path / "w.safetensors").code == 0


def test_names_in_a_report_are_text(sent, verb, tmp_path):
    bad = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'$\\frac$\x1b[2J"
    says(sent, dataset=bad)
    manifest = json.loads((sent / "manifest.json").read_text())
    manifest[0] |= {"command": bad, "git_commit": bad, "devices": [bad], "packages": {"jax": bad}}
    (sent / "manifest.json").write_text(json.dumps(manifest))
    metrics = json.loads((sent / "metrics.json").read_text())
    protocol = json.dumps({**json.loads(metrics["protocol"]), "extractor": bad, "reference": bad})
    (sent / "metrics.json").write_text(json.dumps(metrics | {"protocol": protocol, bad: 1.0}))
    other = shutil.copytree(sent, sent.parent / "<b>other")
    says(other, dataset=bad + "2")
    study = {"name": bad, "command": bad, "grid": {bad: [bad]}, "runs": []}
    (sent.parent / "study.json").write_text(json.dumps(study))
    (sent.parent / "failed").mkdir()
    (sent.parent / "failed/x.json").write_text(json.dumps({"exit_code": 1, "tail": bad}))
    ended = verb("report.__main__", sent.parent, "--out", tmp_path / "report.html")
    assert ended.code == 0, ended.err
    page = (tmp_path / "report.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    for part in ("<script>alert", "<img src=x", "<b>other"):
        assert part not in page


def test_names_do_not_command_a_terminal(sent, verb):
    title = "\x1b]0;mine\x07\x1b[2J\r\u202e"
    says(sent, dataset=f"/nowhere{title}")
    ended = verb("evaluate", "--workdir", sent)
    assert ended.code == 2 and "\\x1b]0;mine" in ended.err
    other = shutil.copytree(sent, sent.parent / f"other{title}")
    board = verb("scoreboard", sent, other)
    assert board.code == 0, board.err
    for text in (ended.err, board.out):
        assert not set(text) & set("\x1b\x07\r\u202e")
    assert printable("a\tb\nc\x1b[0m é 日本") == "a\tb\nc\\x1b[0m é 日本"


def test_a_folder_that_the_user_gave_is_read_again(sent, verb, tmp_path, monkeypatch):
    """With the type of its features put right, it is asked for once."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    says(sent, dataset="evil", data_dir="sent/data")
    command = ("evaluate", "--workdir", sent)
    refused(verb, "nobody has given it", *command)
    refused(verb, "which is none of TFDS's own", *command, "--data-dir", "sent/data")
    refused(verb, "which is none of TFDS's own", *command)
    assert (tmp_path / "state/genjax/data_dirs").read_text() == f"{sent.parent / 'data'}\n"
