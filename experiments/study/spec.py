"""What a study is: which presets are trained, in which variants, from how many seeds and for how long."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args

from genjax.typing import UserError

STUDY = "study.json"
"""The file in the folder of a study that says what it is."""

BudgetKind = Literal["steps", "epochs", "seconds", "evaluations", "flops"]


@dataclasses.dataclass(frozen=True)
class Budget:
    """The budget of every run, for a fair comparison. It is converted to a number of steps for each run.

    Attributes:
        kind: The unit: "steps" (updates), "epochs" (passes over the training data), "seconds" (of training, without
            compilation), "evaluations" (forward calls of networks times images) or "flops" (floating-point operations
            of training).
        amount: The number of these units.
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

    Fields of a config have dotted names, such as ``optimizer.learning_rate``. Fields of the training loop and of the
    data may also be written without their first part, as on the command line of training: ``steps``, ``data_dir``.
    Values are Python values, or text as on the command line.

    Attributes:
        presets: Names of presets.
        base: Field -> value, for all presets.
        per_preset: Preset -> field -> value. It takes precedence over `base`.
        grid: Field -> values.
        variants: Preset -> sets of fields that change together, such as an optimizer and its learning rate. Each set is
            combined with the grid.
        seeds: Seeds of the training.
        seeds_of: Preset -> number of seeds, counted from the first, for a preset that takes long.
        budget: Budget that sets the number of steps; None: the configs set it.
        sweep: Numbers of sampler steps at which trained diffusion models are also scored.
        cost: Also measure the cost of making images, for every run without a sweep.
        scoring: Options of `experiments.evaluate` with which all runs are scored after training, instead of training's
            own score, such as ``{"extractor": "efficientnet-lite0", "metrics": "fd,kid"}``.
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
