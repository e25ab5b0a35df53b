"""Collapse of runs: injected generators of digits, the table over seeds, and points on the grid."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from etils import epath

from experiments import gaussians, presets
from genjax import data
from genjax.app import build, collapse_scores, restore, scoring
from genjax.data.gaussians import CENTRES, SCALE
from genjax.metrics import load_digits_classifier
from genjax.metrics.stacked import stacked
from genjax.train import sharding
from genjax.typing import Method, TrainState, UserError


@pytest.fixture(scope="module")
def digits():
    return {split: data.to_memory(data.load("digits", split)) for split in ("train", "test")}


@pytest.fixture(scope="module")
def extractor():
    return collapse_scores.extractor("digits")


def test_digits_of_4_classes_have_a_collapse_of_60_percent(digits, extractor):
    train, test = digits["train"], digits["test"]
    some = test["image"][np.isin(test["label"], [0, 2, 3, 7])]
    found = collapse_scores.collapse_scores(some, train, test["image"], extractor)
    share = np.isin(train["label"], [0, 2, 3, 7]).mean()
    assert found["collapse"] == pytest.approx(1 - share, abs=1e-12) and share == pytest.approx(0.4, abs=0.01)
    assert found["kl"] == pytest.approx(-np.log(share), abs=0.08)
    assert (
        found["num_modes"] == 10 and found["mode_samples"] == len(some) and found["mode_samples_needed"] < 100
    )


def test_held_out_digits_are_healthy_and_copies_are_found(digits, extractor):
    train, test = digits["train"], digits["test"]
    healthy = collapse_scores.collapse_scores(test["image"], train, test["image"], extractor)
    assert healthy["modes"] == 10 and healthy["collapse"] == 0
    assert healthy["kl"] < 0.01 and healthy["class_tv"] < 0.05 and healthy["duplicates"] < 0.03
    assert healthy["memorised"] == pytest.approx(0.01, abs=0.005)
    copied = collapse_scores.collapse_scores(
        np.repeat(train["image"][:100], 2, axis=0), train, test["image"], extractor
    )
    assert copied["memorised"] == copied["duplicates"] == 1


def test_stacked_extractor(digits):
    single, three = load_digits_classifier(), stacked(load_digits_classifier())
    source = data.load("stacked:digits", "test")
    image = data.to_float(jnp.asarray(source.read(np.arange(8))["image"]))
    features, logits = jax.jit(three.apply)(image)
    apply = jax.jit(single.apply)
    each = [apply(image[..., i : i + 1]) for i in range(3)]
    np.testing.assert_allclose(features, np.concatenate([f for f, _ in each], 1), atol=1e-4)
    a, b, c = (np.asarray(x.argmax(-1)) for _, x in each)
    np.testing.assert_array_equal(logits.argmax(-1), 100 * a + 10 * b + c)
    np.testing.assert_allclose(jax.nn.logsumexp(logits, -1), 0, atol=1e-4)
    with pytest.raises(UserError, match="3 stacked channels are needed"):
        three.apply(image[..., :1])


def test_score_of_a_run_on_stacked_digits(tmp_path, monkeypatch, capsys):
    """An injected generator that copies test images whose first digit is below 4."""
    train, test = (
        data.Stacked(data.load("digits", split), n) for split, n in (("train", 900), ("test", 600))
    )
    records = data.to_memory(test)
    chosen = records["image"][records["label"] < 400]
    known = data.to_float(jnp.asarray(chosen))

    def sample(keys, state, condition):
        del state, condition
        return known[jax.vmap(lambda key: jax.random.randint(key, (), 0, len(known)))(keys)]

    method = Method(None, None, lambda key, state, batch: {"loss": batch["image"].mean((1, 2, 3))}, sample)
    monkeypatch.setattr(build, "method", lambda *args, **kwargs: method)
    _, config = presets.PRESETS["ddpm-digits"]
    config = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, dataset="stacked:digits"),
        method=dataclasses.replace(config.method, class_conditional=False),
    )
    mesh = sharding.make_mesh()
    state = jax.device_put(TrainState(jnp.zeros((), jnp.int32), (), ()), sharding.replicated(mesh))
    run = restore.Run(config, train.info, method, state, 0, mesh)
    scoring.score_run(run, epath.Path(tmp_path), train, test, num=300)
    results = json.loads((tmp_path / "metrics.json").read_text())
    printed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert printed == [name for name in results if name != "protocols"]
    assert results["num_modes"] == 1000 and results["mode_samples"] == 300
    assert results["mode_samples_needed"] > 10_000
    known_label = {x.tobytes(): y for x, y in zip(records["image"], records["label"], strict=True)}
    made = np.array([known_label[x.tobytes()] for x in scoring.make(run, labels=None, num=300, seed=0)])
    assert made.max() < 400
    # The classifier is wrong about a few of the 8x8 digits. With so few images a mode is lost if there is none of it.
    assert results["modes"] == pytest.approx(len(np.unique(made)), abs=8)
    lost = 1 - np.isin(data.to_memory(train)["label"], made).mean()
    assert results["collapse"] == pytest.approx(lost, abs=0.02) and lost > 0.6
    # Infinite where the classifier sees a number that no training image has.
    assert (results["kl"] is None or results["kl"] > -np.log(0.4)) and results["class_tv"] > 0.6
    assert 0 < results["memorised"] < 0.05 and results["duplicates"] > 0.5
    assert results["rho"] > 1 and "3 stacked digits_classifier" in results["protocol"]


def write(folder, seed, collapse, **changes):
    config = {
        "fit": {"seed": seed, "steps": 5, "checkpoint_every": 100 + seed},
        "data": {"dataset": changes.pop("dataset", "mnist")},
        "method": {"penalty": changes.pop("penalty", "none")},
    }
    metrics = {"step": 5, "num_modes": 10, "modes": 10 - 10 * collapse, "kl": collapse, "mode_samples": 1000}
    metrics |= {"collapse": collapse, "rho": 2.0, **changes}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


PLAIN, STABLE = [0.6, 0.3, 0.0, 0.5, 0.1], [0.0, 0.0, 0.1, 0.0, 0.0]


@pytest.fixture
def study(tmp_path):
    runs = [write(tmp_path / f"a{i}", i, c) for i, c in enumerate(PLAIN)]
    return runs + [write(tmp_path / f"b{i}", i, c, penalty="r1") for i, c in enumerate(STABLE)]


def test_table(study, verb, tmp_path):
    ended = verb("collapse", "runs", *study, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    plain, stable = ended.json["groups"]
    assert (plain["name"], stable["name"]) == ("method.penalty=none", "method.penalty=r1")
    assert plain["seeds"] == stable["seeds"] == [0, 1, 2, 3, 4]
    for row, values in ((plain, PLAIN), (stable, STABLE)):
        low, high = scipy.stats.t.interval(0.95, 4, np.mean(values), scipy.stats.sem(values))
        assert list(row["collapse"].values()) == pytest.approx([np.mean(values), low, high])
        assert list(row["rho"].values()) == [2, 2, 2]
    wilson = scipy.stats.binomtest(3, 5).proportion_ci(method="wilson")
    assert list(plain["collapsed"].values()) == pytest.approx([0.6, *wilson])
    assert stable["collapsed"]["estimate"] == stable["collapsed"]["low"] == 0
    assert (
        "| method.penalty=none | 5 | 30.0 [-1.7, 61.7] | 60 [23, 88] | 7.0 [3.8, 10.2] | 0.300 [" in ended.out
    )
    assert json.loads((tmp_path / "out" / "collapse.json").read_text()) == ended.json
    assert (tmp_path / "out" / "collapse.md").read_text() in ended.out
    strict = verb("collapse", "runs", *study, "--threshold", "0.05").json["groups"]
    assert [row["collapsed"]["estimate"] for row in strict] == [0.8, 0.2]


def test_one_seed_has_no_interval_of_the_mean(study, verb):
    ended = verb("collapse", "runs", study[0])
    (row,) = ended.json["groups"]
    assert row["name"] == "all" and row["collapse"] == {"estimate": 0.6, "low": None, "high": None}
    assert "| all | 1 | 60.0 | 100 [21, 100] | 4.0 |" in ended.out


def test_an_infinite_divergence_has_no_mean(tmp_path, verb):
    runs = [write(tmp_path / str(seed), seed, 0.5, kl=kl) for seed, kl in enumerate((0.7, None))]
    ended = verb("collapse", "runs", *runs)
    assert ended.code == 0 and "| infinite |" in ended.out, ended


def test_bad_input(study, verb, tmp_path):
    (tmp_path / "empty").mkdir()
    other = write(tmp_path / "other", 9, 0.0, dataset="digits")
    more = write(tmp_path / "more", 9, 0.0, mode_samples=2000)
    again = write(tmp_path / "again", 0, 0.0)
    old = write(tmp_path / "old", 7, 0.0)
    metrics = json.loads((old / "metrics.json").read_text())
    (old / "metrics.json").write_text(json.dumps({k: x for k, x in metrics.items() if k != "kl"}))
    broken = write(tmp_path / "broken", 8, 0.0)
    (broken / "metrics.json").write_text("{")
    for arguments, message in [
        ([tmp_path / "empty"], "config.json is missing"),
        ([study[0], other], "trained on dataset='mnist'"),
        ([study[0], more], "mode_samples=1000"),
        ([*study, again], "same seed=0"),
        ([old], "has no 'kl', of dataset='mnist'"),
        ([broken], "cannot be read"),
        ([study[0], "--threshold=0"], "threshold=0.0: valid are (0, 1]"),
        ([], ""),
    ]:
        ended = verb("collapse", "runs", *arguments)
        assert ended.code == 2 and message in ended.err, arguments
    (study[0] / "metrics.json").unlink()
    assert "metrics.json is missing" in verb("collapse", "runs", study[0]).err


def injected(centres):
    """A method that learns nothing and draws from some of the Gaussians."""

    def sample(keys, state, condition):
        del state, condition
        where = jax.vmap(lambda key: jax.random.randint(key, (), 0, len(centres)))(keys)
        noise = 0.05 * jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, 1), (2,)))(keys)
        return ((jnp.asarray(centres, jnp.float32)[where] + noise) / SCALE).reshape(-1, 1, 1, 2)

    def step(key, state, batch):
        del key
        return state.replace(step=state.step + 1), {"loss": batch["image"].mean()}

    init = lambda key, batch: TrainState(jnp.zeros((), jnp.int32), {"w": jnp.zeros(3)}, ())  # noqa: E731
    return Method(init, step, None, sample)


def test_points_are_scored(tmp_path, verb, monkeypatch):
    """Ten of 25 modes are lost, in both runs; the verb of the table reads them."""
    monkeypatch.setattr(gaussians, "make_gan", lambda options: injected(CENTRES[10:]))
    options = ("--steps=2", "--batch-size=8", "--num=1500")
    for seed in (0, 1):
        ended = verb("collapse", "gaussians", "--workdir", tmp_path / str(seed), f"--seed={seed}", *options)
        assert ended.code == 0, ended.err
        found = ended.json
        assert found["modes"] == 15 and found["num_modes"] == 25 and found["collapse"] == 0.4
        assert found["high_quality"] == pytest.approx(1 - np.exp(-4.5), abs=0.01)
        assert found["kl"] == pytest.approx(np.log(25 / 15), abs=0.02)
        assert found["mode_samples_needed"] < found["mode_samples"] == 1500
    assert (
        verb("collapse", "runs", tmp_path / "0", tmp_path / "1").json["groups"][0]["collapse"]["low"] == 0.4
    )
    other = verb("collapse", "gaussians", "--workdir", tmp_path / "0", "--game=hinge", *options)
    assert other.code == 2 and "another config" in other.err
    wrong = verb("collapse", "gaussians", "--workdir", tmp_path / "new", "--latent=0")
    assert wrong.code == 2 and "latent=0: valid are 1 and more" in wrong.err


def test_points_of_no_mode():
    found = gaussians.score_points(np.full((100, 2), 1.0, np.float32))
    assert (
        found["high_quality"] == 0 and found["kl"] is None and found["collapse"] == 1 and found["modes"] == 0
    )


def test_the_feed_is_a_function_of_the_step():
    feed = gaussians.feed(3, 16)
    with feed.items(0) as first, feed.items(1) as second:
        next(first)
        a, b, c = next(first), next(second), next(second)
    np.testing.assert_array_equal(a["image"], b["image"])
    assert (b["image"] != c["image"]).any() and b["image"].shape == (16, 1, 1, 2)
    assert 0.5 < np.abs(np.concatenate([a["image"], c["image"]])).max() < 1
