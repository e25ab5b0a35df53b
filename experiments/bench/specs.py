"""Training steps to measure, as plain numbers: what is built from them in JAX and in PyTorch is the same.

No jax in here, so that a process which measures PyTorch's memory holds nothing else.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

Arrays: TypeAlias = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class UNet:
    """A diffusion model that predicts the noise. The fields are the same as in `genjax.models.UNet`."""

    image: tuple[int, int, int]
    channels: int
    multipliers: tuple[int, ...]
    blocks: int = 2
    attention: tuple[int, ...] = ()
    head_channels: int = 64
    num_classes: int | None = None

    def draw(self, rng: np.random.Generator, batch: int) -> Arrays:
        """Images in [-1, 1], times in [0, 1], noise, and labels where the network takes them."""
        images = {"image": _uniform(rng, (batch, *self.image), -1.0)}
        labels = {} if self.num_classes is None else {"label": np.arange(batch) % self.num_classes}
        return {
            **images,
            "time": _uniform(rng, (batch,)),
            "noise": _normal(rng, (batch, *self.image)),
            **{name: x.astype(np.int32) for name, x in labels.items()},
        }


@dataclasses.dataclass(frozen=True)
class DCGAN:
    """Radford et al. 2016: one update of the discriminator, then one of the generator.

    Attributes:
        image: H, W, C of the images. H = W = 4 * 2 ** len(generator).
        generator: Widths of the generator's layers from 4x4 up. Each layer has twice the resolution of the one before.
        discriminator: Widths of the discriminator's layers down to 4x4.
        latent: Number of latent variables.
    """

    image: tuple[int, int, int]
    generator: tuple[int, ...]
    discriminator: tuple[int, ...]
    latent: int = 100

    def draw(self, rng: np.random.Generator, batch: int) -> Arrays:
        """Images in [-1, 1] and latents."""
        return {
            "image": _uniform(rng, (batch, *self.image), -1.0),
            "latent": _normal(rng, (batch, self.latent)),
        }


@dataclasses.dataclass(frozen=True)
class VAE:
    """The convolutional VAE of the Keras examples.

    Attributes:
        image: H, W, C of the images. H and W are divisible by 4.
        widths: Widths of the two strided convolutions. The transposed convolutions have the same widths in reverse.
        hidden: Width of the encoder's dense layer.
        latent: Number of latent variables.
    """

    image: tuple[int, int, int] = (28, 28, 1)
    widths: tuple[int, int] = (32, 64)
    hidden: int = 16
    latent: int = 2

    def draw(self, rng: np.random.Generator, batch: int) -> Arrays:
        """Images in [0, 1] and the noise of the reparametrisation."""
        return {
            "image": _uniform(rng, (batch, *self.image)),
            "noise": _normal(rng, (batch, self.latent)),
        }


Spec: TypeAlias = UNet | DCGAN | VAE

SPECS: dict[str, Spec] = {
    "unet-2.5m": UNet((32, 32, 3), channels=32, multipliers=(1, 2, 2, 2)),
    "unet-10m": UNet((32, 32, 3), channels=64, multipliers=(1, 2, 2, 2)),
    "dcgan-32": DCGAN((32, 32, 3), generator=(512, 256, 128), discriminator=(64, 128, 256)),
    "dcgan-64": DCGAN((64, 64, 3), generator=(512, 256, 128, 64), discriminator=(64, 128, 256, 512)),
    "vae": VAE(),
    "mnist-unet": UNet((28, 28, 1), channels=72, multipliers=(1, 2, 2), blocks=1, num_classes=10),
}
"""What `python -m experiments.bench step` measures, by name."""

ADAM: dict[type, dict[str, float]] = {
    UNet: {"learning_rate": 2e-4, "b1": 0.9, "b2": 0.999},
    DCGAN: {"learning_rate": 2e-4, "b1": 0.5, "b2": 0.999},
    VAE: {"learning_rate": 1e-3, "b1": 0.9, "b2": 0.999},
}
"""Kind of network -> hyperparameters of Adam; epsilon is 1e-8."""


def batch(spec: Spec, size: int) -> Arrays:
    """The one batch that every contender trains on: what is random in a step is drawn here."""
    return spec.draw(np.random.default_rng(0), size)


def weights(shapes: Any) -> Any:
    """Random float32 arrays for a nested dict of arrays or of their shapes, by the names of Linen's parameters.

    Not the initialisation: layers that start at zero would hide those before them from a comparison.
    """
    rng = np.random.default_rng(1)

    def draw(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, leaf in sorted(tree.items()):
            if isinstance(leaf, Mapping):
                yield name, dict(draw(leaf))
            elif name == "scale":
                yield name, 1.0 + 0.1 * _normal(rng, leaf.shape)
            elif name == "bias":
                yield name, 0.1 * _normal(rng, leaf.shape)
            else:
                fan_in = max(1, int(np.prod(leaf.shape[:-1])))
                yield name, _normal(rng, leaf.shape) * np.float32(fan_in**-0.5)

    return dict(draw(shapes))


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], low: float = 0.0) -> np.ndarray:
    return rng.uniform(low, 1.0, shape).astype(np.float32)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)
