"""Mode collapse, measured: which modes of the data a generator makes, and how often.

A mode is whatever a classifier tells apart: a class of digits, one of the 1,000 triples of Stacked-MNIST, one of 25
Gaussians (`nearest_mode`). All scores take the mode int[N] of each generated sample, in ``-1..K-1``, -1 being a sample
of no mode, and the data's histogram, counts or shares [K].

**Collapse**, here, is the share of the data that a generator has lost: a mode is *lost* if the generator makes it less
than a tenth (`fraction`) as often as the data has it, and `collapse` is the sum of the data's shares of lost modes. A
generator that makes 4 of 10 equally likely modes has a collapse of 60 %, whichever 4, and however even. Why so:

* It is a share of the data, not a count of modes: to lose a rare mode costs as little as there is of it, and the number
  means the same for 10 and for 1,000 modes.
* "Lost" is not "never made": a classifier puts some images of any generator into any class by mistake, so that with
  many samples a mode would never count as lost. Below a tenth of its share a mode is no part of the model in practice.
* It is not a distance: a generator that makes a mode half as often as it should has lost nothing. What is uneven is
  measured by `kl_divergence` and `total_variation`.

A run *has collapsed* if its collapse is 30 % (`threshold`) or more, and the **collapse rate** of a method is the share
of its runs, over seeds, that have (`collapse_rate`). Surveys quote rates such as "above 30 % for DCGAN" and do not say
what they count; this is our definition, not theirs.

**How many samples.** From few samples a healthy generator seems to have lost modes by chance. `samples_needed` says
from which N on that has a probability below 1 %: 66 for 10 equal modes, 14,231 for 1,000.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Int64, Real

from genjax.metrics.intervals import Interval, share_interval
from genjax.typing import UserError

FRACTION = 0.1
COLLAPSED = 0.3


class ModeScores(NamedTuple):
    """What `mode_scores` says of a generator.

    Attributes:
        covered: `modes_covered`.
        kl: `kl_divergence`, in nats.
        total_variation: `total_variation`.
        collapse: `collapse`.
    """

    covered: int
    kl: float
    total_variation: float
    collapse: float


def mode_scores(
    modes: Int[np.ndarray, "N"],
    reference: Real[np.ndarray, "K"],
    *,
    at_least: int = 1,
    fraction: float = FRACTION,
) -> ModeScores:
    """All scores at once; see each function for arguments and errors.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import modes
        >>> scores = modes.mode_scores(np.repeat([0, 1], 50), modes.uniform(4))  # two of four modes
        >>> print(scores.covered, scores.collapse, round(scores.kl, 3))
        2 0.5 0.693
    """
    counts = mode_counts(modes, len(reference))
    return ModeScores(
        modes_covered(counts, at_least=at_least),
        kl_divergence(counts, reference),
        total_variation(counts, reference),
        collapse(counts, reference, num_samples=len(modes), fraction=fraction),
    )


def uniform(num_modes: int) -> Int64[np.ndarray, "K"]:
    """The reference of equally likely modes: int64[K] of ones.

    Example:
        >>> from genjax.metrics import modes
        >>> modes.uniform(3).tolist()
        [1, 1, 1]
    """
    return np.ones(num_modes, np.int64)


def mode_counts(modes: Int[np.ndarray, "N"], num_modes: int) -> Int64[np.ndarray, "K"]:
    """Number of samples of each mode. Samples of no mode (-1) are left out.

    Raises:
        UserError: no sample, or a mode outside ``-1..num_modes-1``.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import modes
        >>> modes.mode_counts(np.array([0, 0, 2, -1]), num_modes=3).tolist()
        [2, 0, 1]
    """
    modes = np.asarray(modes)
    if not modes.size:
        raise UserError("modes is empty: at least one sample is needed")
    if modes.min() < -1 or modes.max() >= num_modes:
        raise UserError(f"modes has values in {modes.min()}..{modes.max()}; valid are -1..{num_modes - 1}")
    return np.bincount(modes[modes >= 0], minlength=num_modes).astype(np.int64)


def modes_covered(counts: Int[np.ndarray, "K"], *, at_least: int = 1) -> int:
    """Number of modes with at least this number of samples. On Stacked-MNIST 1 is customary.

    Raises:
        UserError: `at_least` below 1.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import modes
        >>> modes.modes_covered(np.array([5, 0, 1])), modes.modes_covered(np.array([5, 0, 1]), at_least=2)
        (2, 1)
    """
    if at_least < 1:
        raise UserError(f"at_least={at_least}: valid are 1 and more")
    return int((counts >= at_least).sum())


def kl_divergence(counts: Real[np.ndarray, "K"], reference: Real[np.ndarray, "_"]) -> float:
    """KL(generated || data) between the histograms over modes, in nats.

    From N samples of the data itself it is about ``(modes - 1) / (2 N)``, and not 0: 0.02 for Stacked-MNIST's 1,000
    modes and 25,600 samples.

    Args:
        counts: float[K] or int[K], counts of generated samples, or shares.
        reference: the same of the data; `uniform` for the divergence to equally likely modes.

    Returns:
        In [0, inf]: infinite if the generator makes a mode that the data does not have, or no mode at all.

    Raises:
        UserError: lengths that differ, a negative value, or a reference that is 0 everywhere.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import modes
        >>> print(f"{modes.kl_divergence(np.array([50, 50, 0, 0]), modes.uniform(4)):.3f}")  # log 2
        0.693

    References:
        Metz et al., "Unrolled Generative Adversarial Networks" (2017), and Srivastava et al., "VEEGAN: Reducing Mode
        Collapse in GANs using Implicit Variational Learning" (2017), for the experiments on Stacked-MNIST.
    """
    q = _shares(reference, counts)
    if not counts.sum():
        return math.inf
    p = counts / counts.sum()
    made = p > 0
    if not q[made].all():
        return math.inf
    return max(0.0, float((p[made] * np.log(p[made] / q[made])).sum()))


def total_variation(counts: Real[np.ndarray, "K"], reference: Real[np.ndarray, "_"]) -> float:
    """Half the sum of the absolute differences of the shares, in [0, 1]; 1 if no sample has a mode.

    Args:
        counts: float[K] or int[K], see `kl_divergence`.
        reference: see `kl_divergence`.

    Raises:
        UserError: as `kl_divergence`.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import modes
        >>> modes.total_variation(np.array([50, 50, 0, 0]), modes.uniform(4))
        0.5
    """
    q = _shares(reference, counts)
    return float(np.abs(counts / counts.sum() - q).sum() / 2) if counts.sum() else 1.0


def lost_modes(
    counts: Int[np.ndarray, "K"],
    reference: Real[np.ndarray, "_"],
    *,
    num_samples: int | None = None,
    fraction: float = FRACTION,
) -> Bool[np.ndarray, "K"]:
    """The modes of which there are fewer than ``fraction * share * num_samples`` samples.

    A mode that the data does not have is never lost.

    Args:
        counts: generated samples of each mode.
        reference: counts or shares of the data.
        num_samples: N, the samples of no mode included: a generator that makes next to nothing but those has lost the
            modes. None: there are none of these.
        fraction: in (0, 1).

    Raises:
        UserError: as `kl_divergence`; no sample; a fraction out of range.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import modes
        >>> modes.lost_modes(np.array([86, 10, 4, 0]), modes.uniform(4)).tolist()  # 2.5 samples are needed
        [False, False, False, True]
    """
    if not 0 < fraction < 1:
        raise UserError(f"fraction={fraction}: valid are numbers in (0, 1)")
    n = int(counts.sum()) if num_samples is None else num_samples
    if n < max(1, counts.sum()):
        raise UserError(
            f"num_samples={n} where the modes have {int(counts.sum())}: at least 1 and as many are needed"
        )
    return counts < fraction * n * _shares(reference, counts)


def collapse(
    counts: Int[np.ndarray, "K"],
    reference: Real[np.ndarray, "_"],
    *,
    num_samples: int | None = None,
    fraction: float = FRACTION,
) -> float:
    """Share of the data, in [0, 1], whose modes are lost; the definition is at the top of the module.

    Args:
        counts: see `lost_modes`.
        reference: see `lost_modes`.
        num_samples: see `lost_modes`.
        fraction: see `lost_modes`.

    Raises:
        UserError: as `lost_modes`.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import modes
        >>> modes.collapse(np.array([90, 10, 0]), np.array([50, 25, 25]))  # a mode that is a quarter of the data
        0.25
    """
    lost = lost_modes(counts, reference, num_samples=num_samples, fraction=fraction)
    return math.fsum(reference[lost].tolist()) / math.fsum(reference.tolist())


def samples_needed(
    reference: Real[np.ndarray, "K"], *, fraction: float = FRACTION, confidence: float = 0.99
) -> int:
    """From how many samples on `collapse` of a generator that equals the data is 0 with at least this probability.

    Mode k is lost by chance if a binomial variable of N trials with the data's share q_k stays below
    ``fraction * q_k * N``; the sum of these probabilities over the modes bounds the probability of a collapse above 0.
    The bound goes up and down with N, as the limit is rounded to whole samples: the result is the smallest N with the
    bound at most ``1 - confidence`` there and for every larger N. Mistakes of the classifier are not considered.

    Args:
        reference: float[K] or int[K], counts or shares of the data.
        fraction: as for `collapse`.
        confidence: in (0, 1).

    Raises:
        UserError: as `kl_divergence`; a fraction or confidence out of range.

    Example:
        >>> from genjax.metrics import modes
        >>> modes.samples_needed(modes.uniform(10))
        66
    """
    from scipy.special import bdtr  # comes with scikit-learn

    for name, value in {"fraction": fraction, "confidence": confidence}.items():
        if not 0 < value < 1:
            raise UserError(f"{name}={value}: valid are numbers in (0, 1)")
    shares = _shares(reference, reference)
    q, times = np.unique(shares[shares > 0], return_counts=True)
    if len(q) == 1 and q[0] == 1:
        return 1
    # Chernoff: P(Bin(N, q) <= fraction q N) <= exp(-N q (1 - fraction + fraction log(fraction))). From here on the
    # bound holds for every N; below, the binomial distribution itself is asked.
    exponent = 1 - fraction + fraction * math.log(fraction)
    n = math.ceil(math.log(times.sum() / (1 - confidence)) / (exponent * q.min()))
    block = max(1, 2**18 // len(q))
    while n > 0:
        trials = np.arange(n, max(0, n - block), -1)
        most = np.ceil(fraction * trials[:, None] * q[None]) - 1  # samples that still are too few
        chance = (times[None] * bdtr(most, trials[:, None], q[None])).sum(1)
        (failed,) = np.nonzero(chance > 1 - confidence)
        if failed.size:
            return int(trials[failed[0]]) + 1
        n = int(trials[-1]) - 1
    return 1


def has_collapsed(collapse: float, threshold: float = COLLAPSED) -> bool:
    """Whether a run counts as collapsed: ``collapse >= threshold``.

    Example:
        >>> from genjax.metrics import modes
        >>> modes.has_collapsed(0.29), modes.has_collapsed(0.3)
        (False, True)
    """
    return collapse >= threshold


def collapse_rate(
    collapses: Sequence[float], *, threshold: float = COLLAPSED, confidence: float = 0.95
) -> Interval:
    """Share of runs that have collapsed, with Wilson's interval.

    Args:
        collapses: `collapse` of each run of a study, runs that differ in the seed only.
        threshold: threshold of `has_collapsed`, in (0, 1].
        confidence: confidence of the interval.

    Raises:
        UserError: no run, a collapse outside [0, 1], or a threshold out of range.

    Example:
        >>> from genjax.metrics import modes
        >>> rate = modes.collapse_rate([0.0, 0.1, 0.6, 0.9])
        >>> print(f"{rate.estimate:.2f} in [{rate.low:.2f}, {rate.high:.2f}]")
        0.50 in [0.15, 0.85]
    """
    if not 0 < threshold <= 1:
        raise UserError(f"threshold={threshold}: valid are numbers in (0, 1]")
    if bad := [value for value in collapses if not 0 <= value <= 1]:
        raise UserError(f"collapses has {bad[0]}: valid are numbers in [0, 1]")
    return share_interval(sum(has_collapsed(c, threshold) for c in collapses), len(collapses), confidence)


def nearest_mode(
    points: Float[np.ndarray, "N D"], centres: Float[np.ndarray, "K D"], *, radius: float
) -> Int64[np.ndarray, "N"]:
    """For modes that are points: the nearest centre, or -1 if it is farther away than `radius`.

    A sample within 3 (in some papers 4) standard deviations of its nearest mode is called of *high quality*. In two
    dimensions a draw of a Gaussian mode is so with probability ``1 - exp(-3**2 / 2)``, 98.9 %.

    Args:
        points: generated samples; one that is not finite is of no mode.
        centres: centres of the modes.
        radius: for example ``3 * std``.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import modes
        >>> points, centres = np.array([[0.9, 1.0], [5.0, 5.0]]), np.array([[0.0, 0.0], [1.0, 1.0]])
        >>> modes.nearest_mode(points, centres, radius=0.5).tolist()
        [1, -1]

    References:
        Srivastava et al., "VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational Learning" (2017).
    """
    distance = np.square(points[:, None].astype(np.float64) - centres[None]).sum(-1)
    near = distance.argmin(1)
    return np.where(distance[np.arange(len(points)), near] <= radius**2, near, -1).astype(np.int64)


def high_quality(modes: Int[np.ndarray, "N"]) -> float:
    """Share of the samples that are of some mode.

    Example:
        >>> import numpy as np
        >>> from genjax.metrics import modes
        >>> modes.high_quality(np.array([0, 3, -1, 1]))
        0.75
    """
    return float((modes >= 0).mean())


def _shares(reference: np.ndarray, counts: np.ndarray) -> np.ndarray:
    if reference.shape != counts.shape:
        raise UserError(f"reference has {len(reference)} modes, counts {len(counts)}: as many are needed")
    if min(reference.min(), counts.min()) < 0 or not reference.sum() > 0:
        raise UserError("reference and counts: valid are 0 and more, in reference not only 0")
    return reference / reference.sum()
