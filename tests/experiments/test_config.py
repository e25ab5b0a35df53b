"""Configs and command lines: help for every field, round trips, what is said of mistyped names and bad values."""

import dataclasses
import json
import re
import shlex
import types
import typing

import dacite
import docstring_parser
import pytest
from etils import epath

from experiments import train_command
from experiments.evaluate import Evaluate
from experiments.presets import PRESETS
from experiments.sample import Sample
from genjax import ranges
from genjax.app import checks, config_files, kinds, workdir
from genjax.app.config import Config, DataConfig, EvaluationConfig, Launch, SamplingConfig, flatten
from genjax.methods.optimizers import OptimizerConfig
from genjax.train.options import FitOptions
from genjax.typing import UserError

ONE_OF_A_KIND = {
    (type(config.model), type(config.method)): name for name, (_, config) in PRESETS.items()
}.values()
"""A preset for each kind of network and method."""


def fields(config_class, prefix="", config=None):
    """(option, description) of every field of a config, by its docstrings: what its options are to be."""
    described = {
        param.arg_name: param.description
        for ancestor in reversed(config_class.__mro__)
        for param in docstring_parser.parse(ancestor.__doc__).params
    }
    hints = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        # Where several kinds are possible, the preset's.
        choice = typing.get_origin(hints[field.name]) in (types.UnionType, typing.Union)
        choice = choice and hasattr(config, field.name)
        kind = type(getattr(config, field.name)) if choice else hints[field.name]
        if dataclasses.is_dataclass(kind):
            unprefixed = field.name in ("fit", "launch", "config", "initial") or config_class in (
                Sample,
                Evaluate,
            )
            yield from fields(kind, "" if unprefixed else f"{field.name}.", config)
        else:
            name = field.name if field.name in ("dataset", "data_dir", "extractor") else prefix + field.name
            yield "--" + name.replace("_", "-"), described.get(field.name)


def unwrapped(text):
    """Without the frame and line breaks."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


def squeezed(text):
    """Without the frame, and without spaces, since tyro breaks lines."""
    return re.sub(r"[│╭╮╰╯─\s]", "", text)


@pytest.mark.parametrize(
    ("name", "arguments", "config_class"),
    [
        *(("train", [preset], train_command.Train) for preset in ONE_OF_A_KIND),
        ("sample", [], Sample),
        ("evaluate", [], Evaluate),
    ],
)
def test_help_says_what_every_field_means(verb, name, arguments, config_class):
    ended = verb(name, *arguments, "--help")
    assert ended.code == 0 and not ended.err
    config = PRESETS[arguments[0]][1] if arguments else None
    options = dict(fields(config_class, config=config))
    if name == "train":
        assert len(options) == len(flatten(config)) + len(dataclasses.fields(Launch))
    for option, description in options.items():
        assert description and description.endswith(".") and len(description.split()) > 1, option
        pattern = re.escape(option) + ".{0,700}?" + re.escape(squeezed(description))
        assert re.search(pattern, squeezed(ended.out)), option


def test_help_without_preset_lists_the_presets(verb):
    bare, helped = verb("train"), verb("train", "--help")
    assert (bare.code, bare.out) == (2, "") and (helped.code, helped.err) == (0, "")
    assert bare.err == helped.out
    for name, (about, _) in PRESETS.items():
        assert re.search(rf"^  {name} +{re.escape(about)}$", helped.out, re.MULTILINE)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_survive_json(tmp_path, name):
    config = PRESETS[name][1]
    checks.check(config)
    workdir.write_json(epath.Path(tmp_path) / workdir.CONFIG, config_files.to_json(config))
    assert workdir.load_config(epath.Path(tmp_path)) == config
    # As older versions wrote it, without the names of kinds.
    workdir.write_json(epath.Path(tmp_path) / workdir.CONFIG, dataclasses.asdict(config))
    assert workdir.load_config(epath.Path(tmp_path)) == config
    # And through the command line: no option changes anything.
    assert train_command.parse([name]) == train_command.Train(config, Launch(f"runs/{name}"))


def test_command_line_of_the_readme():
    command = train_command.parse(
        shlex.split(
            "ddpm-mnist --workdir runs/a --steps 2000 --dataset mnist --data-dir somewhere --model.channels 64"
            " --data.on-bad-record skip --model.multipliers 1 2 --optimizer.clip-norm None --data.flip"
        )
    )
    default = PRESETS["ddpm-mnist"][1]
    changed = {
        name: value for name, value in flatten(command.config).items() if value != flatten(default)[name]
    }
    assert changed == {
        "fit.steps": 2000,
        "data.data_dir": "somewhere",
        "data.on_bad_record": "skip",
        "data.flip": True,
        "model.channels": 64,
        "model.multipliers": (1, 2),
        "optimizer.clip_norm": None,
    }
    assert command.launch == Launch("runs/a")


def test_mistyped_names_get_near_matches(verb):
    preset = verb("train", "dpm-digit")
    assert (
        preset.code == 2 and "no preset is called 'dpm-digit'; perhaps you meant 'ddpm-digits'" in preset.err
    )
    far = verb("train", "gan")
    assert far.code == 2 and "perhaps" not in far.err and "ddpm-digits, ddpm-mnist" in far.err
    order = verb("train", "--steps", "3", "ddpm-digits")
    assert order.code == 2 and "must come before '--steps'" in order.err
    for name, arguments, wrong, right in [
        ("train", ["ddpm-digits"], "--model.chanels", "--model.channels"),
        ("train", ["ddpm-digits"], "--on-bad-record", "--data.on-bad-record"),
        ("sample", ["--workdir", "x"], "--number-steps", "--num-steps"),
        ("evaluate", ["--workdir", "x"], "--workdirr", "--workdir"),
    ]:
        ended = verb(name, *arguments, wrong, "3")
        assert ended.code == 2 and not ended.out
        assert re.search(
            rf"Unrecognized options: {wrong}.* Perhaps you meant: .*{right} ", unwrapped(ended.err)
        )


def test_mistyped_values_name_the_valid_ones(verb):
    ended = verb("train", "ddpm-digits", "--method.schedule", "cosin")
    assert (
        ended.code == 2
        and "'--method.schedule'. Expected one of ('linear', 'scaled_linear', 'cosine'"
        in unwrapped(ended.err)
    )


NUMBERS = {int, float, int | None, float | None, tuple[int, ...], tuple[float, ...], dict[str, float]}
SECTIONS = [
    *(kind.config for table in kinds.TABLES.values() for kind in table.values()),
    *(FitOptions, DataConfig, OptimizerConfig, SamplingConfig, EvaluationConfig),
]


@pytest.mark.parametrize("config_class", SECTIONS)
def test_every_number_has_a_range(config_class):
    """Also in configs that no preset has."""
    hints = typing.get_type_hints(config_class)
    numbers = {field.name for field in dataclasses.fields(config_class) if hints[field.name] in NUMBERS}
    assert ranges.ranges(config_class).keys() == numbers


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("fit", {"steps": 0}, "steps=0: valid are [1, inf)"),
        ("fit", {"seed": -1}, "seed=-1: valid are [0, 4294967296)"),
        ("fit", {"batch_size": 10, "steps_per_dispatch": 0}, "steps_per_dispatch=0: valid are [1, inf)"),
        ("fit", {"backend": "pmap", "fsdp": 2}, "fsdp=2: backend='pmap' cannot split parameters"),
        ("model", {"multipliers": (1, 0)}, "model.multipliers=(1, 0): valid are [1, inf)"),
        ("model", {"dropout": 1.0}, "model.dropout=1.0: valid are [0, 1)"),
        ("method", {"ema_decay": float("nan")}, "method.ema_decay=nan: valid are [0, 1)"),
        ("optimizer", {"learning_rate": 0.0}, "optimizer.learning_rate=0.0: valid are (0, inf)"),
        ("optimizer", {"warmup_steps": 1000}, "optimizer.warmup_steps=1000 must be less than steps=1000"),
        ("optimizer", {"accumulate": 3}, "optimizer.accumulate=3 must divide batch_size=64"),
        ("sampling", {"eta": 1.5}, "sampling.eta=1.5: valid are [0, 1]"),
        ("sampling", {"eta": 0.5, "sampler": "ddpm"}, "sampling.eta=0.5 is for ddim, "),
        ("evaluation", {"num": 1}, "evaluation.num=1: valid are 0 (no score) and 2 or more"),
        ("evaluation", {"score_every": -1}, "evaluation.score_every=-1: valid are [0, inf)"),
        ("evaluation", {"score_num": 1}, "evaluation.score_num=1: valid are [2, inf)"),
    ],
)
def test_bad_numbers_are_refused_by_name(section, values, message):
    config = Config()
    config = dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **values)})
    with pytest.raises(UserError, match=re.escape(message)):
        checks.check(config)


def test_a_network_without_a_resolution_is_refused():
    config = Config()
    model = dataclasses.replace(config.model, multipliers=())
    with pytest.raises(UserError, match=r"model.multipliers=\(\): at least one is needed"):
        kinds.network(config).check(model, (8, 8, 1))


def test_scores_while_training_are_of_digits():
    config = Config(evaluation=EvaluationConfig(score_every=10))
    checks.check(config)
    shapes = dataclasses.replace(config.data, dataset="shapes")
    with pytest.raises(UserError, match=r"score_every=10: valid is 0.*knows digits, mnist, and not 'shapes'"):
        checks.check(dataclasses.replace(config, data=shapes))


def test_limits_of_ranges_are_valid():
    checks.check(dataclasses.replace(Config(), optimizer=OptimizerConfig(warmup_steps=0, clip_norm=None)))
    config = Config()
    sampling = dataclasses.replace(config.sampling, eta=1.0, guidance=0.0)
    checks.check(dataclasses.replace(config, sampling=sampling))


def test_a_config_of_another_version_is_refused(tmp_path):
    values = dataclasses.asdict(Config())
    values["model"]["depth"] = 3
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"config.json is not a config of this version of genjax.*depth"):
        workdir.load_config(epath.Path(tmp_path))
    (tmp_path / "config.json").write_text('{"fit": ')
    with pytest.raises(UserError, match="not a config of this version"):
        workdir.load_config(epath.Path(tmp_path))
    with pytest.raises(dacite.DaciteError):  # what the check above rests on: types are checked too
        dacite.from_dict(OptimizerConfig, {"accumulate": "two"})
