"""The Inception network on whose features Fréchet and kernel distances, and Inception Scores, are published.

A distance is only comparable with another if the network, its weights and the way in which images are resized are the
same. The network is TensorFlow's of 5 December 2015, converted to PyTorch; two ways to resize are in use:

* "legacy-tf": the graph's own, bilinear and without antialiasing. The FID of Heusel et al. 2017 and of what follows
  it, such as torch-fidelity, StyleGAN's code and ADM's evaluations.
* "clean": Pillow's bicubic filter, as in clean-fid.

Nothing is downloaded: the file has to be there.
"""

import functools
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float32, UInt8

from genjax.metrics import folding, inception_network, weight_files
from genjax.metrics.extractor import Extractor, to_float
from genjax.metrics.inception_network import FEATURE_DIM, IMAGE_SIZE, NUM_CLASSES
from genjax.metrics.resize import pillow, tf1_bilinear
from genjax.typing import Array, UserError

Resize: TypeAlias = Literal["legacy-tf", "clean"]

URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Digest of the file at `URL` (95,628,359 bytes), and of pytorch-fid's ``pt_inception-2015-12-05-6726825d.pth``."""

_SIZE = (IMAGE_SIZE, IMAGE_SIZE)
_EPSILON = 1e-3


class _Protocol(NamedTuple):
    """How images reach the network: in words, on the host, and inside `apply`."""

    resize: str
    prepare: Callable[[np.ndarray], np.ndarray]
    apply: Callable[[Array], Array]


class _Params(NamedTuple):
    convolutions: Mapping[str, folding.Folded]
    fc: Float32[np.ndarray, "2048 1008"]


def load_inception(
    path: str | os.PathLike[str], protocol: Resize = "legacy-tf", *, sha256: str | None = SHA256
) -> Extractor:
    """Loads the network as a feature extractor.

    Its features, float32[B,2048], are the means over the last feature maps. Its logits, float32[B,1008], are without
    the bias of the last layer, as in the Inception Score's code, which multiplies by the kernel alone; for the
    probabilities of a classifier the bias would have to be added.

    `apply` takes float32[B,H,W,3] in [-1, 1], or grayscale, [B,H,W,1], which is repeated: for "legacy-tf" of any
    height and width, for "clean" 299x299, as `prepare` gives it. It refuses anything else with a `UserError`. It takes
    about 20 MB an image of the batch. Off CPU, products are asked for in the highest precision: by default GPUs and
    TPUs round the factors of float32 products, to 11 or 8 bits.

    Args:
        path: path of ``weights-inception-2015-12-05-6726825d.pth``, from `URL`, or of a safetensors file with the same
            arrays.
        protocol: "legacy-tf" or "clean"; see the module. Distances of different protocols are not comparable, and
            their `genjax.metrics.Protocol` differs.
        sha256: hexadecimal digest the file must have; None accepts any (a converted file, weights of your own).

    Raises:
        UserError: if there is no such file, its digest is another one, its arrays are not the network's, or there is
            no such protocol.

    Example:
        >>> from genjax.metrics import load_inception
        >>> load_inception("inception.pth")
        Traceback (most recent call last):
            ...
        genjax.typing.UserError: path is 'inception.pth': no such weights file. Download it from https://...

    References:
        Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium" (2017);
        Salimans et al., "Improved Techniques for Training GANs" (2016); Parmar, Zhang and Zhu, "On Aliased Resizing
        and Surprising Subtleties in GAN Evaluation" (2022).
    """
    if protocol not in _PROTOCOLS:
        raise UserError(f"protocol is {protocol!r}: valid are {', '.join(get_args(Resize))}")
    if not pathlib.Path(path).expanduser().is_file():
        raise UserError(f"path is {str(path)!r}: no such weights file. Download it from {URL}")
    digest, arrays = weight_files.read(path, sha256)
    chosen = _PROTOCOLS[protocol]
    apply = functools.partial(_apply, _params(path, arrays), chosen.apply)
    name = f"inception-2015-12-05/{protocol}"
    return Extractor(name, digest, FEATURE_DIM, chosen.resize, apply, chosen.prepare)


def state_dict_shapes() -> dict[str, tuple[int, ...]]:
    """Name -> shape of every array of the weights file."""
    shapes: dict[str, tuple[int, ...]] = {"fc.weight": (NUM_CLASSES, FEATURE_DIM), "fc.bias": (NUM_CLASSES,)}
    for name, shape in inception_network.kernel_shapes().items():
        shapes |= folding.state_dict_shapes(f"{name}.conv", f"{name}.bn", shape)
    return shapes


def _params(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> _Params:
    weight_files.check_arrays(path, arrays, state_dict_shapes(), "the Inception network of 2015-12-05")
    names = inception_network.kernel_shapes()
    folded = {name: folding.fold(arrays, f"{name}.conv", f"{name}.bn", _EPSILON) for name in names}
    return _Params(folded, np.ascontiguousarray(arrays["fc.weight"].T, np.float32))


def network_inputs(resize: Callable[[Array], Array], images: Array) -> Float32[Array, "B 299 299 3"]:
    """Levels 0..255 less 128, by 128, of images float32[B,H,W,1 or 3] in [-1, 1], after `resize` of the levels.

    Raises:
        UserError: for images that are neither grayscale nor RGB.
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise UserError(
            f"images has shape {images.shape}: the Inception network takes colour, [B,H,W,3], or grayscale, [B,H,W,1]"
        )
    x = (resize(127.5 * images + 127.5) - 128.0) / 128.0
    return jnp.broadcast_to(x, (*x.shape[:-1], 3))


def _apply(params: _Params, resize: Callable[[Array], Array], images: Array) -> tuple[Array, Array]:
    def run(precision: lax.Precision | None, params: Any, x: Array) -> tuple[Array, Array]:
        def weights(name: str, shape: inception_network.Shape) -> tuple[Array, Array]:
            return params.convolutions[name]

        return inception_network.network(weights, params.fc, x, precision)

    x = network_inputs(resize, images)
    # A CPU never rounds float32 further, and its fast algorithms are for the default precision.
    exact = functools.partial(run, lax.Precision.HIGHEST)
    return lax.platform_dependent(params, x, cpu=functools.partial(run, None), default=exact)


def _as_it_is(images: Array) -> Array:
    if images.shape[1:3] != _SIZE:
        raise UserError(
            f"images has shape {images.shape}: with the protocol 'clean' images are resized by the extractor's "
            "`prepare`, on the host, before `apply`"
        )
    return images


def _clean(images: UInt8[np.ndarray, "B H W C"]) -> Float32[np.ndarray, "B 299 299 C"]:
    return to_float(pillow(images, _SIZE, "bicubic"))


_PROTOCOLS: dict[str, _Protocol] = {
    "legacy-tf": _Protocol(
        "bilinear as in TensorFlow 1, not antialiased, corners aligned, to 299x299",
        to_float,
        functools.partial(tf1_bilinear, size=_SIZE),
    ),
    "clean": _Protocol(
        "bicubic by Pillow, antialiased, in float32, clipped, to 299x299 (clean-fid)", _clean, _as_it_is
    ),
}
