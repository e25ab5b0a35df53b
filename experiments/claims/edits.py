"""Edits by moving along a direction of beta-VAE's code do what they should: read from finished runs, minutes each."""

from experiments.claims import runs
from experiments.claims.claim import Allowed, Claim, Measured, Place
from genjax.data.shapes import FACTOR_NAMES
from genjax.metrics.intervals import mean_interval

PRESET, STEPS = "beta-vae-shapes", 4000


def edit_success(place: Place) -> Measured:
    """Mean success over the factors of the shapes, of the runs with most steps; over their seeds a t interval."""
    again = f"{runs.line(PRESET, {'steps': STEPS})}, then python -m experiments.evaluate --workdir DIR"
    paths = runs.finished(
        place, lambda config: config.data.dataset == "shapes" and runs.is_plain(config, PRESET)
    )
    scored = [scores for scores in map(runs.scores, paths) if "edit_success" in scores]
    if not scored:
        return Measured(None, None, f"no scored run of {PRESET} under runs={place.runs}", again)
    steps = max(scores["step"] for scores in scored)
    longest = [scores for scores in scored if scores["step"] == steps]
    values = [100 * scores["edit_success"] for scores in longest]
    single = {name: longest[0][f"edit_success_{name}"] for name in FACTOR_NAMES}
    worst, best = min(single, key=single.__getitem__), max(single, key=single.__getitem__)
    interval = mean_interval(values) if len(values) > 1 else None
    return Measured(
        sum(values) / len(values),
        None if interval is None else (interval.low, interval.high),
        "six known factors of drawn shapes, judged by the nearest of all pictures; after "
        f"{steps:,} steps; seeds: {len(values)}, {'95 % t interval' if interval else 'so no interval'}; of the "
        f"first run from {100 * single[worst]:.0f} % ({worst}) to {100 * single[best]:.0f} % ({best})",
        again,
    )


CLAIMS = [
    Claim(
        "beta-vae-edits",
        "Edits of images in the latent space of beta-VAE succeed in more than 75 % of the cases",
        "surveys of disentangled representations and image editing",
        "above 75 %",
        Allowed(low=75),
        "%",
        edit_success,
    )
]
