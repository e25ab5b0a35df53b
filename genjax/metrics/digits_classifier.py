"""A small classifier of handwritten digits: the feature extractor for MNIST and scikit-learn's digits.

Fréchet distances usually rest on an Inception network trained on photographs, which is large and knows little
of digits. This one knows nothing else: its 64 features are those by which ten digits are told apart, its
weights (0.8 MB) are part of the package, and their SHA-256 is part of every number computed with them.

The weights were trained by experiments/train_classifier.py, whose docstring states command, time and
accuracy.
"""

import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import safetensors.numpy
from jaxtyping import Float

from genjax.metrics import weight_files
from genjax.metrics.extractor import Extractor
from genjax.typing import Array, PyTree, UserError

NAME = "digits_classifier"
IMAGE_SIZE = 28
FEATURE_DIM = 64
NUM_CLASSES = 10
RESIZE = "linear, antialiased, to 28x28"
WEIGHTS = pathlib.Path(__file__).parent / "weights" / "digits_classifier.safetensors"
SHA256 = "40d94180d0e25e231eaf0edc7b185a1b29c7f52c37a5ec675c5c220d69bbd915"
"""Digest of the bundled weights. Numbers from other weights are not comparable, so loading checks it."""


class DigitsClassifier(nn.Module):
    """Four convolutions, three of them strided (28, 14, 14, 7, 4 pixels), two dense layers; 196,330 weights.

    Without normalisation or dropout: nothing depends on the rest of the batch, or on whether it is being
    trained.
    """

    @nn.compact
    def __call__(
        self, images: Float[Array, "B 28 28 1"]
    ) -> tuple[Float[Array, "B 64"], Float[Array, "B 10"]]:
        """Classifies images in [-1, 1].

        Returns:
            The 64 inputs of the last layer, taken before its ReLU (which leaves many of them at exactly zero,
            and their distribution far from the normal one a Fréchet distance assumes), and the logits.
        """
        init = nn.initializers.he_normal()
        x = images
        for i, (width, kernel, stride) in enumerate([(32, 5, 2), (64, 3, 1), (96, 3, 2), (64, 3, 2)]):
            x = nn.Conv(width, (kernel, kernel), (stride, stride), kernel_init=init, name=f"conv{i}")(x)
            x = nn.relu(x)
        features = nn.Dense(FEATURE_DIM, kernel_init=init, name="features")(x.reshape(x.shape[0], -1))
        return features, nn.Dense(NUM_CLASSES, name="logits")(nn.relu(features))


def resize(images: Float[Array, "B H W 1"]) -> Float[Array, "B 28 28 1"]:
    """Brings images to 28x28 by a triangle filter, widened when shrinking (`jax.image.resize`, "linear").

    The weights of the filter are positive and sum to one, so the range of the images is kept.
    28x28 images pass unchanged.
    """
    shape = (images.shape[0], IMAGE_SIZE, IMAGE_SIZE, 1)
    return images if images.shape == shape else jax.image.resize(images, shape, "linear", antialias=True)


def load_digits_classifier(
    path: str | os.PathLike[str] | None = None, *, sha256: str | None = SHA256
) -> Extractor:
    """Loads the classifier as a feature extractor.

    Its `apply` takes float32[B,H,W,1] in [-1, 1], of any height and width, and refuses colour with a
    `UserError`.

    Args:
        path: path of a weights file written by experiments/train_classifier.py; None is the bundled one.
        sha256: hexadecimal digest the file must have; None accepts any (weights of your own).

    Raises:
        UserError: if there is no such file, its digest is another one, or its arrays are not the network's.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.metrics import load_digits_classifier
        >>> stroke = jnp.full((1, 28, 28, 1), -1.0).at[0, 5:23, 13:16].set(1.0)  # white on black
        >>> features, logits = load_digits_classifier().apply(stroke)
        >>> features.shape, logits.argmax(-1).item()
        ((1, 64), 1)
    """
    digest, params = _load(path, sha256)
    return Extractor(NAME, digest, FEATURE_DIM, RESIZE, functools.partial(classify, params))


def load_feature_maps(
    path: str | os.PathLike[str] | None = None, *, sha256: str | None = SHA256
) -> Callable[[Array], tuple[Array, ...]]:
    """Loads the classifier as `feature_maps` with its parameters, for perceptual distances.

    Args:
        path: as for `load_digits_classifier`.
        sha256: as for `load_digits_classifier`.

    Returns:
        ``images float32[B,H,W,1] -> (float32[B,14,14,32], ...)``, the maps that `feature_maps` names.

    Raises:
        UserError: as `load_digits_classifier`.
    """
    return functools.partial(feature_maps, _load(path, sha256)[1])


def classify(params: PyTree, images: Array) -> tuple[Array, Array]:
    """Features float32[B,64] and logits float32[B,10] of images float32[B,H,W,1] in [-1, 1] of any size.

    Raises:
        UserError: for images that are not grayscale.
    """
    _check_images(images)
    outputs: Any = DigitsClassifier().apply({"params": params}, resize(images))
    return outputs


def feature_maps(params: PyTree, images: Array) -> tuple[Array, ...]:
    """What the ReLUs of the convolutions put out: float32[B,14,14,32], [B,14,14,64], [B,7,7,96], [B,4,4,64].

    Args:
        params: parameters of the classifier.
        images: float32[B,H,W,1] in [-1, 1] of any size.

    Raises:
        UserError: for images that are not grayscale.
    """
    _check_images(images)
    _, state = DigitsClassifier().apply(
        {"params": params},
        resize(images),
        capture_intermediates=lambda module, _: isinstance(module, nn.Conv),
    )
    outputs: Any = state["intermediates"]
    return tuple(nn.relu(outputs[f"conv{i}"]["__call__"][0]) for i in range(len(outputs)))


def init_params(key: Array) -> PyTree:
    """Fresh parameters from a key, Key[], for training."""
    return DigitsClassifier().init(key, jnp.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 1)))["params"]


def serialize(params: PyTree) -> bytes:
    """Content of a weights file for `load_digits_classifier`: the same bytes for the same parameters."""
    arrays = flax.traverse_util.flatten_dict(jax.device_get(params), sep="/")
    return safetensors.numpy.save(arrays)


def _load(path: str | os.PathLike[str] | None, sha256: str | None) -> tuple[str, PyTree]:
    """Digest of a weights file, and the parameters in it."""
    path = WEIGHTS if path is None else pathlib.Path(path)
    digest, arrays = weight_files.read(path, sha256)
    expected = jax.eval_shape(init_params, jax.eval_shape(lambda: jax.random.key(0)))
    shapes = {name: x.shape for name, x in flax.traverse_util.flatten_dict(expected, sep="/").items()}
    weight_files.check_arrays(path, arrays, shapes, "the digits classifier")
    return digest, flax.traverse_util.unflatten_dict(arrays, sep="/")


def _check_images(images: Array) -> None:
    if images.ndim != 4 or images.shape[-1] != 1:
        raise UserError(
            f"images has shape {images.shape}: the digits classifier takes grayscale images, [B,H,W,1]; "
            "colour needs another extractor"
        )
