"""The command line of a study: which one it is, and what is changed about it."""

import contextlib
import dataclasses
import difflib
import importlib
import importlib.util
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import tyro

from experiments.study import budget as budgets
from experiments.study import fields
from experiments.study.spec import Study
from experiments.study.studies import STUDIES
from genjax.app.extractors import ExtractorOptions, changed
from genjax.typing import UserError


@dataclasses.dataclass(frozen=True)
class Options:
    """Train and score all runs of a comparative study. The same command continues it.

    Attributes:
        spec: A named study ({STUDIES}), or presets joined by commas, or a Study in Python as FILE.py:NAME or
            MODULE:NAME.
        workdir: The folder of the study. It is created if it does not exist.
        set: FIELD=VALUE for all presets, or PRESET:FIELD=VALUE for one preset. Fields and values are written as on the
            command line of training.
        grid: FIELD=VALUE,VALUE,... Every combination is trained.
        seeds: Number of seeds; the seeds are 0, 1, ... Without it: the study's own seeds.
        seeds_of: PRESET=NUMBER: train this preset with the first NUMBER seeds only, because it takes long.
        budget: Budget of every run: steps=500, epochs=2, seconds=60 (without compilation), evaluations=1e6 (calls of
            networks times images) or flops=1e13. Without it: the study's own budget.
        sweep: Numbers of sampler steps at which trained diffusion models are also scored. Without it: the study's own
            numbers.
        cost: Also measure the cost of making images.
        metrics: Metrics of the images of every run, separated by commas; see `python -m experiments.evaluate --help`.
            Without it: the metrics of training. Images other than digits also need an extractor.
        resamples: Number of bootstrap resamples for 95 % intervals over the images of each run. Without it: the study's
            own number, or no intervals.
        jobs: Number of runs at a time. Without it: one for each GPU; on CPU one for each core, at most four.
        retry_failed: Run failed runs again.
        dry_run: Print which runs are left and which are done. Run and write nothing.
        export: Write a SLURM job array or a list of commands, and run nothing.
        report: Make the report at the end.
    """

    spec: Annotated[str, tyro.conf.Positional]
    workdir: str
    set: tuple[str, ...] = ()
    grid: tuple[str, ...] = ()
    seeds: int | None = None
    seeds_of: tuple[str, ...] = ()
    budget: str | None = None
    sweep: tuple[int, ...] = ()
    cost: tyro.conf.FlagCreatePairsOff[bool] = False
    metrics: str | None = None
    resamples: int | None = None
    jobs: int | None = None
    retry_failed: tyro.conf.FlagCreatePairsOff[bool] = False
    dry_run: tyro.conf.FlagCreatePairsOff[bool] = False
    export: Literal["slurm", "commands"] | None = None
    report: tyro.conf.FlagCreatePairsOff[bool] = False
    extractor: Annotated[ExtractorOptions, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=ExtractorOptions
    )


assert Options.__doc__ is not None
Options.__doc__ = Options.__doc__.replace("{STUDIES}", ", ".join(STUDIES))


def check_given_once(arguments: Sequence[str]) -> None:
    """Checks that no option with several values occurs twice: the parser would take the last, and lose the others.

    Raises:
        UserError: one does.
    """
    # As the parser takes them: --seeds_of and --set=FIELD=VALUE are options as well.
    given = [text.partition("=")[0].replace("_", "-") for text in arguments if text.startswith("--")]
    for option in ("--set", "--grid", "--seeds-of", "--sweep"):
        if given.count(option) > 1:
            raise UserError(f"{option} is given twice: give all of its values after one")


def study(options: Options) -> Study:
    """The study that is asked for.

    Raises:
        UserError: there is none, or what is changed about it cannot be.
    """
    found = load(options.spec)
    everywhere, of_one = _settings(options.set, found.presets)
    grid = _grid(options.grid)
    # What the study itself says of a field gives way, to a budget its steps too.
    decided = {*grid, *(["steps"] if options.budget else [])}
    per_preset = {
        name: {
            **_without(found.per_preset.get(name, {}), {*everywhere, *own, *decided}, name),
            **own,
        }
        for name, own in of_one.items()
    }
    base = _without(found.base, decided, found.presets[0]) if found.presets else {}
    if options.seeds is not None and options.seeds < 1:
        raise UserError(f"seeds={options.seeds}: valid are [1, inf)")
    return dataclasses.replace(
        found,
        base={**base, **everywhere},
        per_preset={name: own for name, own in per_preset.items() if own},
        grid={**found.grid, **grid},
        seeds=found.seeds if options.seeds is None else tuple(range(options.seeds)),
        seeds_of=_counts(options.seeds_of, found.seeds_of, options.seeds),
        budget=found.budget if options.budget is None else budgets.parse(options.budget),
        sweep=options.sweep or found.sweep,
        cost=options.cost or found.cost,
        scoring={**found.scoring, **_scoring(options)},
    )


def _scoring(options: Options) -> dict[str, Any]:
    """What is asked for; the rest is as the study says."""
    given = {"metrics": options.metrics, "resamples": options.resamples}
    return {name: value for name, value in given.items() if value is not None} | changed(options.extractor)


def load(spec: str) -> Study:
    """A named study, one of presets, or a Python value.

    Raises:
        UserError: there is no such thing.
    """
    if spec in STUDIES:
        return STUDIES[spec][1]
    if ":" in spec:
        return _from_python(spec)
    presets = tuple(name for name in spec.split(",") if name)
    try:
        for name in presets or (spec,):
            fields.config_of(name)
    except UserError as error:
        near = difflib.get_close_matches(spec, STUDIES, n=1)
        hint = f"; perhaps you meant the study {near[0]!r}" if near else ""
        raise UserError(f"{error}. Studies: {', '.join(STUDIES)}{hint}") from error
    return Study(presets)


def _from_python(spec: str) -> Study:
    where, _, name = spec.rpartition(":")
    try:
        module = _file(where) if where.endswith(".py") else importlib.import_module(where)
    except (ImportError, OSError) as error:
        raise UserError(f"spec={spec!r}: {error}") from error
    value = getattr(module, name, None)
    if not isinstance(value, Study):
        known = [key for key, other in vars(module).items() if isinstance(other, Study)]
        raise UserError(
            f"spec={spec!r}: {name!r} is no Study; those in {where} are {', '.join(known) or 'none'}"
        )
    return value


def _file(path: str) -> Any:
    spec = importlib.util.spec_from_file_location(pathlib.Path(path).stem, pathlib.Path(path).expanduser())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with _importable(pathlib.Path(path).expanduser().resolve().parent):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _importable(folder: pathlib.Path) -> Any:
    """Files beside a study may be imported by it."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _settings(
    given: Sequence[str], presets: Sequence[str]
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """FIELD=VALUE for all, and for each preset by name."""
    everywhere: dict[str, str] = {}
    of_one: dict[str, dict[str, str]] = {name: {} for name in presets}
    for text in given:
        name, value = _halves("set", text)
        preset, colon, field = name.rpartition(":")
        if colon and preset not in of_one:
            raise UserError(
                f"set={text!r}: no preset {preset!r} in this study, valid are {', '.join(presets)}"
            )
        _put(of_one[preset] if colon else everywhere, field, value, f"set={text!r}")
    return everywhere, of_one


def _grid(given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    grid: dict[str, tuple[str, ...]] = {}
    for text in given:
        name, values = _halves("grid", text)
        _put(grid, name, tuple(value for value in values.split(",") if value), f"grid={text!r}")
    return grid


def _counts(given: Sequence[str], before: Mapping[str, int], most: int | None) -> dict[str, int]:
    """PRESET=NUMBER; what the study itself says gives way to fewer seeds for all."""
    counts = {preset: min(count, most or count) for preset, count in before.items()}
    for text in given:
        preset, _, number = text.partition("=")
        if not number.isdecimal():
            raise UserError(f"seeds_of={text!r}: PRESET=NUMBER is needed, as ddpm-mnist=1")
        counts[preset] = int(number)
    return counts


def _put(values: dict[str, Any], name: str, value: Any, given: str) -> None:
    if name in values:
        raise UserError(f"{given}: {name} is {values[name]!r} before it, give it once")
    values[name] = value


def _halves(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"{option}={text!r}: FIELD=VALUE is needed, as optimizer.learning_rate=1e-3")
    return name, value


def _without(values: Mapping[str, Any], names: set[str], preset: str) -> dict[str, Any]:
    """Without the fields of these names, in full or not."""
    gone = {fields.full_name(name, preset) for name in names}
    return {name: value for name, value in values.items() if fields.full_name(name, preset) not in gone}
