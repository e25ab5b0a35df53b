"""Inception Score: how sure a classifier is of each image, and how even its classes are over all of them."""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from genjax.metrics.sizes import TooFewError
from genjax.typing import UserError

SEED = 2020
"""Of the order of the images, as in torch-fidelity."""


class InceptionScore(NamedTuple):
    """Mean and standard deviation (divided by their number, as is the custom) of the scores of the splits."""

    mean: float
    std: float


def inception_score(
    logits: Float[np.ndarray, "N K"], *, splits: int = 10, seed: int | None = SEED
) -> InceptionScore:
    """``exp(mean over x of KL(p(y|x) || p(y)))``, of each of several parts of the images.

    With the defaults the number that torch-fidelity gives for the same logits. It grows with the number of images a
    split, so that 50,000 in 10 splits is the custom; it never sees real images.

    Args:
        logits: logits of a classifier of K classes.
        splits: parts of ``N / splits`` images each, rounded.
        seed: seed of the permutation by which the images are shuffled before, ``numpy.random.RandomState``'s; None: as
            they are.

    Returns:
        Scores in [1, K]: 1 if every image has the same p(y|x), K if all are sure and the classes equally frequent.

    Raises:
        UserError: fewer images than splits, or values that are not finite.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics.inception_score import inception_score
        >>> logits = np.tile(100 * np.eye(4), (10, 1))  # 40 images: sure of each, four classes equally often
        >>> print(f"{inception_score(logits, splits=1).mean:.3f}")
        4.000

    References:
        Salimans et al., "Improved Techniques for Training GANs" (2016), section 4; Barratt and Sharma, "A Note on the
        Inception Score" (2018), on the splits.
    """
    if not 1 <= splits <= len(logits):
        raise TooFewError(f"splits={splits}: valid for {len(logits)} images are 1..{len(logits)}")
    if not np.isfinite(logits).all():
        raise UserError("logits has a value that is not finite")
    if seed is not None:
        # The generator of the numbers that are published.
        logits = logits[np.random.RandomState(seed).permutation(len(logits))]
    ends = [i * len(logits) // splits for i in range(splits + 1)]
    scores = np.array([_score(logits[a:b]) for a, b in itertools.pairwise(ends)])
    return InceptionScore(float(scores.mean()), float(scores.std()))


def _score(logits: np.ndarray) -> float:
    x = logits.astype(np.float64)
    x -= x.max(1, keepdims=True)
    log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
    p = np.exp(log_p)
    marginal = p.mean(0)
    # A class of probability 0 everywhere adds 0.
    log_q = np.log(marginal, where=marginal > 0, out=np.zeros_like(marginal))
    return float(np.exp((p * (log_p - log_q[None])).sum(1).mean()))
