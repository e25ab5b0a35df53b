"""A run that is killed and started again by the same command ends, bit for bit, where the uninterrupted run ends.

`GENJAX_KILLS=20 python -m pytest tests/train/test_kill.py -s` kills it 20 times (default: 4) and shows where.
`GENJAX_KILLS_SEED` chooses other moments (default: 0).
"""

import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import jax
import numpy as np
import pytest
from etils import epath

from genjax.app import restore
from genjax.app.config import SamplingOverrides
from genjax.train.seal import SEAL

ROOT = pathlib.Path(__file__).parents[2]
KILLS = int(os.environ.get("GENJAX_KILLS", "4"))
SEED = int(os.environ.get("GENJAX_KILLS_SEED", "0"))
TIMEOUT_SECONDS = 600

# Of the three numbers no two meet: most checkpoints fall between two lines of the log.
STEPS, LOG_EVERY, CHECKPOINT_EVERY = max(240, 40 * KILLS), 53, 20
KINDS = ("saving", "training", "sealing", "starting")
OPTIONS = f"""
    --steps {STEPS} --batch-size 8 --log-every {LOG_EVERY} --data.flip --data.crop-padding 1
    --model.channels 8 --model.multipliers 1 --model.blocks 1 --model.attention 8 --model.dropout 0.1
    --optimizer.warmup-steps 20 --sampling.num-steps 2 --sampling.batch-size 20
    --evaluation.grid-columns 2 --evaluation.loss-every 90 --evaluation.sample-every 170 --evaluation.num 0
""".split()


def start(workdir, checkpoint_every):
    """Starts or resumes the run, in a process of its own."""
    command = [sys.executable, "-m", "experiments.train", "ddpm-digits", "--workdir", str(workdir), *OPTIONS]
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_backend_optimization_level=0",  # compiles in half the time
        "JAX_PLATFORMS": "cpu",
    }
    log = (workdir.parent / f"{workdir.name}.log").open("ab")
    with log:
        return subprocess.Popen(
            [*command, "--checkpoint-every", str(checkpoint_every)],
            env=environment,
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )


def finish(process, workdir):
    """Waits for the end; the exit code must be 0."""
    try:
        code = process.wait(TIMEOUT_SECONDS)
    finally:
        process.kill()
    assert code == 0, log_of(workdir)


def log_of(workdir):
    return (workdir.parent / f"{workdir.name}.log").read_text()


def wait_until(condition, process, workdir):
    """Waits for `condition()`, of a process that must not end before."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline and process.poll() is None, log_of(workdir)
        time.sleep(0.001)


def names(workdir):
    """Names of the checkpoint folders, finished or not."""
    directory = workdir / "checkpoints"
    return os.listdir(directory) if directory.exists() else []


def sealed(workdir):
    """Steps of the checkpoints that are finished."""
    found = (name for name in names(workdir) if re.fullmatch(r"\d{8}", name))
    return sorted(int(name) for name in found if (workdir / "checkpoints" / name / SEAL).exists())


def progress(workdir):
    """Step of the newest finished checkpoint, 0 if there is none."""
    return max(sealed(workdir), default=0)


def half_saved(workdir):
    """Names of folders of a checkpoint that is begun and not finished: temporary ones, or without seal."""
    begun = [name for name in names(workdir) if ".unusable" not in name]
    return [name for name in begun if int(name[:8]) > progress(workdir)]


def unsealed(workdir):
    """Those that Orbax has finished, of which only the seal is missing."""
    return [name for name in half_saved(workdir) if name.isdigit()]


def final(workdir):
    """All of the last checkpoint: path of each leaf -> its bytes."""
    run = restore.restore(epath.Path(workdir), SamplingOverrides())
    assert run.step == STEPS
    return {
        jax.tree_util.keystr(p): np.asarray(x).tobytes()
        for p, x in jax.tree_util.tree_leaves_with_path(run.state)
    }


def check_same_end(workdir, uninterrupted):
    """Parameters, optimizer, average, metrics and pictures have the bytes of the uninterrupted run's."""
    expected, found = final(uninterrupted), final(workdir)
    assert {name.split("[")[0] for name in expected} == {".step", ".params", ".opt", ".ema"}
    assert [name for name in expected | found if expected.get(name) != found.get(name)] == []
    pictures = [f"samples/{path.name}" for path in (uninterrupted / "samples").iterdir()]
    for name in ("metrics.jsonl", "samples.png", *pictures):
        assert (workdir / name).read_bytes() == (uninterrupted / name).read_bytes(), name
    # The time of every step is there once, whatever came between.
    assert timed(workdir) == timed(uninterrupted) and timed(workdir)[-1] == STEPS


def timed(workdir):
    """Steps of the lines of the log in the curve of the times."""
    curve = json.loads((workdir / "timing.json").read_text())["curve"]
    steps, seconds = zip(*curve, strict=True)
    assert list(steps) == sorted(set(steps)) and list(seconds) == sorted(set(seconds))
    return [step for step in steps if step % LOG_EVERY == 0 or step == STEPS]


class Report(NamedTuple):
    """One kill: its kind, seconds since the start of the process, last finished and half-written checkpoints."""

    kind: str
    seconds: float
    step: int
    half_saved: list[str]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("uninterrupted") / "run"
    finish(start(workdir, CHECKPOINT_EVERY), workdir)
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    for name, every in {"train/loss": LOG_EVERY, "test/loss": 90}.items():
        assert [line["step"] for line in lines if name in line] == [*range(every, STEPS, every), STEPS]
    return workdir


def test_kills(uninterrupted, tmp_path):
    """Each kill falls into a later part of the run, at a random step of that part: in the middle of a save, at any
    moment of training, between a save and its seal, or while the process starts up. Takes minutes: the run and its five
    restarts are processes that import, restore and compile.
    """
    workdir, draw = tmp_path / "run", random.Random(SEED)
    seconds_to_start, reports = 0.0, []
    for i in range(KILLS):
        kind = KINDS[i % len(KINDS)]
        before, part = progress(workdir), 0.9 * STEPS / KILLS
        target = max(before, int(draw.uniform(i * part, (i + 1) * part)))
        process, began = start(workdir, CHECKPOINT_EVERY), time.monotonic()
        try:
            if kind == "starting":
                # Imports take the time before, in which nothing can go wrong.
                time.sleep(draw.uniform(0.4, 0.9) * seconds_to_start)
            else:
                wait_until(lambda: progress(workdir) > before, process, workdir)
                seconds_to_start = time.monotonic() - began
                wait_until(lambda: progress(workdir) > target, process, workdir)
                time.sleep(draw.uniform(0.0, 0.2))
            if kind == "saving":
                stop_while(half_saved, process, workdir, draw.uniform(0.0, 0.03))
            elif kind == "sealing":
                stop_while(unsealed, process, workdir, draw.uniform(0.0, 0.002))
            assert process.poll() is None, log_of(workdir)
        finally:
            process.kill()
        assert process.wait() == -signal.SIGKILL
        reports.append(Report(kind, time.monotonic() - began, progress(workdir), half_saved(workdir)))
        assert reports[-1].step >= before
    finish(start(workdir, CHECKPOINT_EVERY), workdir)

    print(f"killed {KILLS} times (seed {SEED}) in a run of {STEPS} steps:", *reports, sep="\n  ")
    for report in reports:
        assert report.kind not in ("saving", "sealing") or report.half_saved
    left = [name for name in names(workdir) if ".unusable" not in name]
    assert (
        sealed(workdir) == sorted(map(int, left)) == [STEPS - back * CHECKPOINT_EVERY for back in (2, 1, 0)]
    )
    check_same_end(workdir, uninterrupted)


def stop_while(condition, process, workdir, delay):
    """Stops the process `delay` seconds after `condition` holds. Looks again once it stands still: it may be over."""
    while True:
        wait_until(lambda: condition(workdir), process, workdir)
        time.sleep(delay)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.02)
        if condition(workdir):
            return
        process.send_signal(signal.SIGCONT)


def test_preemption(uninterrupted, tmp_path):
    """SIGTERM between two lines of the log: what they average over is saved too. Slow: two more processes."""
    workdir = tmp_path / "run"
    process = start(workdir, 10 * STEPS)
    log = workdir / "metrics.jsonl"
    wait_until(lambda: log.exists() and log.stat().st_size > 0, process, workdir)
    process.send_signal(signal.SIGTERM)
    finish(process, workdir)
    (step,) = sealed(workdir)
    assert f"preempted at step {step}" in log_of(workdir)
    assert LOG_EVERY < step < STEPS and step % LOG_EVERY
    print(f"SIGTERM: saved at step {step} of {STEPS}")
    finish(start(workdir, 10 * STEPS), workdir)
    assert sealed(workdir) == [step, STEPS]
    check_same_end(workdir, uninterrupted)
