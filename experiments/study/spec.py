"""What a study is: which presets are trained, in which variants, from how many seeds and for how long."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args

from genjax.typing import UserError

STUDY = "study.json"
"""The file in the folder of a study that says what it is."""

BudgetKind = Literal["epochs", "seconds", "evaluations", "flops"]


@dataclasses.dataclass(frozen=True)
class Budget:
    """What every run may use, so that they compare fairly; it becomes a number of steps for each.

    Attributes:
        kind: Passes over the training data; seconds of training, compilation apart; forward calls of networks times the
            images of each; floating-point operations of training.
        amount: So many of them.
    """

    kind: BudgetKind
    amount: float

    def __post_init__(self) -> None:
        if self.kind not in get_args(BudgetKind):
            raise UserError(f"budget={self.kind!r}: valid are {', '.join(get_args(BudgetKind))}")
        if not 0 < self.amount < float("inf"):
            raise UserError(f"budget={self.kind}={self.amount}: valid are (0, inf)")


@dataclasses.dataclass(frozen=True)
class Study:
    """All presets, in every combination of the grid's values, from every seed.

    Fields of a config have dotted names, ``optimizer.learning_rate``; those of the training loop and the data also go
    without their first part, as on the command line of training: ``steps``, ``data_dir``. Values are Python values, or
    text as on that command line.

    Attributes:
        presets: Names.
        base: Field -> value, for all presets.
        per_preset: Preset -> field -> value; beats `base`.
        grid: Field -> values.
        variants: Preset -> sets of fields that change together, as an optimizer and the rate that fits it; each is
            combined with the grid.
        seeds: Of the training.
        seeds_of: Preset -> how many of the seeds it gets, the first, where it takes too long for all.
        budget: What decides on the number of steps; None: the configs do.
        sweep: Numbers of sampler steps at which trained diffusion models are scored again.
        cost: Also measure what making images costs, of every run whose sweep does not tell.
        scoring: Options of `experiments.evaluate` by which all runs are scored after training, where training's own
            score is not what is wanted, such as ``{"extractor": "efficientnet-lite0", "metrics": "fd,kid"}``.
    """

    presets: tuple[str, ...]
    base: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    per_preset: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    grid: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    variants: Mapping[str, tuple[Mapping[str, Any], ...]] = dataclasses.field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    seeds_of: Mapping[str, int] = dataclasses.field(default_factory=dict)
    budget: Budget | None = None
    sweep: tuple[int, ...] = ()
    cost: bool = False
    scoring: Mapping[str, Any] = dataclasses.field(default_factory=dict)
