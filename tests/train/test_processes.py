"""Several processes on one machine, joined by `jax.distributed`, train as one does."""

import functools
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from genjax.data import digits, train_indices

pytestmark = pytest.mark.quick_compilation

ROOT = pathlib.Path(__file__).parents[2]
WORKER = pathlib.Path(__file__).with_name("process_worker.py")
TIMEOUT_SECONDS = 600

_spec = importlib.util.spec_from_file_location("process_worker", WORKER)
worker = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(worker)


def free_address():
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return f"localhost:{server.getsockname()[1]}"


def start(*commands):
    """Starts one process per command; they see the devices they ask for, not the eight of the tests."""
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_backend_optimization_level=0",  # compiles in half the time, to the same up to rounding
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [subprocess.Popen([sys.executable, *c], env=environment, cwd=ROOT, **pipes) for c in commands]


def finish(processes):
    """What each process printed, but for the lines of the collectives' library; all must end with exit code 0."""
    try:
        results = [process.communicate(timeout=TIMEOUT_SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, results, strict=True):
        assert process.returncode == 0, errors
    return ["".join(x for x in out.splitlines(True) if not x.startswith("[Gloo]")) for out, _ in results]


def logged(workdir, name="train/loss"):
    """step -> value, in the order of the file."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[name] for line in lines if name in line}


def difference(losses, reference):
    """Largest relative difference of the losses of all steps."""
    assert list(losses) == list(reference) == list(range(1, worker.STEPS + 1))
    a, b = np.array(list(losses.values())), np.array(list(reference.values()))
    return np.max(np.abs(a - b) / b)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The workdir of a run of one process."""
    workdir = tmp_path_factory.mktemp("alone")
    worker.train(workdir, fsdp=1)
    losses = list(logged(workdir).values())
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    return workdir


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Function: number of processes, fsdp -> workdir and reports of a run; each is run once."""

    @functools.cache
    def run(num_processes, fsdp):
        workdir, address = tmp_path_factory.mktemp("together"), free_address()
        arguments = [str(WORKER), str(workdir), str(fsdp), address, str(num_processes)]
        outputs = finish(start(*([*arguments, str(i)] for i in range(num_processes))))
        return workdir, [json.loads(out.splitlines()[-1]) for out in outputs]

    return run


@pytest.mark.parametrize(("num_processes", "fsdp"), [(2, 4), (4, 1)])
def test_same_losses(alone, together, num_processes, fsdp):
    """On four devices in all, whatever the number of processes; fsdp=4 splits parameters over processes too.

    Slow: up to four processes at once import and compile for themselves on two cores.
    """
    workdir, reports = together(num_processes, fsdp)
    worst = difference(logged(workdir), logged(alone))
    print(f"{num_processes} processes, fsdp={fsdp}: losses differ from one's by at most {worst:.1e}")
    assert worst < 1e-5
    for report in reports:
        assert report["part_held"] == 1.0 if fsdp == 1 else report["part_held"] < 0.6


@pytest.mark.parametrize(("num_processes", "fsdp"), [(2, 4), (4, 1)])
def test_each_reads_its_share_only(together, num_processes, fsdp):
    _, reports = together(num_processes, fsdp)
    share = worker.BATCH_SIZE // num_processes
    batches = [
        train_indices(step, batch_size=worker.BATCH_SIZE, num_examples=len(digits("train")), seed=worker.SEED)
        for step in range(worker.STEPS + 10)
    ]
    for i, report in enumerate(reports):
        shares = [batch[i * share : (i + 1) * share].tolist() for batch in batches]
        # Two threads read ahead, so the last few reads may be missing, and any two may be swapped.
        assert len(report["reads"]) >= worker.STEPS
        assert sorted(report["reads"]) == sorted(shares[: len(report["reads"])])


def test_one_process_goes_on_from_two(alone, together, tmp_path):
    """The checkpoint was written by two processes, each of which held half of the parameters."""
    workdir = tmp_path / "run"
    shutil.copytree(together(2, 4)[0], workdir)
    shutil.rmtree(workdir / "checkpoints" / "00000020")
    fitted, reads = worker.train(workdir, fsdp=1)
    assert fitted.step == 20 and len(reads) < 20
    assert difference(logged(workdir), logged(alone)) < 1e-5
    assert (workdir / "checkpoints" / "00000020").exists()


OPTIONS = f"""
    --steps {worker.STEPS} --batch-size {worker.BATCH_SIZE} --log-every 1 --checkpoint-every 10
    --data.flip --data.crop-padding 1 --model.channels 8 --model.multipliers 1 --model.blocks 1 --model.attention 8
    --model.dropout 0.3 --optimizer.learning-rate 1e-2 --optimizer.warmup-steps 5 --sampling.num-steps 4
    --sampling.batch-size 20
    --evaluation.grid-columns 2 --evaluation.loss-every 10 --evaluation.num 20
""".split()


def command_line(workdir):
    """The training command, as arguments of python."""
    return ["-m", "experiments.train", "ddpm-digits", "--workdir", str(workdir), *OPTIONS]


def distributed(command, num_processes=2):
    """The command once for each process."""
    joined = ["--distributed", "--coordinator", free_address(), "--num-processes", str(num_processes)]
    return [[*command, *joined, "--process-id", str(i)] for i in range(num_processes)]


@pytest.fixture(scope="module")
def by_command(tmp_path_factory):
    """Workdir and output of the command on one process."""
    workdir = tmp_path_factory.mktemp("by_command") / "run"
    (out,) = finish(start(command_line(workdir)))
    return workdir, out


def check_same_results(workdir, out, by_command):
    """Losses, samples and scores are those of one process, and so is what is printed, but for the timings."""
    reference, reference_out = by_command
    assert difference(logged(workdir), logged(reference)) < 1e-5
    assert list(logged(workdir, "test/loss")) == [10, 20]
    pictures = [np.asarray(Image.open(d / "samples.png"), int) for d in (workdir, reference)]
    assert np.abs(pictures[0] - pictures[1]).max() <= 1
    scores, expected = (json.loads((d / "metrics.json").read_text()) for d in (workdir, reference))
    assert json.loads(out.splitlines()[-1]) == scores
    assert scores["protocol"] == expected["protocol"]
    for name in ("test_loss", "fd_generated", "rho", "label_agreement"):
        assert scores[name] == pytest.approx(expected[name], rel=1e-3)
    assert len(out.splitlines()) == len(reference_out.splitlines())


def test_command_line_with_a_preemption(by_command, tmp_path):
    """Two processes train, sample and score; only the first prints and writes.

    At first, SIGTERM to the second: both save after the same step and exit with code 0; then they go on to the end.
    Slow: five processes import and compile.
    """
    workdir = tmp_path / "run"
    command = command_line(workdir)
    processes = start(*distributed(command))
    deadline = time.monotonic() + TIMEOUT_SECONDS
    # Before the step is compiled: it takes JAX up to a second to pass the notice on, and the run is a short one.
    while not (workdir / "manifest.json").exists():
        assert time.monotonic() < deadline and all(p.poll() is None for p in processes)
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGTERM)
    first = finish(processes)
    (checkpoint,) = (workdir / "checkpoints").iterdir()
    assert f"preempted at step {int(checkpoint.name)}" in first[0]
    assert list(logged(workdir)) == list(range(1, int(checkpoint.name) + 1)) != list(logged(by_command[0]))
    second = finish(start(*distributed(command)))
    check_same_results(workdir, second[0], by_command)
    assert first[1] == second[1] == ""
    assert len(list((workdir / "tensorboard").iterdir())) == 2  # one for each start
    manifest = json.loads((workdir / "manifest.json").read_text())
    assert [started["processes"] for started in manifest] == [2, 2]
