"""Compare models: ``python -m experiments.study quick --workdir DIR``; the same command goes on with a study.

SPEC is a named study, one or several presets joined by commas, or a `Study` of your own::

    python -m experiments.study vae-digits,gan-digits --grid optimizer.learning_rate=1e-3,1e-4 --seeds 3 \\
        --budget epochs=50 --workdir studies/rates
    python -m experiments.study my_study.py:STUDY --workdir studies/mine

The workdir gets ``study.json``, the plan, ``runs/``, a workdir of training each, and ``failed/``.
"""

import collections
import contextlib
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import tyro

from experiments import cli
from experiments.report import page
from experiments.study import budget, command, measure, plan, runner, store
from experiments.study.exports import EXPORTS
from experiments.study.slots import Slot, slots
from experiments.study.spec import Study
from experiments.study.studies import STUDIES
from genjax.app.config import Config
from genjax.data import confirmed
from genjax.typing import UserError

_PROG = "python -m experiments.study"


def main() -> None:
    """Reads the command line, and runs the study."""
    listed = "\n".join(f"  {name}: {about}" for name, (about, _) in STUDIES.items())
    command.check_given_once(sys.argv[1:])
    options = tyro.cli(command.Options, prog=_PROG, description=f"{__doc__}\nNamed studies:\n\n{listed}")
    sys.exit(study(options))


def study(options: command.Options) -> int:
    """Runs what is missing of a study; returns the exit code, 1 if a run failed."""
    asked = command.study(options)
    runs = plan.runs(asked)
    if options.report:
        page.require()  # before the work, not after it
    if options.export and asked.budget and asked.budget.kind == "seconds":
        raise UserError("budget=seconds is measured where the study runs; with export, give epochs or flops")
    if "://" in options.workdir and not options.export:
        raise UserError(f"workdir={options.workdir!r}: a study runs in a local folder; a bucket needs export")
    folder = store.Folder(options.workdir, _again(sys.argv[1:]))
    if options.dry_run:
        return preview(folder, asked, runs, options.retry_failed)
    weights = asked.scoring.get("weights")
    if weights and not options.export and not pathlib.Path(weights).expanduser().exists():
        raise UserError(f"weights={weights!r}: there is no such file")
    for where in {run.config.data.data_dir for run in runs}:
        confirmed.confirm(where)
    with contextlib.nullcontext(-1) if options.export else runner.only_study(folder) as lock:
        before = folder.read()
        if before:
            store.check_same(before, asked, runs, folder.path)
        for dataset in dict.fromkeys(run.config.data.dataset for run in runs if not run.is_scored):
            print(
                f"{dataset}: no extractor is given that knows its images, so the report will not rank these runs"
            )
        places = [Slot()] if options.export else slots(options.jobs, len(runs))
        runs = budgeted(options.spec, asked, runs, folder, before.get("measured", {}), places[0])
        if options.export:
            print(f"written: {EXPORTS[options.export](folder, runs)}")
            return 0
        at_work = runner.Runner(folder, runs, places, options.retry_failed)
        try:
            at_work.run(lock)
        except runner.Stopped as signal:
            print(f"stopped; the same command goes on: {_again(sys.argv[1:])}", file=sys.stderr)
            return 128 + int(signal.args[0])
    return finish(options, at_work)


def budgeted(
    name: str,
    asked: Study,
    runs: Sequence[plan.Run],
    folder: store.Folder,
    measured: dict[str, dict[str, Any]],
    slot: Slot,
) -> list[plan.Run]:
    """The runs with their steps, and ``study.json`` with what decided on them: measured once, then kept.

    Args:
        name: name of the study.
        asked: the study.
        runs: of it.
        folder: folder of the study.
        measured: cell -> what is known already.
        slot: where a run is measured.
    """
    if asked.budget is None:
        folder.write(name, asked, runs, {})
        return list(runs)
    find = budget.measurements(asked.budget.kind, lambda config, what: _process(config, what, slot))
    measured = dict(measured)
    cores = {"cores": len(slot.cores)} if asked.budget.kind == "seconds" else {}
    others = {known["cores"] for known in measured.values() if "cores" in known} - set(cores.values())
    if others and any(run.cell not in measured for run in runs):
        raise UserError(
            f"budget=seconds was measured on {others.pop()} cores a run before, and would be on {cores['cores']} now: "
            "give as many jobs as then"
        )
    for cell, config in {run.cell: run.config for run in runs}.items():
        if cell not in measured:
            print(f"{cell}: measuring a step, for the budget", flush=True)
            measured[cell] = find(config) | cores
            folder.write(name, asked, runs, measured)
    found = [run.with_steps(budget.steps(asked.budget, measured[run.cell])) for run in runs]
    folder.write(name, asked, found, measured)
    return found


def preview(folder: store.Folder, asked: Study, runs: Sequence[plan.Run], retry_failed: bool) -> int:
    """Says what the study would run, and what of it is done; runs and writes nothing. Returns the exit code."""
    before = folder.read()
    if before:
        store.check_same(before, asked, runs, folder.path)
    steps = {run["name"]: run["steps"] for run in before.get("runs", [])}
    counts = collections.Counter[str]()
    for run in runs:
        if asked.budget:
            decided = steps.get(run.name)
            run = run.with_steps(decided) if decided else run
            said = f"{decided} steps" if decided else f"{asked.budget.amount:g} {asked.budget.kind}"
        else:
            said = f"{run.config.fit.steps} steps"
        known = asked.budget is None or run.steps is not None
        missing = folder.missing(run) if known else [[]]
        failed = folder.failure(run).exists() and not retry_failed
        state = "done" if not missing else "failed" if failed else "to do"
        counts[state] += 1
        print(f"{run.name}: {said}, {state}")
    print(f"{len(runs)} runs: {', '.join(f'{count} {state}' for state, count in counts.items())}")
    return 0


def finish(options: command.Options, at_work: runner.Runner) -> int:
    """Says how the study ended, and makes its report; returns the exit code."""
    path = at_work.folder.path
    print(f"{at_work.done} of {at_work.total} runs are done, {len(at_work.failed)} failed: {path}")
    line = ["-m", "experiments.report", str(path)]
    if options.report:
        code = subprocess.run([sys.executable, *line], env=Slot().environment()).returncode
        return code or int(bool(at_work.failed))
    print(f"report: python {' '.join(line)}")
    return int(bool(at_work.failed))


def _process(config: Config, what: str, slot: Slot) -> dict[str, Any]:
    # A process that this one starts inherits its cores.
    with slot.held():
        return measure.apart(config, what, slot.environment())


def _again(arguments: Sequence[str]) -> str:
    """The command that goes on with the study: without what was to happen once."""
    words = list(arguments)
    for option, values in (("--export", 1), ("--retry-failed", 0), ("--dry-run", 0)):
        if option in words:
            at = words.index(option)
            del words[at : at + 1 + values]
    return shlex.join([*_PROG.split(), *words])


if __name__ == "__main__":
    cli.run(main, when_interrupted="the same command goes on with the study")
