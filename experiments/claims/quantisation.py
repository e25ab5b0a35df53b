"""What quantisation costs, and how many codes are worth having: one autoencoder of digits, with several code books."""

import numpy as np

from experiments.claims import autoencoders
from experiments.claims.claim import Allowed, Claim, Measured, Place
from genjax.metrics.intervals import mean_interval

SEEDS = (0, 1, 2)
SMALL, LARGE = 64, 512
_RUNS = f"first stage of {autoencoders.PRESET}, {autoencoders.STEPS} steps, test digits"
_HOW = f"{_RUNS}, seeds {list(SEEDS)}, 95 % t interval"


def _trained(place: Place, num_codes: int | None) -> list[autoencoders.Trained]:
    return [autoencoders.trained(place, num_codes, seed) for seed in SEEDS]


def psnr_cost(place: Place) -> Measured:
    """PSNR without quantisation less that with `LARGE` codes, of pairs of the same seed."""
    free, small, large = (np.array([x.psnr for x in _trained(place, k)]) for k in (None, SMALL, LARGE))
    cost = mean_interval(free - large)
    return Measured(
        cost.estimate,
        (cost.low, cost.high),
        f"{free.mean():.1f} dB without quantisation, {large.mean():.1f} with K = {LARGE}, {small.mean():.1f} with K = "
        f"{SMALL}; {_HOW}. Without quantisation its 4x4 vectors of 8 numbers are twice as many as the pixels: nothing "
        "but training keeps it from copying",
    )


def codes_used(place: Place) -> Measured:
    """Perplexity of the codes of test images with `LARGE` codes."""
    large, small = (_trained(place, k) for k in (LARGE, SMALL))
    used = mean_interval([x.perplexity for x in large])
    fewer = [x.perplexity for x in small]
    gain = np.array([x.psnr - y.psnr for x, y in zip(large, small, strict=True)])
    return Measured(
        used.estimate,
        (used.low, used.high),
        f"perplexity, the number of codes that, equally often used, would say as much; {np.mean(fewer):.0f} with K = "
        f"{SMALL}; PSNR is {gain.mean():.1f} dB higher with {LARGE} codes than with {SMALL}; {_HOW}",
    )


CLAIMS = [
    Claim(
        "quantisation-cost",
        "Quantising the latent variables costs 2 dB of PSNR",
        "surveys of discrete representations",
        "2 dB (here: 1 to 3)",
        Allowed(1, 3),
        "dB",
        psnr_cost,
    ),
    Claim(
        "code-book",
        "A code book needs K = 512 codes",
        "surveys of discrete representations",
        "512 codes in use (here: a perplexity of at least 256)",
        Allowed(low=LARGE / 2),
        "codes",
        codes_used,
    ),
]
