"""What is printed and written of a score, and that a loss over a split is the mean over its examples."""

import dataclasses
import functools
import json
import os
import shutil

import jax
import numpy as np
import pytest
from etils import epath

from genjax import data
from genjax.app import image_scores, restore, scoring
from genjax.app.config import SamplingOverrides
from genjax.data import confirmed
from genjax.metrics import load_digits_classifier


@pytest.fixture(scope="module")
def restored(run):
    return restore.restore(epath.Path(run), SamplingOverrides())


@pytest.fixture(scope="module")
def test_split():
    return data.load("digits", "test")


@pytest.fixture(scope="module")
def evaluated(run, tmp_path_factory, verb):
    """A copy of the run after ``evaluate --num 400``, more than there are test images, and what it printed."""
    workdir = shutil.copytree(run, tmp_path_factory.mktemp("evaluated") / "run")
    ended = verb("evaluate", "--workdir", workdir, "--num", "400", "--guidance", "1.5", "--seed", "3")
    assert ended.code == 0, ended.err
    return workdir, ended


def test_table_and_json(evaluated, test_split):
    workdir, ended = evaluated
    results = ended.json
    assert results == json.loads((workdir / "metrics.json").read_text())
    table = ended.out.splitlines()[:-1]
    assert [line.split()[0] for line in table] == [name for name in results if name != "protocols"]
    assert f"{results['rho']:.6g}" in next(line for line in table if line.startswith("rho "))
    assert results["sampling"] == {
        "sampler": "ddim", "num_steps": 2, "eta": None, "grid": "linspace", "guidance": 1.5, "seed": 3, "num": 400,
    }  # fmt: skip
    # Equal numbers on all sides: as many as the smallest set has.
    assert results["num_samples"] == len(test_split) < 400
    protocol = json.loads(results["protocol"])
    assert protocol["num_samples"] == len(test_split) and protocol["reference"].startswith("digits/test[:")


def test_nothing_but_the_score_is_changed(evaluated, run, digest):
    workdir, _ = evaluated
    assert digest(workdir, "metrics.json") == digest(run, "metrics.json")
    assert digest(workdir) != digest(run)


def test_the_run_is_scored_as_at_its_end(run, tmp_path, verb):
    workdir = shutil.copytree(run, tmp_path / "run")
    again = verb("evaluate", "--workdir", workdir, "--num", "20").json
    first = json.loads((run / "metrics.json").read_text())
    for results in (again, first):
        del results["sampling_seconds"]
    assert again == first


def test_the_loss_is_the_plain_mean_whatever_the_batch_size(restored, test_split):
    method, state = restored.method, restored.state
    n = len(test_split)
    assert n % 16 and n % 128 and n % 8  # ragged for all of these
    batch = {**test_split.read(np.arange(n)), "_index": np.arange(n, dtype=np.int32)}
    key = jax.random.key(restored.config.fit.seed)
    state_here = jax.device_get(state)
    losses = jax.jit(lambda batch: method.evaluate(key, state_here, data.preprocess(key, batch)))(batch)[
        "loss"
    ]
    assert losses.shape == (n,) and np.std(losses) > 0.01
    expected = np.mean(np.asarray(losses, np.float64))
    for batch_size in (16, 128, 512):
        fit = dataclasses.replace(restored.config.fit, batch_size=batch_size)
        config = dataclasses.replace(restored.config, fit=fit)
        means = scoring.held_out(config, method, restored.mesh, test_split)(state)
        assert means == {"loss": pytest.approx(expected, rel=1e-6)}


def test_labels_are_asked_for_as_often_as_they_occur():
    source = data.load("digits", "train")
    labels = data.to_memory(source)["label"]
    asked = image_scores.labels_like(labels, len(labels))
    np.testing.assert_array_equal(np.bincount(asked), np.bincount(labels))
    assert (asked != labels).any()
    np.testing.assert_array_equal(image_scores.labels_like(labels, 50), asked[:50])


def test_numbers_are_printed_where_they_cannot_be_written(
    run, monkeypatch, restored, test_split, capsys, caplog
):
    def full(path, value):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("genjax.app.workdir.write_json", full)
    monkeypatch.setattr(scoring, "scores_of", lambda _: None)
    results = scoring.score_run(restored, epath.Path(run), test_split, test_split, num=2)
    assert results["step"] == 6
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table if not line.startswith("No")] == list(results)
    assert "metrics.json is not written: [Errno 28]" in caplog.text


def test_labels_are_judged_by_the_classifier_that_knows_them(run, monkeypatch, restored, test_split):
    """Classes of another extractor are not those that were asked for, whatever their numbers."""
    monkeypatch.setattr("genjax.app.workdir.write_json", lambda *_: None)
    digits = load_digits_classifier()
    score = functools.partial(scoring.score_run, restored, epath.Path(run), test_split, test_split, num=20)
    assert "label_agreement" not in score(extractor=digits._replace(name="another"))
    assert score(extractor=digits)["label_agreement"] == score()["label_agreement"]


@pytest.mark.parametrize("split", ["train", "test"])
def test_which_images_are_compared(run, monkeypatch, restored, test_split, split):
    """A model that makes the test images is at no distance from them; one of training images is found out."""
    train = data.load("digits", "train")
    real = data.to_memory({"train": train, "test": test_split}[split])["image"][: len(test_split)]
    asked = {}

    def copy(run, **options):
        asked.update(options)
        return real

    monkeypatch.setattr("genjax.app.workdir.write_json", lambda *_: None)
    monkeypatch.setattr(scoring, "make", copy)
    found = scoring.score_run(restored, epath.Path(run), train, test_split, num=len(real), seed=7)
    assert (found["fd_generated"] < 1e-3 * found["fd_train"]) == (split == "test")
    assert (found["memorised"] > 0.9) == (split == "train")
    assert asked["num"] == len(real) and asked["seed"] == 7
    expected = image_scores.labels_like(data.to_memory(train)["label"], len(real))
    np.testing.assert_array_equal(asked["labels"], expected)


def test_an_image_is_its_seed_and_number(restored):
    labels = np.arange(6, dtype=np.int32)
    images = scoring.make(restored, labels=labels, num=6, seed=1)
    np.testing.assert_array_equal(scoring.make(restored, labels=labels, num=6, seed=1), images)
    later = scoring.make(restored, labels=np.roll(labels, -2), num=6, seed=1, first=2)
    np.testing.assert_array_equal(later[:4], images[2:])
    assert (scoring.make(restored, labels=labels, num=6, seed=2) != images).any()


def test_too_few_images_are_refused_before_the_work(run, verb, digest):
    before = digest(run)
    for option, message in [
        ("--num=1", "num=1: at least 2 images"),
        ("--seed=-3", "seed=-3: valid are 0.."),
        ("--out=no/such/folder.json", "out='no/such/folder.json': there is no such folder"),
    ]:
        ended = verb("evaluate", "--workdir", run, option)
        assert ended.code == 2 and message in ended.err
    assert digest(run) == before


def test_the_cost_is_added_to_a_score(run, tmp_path, verb, monkeypatch):
    """Nothing is scored again, and what the score was of is what the cost is of."""
    workdir = shutil.copytree(run, tmp_path / "run")
    before = json.loads((workdir / "metrics.json").read_text())
    monkeypatch.setattr(scoring, "make", None)
    monkeypatch.setattr(scoring, "held_out", None)
    ended = verb("evaluate", "--workdir", workdir, "--num", "0", "--cost")
    assert ended.code == 0, ended.err
    assert json.loads((workdir / "metrics.json").read_text()) == ended.json
    cost = {name: value for name, value in ended.json.items() if name not in before}
    assert ended.json == before | cost and cost["network_evaluations"] == 2
    assert set(cost) == {
        *("samples_per_second", "compile_seconds", "network_evaluations", "peak_memory_bytes"),
        "seconds_per_epoch",
    }
    written = (workdir / "metrics.json").read_bytes()
    for options, message in [
        (("--cost", "--num-steps", "3"), "has none of step 6 with sampling={'sampler': 'ddim'"),
        (
            ("--cost", "--resamples", "9"),
            "nothing is scored, and sweep, likelihood, seed and what is measured are of a score",
        ),
        ((), "num=0: at least 2 images"),
    ]:
        ended = verb("evaluate", "--workdir", workdir, "--num", "0", *options)
        assert ended.code == 2 and message in ended.err
    assert (workdir / "metrics.json").read_bytes() == written
    (workdir / "metrics.json").unlink()
    ended = verb("evaluate", "--workdir", workdir, "--num", "0", "--cost")
    assert ended.code == 2 and "has none of step 6" in ended.err


def test_data_that_moved_is_named(run, tmp_path, verb, digest):
    workdir = shutil.copytree(run, tmp_path / "run")
    config = json.loads((workdir / "config.json").read_text())
    config["data"] |= {"dataset": "mnist", "data_dir": str(tmp_path / "gone")}
    (workdir / "config.json").write_text(json.dumps(config))
    before = digest(workdir)
    ended = verb("evaluate", "--workdir", workdir, "--data-dir", tmp_path / "other")
    assert ended.code == 2 and f"data_dir='{tmp_path / 'other'}': no such directory" in ended.err
    confirmed.confirm(tmp_path / "gone")  # as training does
    ended = verb("evaluate", "--workdir", workdir)
    assert ended.code == 2 and f"data_dir='{tmp_path / 'gone'}': no such directory" in ended.err
    assert digest(workdir) == before
