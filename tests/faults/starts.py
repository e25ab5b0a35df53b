"""Second starts, and locks that somebody has left."""

import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

from tests.faults.families import sealed
from tests.faults.signals import at_moment
from tests.faults.world import Kind, Wrong, check_message, check_words, content, last_line

_OTHER = ("--optimizer.learning-rate", "0.003")
"""Options of another run of the same family."""


def _race(world, workdir=None):
    """Two trainings of other learning rates into one folder, at the same moment: one wins."""
    first = world.draw.choice([(), _OTHER])
    second = _OTHER if not first else ()
    for more in (first, second):
        world.references.run(world.family, *more)
    delay = world.draw.choice([0.0, world.draw.uniform(0.0, 0.5)])
    children = {first: world.train(*first)}
    children[first].sleep(delay)
    children[second] = world.train(*second)
    for child in children.values():
        child.wait()
        check_words(child.said)
    codes = {more: child.code for more, child in children.items()}
    if sorted(codes.values()) != [0, 2]:
        raise Wrong(f"codes {list(codes.values())}: {[child.said for child in children.values()]}")
    winner, loser = sorted(codes, key=codes.get)
    said = children[loser].said
    if f"is being written by process {children[winner].pid} on" not in said and "another config" not in said:
        raise Wrong(f"it does not name the holder {children[winner].pid}: {said}")
    world.ended_well(world.workdir, *winner)
    return f"{delay:.2f} s apart; the {'first' if winner == first else 'second'} wins; {last_line(said)}"


def _train_and_evaluate(world):
    """A run goes on while it is scored: one of them waits for nobody and says who writes."""
    world.references.half(world.family, world.workdir)
    train_first = world.draw.random() < 0.5
    start_scoring = functools.partial(
        world.server.start, "experiments.evaluate", "--workdir", world.workdir, "--num", "20"
    )
    first, then = (world.train, start_scoring) if train_first else (start_scoring, world.train)
    child = first()
    child.until(lambda: (world.workdir / "lock.json").exists())
    child.sleep(world.draw.uniform(0.0, 0.5))
    second = then().wait()
    child.wait()
    for one in (child, second):
        check_words(one.said)
    if child.code != 0 or second.code not in (0, 2):
        raise Wrong(f"codes {child.code}, {second.code}: {child.said} {second.said}")
    if second.code == 2:
        check_message(2, second.said, f"is being written by process {child.pid} on")
    world.go_on()
    names = ("train", "evaluate") if train_first else ("evaluate", "train")
    return f"{names[0]} first; {names[1]}: {last_line(second.said) if second.code else 'code 0, it was over'}"


def _readers(world):
    """Images and a report are made while a run goes on."""
    world.references.run(world.family)
    child = world.train()
    verb = world.draw.choice(["sample", "report"])
    moment = at_moment(world, child, world.workdir) or "after the end"
    out = world.folder / ("out.png" if verb == "sample" else "out.html")
    arguments = ["--workdir", world.workdir, "--num", "4"] if verb == "sample" else [world.workdir]
    code, said = world.driver.run(verb, *arguments, "--out", out)
    check_words(said)
    if code:
        check_message(code, said, world.workdir)
    child.wait()
    if child.code:
        raise Wrong(f"the training ended with code {child.code}: {child.said}")
    world.ended_well(world.workdir)
    return f"{verb} {moment}; code {code} {last_line(said) if code else ''}"


def lock_of(pid, **changed):
    """The content of a lock that a process of this machine could have left."""
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    start = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    found = {
        "host": os.uname().nodename,
        "machine": f"{boot} {os.readlink('/proc/self/ns/pid')}",
        "pid": pid,
        "process_start": start,
        "since": "2026-01-02 03:04:05",
        "token": "0" * 32,
        "renewals": 3,
    }
    return json.dumps({**found, **changed})


def _dead(world):
    """The lock of a process that is gone, or whose number is another process's now; perhaps two come for it."""
    world.references.half(world.family, world.workdir)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    reused = world.draw.random() < 0.5
    (world.workdir / "lock.json").write_text(
        lock_of(process.pid, **({"process_start": "1"} if reused else {}))
    )
    if not reused:
        process.kill()
        process.wait()
    heirs = world.draw.choice([1, 2])
    children = [world.train() for _ in range(heirs)]
    for child in children:
        child.wait()
        check_words(child.said)
    process.kill()
    process.wait()
    process.stdin.close()
    codes = sorted(child.code for child in children)
    if codes[0] != 0 or codes[1:] not in ([], [0], [2]):
        raise Wrong(f"codes {codes}: {[child.said for child in children]}")
    if sum("taking over the lock of process" in child.said for child in children) != 1:
        raise Wrong(f"not exactly one says that it takes over: {[child.said for child in children]}")
    world.ended_well(world.workdir)
    return f"{'number reused' if reused else 'gone'}, {heirs} heirs; codes {codes}"


def _elsewhere(world):
    """The lock of another machine, which gives no sign of life, or one of which nothing can be read."""
    damage = world.draw.choice(["other host", "torn", "empty", "[]", "NUL", "folder"])
    shutil.copytree(world.references.run(world.family), world.workdir)
    before = content(world.workdir)
    path = world.workdir / "lock.json"
    whole = lock_of(os.getpid(), host="elsewhere", machine="another")
    if damage == "folder":
        path.mkdir()
    else:
        torn = whole[: world.draw.randrange(1, len(whole) - 1)]
        path.write_text(
            {"other host": whole, "torn": torn, "empty": "", "[]": "[]", "NUL": "\0" * 100}[damage]
        )
    code, said = world.driver.run("evaluate", "--workdir", world.workdir, "--num", "20")
    check_words(said)
    if damage == "folder":
        if code:
            check_message(code, said, "lock.json")
        elif "lock.json" not in said:
            raise Wrong(f"lock.json is not named: {said}")
        path.rmdir()
    elif code or "taking over the lock" not in said:
        raise Wrong(f"code {code}: {said}")
    left = content(world.workdir)
    changed = [
        name for name in before | left if before.get(name) != left.get(name) and name != "metrics.json"
    ]
    if changed:
        raise Wrong(f"changed: {changed}")
    world.ended_well(world.workdir)
    return (
        f"{damage}; {last_line(said) if code else next(line for line in said.splitlines() if 'lock' in line)}"
    )


def _frozen_holder(world):
    """The holder stands still for a while: it is alive, and nobody takes its lock."""
    world.references.run(world.family)
    child = world.train()
    child.until(lambda: (world.workdir / "lock.json").exists())
    child.signal(signal.SIGSTOP)
    arguments = ("experiments.evaluate", "--workdir", world.workdir, "--num", "20")
    second = world.train(*_OTHER) if not sealed(world.workdir) else world.server.start(*arguments)
    second.wait()
    child.signal(signal.SIGCONT)
    child.wait()
    check_message(second.code, second.said, f"is being written by process {child.pid} on")
    if child.code:
        raise Wrong(f"the holder ended with code {child.code}: {child.said}")
    world.ended_well(world.workdir)
    return last_line(second.said)


def _one_output(world):
    """Two commands write one file at the same moment: it is one of both."""
    workdir, out = world.references.run(world.family), world.folder / "out.png"
    wanted = []
    for seed in ("1", "2"):
        alone = world.folder / f"alone{seed}.png"
        code, said = world.driver.run(
            "sample", "--workdir", workdir, "--num", "4", "--seed", seed, "--out", alone
        )
        if code:
            raise Wrong(said)
        wanted.append(alone.read_bytes())
    start = ("experiments.sample", "--workdir", workdir, "--num", "4", "--out", out, "--seed")
    children = [world.server.start(*start, seed) for seed in ("1", "2")]
    for child in children:
        child.wait()
        check_words(child.said)
    if [child.code for child in children] != [0, 0] or out.read_bytes() not in wanted:
        raise Wrong(f"codes {[child.code for child in children]}: {[child.said for child in children]}")
    left = [path.name for path in world.folder.iterdir() if path.name.endswith(".tmp")]
    if left:
        raise Wrong(f"left: {left}")
    return f"seed {1 + wanted.index(out.read_bytes())} was last"


KINDS = [
    Kind("starts", "two trainings", _race, 4),
    Kind("starts", "training and scoring", _train_and_evaluate, 3),
    Kind("starts", "readers beside a training", _readers, 2),
    Kind("starts", "lock of a dead process", _dead, 3),
    Kind("starts", "lock of another machine, torn", _elsewhere, 3),
    Kind("starts", "lock of a process that stands still", _frozen_holder, 1),
    Kind("starts", "two writers of one file", _one_output, 2),
]
