"""Images and text: captions against captions by BLEU, and images against captions by the features of both."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from genjax.typing import Array, UserError

Captioner = Callable[[np.ndarray], Sequence[str]]
"""``images uint8[N,H,W,C] -> N captions``."""


def bleu(captions: Sequence[str], references: Sequence[str | Sequence[str]]) -> float:
    """BLEU of a whole set of captions, as sacrebleu computes it: ``sacrebleu.corpus_bleu`` with its defaults.

    Args:
        captions: what is judged.
        references: for each caption, one that is right or several.

    Returns:
        In [0, 100]; 100 if every caption is one of its references and any has four words or more. Four words in a row
        are compared too, so that captions of three words and fewer have a score of 0, even against themselves. It is
        not the mean over captions, so the score of fewer than some hundred captions says little.

    Raises:
        UserError: sacrebleu is not installed; there are no captions, not as many references, or a caption without
            any.

    Example:
        >>> from genjax.metrics.captions import bleu
        >>> caption = "a small bird with a red head"
        >>> print(f"{bleu([caption], [caption]):.1f} {bleu([caption], [['no words in common', caption]]):.1f}")
        100.0 100.0

    References:
        Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation" (2002), section 2.3; Post, "A
        Call for Clarity in Reporting BLEU Scores" (2018).
    """
    try:
        import sacrebleu
    except ImportError as error:
        raise UserError("BLEU needs the package sacrebleu: pip install -e '.[text]'") from error
    for name, texts in (("captions", captions), ("references", references)):
        if isinstance(texts, str):
            raise UserError(f"{name}={texts!r}: valid are sequences, of one text for each image")
    if not captions or len(captions) != len(references):
        raise UserError(
            f"captions and references are {len(captions)} and {len(references)}: valid are as many, at least one"
        )
    several = [[texts] if isinstance(texts, str) else list(texts) for texts in references]
    missing = [i for i, texts in enumerate(several) if not texts]
    if missing:
        raise UserError(f"references[{missing[0]}] is empty: each caption needs at least one reference")
    # sacrebleu wants all the first references, then all the second ones; None where a caption has no more.
    most = max(map(len, several))
    streams: list[Any] = [[texts[i] if i < len(texts) else None for texts in several] for i in range(most)]
    return float(sacrebleu.corpus_bleu(list(captions), streams).score)


def caption_round_trip(
    images: UInt8[np.ndarray, "N H W C"],
    captions: Sequence[str | Sequence[str]],
    captioner: Captioner,
) -> float:
    """BLEU of the captions that generated images get, against those they were generated from.

    It measures the generator and the captioner together: also report the score of real images with the same captions.

    Args:
        images: generated from `captions`, one each.
        captions: captions of each image, the one it was made from, or several that say the same.
        captioner: ``images -> captions``; it is called once, with all the images.

    Returns:
        See `bleu`.

    Raises:
        UserError: as from `bleu`, or if the captioner does not give one caption for each image.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.captions import caption_round_trip
        >>> captions = ["a black image of one colour", "a white image of one colour"]
        >>> images = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
        >>> captioner = lambda images: [captions[int(image.mean() > 127)] for image in images]
        >>> print(f"{caption_round_trip(images, captions, captioner):.1f}")
        100.0

    References:
        Hong et al., "Inferring Semantic Layout for Hierarchical Text-to-Image Synthesis" (2018).
    """
    if len(images) != len(captions):
        raise UserError(f"images and captions are {len(images)} and {len(captions)}: valid are as many")
    found = captioner(images)
    if len(found) != len(images):
        raise UserError(
            f"captioner gave {len(found)} captions of {len(images)} images: valid is one for each"
        )
    return bleu(found, captions)


def clip_score(image_features: Float[Array, "B D"], text_features: Float[Array, "B D"]) -> Float[Array, "B"]:
    """How well images fit their captions: ``100 max(cosine, 0)`` of the features of each pair. Pure, jittable.

    The features come from a network that was trained on images and captions together, such as CLIP, before or after
    they are scaled to length 1. Which one it is belongs to the number. The paper's factor is 2.5 instead of 100.
    torchmetrics sets only the mean of all pairs to 0 if it is below, not each pair.

    Args:
        image_features: features of the images.
        text_features: features of the caption of each image.

    Returns:
        Of each pair, in [0, 100]; NaN where a feature vector is 0, which has no direction.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.metrics.captions import clip_score
        >>> images, texts = jnp.array([[2.0, 0.0], [0.0, 1.0]]), jnp.array([[1.0, 0.0], [0.0, -1.0]])
        >>> print(*(f"{score:.1f}" for score in clip_score(images, texts)))
        100.0 0.0

    References:
        Hessel et al., "CLIPScore: A Reference-free Evaluation Metric for Image Captioning" (2021), equation 1.
    """
    lengths = jnp.linalg.norm(image_features, axis=-1) * jnp.linalg.norm(text_features, axis=-1)
    return 100.0 * jnp.maximum((image_features * text_features).sum(-1) / lengths, 0.0)
