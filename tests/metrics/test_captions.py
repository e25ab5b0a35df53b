"""BLEU as sacrebleu has it and by hand, the round trip from captions over images to captions, and CLIP's score."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.metrics.captions import bleu, caption_round_trip, clip_score
from genjax.typing import UserError

CAPTIONS = ["a small bird with a red head sits on a branch", "two dogs run over the wet beach"]
REFERENCES = [
    [
        "a little bird with a red head sits on a twig",
        "a small red bird on a branch",
        "the bird sits on a branch",
    ],
    "two dogs are running over the beach",
]


@pytest.fixture
def sacrebleu():
    return pytest.importorskip("sacrebleu")


def test_equals_sacrebleu(sacrebleu):
    # All the first references, then all the second ones: what is missing is None there.
    streams = [[REFERENCES[0][0], REFERENCES[1]], [REFERENCES[0][1], None], [REFERENCES[0][2], None]]
    expected = sacrebleu.corpus_bleu(CAPTIONS, streams).score
    assert bleu(CAPTIONS, REFERENCES) == expected and 20 < expected < 80
    one = [texts if isinstance(texts, str) else texts[0] for texts in REFERENCES]
    assert bleu(CAPTIONS, one) == sacrebleu.corpus_bleu(CAPTIONS, [one]).score < expected


def test_bleu_by_hand(sacrebleu):
    assert bleu(CAPTIONS, CAPTIONS) == pytest.approx(100)
    # Of 6, 5, 4 and 3 n-grams 5, 4, 3 and 2 occur; one word is missing to 7, which costs exp(1 - 7/6).
    score = bleu(["the cat sat on the mat"], ["the cat sat on the big rug"])
    assert score == pytest.approx(100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25 * np.exp(1 - 7 / 6))
    # A whole set is not the mean of its captions.
    apart = [bleu([c], [r]) for c, r in zip(CAPTIONS, REFERENCES, strict=True)]
    assert bleu(CAPTIONS, REFERENCES) != pytest.approx(np.mean(apart), rel=1e-3)


def test_round_trip(sacrebleu):
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    seen = []

    def captioner(given):
        seen.append(given)
        return CAPTIONS

    assert caption_round_trip(images, REFERENCES, captioner) == bleu(CAPTIONS, REFERENCES)
    (given,) = seen
    np.testing.assert_array_equal(given, images)
    with pytest.raises(UserError, match="images and captions are 2 and 1"):
        caption_round_trip(images, REFERENCES[:1], captioner)
    with pytest.raises(UserError, match="captioner gave 1 captions of 2 images"):
        caption_round_trip(images, REFERENCES, lambda images: CAPTIONS[:1])


def test_texts_that_make_no_sense(sacrebleu):
    for captions, references, message in (
        ("a bird", REFERENCES, "captions='a bird'"),
        (CAPTIONS, "a bird", "references='a bird'"),
        ([], [], "captions and references are 0 and 0"),
        (CAPTIONS, REFERENCES[:1], "captions and references are 2 and 1"),
        (CAPTIONS, [REFERENCES[0], []], r"references\[1\] is empty"),
    ):
        with pytest.raises(UserError, match=message):
            bleu(captions, references)


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(UserError, match=r"\.\[text\]"):
        bleu(CAPTIONS, REFERENCES)


def test_clip_score():
    images = jnp.asarray([[3.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    texts = jnp.asarray([[0.5, 0.0], [1.0, 0.0], [-1.0, 0.1], [5.0, 0.0], [1.0, 0.0]])
    score = jax.jit(clip_score)
    values = score(images, texts)
    np.testing.assert_allclose(values[:4], [100, 100 / np.sqrt(2), 0, 0], rtol=1e-6)
    # A vector without direction is like nothing, and says so.
    assert jnp.isnan(values[4])
    np.testing.assert_array_equal(score(texts, images)[:4], values[:4])
    np.testing.assert_allclose(score(7 * images, 0.1 * texts)[:4], values[:4], rtol=1e-6)
    gradient = jax.grad(lambda x: clip_score(x, texts[:4]).sum())(images[:4])
    assert jnp.isfinite(gradient).all()
