"""Which network scores a run, and a run against images that are not its own."""

import dataclasses
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from genjax import data
from genjax.app import checks, extractors, restore, scoring
from genjax.app.config import Config, DataConfig, EvaluationConfig, SamplingOverrides
from genjax.app.extractors import Chosen
from genjax.metrics.extractor import Extractor
from genjax.typing import UserError

PHOTOS = Extractor(
    "photos", "0", 3, "none", lambda x: (x.mean((1, 2)) * jnp.ones((1, 3)), jnp.zeros((len(x), 2)))
)


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr("genjax.metrics.efficientnet_lite.is_installed", lambda: True)
    monkeypatch.setattr(extractors, "load_efficientnet_lite", lambda *_, **__: PHOTOS)


def config(dataset, extractor=None, **options):
    return Config(
        data=DataConfig(dataset=dataset), evaluation=EvaluationConfig(extractor=extractor, **options)
    )


def test_which_network_scores_a_run(installed, monkeypatch):
    for dataset, asked, name in [
        ("digits", None, "digits"),
        ("stacked:mnist", None, "digits"),
        ("folder:photos", None, "efficientnet-lite0"),
        ("digits", "efficientnet-lite0", "efficientnet-lite0"),
        ("shapes", "digits", "digits"),
        ("shapes", "none", None),
    ]:
        assert extractors.scores_of(config(dataset, asked)) == name
    assert extractors.of_run(config("folder:photos")) is PHOTOS
    assert extractors.of_run(config("digits")) is None
    assert extractors.of_run(config("shapes", "digits")).name != "photos"
    checks.check(config("shapes", score_every=5))
    monkeypatch.setattr("genjax.metrics.efficientnet_lite.is_installed", lambda: False)
    assert extractors.scores_of(config("folder:photos")) is None
    with pytest.raises(UserError, match=r"score_every=5: valid is 0, .* --extractor efficientnet-lite0 does"):
        checks.check(config("shapes", score_every=5))


def test_training_and_evaluation_score_with_the_network_that_is_named(
    run, train_tiny, verb, installed, tmp_path
):
    workdir = shutil.copytree(run, tmp_path / "run")
    (workdir / "metrics.json").unlink()
    ended = train_tiny(workdir, "--extractor", "efficientnet-lite0")  # goes on: the choice is free
    assert ended.code == 0, ended.err
    assert "photos@0" in ended.json["protocol"] and "memorised" in ended.json
    again = verb("evaluate", "--workdir", workdir, "--num", "20").json
    assert again["protocol"] == ended.json["protocol"] and again["fd_generated"] == ended.json["fd_generated"]


def test_a_run_against_a_folder(run, verb, installed, tmp_path, write_images, digest, monkeypatch):
    rng = np.random.default_rng(0)
    folder = write_images(tmp_path / "photos", rng.integers(0, 256, (7, 8, 8, 3), np.uint8))
    before = digest(run)
    command = (
        "evaluate",
        "--workdir",
        run,
        "--num",
        "12",
        "--reference",
        folder,
        "--extractor",
        "efficientnet-lite0",
    )
    ended = verb(*command, "--metrics", "fd,kid,is", "--out", tmp_path / "score.json")
    assert ended.code == 0, ended.err
    found = ended.json
    assert found["num_samples"] == 12 and "photos[:7]#" in found["protocol"] and found["step"] == 6
    assert "rho" not in found and found["kid_stderr"] > 1e-6
    assert json.loads((tmp_path / "score.json").read_text()) == found
    assert digest(run) == before
    for options, message in [
        (("--sweep", "2"), "sweep, likelihood and cost are measured without it"),
        (("--metrics", "copies"), "'copies', which needs the images that the model was trained on"),
        (("--train", folder), "a run has its own data"),
    ]:
        ended = verb(*command, *options)
        assert ended.code == 2 and message in ended.err


def test_a_test_split_of_one_image(run, monkeypatch, capsys):
    """The loss is measured, and the score of images left out with a note."""
    monkeypatch.setattr("genjax.app.workdir.write_json", lambda *_: None)
    restored = restore.restore(epath.Path(run), SamplingOverrides())
    records = data.to_memory(data.load("digits", "test"))
    one = data.ArraySource(
        records["image"][:1], records["label"][:1], num_classes=10, name="digits", split="test"
    )
    train = data.load("digits", "train")
    found = scoring.score_run(restored, epath.Path(run), train, one, num=20)
    assert found["left_out"]["images"].startswith("generated has 20, test has 1") and found["test_loss"] > 0
    assert "No image score: generated has 20, test has 1" in capsys.readouterr().out
    assert "fd_generated" not in found
    with pytest.raises(UserError, match="test has 1"):
        scoring.ImageScorer(restored.config, train, one, restored.mesh, num=20)


def test_a_chosen_extractor_is_as_from_the_command_line(installed):
    assert extractors.load(extractors.ExtractorOptions(extractor="efficientnet-lite0")) == Chosen(PHOTOS, 3)
    assert dataclasses.asdict(extractors.ExtractorOptions())["extractor"] is None
