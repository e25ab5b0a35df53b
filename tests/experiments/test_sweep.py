"""One tiny run at several numbers of sampler steps."""

import dataclasses
import json
import shutil

import pytest
from etils import epath

from experiments import sweep as sweeps
from experiments.presets import PRESETS
from genjax.app import restore
from genjax.app.config import SamplingOverrides
from genjax.typing import UserError


@pytest.fixture(scope="module")
def swept(run, tmp_path_factory, verb):
    """A copy of the run after ``evaluate --sweep 3 2``, and what it printed."""
    workdir = shutil.copytree(run, tmp_path_factory.mktemp("swept") / "run")
    ended = verb("evaluate", "--workdir", workdir, "--num", "20", "--sweep", "3", "2")
    assert ended.code == 0, ended.err
    return workdir, ended


def test_at_the_steps_of_the_run_it_is_the_score_of_the_run(swept, run):
    workdir, ended = swept
    entries = json.loads((workdir / "sweep.json").read_text())
    assert entries == ended.json
    two, three = entries
    assert (two["num_steps"], three["num_steps"]) == (2, 3)
    assert (two["network_evaluations"], three["network_evaluations"]) == (2, 3)
    scores = json.loads((run / "metrics.json").read_text())
    names = (
        "step",
        "rho",
        "fd_generated",
        "fd_train",
        "label_agreement",
        "num_samples",
        "protocol",
        "sampling",
    )
    assert {name: two[name] for name in names} == {name: scores[name] for name in names}
    assert three["fd_generated"] != two["fd_generated"] and three["fd_train"] == two["fd_train"]
    assert all(entry["samples_per_second"] > 0 and entry["compile_seconds"] > 0 for entry in entries)
    assert (
        f"num_steps 2, network_evaluations 2, samples_per_second {two['samples_per_second']:.6g}" in ended.out
    )


def test_pictures_are_of_the_noise_of_the_run(swept, run):
    workdir, _ = swept
    pictures = {path.name: path.read_bytes() for path in (workdir / "sweep").iterdir()}
    assert sorted(pictures) == ["00002.png", "00003.png"]
    assert pictures["00002.png"] == (run / "samples.png").read_bytes() != pictures["00003.png"]


def test_nothing_else_is_changed(swept, run, digest):
    assert digest(swept[0], "sweep") == digest(run)


def test_an_interrupted_sweep_goes_on(swept, tmp_path, verb):
    workdir = shutil.copytree(swept[0], tmp_path / "run")
    whole = json.loads((workdir / "sweep.json").read_text())
    marked = {**whole[1], "rho": -1.0}
    (workdir / "sweep.json").write_text(json.dumps([marked]))  # a kill after 3, before 2
    again = verb("evaluate", "--workdir", workdir, "--num", "20", "--sweep", "3", "2").json
    assert again[1] == marked and again[0]["rho"] == whole[0]["rho"]
    # Of other images: what is there cannot stand beside it.
    other = verb("evaluate", "--workdir", workdir, "--num", "20", "--sweep", "3", "--seed", "1").json
    assert [entry["num_steps"] for entry in other] == [3] and other[0]["rho"] != whole[1]["rho"]
    assert json.loads((workdir / "sweep.json").read_text()) == other
    assert [path.name for path in (workdir / "sweep").iterdir()] == ["00003.png"]


def test_mistakes_are_named(run, verb, digest, tmp_path):
    before = digest(run)
    for options, message in [
        (["--sweep", "5", "0"], "sampling.num_steps=0: valid are [1, inf)"),
        (["--sweep", "5", "--num-steps", "3"], "num_steps=3: sweep=(5,) says how many"),
        (["--sweep", "5", "--likelihood", "9"], "likelihood=9 is another measurement than sweep=(5,)"),
        (
            ["--sweep", "5", "--against", tmp_path / "x.json"],
            "compares one score, and sweep=(5,) gives several",
        ),
    ]:
        ended = verb("evaluate", "--workdir", run, *options)
        assert ended.code == 2 and message in ended.err and "Traceback" not in ended.err
    ended = verb("evaluate", "--images", tmp_path, "--reference", tmp_path, "--sweep", "5")
    assert ended.code == 2 and "sweep=(5,) is of a run" in ended.err
    assert digest(run) == before


def test_only_samplers_with_steps_and_images_with_a_score(run):
    restored = restore.restore(epath.Path(run), SamplingOverrides())
    with pytest.raises(UserError, match=r"sweep=\(5,\): vae has no sampler with steps"):
        sweeps._check(restored._replace(config=PRESETS["vae-digits"][1]), [5], None)
    flowers = dataclasses.replace(restored.config.data, dataset="oxford_flowers102")
    config = dataclasses.replace(restored.config, data=flowers)
    with pytest.raises(UserError, match="does not know 'oxford_flowers102'; an extractor is needed"):
        sweeps._check(restored._replace(config=config), [5], None)
