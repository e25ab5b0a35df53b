"""Epochs of a VAE get faster as it learns. Or does the first one compile?

``python -m experiments.claims.epochs``, in a process of its own without compiled programs of earlier runs, trains and
prints the seconds of each epoch.
"""

import dataclasses
import functools
import json
import tempfile

import numpy as np

from experiments import cli
from experiments.bench import fresh
from experiments.claims.claim import Allowed, Claim, Measured, Place
from experiments.presets import PRESETS
from genjax.app import build
from genjax.metrics.intervals import Interval, bootstrap

PRESET, EPOCHS = "vae-digits", 50
FIRST, LAST = 14.01, 4.15
"""Seconds of the first and the 50th epoch, as claimed."""


def speedup(place: Place) -> Measured:
    """How many times faster epochs get from the 2nd to the 50th, by their trend; see `measured`."""
    del place
    with tempfile.TemporaryDirectory() as empty:
        found = fresh.start("experiments.claims.epochs", cache=empty)
    return measured(np.array(found["epochs"]), found["compile_seconds"])


def measured(seconds: np.ndarray, compile_seconds: float) -> Measured:
    """What the seconds of each epoch, float[`EPOCHS`] without compilation, say.

    The trend is a line through the logarithms, with the median of the slopes between any two epochs (Sen 1968), which a
    few slow ones do not move; the interval comes from a bootstrap over epochs.
    """
    rows = np.stack([np.arange(2, EPOCHS + 1), np.log(seconds[1:])], axis=1)
    ratio = Interval(*np.exp(bootstrap(_decrease, rows)).tolist())
    first, last = seconds[0], np.median(seconds[EPOCHS // 2 :])
    return Measured(
        ratio.estimate,
        (ratio.low, ratio.high),
        f"{PRESET}, trend of epochs 2 to {EPOCHS}, with a 95 % bootstrap interval over epochs; the median of the later "
        f"half is {last:.3g} s. The first takes {first + compile_seconds:.3g} s with compilation, "
        f"{(first + compile_seconds) / last:.3g} times as long as a late one, and {first:.3g} s without, "
        f"{first / last:.3g} times",
    )


def _decrease(rows: np.ndarray) -> float:
    """By how much the trend of (epoch, logarithm), float[N, 2], falls from the first epoch to the last."""
    epoch, value = rows.T
    later = epoch[:, None] < epoch
    slopes = (value - value[:, None])[later] / (epoch - epoch[:, None])[later]
    return -(EPOCHS - 1) * float(np.median(slopes))


def main() -> None:
    """Trains, and prints {"epochs": seconds of each without compilation, "compile_seconds": of the train step}."""
    from genjax.train.fit import fit  # brings Orbax

    _, config = PRESETS[PRESET]
    source = build.source(config.data, config.data.train_split)
    steps = -(-len(source) // config.fit.batch_size)
    total = EPOCHS * steps
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit(
            build.method(config, source.info),
            build.training_feed(config, source, 0, 1),
            dataclasses.replace(config.fit, steps=total, log_every=steps, checkpoint_every=total),
            workdir=folder,
            example=build.example(source.info),
            preprocess=functools.partial(build.augment, config.data),
            progress=False,
        )
    seconds = np.diff([seconds for _, seconds in fitted.times.curve])
    print(json.dumps({"epochs": seconds.tolist(), "compile_seconds": fitted.times.compile_seconds}))


CLAIMS = [
    Claim(
        "epochs",
        "Epochs of a VAE get faster while it learns: 14.01 s the first, 4.15 s the 50th",
        "a comparison of VAEs and GANs",
        f"{FIRST / LAST:.3g} times, by learning",
        Allowed(low=FIRST / LAST),
        "times",
        speedup,
    )
]

if __name__ == "__main__":
    cli.run(main)
