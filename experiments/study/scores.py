"""How the runs of a study are scored, where that is not as training does it: options of `experiments.evaluate`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments import evaluate
from genjax.app.extractors import ExtractorOptions, changed
from genjax.typing import UserError

NAMES = ("metrics", "resamples", *(field.name for field in dataclasses.fields(ExtractorOptions)))
"""The options that a study may set."""


def words(scoring: Mapping[str, Any]) -> list[str]:
    """The options as on the command line.

    Args:
        scoring: option -> value, a Python value.

    Raises:
        UserError: there is no such option.
    """
    if unknown := [name for name in scoring if name not in NAMES]:
        raise UserError(f"scoring has {unknown[0]!r}; valid are {', '.join(NAMES)}")
    found: list[str] = []
    for name, value in scoring.items():
        option = f"--{name}".replace("_", "-")
        found += [option] * bool(value) if isinstance(value, bool) else [option, str(value)]
    return found


def recorded(scoring: Mapping[str, Any]) -> dict[str, Any]:
    """What ``metrics.json`` has as "scored_with" after such a score.

    Raises:
        UserError: an option that there is not, or values that contradict each other.
        SystemExit: a value is none of its option; evaluation's parser has said so.
    """
    options = evaluate.parse(["--workdir", "", *words(scoring)])
    names = evaluate.names(options, "fd", "digits")
    if "fd" not in names:
        raise UserError(f"metrics={options.metrics!r}: fd must be among them, by which a study is ranked")
    chosen = options.extractor
    if chosen.extractor == "inception" and chosen.weights is None:
        raise UserError("extractor='inception' needs weights=FILE")
    if chosen.extractor is None and changed(chosen):
        raise UserError(f"{next(iter(changed(chosen)))} is of an extractor, and none is named")
    return evaluate.scored_with(options)
