"""A study at work: what happens to runs that end well, fail or are stopped. Short programs stand in for training."""

import contextlib
import dataclasses
import functools
import json
import os
import re
import signal
import threading
import time

import pytest

from experiments.bench import command
from experiments.study import budget, measure, plan, slots, store
from experiments.study.__main__ import budgeted
from experiments.study.progress import duration, seconds_left
from experiments.study.runner import _Job, only_study
from experiments.study.spec import Budget, Study
from experiments.study.store import Folder
from genjax.typing import UserError

STEPS = 40
RATES = ("optimizer.learning_rate=1e-3,1e-4",)
FIELDS = (f"steps={STEPS}", "optimizer.warmup_steps=0")
FIRST, SECOND = "vae-digits,learning_rate=0.001,seed=0", "vae-digits,learning_rate=0.0001,seed=0"

_TRAINED = """
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
with open(folder / "starts", "a") as file:
    print(*sorted(os.sched_getaffinity(0)), file=file)
def score():
    (folder / "metrics.json").write_text(json.dumps({"step": STEPS}))
""".replace("STEPS", str(STEPS))
SCORES = _TRAINED + "score()"
FAILS = _TRAINED + "sys.exit('the learning rate is too large')"
SAVES_ON_SIGTERM = _TRAINED + (
    """
def save(*_):
    (folder / "saved").touch()
    sys.exit()
signal.signal(signal.SIGTERM, save)
if (folder / "saved").exists():
    score()
else:
    (folder / "ready").touch()
    time.sleep(60)
"""
)


@pytest.fixture
def stand_in(monkeypatch):
    """``(program, {run: program})``: what is run instead of training."""

    def use(program, of_one=()):
        def training(run, workdir):
            return ["python", "-c", dict(of_one).get(run.name, program), workdir]

        monkeypatch.setattr(plan.Run, "training", training)

    return use


@pytest.fixture
def study(tmp_path, verb, stand_in):
    """``python -m experiments.study`` in ``tmp_path / "w"``."""
    stand_in(SCORES)
    given = ("--workdir", tmp_path / "w", "--jobs", "2")
    return lambda *options, spec="vae-digits", grid=RATES, fields=FIELDS: verb(
        "study.__main__", spec, *given, "--grid", *grid, "--set", *fields, *options
    )


def starts(tmp_path, run):
    """The cores of each start of a run."""
    path = tmp_path / "w" / "runs" / run / "starts"
    return path.read_text().splitlines() if path.exists() else []


def test_all_runs_are_run_once(tmp_path, study):
    ended = study()
    assert ended.code == 0, ended.err
    assert "2 of 2 runs are done, 0 failed" in ended.out
    assert f"report: python -m experiments.report {tmp_path}/w" in ended.out
    assert re.search(rf"^{FIRST} is done after \d+ s: \d of 2", ended.out, re.M)
    again = study()
    assert again.code == 0 and "starts" not in again.out and "2 of 2 runs are done" in again.out
    cores = [starts(tmp_path, run) for run in (FIRST, SECOND)]
    assert list(map(len, cores)) == [1, 1]
    if len(os.sched_getaffinity(0)) > 1:
        assert not set(cores[0][0].split()) & set(cores[1][0].split())


def test_a_failed_run_does_not_stop_the_others(tmp_path, study, stand_in):
    stand_in(SCORES, {FIRST: FAILS})
    ended = study()
    assert ended.code == 1 and "1 of 2 runs are done, 1 failed" in ended.out
    assert f"{FIRST} failed with exit code 1: the learning rate is too large" in ended.out
    path = tmp_path / "w" / "failed" / f"{FIRST}.json"
    failure = json.loads(path.read_text())
    assert failure["exit_code"] == 1 and failure["tail"] == "the learning rate is too large\n"
    # It is not tried again unless one asks for it, however often the study is started.
    stand_in(SCORES)
    again = study()
    assert again.code == 1 and f"{FIRST} failed before: {path}" in again.out
    assert len(starts(tmp_path, FIRST)) == 1
    retried = study("--retry-failed")
    assert retried.code == 0 and "2 of 2 runs are done" in retried.out
    assert not path.exists() and [len(starts(tmp_path, run)) for run in (FIRST, SECOND)] == [2, 1]


def test_a_dry_run_runs_and_writes_nothing(tmp_path, study, stand_in):
    ended = study("--dry-run")
    assert ended.code == 0 and not (tmp_path / "w").exists()
    assert ended.out.splitlines() == [
        f"{FIRST}: 40 steps, to do",
        f"{SECOND}: 40 steps, to do",
        "2 runs: 2 to do",
    ]
    stand_in(SCORES, {FIRST: FAILS})
    assert study().code == 1
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "w").rglob("*")}
    assert study("--dry-run").out.splitlines()[-1] == "2 runs: 1 failed, 1 done"
    assert study("--dry-run", "--retry-failed").out.splitlines()[-1] == "2 runs: 1 to do, 1 done"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "w").rglob("*")} == before


def test_seconds_are_measured_on_equal_cores(tmp_path, monkeypatch):
    """A study that grows, or gets other jobs, must not give some of its runs the steps of more cores."""
    asked = Study(("vae-digits", "gan-digits"), budget=Budget("seconds", 4.0))
    folder = Folder(str(tmp_path))
    monkeypatch.setattr(measure, "apart", lambda *_: {"seconds_per_step": 0.01})
    first, both = plan.runs(dataclasses.replace(asked, presets=("vae-digits",))), plan.runs(asked)
    budgeted("s", asked, first, folder, {}, slots.Slot((0,)))
    with pytest.raises(UserError, match="was measured on 1 cores a run before, and would be on 2 now"):
        budgeted("s", asked, both, folder, folder.read()["measured"], slots.Slot((0, 1)))
    monkeypatch.setattr(slots.Slot, "held", lambda self: contextlib.nullcontext())
    found = budgeted("s", asked, both, folder, folder.read()["measured"], slots.Slot((0,)))
    assert [run.config.fit.steps for run in found] == [400, 400]
    budgeted("s", asked, both, folder, folder.read()["measured"], slots.Slot((0, 1)))  # nothing to measure


def test_a_file_is_no_folder_of_a_study(tmp_path, study):
    (tmp_path / "w").touch()
    ended = study()
    assert ended.code == 2 and "is a file; it must be a folder" in ended.err


def test_what_was_ended_by_hand_has_not_failed(tmp_path, study, stand_in):
    stand_in(SCORES, {FIRST: FAILS})
    assert study().code == 1
    (tmp_path / "w" / "runs" / FIRST / "metrics.json").write_text(json.dumps({"step": STEPS}))
    ended = study()
    assert ended.code == 0 and "2 of 2 runs are done, 0 failed" in ended.out
    assert not (tmp_path / "w" / "failed" / f"{FIRST}.json").exists()


def test_training_that_was_asked_to_leave_is_not_scored(tmp_path, study, stand_in):
    """It saves and ends with code 0, as after a preemption."""
    stand_in(_TRAINED)
    assert study("--cost").code == 1
    assert len(starts(tmp_path, FIRST)) == 1
    failure = json.loads((tmp_path / "w" / "failed" / f"{FIRST}.json").read_text())
    assert "evaluate" not in failure["command"]


def test_a_run_that_ends_without_a_score_has_failed(tmp_path, study, stand_in):
    stand_in(_TRAINED)
    assert study().code == 1
    assert json.loads((tmp_path / "w" / "failed" / f"{FIRST}.json").read_text())["exit_code"] == 0


def test_more_seeds_and_values_are_more_runs(tmp_path, study):
    assert study().code == 0
    more = study("--seeds", "2", grid=["optimizer.learning_rate=1e-3,1e-4,1e-5"])
    assert more.code == 0 and "6 of 6 runs are done" in more.out
    assert len(starts(tmp_path, FIRST)) == 1
    other = study(fields=["steps=41", "optimizer.warmup_steps=0"])
    assert other.code == 2 and "seeds: [0, 1] before, [0] now" in other.err


def test_evaluation_follows_training(tmp_path, study, monkeypatch):
    """Each command only where its result is missing."""

    def evaluations(run, workdir):
        programs = {
            "cost": f"(folder / 'metrics.json').write_text('{{\"step\": {STEPS}, \"samples_per_second\": 1}}')",
            "sweep": "(folder / 'sweep.json').write_text(json.dumps([{'num_steps': n} for n in (2, 5)]))",
        }
        return {name: ["python", "-c", _TRAINED + program, workdir] for name, program in programs.items()}

    monkeypatch.setattr(plan.Run, "evaluations", evaluations)
    sweep = functools.partial(
        *(study, "--sweep", "2", "5", "--cost"), spec="ddpm-digits", fields=[*FIELDS, "sampling.num_steps=5"]
    )
    ended = sweep()
    assert ended.code == 0, ended.err
    name = "ddpm-digits,learning_rate=0.001,seed=0"
    assert len(starts(tmp_path, name)) == 3
    (tmp_path / "w" / "runs" / name / "sweep.json").write_text('[{"num_steps": 2}]')
    assert sweep().code == 0
    assert len(starts(tmp_path, name)) == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_study_lets_its_runs_save(tmp_path, study, stand_in, number):
    stand_in(SAVES_ON_SIGTERM)
    folders = [tmp_path / "w" / "runs" / run for run in (FIRST, SECOND)]

    def stop():
        while not all((folder / "ready").exists() for folder in folders):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=stop)
    thread.start()
    ended = study()
    thread.join()
    assert ended.code == 128 + number and "the same command goes on" in ended.err
    assert all((folder / "saved").exists() for folder in folders)
    assert not (tmp_path / "w" / "failed").exists()
    assert study().code == 0


def test_a_signal_to_all_processes_fails_no_run(tmp_path, study, stand_in):
    """As of SLURM and of systemd: what is scored, or still starts, does not save but ends at once."""
    killed = _TRAINED + "os.kill(os.getppid(), signal.SIGTERM); os.kill(os.getpid(), signal.SIGTERM)"
    stand_in(SCORES, {FIRST: killed})
    ended = study("--jobs", "1")
    assert ended.code == 128 + signal.SIGTERM and "failed" not in ended.out
    assert not (tmp_path / "w" / "failed").exists()
    stand_in(SCORES)
    assert study().code == 0


def test_one_study_at_a_time_in_a_folder(tmp_path, study):
    with only_study(Folder(str(tmp_path / "w"))):
        ended = study()
    assert ended.code == 2 and "is at work there" in ended.err
    assert study().code == 0


def test_no_study_beside_a_run_that_outlived_another(tmp_path, stand_in):
    """Of a study that was killed alone: two trainings would write to one folder."""
    stand_in("import time; time.sleep(60)")
    folder = Folder(str(tmp_path))
    (run,) = plan.runs(Study(("vae-digits",)))
    with only_study(folder) as lock:
        job = _Job(run, folder, slots.Slot(), lock)
    try:
        with pytest.raises(UserError, match="a run that is left of one"), only_study(folder):
            pass
    finally:
        job.process.kill()
        job.process.wait()
    with only_study(folder):
        pass


def test_export_runs_nothing(tmp_path, study):
    ended = study("--export", "commands")
    assert ended.code == 0 and f"written: {tmp_path}/w/commands.txt" in ended.out
    plans = json.loads((tmp_path / "w" / "study.json").read_text())["runs"]
    assert (tmp_path / "w" / "commands.txt").read_text() == "".join(f"{p['command']}\n" for p in plans)
    assert not (tmp_path / "w" / "runs").exists()
    assert study("--export", "slurm").code == 0 and (tmp_path / "w" / "study.sbatch").exists()
    assert "a study runs in a local folder" in study("--workdir", "gs://bucket/w").err
    asked = ("--export", "slurm", "--budget", "seconds=3")
    assert "measured where the study runs" in study(*asked, fields=["optimizer.b1=0.5"]).err


def test_a_budget_is_measured_once(tmp_path, monkeypatch):
    asked = Study(("vae-digits", "gan-digits"), seeds=(0, 1), budget=Budget("flops", 4e10))
    runs, folder, seen = plan.runs(asked), Folder(str(tmp_path)), []

    def measured(config, what, env):
        seen.append((type(config.method).__name__, what))
        if len(seen) == 2 and not (tmp_path / "again").exists():
            raise KeyboardInterrupt
        return {"flops_per_step": 1e8 * len(seen), "network_evaluations_per_step": 64}

    monkeypatch.setattr(measure, "apart", measured)
    with pytest.raises(KeyboardInterrupt):
        budgeted("both", asked, runs, folder, {}, slots.Slot())
    assert [run["steps"] for run in folder.read()["runs"]] == [None] * 4
    (tmp_path / "again").touch()
    for _ in range(2):
        found = budgeted("both", asked, runs, folder, folder.read()["measured"], slots.Slot())
        assert [run.config.fit.steps for run in found] == [400, 133] * 2
        assert [run["steps"] for run in folder.read()["runs"]] == [400, 133] * 2
        assert "--steps 133" in folder.read()["runs"][3]["command"]
    assert seen == [("VAEConfig", "costs"), ("GANConfig", "costs"), ("GANConfig", "costs")]
    store.check_same(folder.read(), asked, runs, tmp_path)


def test_a_step_is_measured():
    values = {"model.hidden": (8,), "batch_size": 16}
    (run,) = plan.runs(Study(("vae-digits",), values, budget=Budget("seconds", 1)))
    found = measure.measure(run.config, seconds=0.1)
    assert list(found) == [
        "flops_per_step",
        "network_evaluations_per_step",
        "seconds_per_step",
        "compile_seconds",
    ]
    assert found["network_evaluations_per_step"] == 16 and found["flops_per_step"] > 0
    assert 1e-6 < found["seconds_per_step"] < 1 < 1000 * found["compile_seconds"]
    assert set(budget.UNITS.values()) - {"epochs_per_step", "steps_per_step"} <= set(found)


@pytest.mark.parametrize(
    "cores, jobs, expected",
    [
        ([0, 1], 2, [(0,), (1,)]),
        ([0, 1, 2, 3, 4], 2, [(0, 1), (2, 3, 4)]),
        ([3, 5], 1, [(3, 5)]),
        ([3, 5], 3, [(3,), (5,), (3,)]),
    ],
)
def test_cores_are_divided(cores, jobs, expected):
    assert [slot.cores for slot in slots.on_cores(cores, jobs)] == expected


def test_gpus_take_turns(monkeypatch):
    monkeypatch.setattr(slots, "_devices", lambda: ("gpu", 2))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert [dict(slot.env) for slot in slots.slots(None, 9)] == [
        {"CUDA_VISIBLE_DEVICES": "4"},
        {"CUDA_VISIBLE_DEVICES": "6"},
    ]
    shared = slots.slots(3, 9)
    assert [dict(slot.env)["CUDA_VISIBLE_DEVICES"] for slot in shared] == ["4", "6", "4"]
    assert all(dict(slot.env)["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false" for slot in shared)
    assert len(slots.slots(None, 1)) == 1
    with pytest.raises(UserError, match=r"jobs=0: valid are \[1, inf\)"):
        slots.slots(0, 9)


def test_the_time_that_is_left():
    assert seconds_left(["a", "b"], {}, {}, 2) is None
    # Two of 10 s and one of 20 s, by two at a time.
    assert seconds_left(["a", "a", "b"], {}, {"a": [10.0], "b": [15.0, 25.0]}, 2) == 20
    # A preset of which nothing is known takes as long as the others on average: 10 and 20.
    assert seconds_left(["c"], {}, {"a": [10.0], "b": [20.0]}, 1) == 15
    # One under way is a quarter done after 5 s: 15 s are left of it, and 20 s for one more.
    assert seconds_left(["a"], {"a": [(5.0, 0.0, 0.25)]}, {}, 1) == 35
    # However many jobs there are, the last run takes its time.
    assert seconds_left([], {"a": [(5.0, 0.0, 0.25)]}, {}, 4) == 15
    # It goes on from the half, and needs 5 s for a quarter: 5 s are left of it, and 20 s for one more.
    assert seconds_left(["a"], {"a": [(5.0, 0.5, 0.75)]}, {}, 1) == 25
    # Only its scores were missing: nothing is known of how long the others take.
    assert seconds_left(["a"], {"a": [(5.0, 1.0, 1.0)]}, {}, 1) is None
    assert [duration(s) for s in (40, 200, 9000)] == ["40 s", "3 min", "2.5 h"]


def test_commands_find_this_code_from_anywhere():
    env = slots.Slot().environment()
    assert env["PYTHONPATH"].split(os.pathsep)[0] == str(command.ROOT)
    assert (command.ROOT / "experiments" / "train.py").exists()


def test_what_a_run_had_done_before_does_not_make_it_fast(tmp_path, stand_in):
    stand_in("import time; time.sleep(60)")
    folder = Folder(str(tmp_path))
    (run,) = plan.runs(Study(("vae-digits",), {"steps": 400}))
    lines = folder.workdir(run) / "metrics.jsonl"
    lines.parent.mkdir(parents=True)
    lines.write_text('{"step": 300}\n')
    with only_study(folder) as lock:
        job = _Job(run, folder, slots.Slot(), lock)
    try:
        lines.write_text('{"step": 200}\n')  # that of the last checkpoint
        job.look()
        lines.write_text('{"step": 200}\n{"step": 300}\n')
        job.look()
    finally:
        job.process.kill()
        job.process.wait()
    assert (job.before, job.share) == (0.5, 0.75)
