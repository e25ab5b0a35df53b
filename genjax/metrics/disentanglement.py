"""Does each component of a code stand for one factor of variation? Three scores, for data whose factors are known.

`tabulate` encodes all combinations of the factors once; the scores take codes, and know no network. For each score,
1 is a code in which every factor has a component of its own.

A component whose standard deviation is below `threshold` times the largest one is dead (in a VAE: its posterior is the
prior) and is never chosen: however little it moves, that little may depend on the factors.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import jax
import numpy as np
from jaxtyping import Float, Float64, Int

from genjax.typing import UserError

Codes: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""From factors int[N,K] to codes float[N,D]: the encoder's means for pictures with these factors."""

_CHUNK = 500


def in_batches(function: Callable, array: np.ndarray, batch_size: int) -> np.ndarray:
    """``function(array)``, computed on `batch_size` rows at a time, on the host.

    The last batch is filled up with copies of its last row and cut afterwards: a compiled function sees one shape.
    """
    parts = []
    for start in range(0, len(array), batch_size):
        batch = array[start : start + batch_size]
        padding = ((0, batch_size - len(batch)), *((0, 0),) * (array.ndim - 1))
        parts.append(np.asarray(jax.device_get(function(np.pad(batch, padding, mode="edge"))))[: len(batch)])
    return np.concatenate(parts)


def tabulate(encode: Callable, render: Callable, sizes: Sequence[int], batch_size: int = 256) -> Codes:
    """Encodes the pictures of all combinations of the factors; the scores then only look up codes.

    Args:
        encode: images as `render` gives them -> float[N,D], compiled by the caller.
        render: int[N,K] factors -> images [N,H,W,C].
        sizes: number of values of each of the K factors.
        batch_size: images at a time.

    Returns:
        The lookup.
    """
    every = grid(sizes)
    codes = in_batches(lambda rows: encode(render(rows)), every, batch_size)
    return lambda factors: codes[np.ravel_multi_index(tuple(np.asarray(factors).T), tuple(sizes))]


def grid(sizes: Sequence[int]) -> Int[np.ndarray, "N K"]:
    """All combinations of factors, the last one running fastest."""
    return np.indices(tuple(sizes)).reshape(len(sizes), -1).T


def mutual_information_gap(
    codes: Float[np.ndarray, "N D"],
    factors: Int[np.ndarray, "_ K"],
    *,
    bins: int = 20,
    threshold: float = 0.05,
) -> float:
    """MIG: how much more the best component knows of a factor than the second best, by the factor's entropy.

    The mean over the factors. From N examples the information about a factor with `size` values is overestimated, by
    about ``(bins - 1) * (size - 1) / (2 N)`` nats. With a single component the second best knows 0.

    Args:
        codes: codes of N examples, for example ``codes(grid(sizes))``.
        factors: factors of the same examples.
        bins: number of bins of equal width between a component's smallest and largest value.
        threshold: threshold of dead components, which count as knowing nothing.

    Returns:
        In [0, 1]; 0 for a constant code.

    Raises:
        UserError: lengths that differ, a value that is not finite, or a factor that has one value only.

    References:
        Chen et al., "Isolating Sources of Disentanglement in Variational Autoencoders" (2018), equation 6.
    """
    _check(codes, factors)
    information = mutual_information(codes, factors, bins=bins)
    information[~active(codes, threshold)] = 0.0
    entropies = np.array([_entropy(np.bincount(column)) for column in factors.T])
    if not entropies.all():
        raise UserError(
            f"factors: column {np.argmin(entropies)} has one value only, of which nothing can be known"
        )
    first, second = np.sort(np.pad(information, ((1, 0), (0, 0))), axis=0)[[-1, -2]]
    return float(np.mean((first - second) / entropies))


def mutual_information(
    codes: Float[np.ndarray, "N D"], factors: Int[np.ndarray, "_ K"], *, bins: int = 20
) -> Float64[np.ndarray, "D K"]:
    """Between each component, in `bins` bins of equal width, and each factor; in nats, from the counts.

    Raises:
        UserError: lengths that differ, a value that is not finite, or less than one bin.
    """
    _check(codes, factors)
    if bins < 1:
        raise UserError(f"bins={bins}: at least one is needed")
    codes = codes.astype(np.float64)
    low, span = codes.min(0), np.ptp(codes, axis=0)
    binned = np.minimum(bins * (codes - low) / np.where(span > 0, span, 1.0), bins - 1).astype(np.int64)
    information = np.empty((codes.shape[1], factors.shape[1]))
    for j, component in enumerate(binned.T):
        for k, factor in enumerate(factors.T):
            values = int(factor.max()) + 1
            joint = np.bincount(component * values + factor, minlength=bins * values).reshape(bins, values)
            information[j, k] = _entropy(joint.sum(0)) + _entropy(joint.sum(1)) - _entropy(joint.ravel())
    return np.maximum(information, 0.0)


def beta_vae_score(
    codes: Codes,
    sizes: Sequence[int],
    *,
    seed: int = 0,
    num_train: int = 10_000,
    num_test: int = 5_000,
    num_pairs: int = 64,
    threshold: float = 0.05,
) -> float:
    """Accuracy of a linear classifier that tells which factor was the same in both examples of every pair.

    A point is ``mean |z1 - z2|`` over `num_pairs` pairs that share the value of one factor and are independent
    otherwise; point i is about factor ``i mod K``. The classifier is logistic regression on standardised points.

    Args:
        codes: from factors int[N,K] to codes float[N,D].
        sizes: number of values of each of the K factors.
        seed: seed of the examples.
        num_train: points the classifier is fitted to.
        num_test: points it is tested on.
        num_pairs: pairs a point.
        threshold: threshold of dead components, which the classifier does not see.

    Returns:
        In [0, 1]; 1/K is chance, and what a constant code gets.

    Raises:
        UserError: counts below 1 (below 2 training points a factor), or factors with one value only.

    References:
        Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework" (2017),
        section 3.
    """
    _check_counts(sizes, num_train=num_train, num_test=num_test, num_pairs=num_pairs)
    # Here and not above: scikit-learn takes a second to import. It brings threadpoolctl.
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(seed)
    alive = active(codes(_draw(rng, sizes, num_train)), threshold)
    if not alive.any():
        return 1 / len(sizes)

    def points(num: int) -> tuple[np.ndarray, np.ndarray]:
        def differences(fixed: np.ndarray) -> np.ndarray:
            first, second = (_draw(rng, sizes, len(fixed) * num_pairs) for _ in range(2))
            rows, columns = np.arange(len(first)), np.repeat(fixed, num_pairs)
            second[rows, columns] = first[rows, columns]
            distance = np.abs(codes(first)[:, alive] - codes(second)[:, alive])
            return distance.reshape(len(fixed), num_pairs, -1).mean(1)

        return _for_each_trial(differences, num, len(sizes))

    (x, y), (x_test, y_test) = points(num_train), points(num_test)
    scale = x.std(0)
    centre, scale = x.mean(0), np.where(scale > 0, scale, 1.0)
    # The steps are too small for threads: on a busy machine, where they wait for each other, 20 s instead of 0.1 s.
    with threadpool_limits(1):
        classifier = LogisticRegression(max_iter=1000).fit((x - centre) / scale, y)
    return float(classifier.score((x_test - centre) / scale, y_test))


def factor_vae_score(
    codes: Codes,
    sizes: Sequence[int],
    *,
    seed: int = 0,
    num_train: int = 10_000,
    num_test: int = 5_000,
    num_samples: int = 64,
    threshold: float = 0.05,
) -> float:
    """Accuracy of a majority vote that tells which factor was the same in a group, from the stillest component.

    The vote of a group of examples that share the value of one factor is the component with the smallest variance,
    relative to its variance over all examples; group i is about factor ``i mod K``.

    Args:
        codes: from factors int[N,K] to codes float[N,D].
        sizes: number of values of each of the K factors.
        seed: seed of the examples.
        num_train: groups that vote; as many single examples give the variances to compare with.
        num_test: groups that are predicted.
        num_samples: examples in a group.
        threshold: threshold of dead components, which are never voted for.

    Returns:
        In [0, 1]; 1/K is chance, and what a constant code gets.

    Raises:
        UserError: counts below 1 (below 2 training groups a factor, or 2 samples), or factors with one value only.

    References:
        Kim and Mnih, "Disentangling by Factorising" (2018), section 4.
    """
    _check_counts(sizes, num_train=num_train, num_test=num_test, num_samples=num_samples)
    if num_samples < 2:
        raise UserError(f"num_samples={num_samples}: a variance needs at least 2")
    rng = np.random.default_rng(seed)
    sample = codes(_draw(rng, sizes, num_train))
    alive = active(sample, threshold)
    if not alive.any():
        return 1 / len(sizes)
    variance = sample[:, alive].var(0)

    def votes(num: int) -> tuple[np.ndarray, np.ndarray]:
        def stillest(fixed: np.ndarray) -> np.ndarray:
            rows = _draw(rng, sizes, len(fixed) * num_samples).reshape(len(fixed), num_samples, -1)
            groups = np.arange(len(fixed))
            rows[groups, :, fixed] = rows[groups, :1, fixed]
            group = codes(rows.reshape(-1, len(sizes)))[:, alive].reshape(len(fixed), num_samples, -1)
            return (group.var(1) / variance).argmin(1)

        return _for_each_trial(stillest, num, len(sizes))

    component, factor = votes(num_train)
    table = np.zeros((alive.sum(), len(sizes)), np.int64)
    np.add.at(table, (component, factor), 1)
    component, factor = votes(num_test)
    return float(np.mean(table.argmax(1)[component] == factor))


def active(codes: Float[np.ndarray, "N D"], threshold: float = 0.05) -> np.ndarray:
    """bool[D]: components with a standard deviation above `threshold` times the largest; none of a constant code."""
    # Relative to the size of the values: the deviation of a constant is rounding, not zero.
    deviation = codes.astype(np.float64).std(0)
    constant = deviation <= 1e-6 * np.abs(codes).max(0)
    return ~constant & (deviation > threshold * deviation.max())


def _for_each_trial(statistic: Callable, num: int, num_factors: int) -> tuple[np.ndarray, np.ndarray]:
    """The statistic of `num` trials, computed chunk by chunk, and the factor that each held fixed."""
    fixed = np.arange(num) % num_factors
    parts = [statistic(fixed[start : start + _CHUNK]) for start in range(0, num, _CHUNK)]
    return np.concatenate(parts), fixed


def _draw(rng: np.random.Generator, sizes: Sequence[int], num: int) -> np.ndarray:
    return rng.integers(0, np.asarray(sizes), size=(num, len(sizes)))


def _entropy(counts: np.ndarray) -> float:
    probabilities = counts[counts > 0] / counts.sum()
    return float(-np.sum(probabilities * np.log(probabilities)))


def _check(codes: np.ndarray, factors: np.ndarray) -> None:
    if len(codes) != len(factors):
        raise UserError(f"codes has {len(codes)} rows, factors {len(factors)}: one for each example")
    if not np.isfinite(codes).all():
        raise UserError("codes has a value that is not finite")


def _check_counts(sizes: Sequence[int], num_train: int, **counts: int) -> None:
    if min(sizes) < 2:
        raise UserError(f"sizes={tuple(sizes)}: every factor needs at least 2 values")
    if num_train < 2 * len(sizes):
        raise UserError(f"num_train={num_train}: valid is {2 * len(sizes)} or more, two for each factor")
    for name, value in counts.items():
        if value < 1:
            raise UserError(f"{name}={value}: at least 1 is needed")
