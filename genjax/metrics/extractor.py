"""What a feature extractor is: data and one pure function."""

from collections.abc import Callable
from typing import NamedTuple

from genjax.typing import Array


class Extractor(NamedTuple):
    """A feature extractor with logits. Hashable; `jax.jit` of one `apply` compiles once per shape of images.

    Attributes:
        name: which network it is.
        sha256: hexadecimal digest of its weights file; `name` and `sha256` identify it.
        feature_dim: D, width of the features.
        resize: how images of another size are brought to the network's, in words.
        apply: ``float32[B,H,W,C] in [-1, 1] -> (features float32[B,D], logits float32[B,K])``, pure; the
            caller jits.
    """

    name: str
    sha256: str
    feature_dim: int
    resize: str
    apply: Callable[[Array], tuple[Array, Array]]
