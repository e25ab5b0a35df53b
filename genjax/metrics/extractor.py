"""What a feature extractor is: data and pure functions.

Features of networks that are not here (DINOv2, CLIP, in whatever framework) need no extractor: what is computed from
features takes float[N,D] arrays. State the network where extractors would::

    real, fake = np.load("dinov2_real.npy"), np.load("dinov2_fake.npy")  # float[N,D]
    a, b = moments(fake), moments(real)
    distance = frechet_distance(a.mean, covariance(a), b.mean, covariance(b))
    protocol = Protocol("fd", "dinov2-vit-l14@SHA-256 of its weights", "bicubic to 224x224", len(fake), "my-data/test")
    print(Result("mine", distance, protocol))
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Num

from genjax.typing import Array


def to_float(images: Num[np.ndarray, "B H W C"]) -> Float32[np.ndarray, "B H W C"]:
    """Levels 0..255, whole or not, as floats in [-1, 1]."""
    return (2 * images.astype(np.float32) - 255) / 255


class Extractor(NamedTuple):
    """A feature extractor with logits. Hashable; `jax.jit` of one `apply` compiles once per shape of images.

    Attributes:
        name: which network it is.
        sha256: hexadecimal digest of its weights file; `name` and `sha256` identify it.
        feature_dim: D, width of the features.
        resize: how images of another size are brought to the network's, in words.
        apply: ``float32[B,H,W,C] -> (features float32[B,D], logits float32[B,K])``, pure; the caller jits. Takes what
            `prepare` gives, of which [-1, 1] are the darkest and the brightest level.
        prepare: ``uint8[B,H,W,C] -> float32[B,h,w,C]``, on the host: what has to be done with Pillow, such as a
            resize that others did with Pillow. The default only changes the type.
    """

    name: str
    sha256: str
    feature_dim: int
    resize: str
    apply: Callable[[Array], tuple[Array, Array]]
    prepare: Callable[[np.ndarray], np.ndarray] = to_float

    @property
    def identity(self) -> str:
        """As protocols name it."""
        return f"{self.name}@{self.sha256}"

    @property
    def preparation(self) -> str:
        """How images of 8 bits reach it, in the words of protocols."""
        return f"quantized to 8 bits, {self.resize}"
