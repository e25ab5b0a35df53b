"""Reconstructions of VAEs are blurred: structural similarity to the originals, and sharpness beside it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from experiments.claims import runs
from experiments.claims.claim import Allowed, Claim, Measured, Place
from genjax import data
from genjax.app import build, kinds, restore
from genjax.app.config import SamplingOverrides
from genjax.metrics.intervals import mean_interval
from genjax.metrics.reconstruction import ssim
from genjax.metrics.sharpness import perceptual_blur

PRESET, SEEDS = "vae-digits", (0, 1, 2)
WINDOW, BLUR_WINDOW = 7, 3
"""Of 8x8 pixels; the usual 11 is larger than the image."""


class Fidelity(NamedTuple):
    """Means over the images.

    Attributes:
        ssim: structural similarity of reconstructions to originals.
        blur: blur of the reconstructions, 0 sharp to 1 blurred (`genjax.metrics.sharpness`).
        original_blur: blur of the originals.
    """

    ssim: float
    blur: float
    original_blur: float


def fidelity(made: jax.Array, originals: jax.Array) -> Fidelity:
    """Of float[B,H,W,C] in [-1, 1], at least 7x7 pixels."""
    return Fidelity(
        float(ssim(made, originals, window=WINDOW).mean()),
        float(perceptual_blur(made, BLUR_WINDOW).mean()),
        float(perceptual_blur(originals, BLUR_WINDOW).mean()),
    )


def reconstructions(place: Place) -> Measured:
    """SSIM of test digits, mean and t interval over the seeds."""
    found = [_of_run(runs.trained(place, PRESET, {}, seed)) for seed in SEEDS]
    similar = mean_interval([x.ssim for x in found])
    blur, original = np.mean([x.blur for x in found]), found[0].original_blur
    return Measured(
        similar.estimate,
        (similar.low, similar.high),
        f"{PRESET}, test digits of 8x8 pixels, window of {WINDOW}, seeds {list(SEEDS)}, 95 % t interval; perceptual "
        f"blur {blur:.2f} of reconstructions, {original:.2f} of originals. SSIM says how near they are to originals, "
        "the other number whether they are blurred",
    )


def _of_run(directory: epath.Path) -> Fidelity:
    run = restore.restore(directory, SamplingOverrides())
    make = kinds.method(run.config).latent_space
    assert make is not None
    records = data.to_memory(build.source(run.config.data, run.config.data.test_split))
    image = data.to_float(jnp.asarray(records["image"]))
    batch = {"image": image, "_index": jnp.arange(len(image))}
    reconstruct = make(run.context).reconstruct
    return fidelity(jax.jit(lambda batch: reconstruct(jax.random.key(0), run.state, batch))(batch), image)


CLAIMS = [
    Claim(
        "vae-blur",
        "Reconstructions of VAEs are blurred, with an SSIM below 0.65",
        "surveys of VAEs",
        "below 0.65",
        Allowed(high=0.65),
        "",
        reconstructions,
    )
]
