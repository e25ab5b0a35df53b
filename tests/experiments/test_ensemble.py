"""Ensembles: whose images they hold, that scores are those of the runs, and what the weights are fitted to."""

import json
import shutil

import numpy as np
import pytest
from etils import epath

from experiments import ensemble
from genjax import data
from genjax.metrics import mixture

NUM = 20


@pytest.fixture(scope="module")
def other(tmp_path_factory, verb):
    """An unconditional model of the same images."""
    workdir = tmp_path_factory.mktemp("other") / "vae"
    ended = verb(
        *(
            "train",
            "vae-digits",
            "--workdir",
            workdir,
            "--steps=4",
            "--model.hidden",
            "16",
            "--batch-size=16",
        ),
        *("--optimizer.warmup-steps=1", "--evaluation.num=0", "--evaluation.grid-columns=2"),
        *("--evaluation.loss-every=0", "--evaluation.sample-every=0", "--sampling.batch-size=24"),
    )
    assert ended.code == 0, ended.err
    return workdir


@pytest.fixture(scope="module")
def mixed(run, other, tmp_path_factory, verb):
    """The folder of a mixture of both, three to one."""
    out = tmp_path_factory.mktemp("ensemble") / "both"
    ended = verb(
        *("ensemble", run, other, "--mixture-weights", "3", "1", "--num", NUM, "--save-images", "--out", out),
        *("--metrics", "fd,prdc"),
    )
    assert ended.code == 0, ended.err
    results = json.loads((out / "metrics.json").read_text())
    assert "ensemble" in json.loads((out / "manifest.json").read_text())[0]["command"]
    assert ended.json == results
    return out, results


def test_each_image_is_its_own_models(mixed, run, other, tmp_path, verb):
    """Made alone, by number, with the label that it was asked for."""
    out, results = mixed
    arrays = np.load(out / "images.npz")
    assert results["weights"] == {"digits": 0.75, "vae": 0.25}
    member = arrays["member"]
    assert [part["images"] for part in results["members"]] == [(member == 0).sum(), (member == 1).sum()]
    assert ((arrays["labels"] == -1) == (member == 1)).all()
    np.testing.assert_array_equal(ensemble.members(0, range(5, 9), np.array([0.75, 0.25])), member[5:9])
    for number in (0, 1):
        i = int(np.flatnonzero(member == number)[-1])
        label = [] if number else ["--labels", arrays["labels"][i]]
        alone = tmp_path / "alone.npz"
        command = ("sample", "--workdir", (run, other)[number], "--first", i, "--num", 1, "--out", alone)
        assert verb(*command, *label).code == 0
        np.testing.assert_array_equal(np.load(alone)["images"][0], arrays["images"][i])


def test_members_are_scored_as_runs_are(mixed, run):
    _, results = mixed
    alone = json.loads((run / "metrics.json").read_text())
    member = results["members"][0]
    assert member["step"] == alone["step"] and alone["sampling"]["num"] == NUM
    for name in ("fd_generated", "rho", "protocol", "label_agreement", "memorised", "class_tv"):
        assert member[name] == alone[name], name
    assert "label_agreement" not in results  # not all of its images were asked for


def test_the_scoreboard_shows_it_beside_its_members(mixed, run, verb):
    out, results = mixed
    ended = verb("scoreboard", out, run)
    assert ended.code == 0, ended.err
    (board,) = ended.json
    assert {row["name"]: row["rho"] for row in board["runs"]} == {
        "both": results["rho"], "digits": results["members"][0]["rho"]
    }  # fmt: skip
    assert [row["step"] for row in board["runs"] if row["name"] == "both"] == [6 + 4]


def test_weights_are_fitted_to_training_images(run, other, tmp_path, verb, monkeypatch):
    """To what features say of other images than those scored; and whatever the test images are."""
    seen = {}
    real = ensemble.ImageScorer

    def blank_test_images(config, train, test, *arguments, **options):
        records = data.to_memory(test)
        blank = {**records, "image": np.zeros_like(records["image"])}
        test = data.ArraySource.from_records(blank, test.info, test.skipped)
        return real(config, train, test, *arguments, **options)

    def fit(members, wanted):
        seen["members"], seen["wanted"] = members, wanted
        return mixture.fit_mmd(members, wanted)

    monkeypatch.setitem(ensemble._FITS, "mmd", fit)
    command = ("ensemble", run, other, "--fit", "mmd", "--fit-num", 50, "--num", NUM)
    first = verb(*command, "--out", tmp_path / "first")
    assert first.code == 0, first.err
    found = mixture.fit_mmd(seen["members"], seen["wanted"])
    assert list(first.json["weights"].values()) == found.weights.tolist()
    assert first.json["fit"]["distance"] == found.distance <= min(first.json["fit"]["alone"].values())
    assert [x.shape for x in (*seen["members"], seen["wanted"])] == [seen["wanted"].shape] * 3
    monkeypatch.setattr(ensemble, "ImageScorer", blank_test_images)
    again = verb(*command, "--out", tmp_path / "again")
    assert again.json["weights"] == first.json["weights"] and again.json["fit"] == first.json["fit"]
    assert again.json["rho"] != first.json["rho"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("RUN",), "at least two different runs are needed"),
        (("RUN", "RUN"), "at least two different runs are needed"),
        (("RUN", "OTHER", "--mixture-weights", "1", "1", "--fit", "fd"), "give one of them, or none"),
        (("RUN", "OTHER", "--mixture-weights", "1"), "valid for 2 models are 2 numbers of at least 0"),
        (("RUN", "OTHER", "--mixture-weights", "0", "0"), "not all 0"),
        (("RUN", "OTHER", "--num", "1"), "num=1: at least 2 images"),
        (("RUN", "OTHER", "--fit", "fd", "--fit-num", "1"), "fit_num=1: at least 2 images"),
        (("RUN", "OTHER", "--resamples", "1"), "resamples=1: valid are 0"),
        (("RUN", "OTHER", "--metrics", "psnr"), "metrics has 'psnr'; valid are"),
        (("RUN", "OTHER", "--metrics", ","), "metrics=',': valid are"),
        (("RUN", "MISSING"), "holds no run: config.json is missing"),
        (("RUN", "RESIZED"), "data.image_size (None and 4)"),
    ],
)
def test_mistakes(run, other, tmp_path, verb, options, message):
    resized = shutil.copytree(other, tmp_path / "resized", ignore=shutil.ignore_patterns("checkpoints"))
    config = json.loads((resized / "config.json").read_text())
    config["data"]["image_size"] = 4
    (resized / "config.json").write_text(json.dumps(config))
    paths = {"RUN": run, "OTHER": other, "MISSING": tmp_path / "missing", "RESIZED": resized}
    ended = verb("ensemble", *(paths.get(option, option) for option in options), "--out", tmp_path / "out")
    assert ended.code == 2 and message in ended.err, ended.err
    assert not (tmp_path / "out").exists()


def test_a_run_is_not_written_over(run, other, verb, digest):
    before = digest(run)
    ended = verb("ensemble", run, other, "--out", run)
    assert ended.code == 2 and "needs a folder of its own" in ended.err
    assert digest(run) == before and epath.Path(run).exists()
