"""What a training leaves, how it is resumed, and the kinds of data it takes."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from etils import epath
from PIL import Image

from experiments.presets import PRESETS
from genjax.app import lock
from genjax.train.checkpoint import saved_steps

STEPS = 6


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_leaves_its_files(run):
    names = {p.name for p in run.iterdir()}
    assert names == {
        "checkpoints", "config.json", "data.json", "manifest.json", "metrics.json", "metrics.jsonl",
        "parameters.txt", "samples", "samples.png", "tensorboard", "timing.json",
    }  # fmt: skip
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["00000002", "00000004", "00000006"]

    config = json.loads((run / "config.json").read_text())
    assert config["fit"]["steps"] == STEPS and config["model"]["channels"] == 8
    assert config["method"]["schedule"] == PRESETS["ddpm-digits"][1].method.schedule

    (manifest,) = json.loads((run / "manifest.json").read_text())
    assert (
        manifest["seed"] == 0
        and len(manifest["devices"]) == 8
        and "--model.channels=8" in manifest["command"]
    )
    assert {"jax", "flax", "optax", "orbax-checkpoint"} <= manifest["packages"].keys()
    assert manifest["git_commit"] is None or re.match(r"[0-9a-f]{12}", manifest["git_commit"])

    data = json.loads((run / "data.json").read_text())
    assert data["train_records"] + data["test_records"] == 1797 and data["fields"]["image"]["shape"] == [
        8,
        8,
        1,
    ]
    assert "conv_in/kernel" in (run / "parameters.txt").read_text()
    assert list((run / "tensorboard").glob("events.out.tfevents.*"))


def test_metrics_are_logged_when_due(run):
    written = [(line["step"], sorted(line.keys() - {"step"})) for line in lines(run / "metrics.jsonl")]
    train, test = ["train/grad_norm", "train/loss"], ["test/loss"]
    assert written == [(2, train), (4, train), (4, test), (6, train), (6, test)]
    for line in lines(run / "metrics.jsonl"):
        assert all(np.isfinite(value) for value in line.values())


def test_the_grid_has_a_row_a_class(run):
    with Image.open(run / "samples.png") as picture:
        pixels = np.asarray(picture)
    scale = 900 // (10 * 9 + 1)
    assert pixels.shape == ((10 * 9 + 1) * scale, (2 * 9 + 1) * scale)
    small = pixels[::scale, ::scale]
    assert (small[::9] == 255).all() and (small[:, ::9] == 255).all()  # white lines between the images
    assert len({small[r * 9 + 1 : r * 9 + 9, 1:9].tobytes() for r in range(10)}) == 10


def test_the_last_line_is_the_score(run):
    printed = (run.parent / "out.txt").read_text()
    results = json.loads(printed.splitlines()[-1])
    assert results == json.loads((run / "metrics.json").read_text())
    assert results["step"] == STEPS and results["num_samples"] == 20
    assert results["rho"] == pytest.approx(results["fd_generated"] / results["fd_train"])
    assert 0 <= results["label_agreement"] <= 1
    assert results["sampling"] == {
        "sampler": "ddim", "num_steps": 2, "eta": None, "grid": "linspace", "guidance": 1.0, "seed": 0, "num": 20,
    }  # fmt: skip
    # The loss that was logged at the last step is the one that is reported.
    assert results["test_loss"] == lines(run / "metrics.jsonl")[-1]["test/loss"]


def test_how_long_it_took(run):
    timing = json.loads((run / "timing.json").read_text())
    assert timing["steps"] == STEPS
    examples, batch_size = 1442, json.loads((run / "config.json").read_text())["fit"]["batch_size"]
    assert timing["seconds_per_epoch"] == pytest.approx(
        timing["train_seconds"] / STEPS * examples / batch_size
    )
    steps, seconds = zip(*timing["curve"], strict=True)
    assert steps == (0, 2, 4, 6) and seconds[0] == 0 and seconds[-1] == timing["train_seconds"]
    assert timing["first_epoch_seconds"] is None and timing["last_epoch_seconds"] is None
    assert timing["flops_per_step"] > 0 and timing["network_evaluations_per_step"] == batch_size


def test_pictures_and_scores_while_it_trains(run, tmp_path, train_tiny):
    """The scores are those of the end, and training is none the wiser."""
    workdir = tmp_path / "run"
    options = ["--evaluation.sample-every=4", "--evaluation.score-every=4", "--evaluation.score-num=20"]
    ended = train_tiny(workdir, *options)
    assert ended.code == 0, ended.err
    scored = {line["step"]: line for line in lines(workdir / "metrics.jsonl") if "test/rho" in line}
    assert list(scored) == [4, 6] and all(len(line) == 3 for line in scored.values())
    assert scored[6]["test/rho"] == ended.json["rho"] != scored[4]["test/rho"]
    assert scored[6]["test/fd_generated"] == ended.json["fd_generated"]
    assert ended.json["rho"] == json.loads((run / "metrics.json").read_text())["rho"]
    logged = [line for line in lines(workdir / "metrics.jsonl") if "test/rho" not in line]
    assert logged == lines(run / "metrics.jsonl")

    pictures = {path.name: path.read_bytes() for path in (workdir / "samples").iterdir()}
    assert sorted(pictures) == ["00000004.png", "00000006.png"]
    assert pictures["00000006.png"] == (run / "samples.png").read_bytes() != pictures["00000004.png"]
    assert (workdir / "samples.png").read_bytes() == pictures["00000006.png"]


def test_resuming_a_finished_run_does_nothing(run, tmp_path, train_tiny, digest):
    workdir = shutil.copytree(run, tmp_path / "run")
    ended = train_tiny(workdir)
    assert ended.code == 0 and f"trained to step {STEPS}\nalready scored" in ended.out
    changing = "manifest.json", "tensorboard/"  # each start is noted
    assert digest(workdir, *changing) == digest(run, *changing)
    assert len(json.loads((workdir / "manifest.json").read_text())) == 2
    # Only the score is missing, after a kill at the end: it is made, and is the same.
    (workdir / "metrics.json").unlink()
    again = train_tiny(workdir).json
    first = json.loads((run / "metrics.json").read_text())
    del again["sampling_seconds"], first["sampling_seconds"]
    assert again == first


def test_another_config_does_not_resume(run, tmp_path, train_tiny, digest):
    workdir = shutil.copytree(run, tmp_path / "run")
    ended = train_tiny(workdir, "--steps=8", "--optimizer.learning-rate=1e-4", "--keep-checkpoints=5")
    assert ended.code == 2 and "Traceback" not in ended.err
    assert "  optimizer.learning_rate: 0.002 before, 0.0001 now\n" in ended.err
    assert "fit.steps" not in ended.err  # more of them are no other run
    assert "keep_checkpoints" not in ended.err  # which changes nothing of what is trained
    assert "--override-config" in ended.err
    assert digest(workdir) == digest(run)


def test_more_steps_go_on(run, tmp_path, train_tiny):
    workdir = shutil.copytree(run, tmp_path / "run")
    fewer = train_tiny(workdir, "--steps=4")
    assert fewer.code == 2 and "  fit.steps: 6 before, 4 now\n" in fewer.err
    ended = train_tiny(workdir, "--steps=8", "--evaluation.num=0")
    assert ended.code == 0 and "trained to step 8" in ended.out
    # The steps before are not trained again: their lines are still there, byte for byte.
    before = (run / "metrics.jsonl").read_bytes()
    assert (workdir / "metrics.jsonl").read_bytes().startswith(before)
    assert [line["step"] for line in lines(workdir / "metrics.jsonl")][-2:] == [8, 8]
    assert json.loads((workdir / "config.json").read_text())["fit"]["steps"] == 8


def test_override_config_to_another_network_loses_nothing(run, tmp_path, train_tiny, digest):
    workdir = shutil.copytree(run, tmp_path / "run")
    ended = train_tiny(workdir, "--model.channels=12", "--override-config")
    assert ended.code == 2 and "holds another state than the one asked for" in ended.err
    assert "conv_in" in ended.err and "Traceback" not in ended.err
    assert digest(workdir) == digest(run)


def test_a_run_without_checkpoint_takes_a_new_config(run, tmp_path, train_tiny):
    workdir = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("0000*", "metrics.json"))
    (workdir / "config.json.tmp").write_text("{")  # a kill while it was written
    config = json.loads((workdir / "config.json").read_text())
    config["fit"]["steps"] = 7
    (workdir / "config.json").write_text(json.dumps(config))
    assert train_tiny(workdir, "--evaluation.num=0").code == 0
    assert json.loads((workdir / "config.json").read_text())["fit"]["steps"] == STEPS
    assert (workdir / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()


def test_changed_data_does_not_resume(run, tmp_path, train_tiny):
    workdir = shutil.copytree(run, tmp_path / "run")
    data = json.loads((workdir / "data.json").read_text())
    (workdir / "data.json").write_text(json.dumps({**data, "train_records": 5}))
    ended = train_tiny(workdir)
    assert ended.code == 2 and f"  data.train_records: 5 before, {data['train_records']} now\n" in ended.err


def test_unlabelled_folder_makes_an_unconditional_model(
    tmp_path, train_tiny, verb, write_images, noise_images, caplog
):
    folder = write_images(tmp_path / "images", noise_images(40))
    (folder / "001.png").write_bytes(b"no image")
    options = f"--dataset=folder:{folder} --data.on-bad-record=skip --steps=2".split()
    ended = train_tiny(tmp_path / "run", *options)
    assert ended.code == 0, ended.err
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    assert "label" not in data["fields"] and (data["train_records"], data["test_records"]) == (35, 4)
    assert (data["train_skipped"], data["test_skipped"]) == (1, 0)
    warned = [record.getMessage() for record in caplog.records if "skipped" in record.getMessage()]
    assert len(warned) == 1 and "skipped 1 of 36 records" in warned[0] and "001.png" in warned[0]
    table, results = ended.out.splitlines()[:-1], ended.json
    assert results.keys() == {"step", "test_loss"} and not any("rho" in line for line in table)
    assert "No image score: the bundled classifier knows digits (digits, mnist)" in table[-1]
    assert "class" not in (tmp_path / "run" / "parameters.txt").read_text()
    with Image.open(tmp_path / "run" / "samples.png") as picture:
        assert picture.mode == "L"

    made = verb("sample", "--workdir", tmp_path / "run", "--num", "3", "--out", tmp_path / "x.npz")
    assert made.code == 0, made.err
    with np.load(tmp_path / "x.npz") as arrays:
        assert set(arrays) == {"images"} and arrays["images"].shape == (3, 8, 8, 1)
    for option, message in [("--labels=1,2", "labels=1,2"), ("--guidance=2", "guidance=2.0")]:
        refused = verb("sample", "--workdir", tmp_path / "run", option, "--out", tmp_path / "x.npz")
        assert refused.code == 2 and f"{message}: the model is unconditional" in refused.err


def test_colour_arrays(tmp_path, train_tiny, verb, noise_images):
    file = tmp_path / "colour.npz"
    np.savez(file, images=noise_images(40, channels=3), labels=np.arange(40) % 3)
    streamed = ["--data.resident-mb=0", "--data.flip", "--data.crop-padding=1"]
    ended = train_tiny(tmp_path / "run", f"--dataset={file}", "--steps=2", *streamed)
    assert ended.code == 0, ended.err
    assert "No image score" in ended.out and ended.json.keys() == {"step", "test_loss"}
    with Image.open(tmp_path / "run" / "samples.png") as picture:
        assert picture.mode == "RGB"
        scale = 900 // (3 * 9 + 1)
        assert picture.size == ((2 * 9 + 1) * scale, (3 * 9 + 1) * scale)
    # Images can be made where the data no longer is; a score cannot, and says what is missing.
    file.unlink()
    made = verb(
        "sample", "--workdir", tmp_path / "run", "--num=4", "--labels", "2", "1", "--out", tmp_path / "x.npz"
    )
    assert made.code == 0, made.err
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["labels"].tolist() == [2, 1, 2, 1] and arrays["images"].shape == (4, 8, 8, 3)
    refused = verb("evaluate", "--workdir", tmp_path / "run")
    assert refused.code == 2 and f"dataset='{file}': no such file" in refused.err


def test_ctrl_c_saves_and_is_no_traceback(tmp_path):
    # Python ignores SIGINT where the shell that started the tests did.
    start = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    start += "runpy.run_module('experiments.train', run_name='__main__')"
    workdir = tmp_path / "run"
    options = shlex.split(
        "--model.channels=8 --model.multipliers 1 --model.blocks=1 --model.attention --batch-size=16 --log-every=2"
        " --steps=1000000"
    )
    errors = tmp_path / "stderr.txt"  # no pipe, which would have to be read while the process runs
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", start, "ddpm-digits", "--workdir", workdir, *options],
            stderr=stderr,
            stdout=subprocess.DEVNULL,
            env={
                **os.environ,
                "XLA_FLAGS": "--xla_backend_optimization_level=0",  # and one device: compiles in half the time
                "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
            },
        )
    log = workdir / "metrics.jsonl"
    try:
        deadline = time.monotonic() + 300  # far more than it takes, on a busy machine too
        while not (log.exists() and log.stat().st_size):
            assert time.monotonic() < deadline and process.poll() is None, errors.read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 130
    finally:
        process.kill()
        process.wait()
    said = errors.read_text()
    assert "interrupted: saving after this step; Ctrl-C again stops at once" in said
    assert "Traceback" not in said
    (step,) = saved_steps(epath.Path(workdir) / "checkpoints")
    assert step > 2 and not (workdir / lock.LOCK).exists()
