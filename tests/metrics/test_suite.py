"""Metrics by name: every one on sets of which the answer is known, its intervals, and what is refused."""

import json
import logging

import numpy as np
import pytest

from genjax.metrics import copying, kernel, manifold
from genjax.metrics.features import Features
from genjax.metrics.frechet import distance, moments
from genjax.metrics.protocol import Protocol
from genjax.metrics.suite import METRICS, Sets, measure
from genjax.typing import UserError

IMAGES = Protocol("fd", "clip@00", "none", 300, "noise/test")


def gaussian(seed, n=300, shift=0.0, width=4):
    random = np.random.default_rng(seed)
    values = (random.normal(size=(n, width)) + shift).astype(np.float32)
    return Features(values, random.normal(size=(n, 3)).astype(np.float32), str(seed))


SAME = Sets(gaussian(0), gaussian(1), gaussian(2))
FAR = Sets(gaussian(0, shift=50.0), gaussian(1), gaussian(2))
EVERY = tuple(name for name in METRICS if name != "fid")


@pytest.fixture(scope="module")
def same():
    return measure(EVERY, SAME, IMAGES)


@pytest.fixture(scope="module")
def far():
    return measure(EVERY, FAR, IMAGES)


def test_every_value_that_is_promised(same):
    for name in EVERY:
        assert all(np.isfinite(same[value]) for value in METRICS[name].values), name
    assert same["num_samples"] == 300


def test_images_as_the_data_has_them(same):
    assert 0.3 < same["rho"] < 3
    assert abs(same["kid"]) < 0.5
    assert same["precision"] > 0.9 and same["recall"] > 0.9
    assert same["density"] == pytest.approx(1, abs=0.15) and same["coverage"] == pytest.approx(0.97, abs=0.04)
    assert abs(same["c_t"]) < 3
    assert same["authenticity"] == pytest.approx(same["authenticity_test"], abs=0.15)
    assert abs(same["fd_infinity"]) < same["fd_generated"]  # without what few images add


def test_images_far_away(far):
    assert far["fd_generated"] == pytest.approx(4 * 50**2, rel=0.02)
    assert [far[name] for name in ("precision", "recall", "density", "coverage")] == [0, 0, 0, 0]
    assert far["c_t"] > 5
    assert far["kid"] > 100


def test_which_set_is_which():
    """Every set of its own kind and size, against the definitions: what is exchanged shows."""
    made, test, train = gaussian(3, 80), gaussian(4, 60, shift=0.7), gaussian(5, 70, shift=2.0)
    found = measure(("fd", "fd_infinity", "prdc"), Sets(made, test, train), IMAGES)
    assert found["num_samples"] == 80

    def distances(a, b):
        return np.sqrt(np.square(a.values[:, None].astype(np.float64) - b.values[None]).sum(-1))

    def inside(points, centres, k):
        """[points, centres]: whether a point is in the ball of a centre, up to its k-th neighbour of its own set."""
        radii = np.sort(distances(centres, centres))[:, k]  # the 0th is itself
        return distances(points, centres) <= radii[None]

    assert found["precision"] == inside(made, test, 3).any(1).mean()
    assert found["recall"] == inside(test, made, 3).any(1).mean()
    assert found["density"] == pytest.approx(inside(made, test, 5).sum(1).mean() / 5)
    assert found["coverage"] == inside(made, test, 5).any(0).mean()
    assert len({found[name] for name in METRICS["prdc"].values}) == 4  # or the above would say little

    assert found["rho"] == found["fd_generated"] / found["fd_train"]
    for name, other in (("fd_generated", made), ("fd_train", train)):
        assert found[name] == pytest.approx(distance(moments(other.values), moments(test.values)), rel=1e-6)
    assert found["fd_infinity"] == pytest.approx(found["fd_generated"], abs=0.5)
    assert found["fd_train"] > found["fd_generated"] + 1


def test_what_is_said_of_generated_images_alone():
    sets = Sets(gaussian(0), gaussian(1))
    one = sets.generated._replace(values=np.ones((300, 4), np.float32))
    assert measure(("vendi",), sets._replace(generated=one), IMAGES)["vendi"] == pytest.approx(1)
    sure = np.eye(3, dtype=np.float32)[np.arange(300) % 3] * 50
    found = measure(("is",), sets._replace(generated=sets.generated._replace(logits=sure)), IMAGES)
    assert found["inception_score"] == pytest.approx(3, rel=0.05)


def test_lengths_of_embeddings_do_not_matter():
    made = SAME.generated
    lengths = np.random.default_rng(0).uniform(0.1, 10, (300, 1)).astype(np.float32)
    scaled = SAME._replace(generated=made._replace(values=made.values * lengths))
    first, second = (measure(("cmmd",), sets, IMAGES)["cmmd"] for sets in (SAME, scaled))
    assert first == pytest.approx(second, rel=1e-4) and first != 0


def test_the_error_of_subsets_of_all_images_is_of_the_images(same):
    """Subsets do not differ, so that their spread says nothing."""
    exact = kernel.mmd(SAME.test.values, SAME.generated.values)
    assert same["kid"] == pytest.approx(exact.value) and same["kid_stderr"] == exact.standard_error > 1e-3


def test_copies_are_found():
    train = gaussian(2)
    found = measure(("copies",), Sets(train, gaussian(1), train), IMAGES)
    assert found["authenticity"] == 0 and found["c_t"] < -5


def test_intervals_are_around_the_values():
    names = tuple(name for name in EVERY if METRICS[name].interval is not None)
    found = measure(names, SAME, IMAGES, resamples=50)
    assert set(found["intervals"]) == {
        *(
            "fd_generated",
            "kid",
            "precision",
            "recall",
            "density",
            "coverage",
            "inception_score",
            "vendi",
            "c_t",
        ),
        *("authenticity", "authenticity_test"),
    }
    for name, (low, high) in found["intervals"].items():
        assert low < high
        if name != "kid":  # that of all pairs; `kid` is of subsets
            assert low - 0.05 < found[name] < high + 0.05, name
    assert "intervals" not in measure(("prdc",), SAME, IMAGES)


@pytest.mark.parametrize(
    ("name", "value"),
    [("is", "inception_score"), ("vendi", "vendi"), ("copies", "c_t"), ("copies", "authenticity")],
)
def test_intervals_are_as_wide_as_values_scatter(name, value):
    """Over sets drawn anew, with the training images the same: 95 % of a normal distribution is 3.92 deviations."""
    found = [
        measure((name,), Sets(gaussian(seed), gaussian(100 + seed), gaussian(2)), IMAGES, resamples=r)
        for seed, r in [*((seed, 0) for seed in range(10, 50)), *((seed, 100) for seed in range(50, 56))]
    ]
    scatter = np.std([x[value] for x in found])
    widths = [high - low for low, high in (x["intervals"][value] for x in found if "intervals" in x)]
    assert np.mean(widths) == pytest.approx(3.92 * scatter, rel=0.35)


def test_what_costs_is_done_once(monkeypatch):
    calls = []
    for module, function in [(copying, "locate"), (copying, "authentic"), (manifold, "memberships")]:
        original = getattr(module, function)
        monkeypatch.setattr(
            module, function, lambda *a, original=original, **k: calls.append(1) or original(*a, **k)
        )
    measure(("copies", "prdc"), SAME, IMAGES, resamples=2)
    assert len(calls) == 1 + 2 + 2


def test_settings_are_part_of_the_protocol(same):
    assert set(same["protocols"]) == set(EVERY)
    kid = json.loads(same["protocols"]["kid"])
    assert kid["metric"].startswith("kid, 100 subsets of 1,000") and kid["reference"] == "noise/test"
    assert same["protocol"] == same["protocols"]["fd"]


def test_few_images_are_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        measure(("fd",), Sets(gaussian(0, 7), gaussian(1, 300)), IMAGES)
    assert "fewer than twice as many vectors as features" in caplog.text


@pytest.mark.parametrize(
    ("names", "sets", "message"),
    [
        (("fd", "psnr"), SAME, "metrics has 'psnr'; valid are fd, fid"),
        (
            ("copies",),
            SAME._replace(train=None),
            "'copies', which needs the images that the model was trained on",
        ),
        (("fid",), SAME, "'fid', which is of the features of inception, and not of clip@00"),
        (
            ("is",),
            SAME._replace(generated=SAME.generated._replace(logits=np.zeros((300, 0), np.float32))),
            "'is', which needs a classifier",
        ),
    ],
)
def test_mistakes(names, sets, message):
    with pytest.raises(UserError, match=message):
        measure(names, sets, IMAGES)
