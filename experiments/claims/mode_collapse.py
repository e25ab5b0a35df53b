"""DCGAN loses a large part of the modes: read from finished runs. What is counted: `genjax.metrics.modes`."""

import functools

from etils import epath

from experiments import collapse_table
from experiments.claims import runs
from experiments.claims.claim import Allowed, Claim, Measured, Place
from genjax.metrics.modes import COLLAPSED

_STEPS = {"dcgan-digits": (2000, 15_500), "dcgan-mnist": (4000, 26_000)}
"""Steps, and generated images, of the runs in docs/collapse.md."""


def collapse(place: Place, *, preset: str, dataset: str) -> Measured:
    """Share of the data that runs of DCGAN, as the preset has it, have lost: mean and t interval over the seeds."""
    steps, num = _STEPS[preset]
    again = runs.line(preset, {"dataset": dataset, "steps": steps, "evaluation.num": num})
    found = [
        path
        for path in runs.finished(
            place, lambda config: config.data.dataset == dataset and runs.is_plain(config, preset)
        )
        if "collapse" in runs.scores(path)
    ]
    if not found:
        return Measured(None, None, f"no scored run of {preset} on {dataset} under runs={place.runs}", again)
    return _summary(found, again)


def _summary(found: list[epath.Path], again: str) -> Measured:
    rows = collapse_table.summarize([collapse_table.read(str(path)) for path in found], COLLAPSED)
    row = max(rows, key=lambda row: len(row["seeds"]))
    lost, rate, covered = (row[name] for name in ("collapse", "collapsed", "modes"))
    return Measured(
        100 * lost["estimate"],
        None if lost["low"] is None else (100 * lost["low"], 100 * lost["high"]),
        "share of the data whose modes are made less than a tenth as often as the data has them; "
        f"seeds {row['seeds']}, {row['mode_samples']:,} images each, 95 % t interval over the seeds; "
        f"{covered['estimate']:.0f} of {row['num_modes']} modes are made; {100 * rate['estimate']:.0f} % of the runs "
        f"have lost {100 * COLLAPSED:.0f} % or more",
        again,
    )


CLAIMS = [
    Claim(
        f"collapse-{dataset.partition(':')[2]}",
        f"DCGAN's mode collapse rate is above 30 % (three stacked {what}: 1,000 modes)",
        "surveys of GANs",
        "above 30 %",
        Allowed(low=30),
        "%",
        functools.partial(collapse, preset=preset, dataset=dataset),
    )
    for preset, dataset, what in [
        ("dcgan-digits", "stacked:digits", "8x8 digits"),
        ("dcgan-mnist", "stacked:mnist", "digits of MNIST"),
    ]
]
