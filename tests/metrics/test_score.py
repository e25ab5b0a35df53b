"""From images to numbers: closed forms with an extractor that can be followed by hand, then real digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.data import digits
from genjax.metrics.digits_classifier import load_digits_classifier
from genjax.metrics.extractor import Extractor
from genjax.metrics.features import extract
from genjax.metrics.protocol import Protocol
from genjax.metrics.score import Scorer, label_agreement, quantize, score, subset
from genjax.typing import UserError


def pixels(images):
    """Features are the first two pixels; the class is whether the first is bright."""
    flat = images.reshape(images.shape[0], -1)
    return flat[:, :2], jnp.stack([-flat[:, 0], flat[:, 0]], axis=-1)


PIXELS = Extractor("pixels", "00", 2, "not resized", pixels)


def random_images(seed, n, low=0, high=256):
    return np.random.default_rng(seed).integers(low, high, size=(n, 2, 2, 1), dtype=np.uint8)


def test_shifted_images_have_the_squared_shift_as_distance():
    # The same images 51 levels brighter, 0.4 in [-1, 1]: equal covariances, two features shifted.
    test = random_images(0, 50, high=200)
    scores = score(test + np.uint8(51), test, test + np.uint8(25), extractor=PIXELS, batch_size=7)
    assert scores["fd_generated"] == pytest.approx(2 * 0.4**2, rel=1e-6)
    assert scores["fd_train"] == pytest.approx(2 * (50 / 255) ** 2, rel=1e-6)
    assert scores["rho"] == scores["fd_generated"] / scores["fd_train"]
    assert scores["num_samples"] == 50
    assert "label_agreement" not in scores


def test_the_batch_size_changes_nothing():
    sets = [random_images(seed, 23) for seed in range(3)]
    first = score(*sets, extractor=PIXELS, batch_size=23)
    for batch_size in (1, 5, 100):
        other = score(*sets, extractor=PIXELS, batch_size=batch_size)
        assert other["fd_generated"] == pytest.approx(first["fd_generated"], rel=1e-10)
        assert other["protocol"] == first["protocol"]


def test_padding_of_the_last_batch_is_cut():
    images = random_images(3, 10)
    parts = list(extract(images, PIXELS, 4))
    assert [len(features) for features, _ in parts] == [4, 4, 2]
    features = np.concatenate([features for features, _ in parts])
    np.testing.assert_allclose(features, images.reshape(10, -1)[:, :2] / 127.5 - 1, atol=1e-6)


def test_one_compilation_for_all_batches_and_sets():
    traces = []

    def counting(images):
        traces.append(images.shape)
        return pixels(images)

    sets = [random_images(seed, 23) for seed in range(3)]
    score(*sets, extractor=PIXELS._replace(apply=counting), batch_size=5)
    assert traces == [(5, 2, 2, 1)]


def test_real_features_are_computed_once():
    looked_at = []

    def counting(images):
        jax.debug.callback(lambda x: looked_at.append(len(x)), images)
        return pixels(images)

    test, train = random_images(1, 20), random_images(2, 30)
    scorer = Scorer(test, train, num=12, extractor=PIXELS._replace(apply=counting), batch_size=4)
    for seed in range(3):
        generated = random_images(seed, 12)
        assert scorer(generated) == score(generated, test, train, extractor=PIXELS)
    jax.effects_barrier()
    assert sum(looked_at) == (3 + 2) * 12
    assert scorer.protocols == score(generated, test, train, extractor=PIXELS)["protocols"]
    with pytest.raises(UserError, match="generated has 11 images: num=12"):
        scorer(generated[:11])


def test_every_side_is_cut_to_the_smallest():
    generated, test, train = random_images(0, 12), random_images(1, 20), random_images(2, 30)
    scores = score(generated, test, train, extractor=PIXELS)
    assert scores["num_samples"] == 12
    cut = score(generated, subset(test, 12), subset(train, 12), extractor=PIXELS)
    assert scores["fd_generated"] == cut["fd_generated"]
    assert scores["fd_train"] == cut["fd_train"]
    # Not simply the first rows, which in a sorted data set would be of one class.
    assert not np.array_equal(subset(test, 12), test[:12])


def test_subset_is_fixed():
    np.testing.assert_array_equal(subset(np.arange(10), 4), [4, 6, 2, 7])
    np.testing.assert_array_equal(subset(np.arange(10), 10), np.arange(10))


@pytest.mark.parametrize(("wrong", "expected"), [(0, 1.0), (3, 0.7), (10, 0.0)])
def test_label_agreement_closed_forms(wrong, expected):
    generated = np.zeros((10, 2, 2, 1), np.uint8)
    generated[:, 0, 0, 0] = [255, 0] * 5
    labels = np.array([1, 0] * 5)
    labels[:wrong] = 1 - labels[:wrong]
    others = random_images(0, 10)
    scores = score(generated, others, random_images(1, 10), extractor=PIXELS, labels=labels, batch_size=4)
    assert scores["label_agreement"] == expected
    assert label_agreement(np.array([1, 0] * 5), labels) == expected


def test_labels_are_cut_with_their_images():
    generated = random_images(4, 40)
    labels = (generated[:, 0, 0, 0] > 127).astype(np.int32)
    scores = score(generated, random_images(0, 9), random_images(1, 9), extractor=PIXELS, labels=labels)
    assert scores["num_samples"] == 9
    assert scores["label_agreement"] == 1.0


def test_floats_are_quantized_like_files():
    levels = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(quantize((2 * levels.astype(np.float32) - 255) / 255), levels)
    np.testing.assert_array_equal(
        quantize(np.array([-1.5, 1.5, 0.001]).reshape(3, 1, 1, 1)).ravel(), [0, 255, 128]
    )
    sets = [random_images(seed, 20) for seed in range(3)]
    as_floats = [(2 * images.astype(np.float32) - 255) / 255 for images in sets]
    assert score(*as_floats, extractor=PIXELS) == score(*sets, extractor=PIXELS)


def test_protocol_tells_the_references_apart():
    a, b, c = (random_images(seed, 20) for seed in range(3))
    same = [score(x, b, c, extractor=PIXELS, reference="noise/test")["protocol"] for x in (a, c)]
    assert same[0] == same[1]
    protocol = Protocol.parse(same[0])
    assert protocol.reference.startswith("noise/test[:20]#")
    assert (protocol.metric, protocol.extractor, protocol.num_samples) == ("fd", "pixels@00", 20)
    assert protocol.resize == "quantized to 8 bits, not resized"
    others = [
        score(a, c, b, extractor=PIXELS, reference="noise/test"),
        score(a[:10], b, c, extractor=PIXELS, reference="noise/test"),
        score(a, b, c, extractor=PIXELS._replace(sha256="01"), reference="noise/test"),
    ]
    assert len({same[0], *(scores["protocol"] for scores in others)}) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros(9, np.int32)}, r"labels has shape \(9,\): one per generated image, \(10,\)"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"train": random_images(0, 1)}, "generated has 10, test has 10, train has 1 images: at least 2"),
        ({"test": np.zeros((10, 3, 3, 1), np.uint8)}, r"different shapes: .*'test': \(3, 3, 1\)"),
        ({"generated": np.zeros((10, 2, 2), np.uint8)}, r"generated has shape \(10, 2, 2\)"),
        ({"generated": np.zeros((10, 2, 2, 1), np.int32)}, "generated has type int32"),
        ({"generated": np.full((10, 2, 2, 1), np.nan)}, "generated has a value that is not finite"),
    ],
)
def test_mistakes_are_named(changes, message):
    arguments = {name: random_images(0, 10) for name in ("generated", "test", "train")}
    with pytest.raises(UserError, match=message):
        score(**{**arguments, "extractor": PIXELS, **changes})


def test_real_digits_beat_noise():
    test, train = (digits(split).read(np.arange(355)) for split in ("test", "train"))
    other = digits("train").read(np.arange(355, 710))
    classifier = load_digits_classifier()
    real = score(other["image"], test["image"], train["image"], extractor=classifier, labels=other["label"])
    assert 0.5 < real["rho"] < 2.0
    assert real["label_agreement"] > 0.98
    noise = np.random.default_rng(0).integers(0, 256, size=other["image"].shape, dtype=np.uint8)
    bad = score(noise, test["image"], train["image"], extractor=classifier, labels=other["label"])
    assert bad["rho"] > 5 * real["rho"]
    assert bad["label_agreement"] < 0.3
