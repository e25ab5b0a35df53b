"""From a budget to the number of steps that each run gets."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from experiments.study.spec import Budget
from genjax.app import build
from genjax.app.config import Config
from genjax.typing import UserError

UNITS = {
    "steps": "steps_per_step",
    "seconds": "seconds_per_step",
    "evaluations": "network_evaluations_per_step",
    "flops": "flops_per_step",
    "epochs": "epochs_per_step",
}
"""Kind of budget -> what of it a step takes, of those that are measured."""


def parse(text: str) -> Budget:
    """A budget from ``KIND=AMOUNT``.

    Raises:
        UserError: it is none.
    """
    kind, _, amount = text.partition("=")
    try:
        number = float(amount)
    except ValueError as error:
        raise UserError(
            f"budget={text!r}: valid are {', '.join(f'{kind}=' for kind in UNITS)} with a number, such as steps=500"
        ) from error
    return Budget(kind, number)  # type: ignore[arg-type]  # which it checks


def epoch(config: Config) -> dict[str, float]:
    """The share of the training data that is in a step, as "epochs_per_step"."""
    data = dataclasses.replace(config.data, resident_mb=0)  # nothing is decoded to count the records
    return {UNITS["epochs"]: config.fit.batch_size / len(build.source(data, data.train_split))}


def measurements(kind: str, process: Callable[[Config, str], dict[str, Any]]) -> Callable[[Config], dict]:
    """What measures what a step takes of this kind of budget.

    Args:
        kind: kind of the budget.
        process: ``(config, "costs" or "time") ->`` measurements from a process of its own.
    """
    if kind == "steps":
        return lambda config: {UNITS["steps"]: 1.0}
    if kind == "epochs":
        return epoch
    return lambda config: process(config, "time" if kind == "seconds" else "costs")


def steps(budget: Budget, measured: Mapping[str, float | None]) -> int:
    """The whole number of steps nearest to the budget, at least one.

    Raises:
        UserError: what a step takes is not known.
    """
    unit = UNITS[budget.kind]
    each = measured.get(unit)
    if not each:
        raise UserError(
            f"budget={budget.kind}: {unit} is not known here; valid are steps, epochs and seconds"
        )
    return max(1, round(budget.amount / each))
