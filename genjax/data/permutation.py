"""Pseudo-random permutations evaluated one element at a time, without a table of the whole."""

from collections.abc import Sequence

import numpy as np

from genjax.typing import UserError

_ROUNDS = 8
_MIX_1, _MIX_2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)


def permute(index: np.ndarray, n: int, seed: int | Sequence[int]) -> np.ndarray:
    """Elements ``index`` of the pseudo-random permutation of ``range(n)`` that belongs to ``seed``.

    A Feistel network is a bijection of b-bit numbers whatever its round function is; with b the smallest that
    holds n values, numbers that fall outside ``range(n)`` are sent through it again until they fall inside
    ("cycle walking", fewer than two passes on average). Time O(len(index)), memory O(len(index)), whatever n
    is.

    Args:
        index: integers of any shape, each in ``range(n)``.
        n: size of the permuted set, at least 1.
        seed: non-negative integer or integers; each gives its own permutation, the same one on every machine.

    Returns:
        int64 array of the shape of `index`: distinct values in ``range(n)`` for distinct indices.

    Raises:
        UserError: n < 1, a negative seed, or an index outside ``range(n)``.

    Example:
        >>> import numpy as np
        >>> from genjax import data
        >>> order = data.permute(np.arange(5), 5, seed=0)
        >>> sorted(order.tolist()), bool(data.permute(np.array([3]), 5, seed=0)[0] == order[3])
        ([0, 1, 2, 3, 4], True)

    References:
        Black and Rogaway, "Ciphers with Arbitrary Finite Domains" (2002): cycle walking, and Feistel on two
        halves.
    """
    if n < 1:
        raise UserError(f"n={n}: a permutation needs at least one element")
    if np.min(seed) < 0:
        raise UserError(f"seed={seed}: seeds are non-negative integers")
    index = np.asarray(index)
    if index.size and (index.min() < 0 or index.max() >= n):
        raise UserError(f"index has values in {index.min()}..{index.max()}; valid are 0..{n - 1}")
    keys = np.random.SeedSequence(seed).generate_state(_ROUNDS, np.uint64)
    bits = (n - 1).bit_length()
    value = _feistel(index.astype(np.uint64).ravel(), bits, keys)
    (outside,) = np.nonzero(value >= n)
    while outside.size:
        value[outside] = _feistel(value[outside], bits, keys)
        outside = outside[value[outside] >= n]
    return value.astype(np.int64).reshape(index.shape)


def _feistel(value: np.ndarray, bits: int, keys: np.ndarray) -> np.ndarray:
    """A bijection of uint64 numbers below ``2**bits``: halves XORed in turn with a hash of the other."""
    low = np.uint64(bits // 2)
    mask_a, mask_b = np.uint64((1 << (bits - bits // 2)) - 1), np.uint64((1 << (bits // 2)) - 1)
    a, b = value >> low, value & mask_b
    for key_a, key_b in zip(keys[::2], keys[1::2], strict=True):
        a = a ^ (_hash(b ^ key_a) & mask_a)
        b = b ^ (_hash(a ^ key_b) & mask_b)
    return (a << low) | b


def _hash(value: np.ndarray) -> np.ndarray:
    """The finaliser of MurmurHash3: every bit of the input reaches every bit of the output."""
    value = (value ^ (value >> _SHIFT)) * _MIX_1
    value = (value ^ (value >> _SHIFT)) * _MIX_2
    return value ^ (value >> _SHIFT)
