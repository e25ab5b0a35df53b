"""Scores of sets of any size: what cannot be said is left out, with one note."""

import logging

import jax.numpy as jnp
import numpy as np
import pytest

from genjax.metrics import kernel, suite
from genjax.metrics.extractor import Extractor
from genjax.metrics.features import Features
from genjax.metrics.protocol import Protocol
from genjax.metrics.score import Scorer
from genjax.metrics.sizes import TooFewError

RNG = np.random.default_rng(0)
HOW = Protocol("fd", "made-up@0", "none", 0, "made-up")


def drawn(n, width=4):
    return Features(
        RNG.normal(size=(n, width)).astype(np.float32), RNG.normal(size=(n, 10)).astype(np.float32), "0"
    )


def measured(n, names=("fd", "kid", "prdc", "is", "vendi", "copies", "fd_infinity"), **options):
    sets = suite.Sets(drawn(n), drawn(n), drawn(n))
    return suite.measure(names, sets, HOW, **options)


def test_what_is_left_out_of_sets_of_each_size():
    names = {n: set(measured(n).get("left_out", {})) for n in (2, 3, 6, 10)}
    assert names[2] == {"prdc", "is", "copies", "fd_infinity"}
    assert names[3] == {"prdc", "is", "copies"}
    assert names[6] == {"is", "copies"}
    assert names[10] == {"copies"}
    assert "left_out" not in measured(250, ("copies",))
    found = measured(2)
    assert found["left_out"]["prdc"] == "k=3: valid for 2 real images are 1..1"
    assert {"fd_generated", "kid", "vendi", "protocol"} <= found.keys()
    assert not {"precision", "kid_stderr", "inception_score"} & found.keys()
    assert measured(2, ("prdc",)).keys() == {"left_out", "num_samples", "protocol", "protocols"}


def test_intervals_of_what_there_is():
    found = measured(6, ("fd", "kid", "prdc", "is"), resamples=5)
    assert set(found["left_out"]) == {"is"}
    assert {"fd_generated", "kid", "precision"} <= found["intervals"].keys()


def test_one_note_for_many_scores(caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            sets = suite.Sets(drawn(5, 6), drawn(5, 6))  # sizes that no other test has
            suite.measure(("fd", "is", "fd_infinity"), sets, HOW, resamples=10)
    assert sum("is is left out: splits=10" in record.message for record in caplog.records) == 1
    assert sum(" vectors of 6 features" in record.message for record in caplog.records) == 1


def test_the_error_of_kid_is_that_of_the_images():
    """As far as the estimate is off, over sets of one distribution: subsets that are the whole set are all the same."""
    spread, said = [], []
    for _ in range(80):
        sets = suite.Sets(drawn(40), Features(drawn(40).values + 0.5, np.zeros((40, 0)), "0"))
        found = suite.kernel_distance(sets)
        spread.append(found["kid"])
        said.append(found["kid_stderr"])
    assert kernel.kid(sets.test.values, sets.generated.values, subset_size=40).standard_error < 1e-12
    assert np.mean(said) == pytest.approx(np.std(spread), rel=0.3)
    exact = kernel.mmd(sets.test.values, sets.generated.values)
    assert found["kid"] == pytest.approx(exact.value) and found["kid_stderr"] == exact.standard_error


def test_real_images_that_are_all_the_same():
    same = Features(np.ones((8, 4), np.float32), np.zeros((8, 10), np.float32), "0")
    found = suite.frechet(suite.Sets(drawn(8), same, same))
    assert found.keys() == {"fd_generated", "fd_train"} and found["fd_train"] == 0


def test_one_image_is_too_few_for_a_scorer():
    extractor = Extractor("made-up", "0", 4, "none", lambda x: (x.mean((1, 2)), jnp.zeros((len(x), 2))))
    images = RNG.integers(0, 256, (5, 8, 8, 1), np.uint8)
    with pytest.raises(TooFewError, match="test has 1, train has 5 images: at least 2 of each are needed"):
        Scorer(images[:1], images, num=5, extractor=extractor)
