"""Epochs of a VAE get faster as it learns. Or does the first one compile?

``python -m experiments.claims.epochs``, in a process of its own without compiled programs of earlier runs, trains and
prints the seconds of each epoch.
"""

import dataclasses
import functools
import json
import tempfile

import numpy as np

from experiments import build, cli
from experiments.bench import fresh
from experiments.claims.claim import Allowed, Claim, Measured, Place
from experiments.presets import PRESETS
from genjax.metrics.intervals import Interval, bootstrap

PRESET, EPOCHS = "vae-digits", 50
FIRST, LAST = 14.01, 4.15
"""Seconds of the first and the 50th epoch, as claimed."""


def speedup(place: Place) -> Measured:
    """Median seconds of epochs 2 to 25 by those of epochs 26 to 50, with a bootstrap interval over the epochs."""
    del place
    with tempfile.TemporaryDirectory() as empty:
        found = fresh.start("experiments.claims.epochs", cache=empty)
    return measured(np.array(found["epochs"]), found["compile_seconds"])


def measured(seconds: np.ndarray, compile_seconds: float) -> Measured:
    """What the seconds of each epoch, float[`EPOCHS`] without compilation, say."""
    early, late = seconds[1 : EPOCHS // 2], seconds[EPOCHS // 2 :]
    # Of the logarithm, so that no end is negative.
    found = bootstrap(lambda a, b: float(np.log(np.median(a) / np.median(b))), early, late)
    ratio = Interval(*np.exp(found).tolist())
    first, last = seconds[0], np.median(late)
    return Measured(
        ratio.estimate,
        (ratio.low, ratio.high),
        f"{PRESET}, median of epochs 2 to {EPOCHS // 2} by that of the rest up to {EPOCHS}, {last:.3g} s, 95 % "
        f"bootstrap interval over epochs. The first takes {first + compile_seconds:.3g} s with compilation, "
        f"{(first + compile_seconds) / last:.3g} times as long as a late one, and {first:.3g} s without, "
        f"{first / last:.3g} times",
    )


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
