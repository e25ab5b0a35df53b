"""Bad input through the command line: a message and exit code 2, and nothing lost in a workdir with a run."""

import importlib.util
import json
import os
import re
import shutil
import sys

import numpy as np
import pytest
from etils import epath

from experiments import train
from genjax.app import lock


@pytest.fixture(scope="module")
def workdir(run, tmp_path_factory):
    """A copy of the run, which no bad command may change."""
    return shutil.copytree(run, tmp_path_factory.mktemp("errors") / "run")


@pytest.fixture
def refused(workdir, train_tiny, digest, tmp_path):
    """Runs a bad command in the workdir of a run and in a new one; what it says, if it says it in good form."""

    def refused(*options):
        before = digest(workdir)
        ended = train_tiny(workdir, *options)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("error: ") and "Traceback" not in ended.err
        assert digest(workdir) == before
        fresh = tmp_path / "fresh"
        assert train_tiny(fresh, *options) == ended
        assert not fresh.exists()
        return ended.err

    return refused


def test_unknown_data_set(refused):
    assert "dataset='mnst': no such data set; near matches: mnist" in refused("--dataset=mnst")
    assert "near matches: digits" in refused("--dataset=digit")


def test_missing_split(refused):
    message = "split='trian': valid splits are 'train', 'test', 'all'"
    assert message in refused("--data.train-split=trian")
    assert message in refused("--data.test-split=trian")


def test_missing_data_dir(refused, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    assert f"data_dir='{gone}': no such directory" in refused("--dataset=mnist", f"--data-dir={gone}")
    # A directory without the data set, and no TensorFlow to prepare it there.
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "tensorflow" else find(name, *a)
    )
    (tmp_path / "empty").mkdir()
    message = refused("--dataset=mnist", f"--data-dir={tmp_path / 'empty'}")
    assert "data set 'mnist' is not in" in message and "TFDS needs tensorflow" in message
    assert "pip install -e '.[tensorflow]'" in message


def test_missing_tracker(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert "log='wandb' needs the package wandb: pip install -e '.[wandb]'" in refused(
        "--log", "wandb", "tensorboard"
    )
    assert "'none' does not go together with others" in refused("--log", "none", "tensorboard")


def test_empty_and_missing_folder(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert f"folder '{tmp_path / 'empty'}': no image in it" in refused(f"--dataset=folder:{tmp_path}/empty")
    assert f"folder '{tmp_path / 'gone'}': no such folder" in refused(f"--dataset=folder:{tmp_path}/gone")
    assert f"dataset='{tmp_path / 'gone.npz'}': no such file" in refused(f"--dataset={tmp_path}/gone.npz")


def test_unreadable_and_wrongly_sized_images(refused, tmp_path, write_images, noise_images):
    folder = write_images(tmp_path / "images", noise_images(30))
    (folder / "007.png").write_bytes((folder / "007.png").read_bytes()[:20])
    message = refused(f"--dataset=folder:{folder}")
    assert f"{folder / '007.png'}" in message
    write_images(folder, noise_images(1, size=16), ["007.png"])
    message = refused(f"--dataset=folder:{folder}")
    assert (
        f"{folder / '007.png'} has 16x16 pixels where others" in message and "8x8: pass image_size" in message
    )


def test_every_record_is_bad(refused, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(20):
        (folder / f"{i:02d}.png").write_bytes(b"no image")
    message = refused(f"--dataset=folder:{folder}", "--data.on-bad-record=skip")
    assert "skipped 18 of 18 records" in message and "no record is left" in message


def test_grayscale_where_colour_is_asked(refused, tmp_path, write_images, noise_images):
    asked = "--data.channels=3"
    assert "'digits' is grayscale where colour is asked (channels=3)" in refused(asked)
    folder = write_images(tmp_path / "images", noise_images(20))
    assert "000.png is grayscale where colour is asked" in refused(f"--dataset=folder:{folder}", asked)
    np.savez(tmp_path / "colour.npz", images=noise_images(20, channels=3))
    message = refused(f"--dataset={tmp_path / 'colour.npz'}", "--data.channels=1")
    assert "colour.npz' is colour where grayscale is asked" in message


def test_labels_out_of_range(refused, tmp_path, noise_images):
    labels = np.arange(20) % 3
    labels[13] = -1
    np.savez(tmp_path / "x.npz", images=noise_images(20), labels=labels)
    message = refused(f"--dataset={tmp_path / 'x.npz'}")
    assert "labels out of range: record 13 has label -1, valid are 0..2" in message


def test_splits_that_differ(refused, tmp_path, noise_images):
    file, labels = tmp_path / "x.npz", np.arange(20) % 3
    images = {"train_images": noise_images(20), "test_images": noise_images(20, size=16)}
    np.savez(file, **images)
    message = refused(f"--dataset={file}")
    assert "'image' is uint8[8, 8, 1] in split 'train', but uint8[16, 16, 1] in split 'test'" in message
    images["test_images"] = images["train_images"]
    np.savez(file, **images, train_labels=labels)
    message = refused(f"--dataset={file}")
    assert "'label' is int32[] of 3 classes in split 'train', but missing in split 'test'" in message


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--batch-size=12", "batch_size=12 must be a positive multiple of the number of devices, 8"),
        ("--fsdp=3", "fsdp=3 does not divide the number of devices, 8; valid are [1, 2, 4, 8]"),
        ("--steps=0", "steps=0: valid are [1, inf)"),
        ("--data.image-size=0", "data.image_size=0: valid are [1, inf)"),
        ("--data.crop-padding=8", "crop_padding=8: valid are 0..7 for images of 8x8 pixels"),
        ("--model.multipliers 1 1 1 1 1", "image size 8x8 is not divisible by 16"),
        ("--model.attention 5", "model.attention=(5,): no features have height 5; valid are [8]"),
        (
            "--model.channels=9 --model.head-channels=2",
            "9 channels at height 8 cannot be divided into 4 heads",
        ),
        ("--process-id=1", "['process_id'] need --distributed"),
        ("--distributed --num-processes=2", "['coordinator', 'process_id'] missing"),
    ],
)
def test_options_that_do_not_fit(refused, option, message):
    assert message in refused(*option.split())


def test_workdirs_that_are_none(tmp_path, train_tiny):
    (tmp_path / "file").write_text("mine")
    ended = train_tiny(tmp_path / "file")
    assert ended.code == 2 and f"workdir='{tmp_path / 'file'}' is a file" in ended.err
    assert (tmp_path / "file").read_text() == "mine"

    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("mine")
    ended = train_tiny(tmp_path / "folder")
    assert ended.code == 2 and "is not empty and holds no run (config.json is missing)" in ended.err
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["thesis.tex"]

    ended = train_tiny(tmp_path / "file" / "below")
    assert ended.code == 2 and f"workdir='{tmp_path / 'file' / 'below'}' cannot be written" in ended.err


def test_a_damaged_config_is_named(run, tmp_path, train_tiny, verb):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text("{}}")
    for ended in (train_tiny(tmp_path / "run"), verb("evaluate", "--workdir", tmp_path / "run")):
        assert ended.code == 2 and "config.json cannot be read: Extra data" in ended.err
    for content in ("[]", "null", "", '{"fit": {}, "data": [], "method": 3}'):
        (tmp_path / "run" / "config.json").write_text(content)
        ended = verb("evaluate", "--workdir", tmp_path / "run")
        assert ended.code == 2 and "config.json" in ended.err and "Traceback" not in ended.err, content


def test_a_folder_of_other_software_stays_as_it_is(tmp_path, train_tiny, digest):
    """A model of the Hugging Face Hub has a config.json, too."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"architectures": ["BertModel"], "data": {}}')
    before = digest(tmp_path / "model")
    ended = train_tiny(tmp_path / "model")
    assert ended.code == 2 and "its config.json is of other software, without fit, method" in ended.err
    assert digest(tmp_path / "model") == before


@pytest.mark.parametrize("verb_name", ["train", "evaluate"])
def test_a_workdir_that_is_written_is_refused(run, tmp_path, train_tiny, verb, digest, verb_name):
    shutil.copytree(run, tmp_path / "run")
    with lock.held(epath.Path(tmp_path / "run")):
        before = {**digest(tmp_path / "run"), lock.LOCK: None}  # which is renewed now and then
        if verb_name == "train":
            ended = train_tiny(tmp_path / "run", "--optimizer.learning-rate=0.1", "--override-config")
        else:
            ended = verb("evaluate", "--workdir", tmp_path / "run", "--num=20")
        assert ended.code == 2 and f"is being written by process {os.getpid()}" in ended.err
        assert {**digest(tmp_path / "run"), lock.LOCK: None} == before


def test_damaged_side_files_do_not_stop_a_run(run, tmp_path, train_tiny, caplog):
    """What a run writes again is no reason to end it."""
    for name, content in {"manifest.json": "[1]", "metrics.json": "{", "timing.json": "[]"}.items():
        shutil.copytree(run, tmp_path / name)
        (tmp_path / name / name).write_text(content)
        ended = train_tiny(tmp_path / name)
        assert ended.code == 0 and "Traceback" not in ended.err, ended.err
    assert "manifest.json cannot be read" in caplog.text and "metrics.json cannot be read" in caplog.text
    shutil.copytree(run, tmp_path / "lines")
    lines = tmp_path / "lines" / "metrics.jsonl"
    content = lines.read_bytes()
    lines.write_bytes(b"\xef\xbb\xbf\n" + content + b"\n")
    shutil.rmtree(tmp_path / "lines" / "checkpoints" / "00000006")
    assert train_tiny(tmp_path / "lines", "--evaluation.num=0", "--override-config").code == 0
    assert lines.read_bytes() == content


def test_a_run_that_diverges_keeps_its_last_checkpoint(tmp_path, train_tiny, digest):
    explode = ["--optimizer.learning-rate=1e30", "--checkpoint-every=1", "--evaluation.num=0"]
    ended = train_tiny(tmp_path / "run", *explode)
    assert ended.code == 1 and "Traceback" not in ended.err
    kept = digest(tmp_path / "run" / "checkpoints")
    steps = sorted({int(name.split("/")[0]) for name in kept})
    stopped = f"error: training stopped at step {steps[-1] + 1}: "
    message = ended.err[ended.err.index("error: ") :]
    assert (
        message.startswith(stopped) and f"The latest checkpoint is of step {steps[-1]}, untouched." in message
    )
    assert re.match(r"(loss|grad_norm) is (nan|inf) \(", message.removeprefix(stopped))
    # What was logged before is finite, and the run stops there again.
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        assert np.isfinite(list(json.loads(line).values())).all()
    assert train_tiny(tmp_path / "run", *explode).code == 1
    assert digest(tmp_path / "run" / "checkpoints") == kept


def test_nothing_is_compiled_before_the_workdir_is_claimed(refused, monkeypatch):
    monkeypatch.setattr(train.build, "training_feed", lambda *_: pytest.fail("too late"))
    refused("--dataset=mnst")
