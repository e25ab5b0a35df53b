"""Measure speed and memory: ``python -m experiments.bench [train|sample|data|all] [PRESET]``, or
[layers|step|samplers|metrics|inception].

Prints a table and, as its last line, one JSON object. The object of `train`, `sample` and `data` has
"images_per_second" at the top, so that the command can itself be a baseline: an older commit in another checkout, say::

    python -m experiments.bench train ddpm-digits --against stock \\
        --baseline 'cd ../old && python -m experiments.bench train ddpm-digits --repeats 1 --no-fresh'

`layers`, `step`, `samplers`, `metrics` and `inception` need no preset: single layers, training steps of several
networks, making images, distances between sets of features, and Inception's features, against flax.linen's layers,
PyTorch, diffusers and torch-fidelity.

Contenders take turns, and a ratio compares two measurements of one round; above 1, genjax is faster.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import tyro

from experiments import cli
from experiments.bench import (
    command,
    fresh,
    inception,
    layers,
    libraries,
    metrics,
    report,
    samplers,
    step,
    timing,
)
from experiments.bench.measure import Options, check, measure
from experiments.presets import PRESETS
from genjax.app import checks, workdir
from genjax.app.config import Config, flatten

_Experiment: Any = tyro.extras.subcommand_type_from_defaults(
    {name: config for name, (_, config) in PRESETS.items()},
    {name: about for name, (about, _) in PRESETS.items()},
    prefix_names=False,
)
_DEFAULT_VERB, _DEFAULT_PRESET = "all", "ddpm-digits"


@dataclasses.dataclass(frozen=True)
class _Bench:
    config: Annotated[_Experiment, tyro.conf.arg(name="")]
    options: Annotated[Options, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Options)


class Train(_Bench):
    """Training steps on a batch that is on the devices: images/s, ms/step, compile time, memory."""


class Sample(_Bench):
    """Making images: images/s, network evaluations/s (for one image each), compile time, memory."""


class Data(_Bench):
    """Training batches from the data set to the devices: images/s."""


class All(_Bench):
    """All three."""


_VERBS: dict[type, tuple[str, ...]] = {
    Train: ("train",),
    Sample: ("sample",),
    Data: ("data",),
    All: ("train", "sample", "data"),
}
_ALONE: dict[type, tuple[str, Callable[[Any], dict[str, Any]]]] = {
    layers.Options: ("layers", layers.bench),
    step.Options: ("step", step.bench),
    samplers.Options: ("samplers", samplers.bench),
    metrics.Options: ("metrics", metrics.bench),
    inception.Options: ("inception", inception.bench),
}
"""Options of the verbs that take no preset -> their name, and what measures."""
_Command = (
    Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Sample, tyro.conf.subcommand("sample")]
    | Annotated[Data, tyro.conf.subcommand("data")]
    | Annotated[All, tyro.conf.subcommand("all")]
    | Annotated[layers.Options, tyro.conf.subcommand("layers")]
    | Annotated[step.Options, tyro.conf.subcommand("step")]
    | Annotated[samplers.Options, tyro.conf.subcommand("samplers")]
    | Annotated[metrics.Options, tyro.conf.subcommand("metrics")]
    | Annotated[inception.Options, tyro.conf.subcommand("inception")]
)


def main() -> None:
    """Reads the command line, measures and prints."""
    # Baselines and fresh starts use the same accelerator: nobody is to take all of its memory at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    chosen = tyro.cli(
        _Command,
        prog="python -m experiments.bench",
        description=__doc__,
        args=with_defaults(sys.argv[1:]),
        config=(tyro.conf.CascadeSubcommandArgs,),
    )
    if isinstance(chosen, _Bench):
        bench(_VERBS[type(chosen)], chosen.config, chosen.options)
    else:
        bench_alone(chosen)


def with_defaults(args: Sequence[str]) -> list[str]:
    """Adds the verb and the preset if they are left out. Mistyped ones stay and are reported."""
    if {"-h", "--help"} & set(args):
        return list(args)
    verb, rest = (args[0], args[1:]) if args and not args[0].startswith("-") else (_DEFAULT_VERB, args)
    if verb in {name for name, _ in _ALONE.values()}:
        return [verb, *rest]
    named = set(PRESETS) & set(rest) or (rest and not rest[0].startswith("-"))
    return [verb, *([] if named else [_DEFAULT_PRESET]), *rest]


def bench(verbs: tuple[str, ...], config: Config, options: Options) -> None:
    """Measures, and prints the table and the JSON object."""
    check(options, verbs)
    checks.check(config)
    load = os.getloadavg()[0]
    commands = {line: command.contender(line) for line in options.baseline}  # first: they may fail
    # Before this process takes a device: some accelerators serve one at a time.
    starts = {v: fresh.measure(v, config) if options.fresh and v in fresh.WORKLOADS else {} for v in verbs}
    results = {verb: {**measure(verb, config, options, commands), **starts[verb]} for verb in verbs}
    headline = {timing.RATE: results[verbs[0]][timing.RATE]["median"]} if len(verbs) == 1 else {}
    print(report.table(results))
    _print_json({**headline, **results, "config": flatten(config)}, config.fit.seed, load)


def bench_alone(options: Any) -> None:
    """Measures what needs no preset, and prints a table and the JSON object."""
    load = os.getloadavg()[0]
    name, measure_all = _ALONE[type(options)]
    results = {name: measure_all(options), **libraries.described(options)}
    if libraries.TORCH in results:
        print(f"torch: {results[libraries.TORCH]}")
    _print_json({**results, "options": dataclasses.asdict(options)}, 0, load)


def _print_json(results: dict[str, Any], seed: int, load: float) -> None:
    manifest = {**workdir.manifest(seed), "load_average": load}
    versions = f"commit {manifest['git_commit']}, jax {manifest['packages']['jax']}"
    print(f"{versions}, {', '.join(manifest['devices'])}, load {load:.1f}")
    print(json.dumps({**results, "manifest": manifest}))


if __name__ == "__main__":
    cli.run(main)
