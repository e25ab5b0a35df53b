"""A study that is killed with all its runs, and started again by the same command, ends as the uninterrupted one.

`GENJAX_KILLS=10 python -m pytest tests/experiments/test_study_kill.py -s` kills it 10 times (default: 3), shows where.
`GENJAX_KILLS_SEED` chooses other moments (default: 0).
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
KILLS = int(os.environ.get("GENJAX_KILLS", "3"))
SEED = int(os.environ.get("GENJAX_KILLS_SEED", "0"))
TIMEOUT_SECONDS = 900

STEPS, CHECKPOINT_EVERY = max(60, 20 * KILLS), 5
SPEC = "vae-digits,gan-digits"
OPTIONS = f"""
    --jobs 2 --set steps={STEPS} batch_size=8 log_every=7 checkpoint_every={CHECKPOINT_EVERY}
    optimizer.warmup_steps=5 evaluation.num=20 evaluation.grid_columns=2 evaluation.sample_every=20
    evaluation.loss_every=33 vae-digits:model.hidden=8 gan-digits:model.hidden=8 gan-digits:model.discriminator_hidden=8
""".split()
NAMES = ("vae-digits,seed=0", "gan-digits,seed=0")
TIMES = ("time", "seconds", "sampling_seconds")
"""Parts of names of what is measured with a clock."""


def start(folder):
    """Starts or resumes the study, in a process group of its own."""
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_backend_optimization_level=0",  # compiles in half the time
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, "-m", "experiments.study", SPEC, "--workdir", str(folder), *OPTIONS]
    with (folder.parent / f"{folder.name}.log").open("ab") as log:
        return subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )


def finish(process, folder):
    """Waits for the end; the exit code must be 0."""
    try:
        code = process.wait(TIMEOUT_SECONDS)
    finally:
        kill(process)
    assert code == 0, log_of(folder)


def kill(process):
    """The study and all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def log_of(folder):
    logs = [folder.parent / f"{folder.name}.log", *folder.glob("runs/*.log")]
    return "\n".join(path.read_text() for path in logs)


def progress(folder):
    """Checkpointed steps of all runs together."""
    found = [
        [int(path.name) for path in (folder / "runs" / name / "checkpoints").glob("*") if path.name.isdigit()]
        for name in NAMES
    ]
    return sum(max(steps, default=0) for steps in found)


def results(folder, name):
    """All that a run leaves and that does not tell the time."""
    workdir = folder / "runs" / name
    metrics = json.loads((workdir / "metrics.json").read_text())
    pictures = [workdir / "samples.png", *sorted((workdir / "samples").glob("*.png"))]
    return {
        "metrics.json": {key: x for key, x in metrics.items() if not any(part in key for part in TIMES)},
        "metrics.jsonl": (workdir / "metrics.jsonl").read_text(),
        **{path.relative_to(workdir).as_posix(): path.read_bytes() for path in pictures},
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "study"
    finish(start(folder), folder)
    assert progress(folder) == len(NAMES) * STEPS
    return folder


def test_kills(uninterrupted, tmp_path):
    """Each kill falls into a later part of the study, at a random moment; the last comes before all is scored.

    Takes minutes: each start of the study is a process that starts two trainings and then scores them.
    """
    folder, draw = tmp_path / "study", random.Random(SEED)
    total, seen = len(NAMES) * STEPS, []
    for i in range(KILLS):
        target = draw.uniform(i, i + 1) / KILLS * 0.9 * total
        process, deadline = start(folder), time.monotonic() + TIMEOUT_SECONDS
        try:
            while progress(folder) <= target:
                assert process.poll() is None and time.monotonic() < deadline, log_of(folder)
                time.sleep(0.002)
            time.sleep(draw.uniform(0.0, 0.3))
            assert process.poll() is None, log_of(folder)
        finally:
            kill(process)
        seen.append(progress(folder))
    print(f"killed {KILLS} times (seed {SEED}), at steps {seen} of {total}")
    plan = (folder / "study.json").read_bytes()
    finish(start(folder), folder)
    assert (folder / "study.json").read_bytes() == plan
    for name in NAMES:
        found, expected = results(folder, name), results(uninterrupted, name)
        assert {"step", "protocol"} <= set(found["metrics.json"])
        assert [key for key in {**found, **expected} if found.get(key) != expected.get(key)] == []
    # A finished study has nothing left to do.
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/*")}
    finish(start(folder), folder)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/*")} == before
