"""How much slower diffusion models make images than GANs.

Side by side, as `experiments.bench` measures: `dcgan-mnist` and `ddpm-mnist`, images of 28x28x3, in turns, the ratio of
rounds. The networks are not trained: what a sampler computes does not depend on what the network has learned.
"""

import functools

from experiments import train_command
from experiments.bench import timing, workloads
from experiments.bench.workloads import Workload
from experiments.claims.claim import Allowed, Claim, Measured, Place

BATCH, ROUNDS, SECONDS = 4, 3, 0.5
_SHAPE = ("--dataset", "shapes", "--data.image-size", "28")
"""Drawn pictures of MNIST's size, in colour, so that nothing is downloaded: only the shape matters."""


def sampling_ratio(place: Place, *, steps: int) -> Measured:
    """Ratio of the GAN's images/s to DDPM's images/s with this number of steps, both `BATCH` images at a time."""
    del place
    gan = _subject("dcgan-mnist", "--method.latent", "64")
    ddpm = _subject("ddpm-mnist", "--sampling.sampler", "ddpm", "--sampling.num-steps", str(steps))
    contenders = {name: timing.timed(s.run, s.images, SECONDS) for name, s in {"g": gan, "d": ddpm}.items()}
    rows = timing.interleave(contenders, ROUNDS)
    rates = {name: timing.column(measured, timing.RATE) for name, measured in rows.items()}
    found = timing.ratio(rates["g"], rates["d"])
    fast, slow = (timing.summary(rates[name])["median"] for name in "gd")
    return Measured(
        found["median"],
        (found["min"], found["max"]),
        f"dcgan-mnist makes {fast:,.0f} images/s, ddpm-mnist in {steps} steps {slow:.3g}, {BATCH} at a time, 28x28x3; "
        "not trained; "
        f"{steps:,} evaluations of a network against 1, and one of the U-Net takes "
        f"{found['median'] / steps:.2g} times as long as the generator's; median and range of {ROUNDS} rounds in turns",
    )


def _subject(preset: str, *options: str) -> Workload:
    return workloads.sample(
        train_command.parse([preset, *_SHAPE, "--sampling.batch-size", str(BATCH), *options]).config
    )


CLAIMS = [
    Claim(
        f"sampling-{steps}",
        f"Diffusion models sample about 1000 times slower than GANs (with {steps} steps)",
        "surveys that compare GANs, VAEs and diffusion models",
        "about 1000 times (here: 500 to 2000)",
        Allowed(500, 2000),
        "times",
        functools.partial(sampling_ratio, steps=steps),
    )
    for steps in (1000, 50)
]
