"""Signals at random moments of a training."""

import os
import shutil
import signal
import time

from tests.faults.families import STEPS, sealed, unfinished
from tests.faults.world import Kind, Wrong, check_words

MOMENTS = ("starting", "locking", "compiling", "training", "saving", "drawing", "scoring")


def at_moment(world, child, workdir):
    """Waits for a random moment of a training; what to call it, or None: the training ended before."""
    moment = world.draw.choice(MOMENTS)
    step = world.draw.randrange(0, STEPS, 10)
    delay = world.draw.uniform(0.0, {"saving": 0.03, "compiling": 1.0, "scoring": 1.0}.get(moment, 0.2))
    conditions = {
        "starting": lambda: child.seconds > 0.1,
        "locking": lambda: any(workdir.glob("lock.json*")),
        "compiling": lambda: (workdir / "parameters.txt").exists(),
        "training": lambda: max(sealed(workdir), default=0) >= step,
        "saving": lambda: unfinished(workdir) and max(sealed(workdir), default=0) >= step,
        "drawing": lambda: any(workdir.glob("samples/*")),
        "scoring": lambda: STEPS in sealed(workdir),
    }
    if moment == "starting":
        delay = world.draw.uniform(0.0, 0.8) * world.references.starting[world.family]
    if not (child.until(conditions[moment]) and child.sleep(delay)):
        return None
    where = f"{delay:.3f} s into {moment}" + (
        f" after step {step}" if moment in ("training", "saving") else ""
    )
    return f"{where}, newest checkpoint {max(sealed(workdir), default='none')}"


def interrupted(world, act):
    """Starts a training, and calls ``act(child)`` at a moment; again, where the training was too quick.

    Returns:
        The process, and what to call the moment.
    """
    world.references.run(world.family)
    for _ in range(10):
        shutil.rmtree(world.workdir, ignore_errors=True)
        child = world.train(fresh=world.draw.random() < 0.15)
        moment = at_moment(world, child, world.workdir)
        if moment is not None:
            before = sealed(world.workdir)
            act(child)
            lost = [step for step in before[-1:] if step > max(sealed(world.workdir), default=-1)]
            if lost:
                raise Wrong(f"the checkpoints of steps {lost} are gone")
            return child, moment
        child.wait()
    raise Wrong("all trainings ended before the signal came")


def _ends(child, *codes, words=True):
    child.wait()
    if child.code not in codes:
        raise Wrong(f"exit code {child.code} where {' or '.join(map(str, codes))} is due: {child.said}")
    if words:
        check_words(child.said)
    return f"code {child.code}"


def _signalled(world, *numbers):
    """The training and the moment at which it got signals, one after the other as batch systems and users send them."""

    def act(child):
        for i, number in enumerate(numbers):
            if i:
                child.sleep(world.draw.uniform(0.0, 0.3))
            child.signal(number)
        child.wait()

    return interrupted(world, act)


def _sigkill(world):
    child, moment = _signalled(world, signal.SIGKILL)
    world.go_on()
    return f"{moment}; {_ends(child, -signal.SIGKILL)}"


def _sighup(world):
    child, moment = _signalled(world, signal.SIGHUP)
    world.go_on()
    return f"{moment}; {_ends(child, -signal.SIGHUP)}"


def _sigterm(world):
    child, moment = _signalled(world, signal.SIGTERM)
    # Before and after the steps there is nothing to save, and the signal ends the process as it ends any.
    seen = _ends(child, 0, -signal.SIGTERM)
    world.go_on()
    return f"{moment}; {seen}{' preempted' if 'preempted at step' in child.said else ''}"


def _sigterm_sigkill(world):
    """As batch systems do; the time between the two is too short."""
    child, moment = _signalled(world, signal.SIGTERM, signal.SIGKILL)
    seen = _ends(child, 0, -signal.SIGTERM, -signal.SIGKILL)
    world.go_on()
    return f"{moment}; {seen}"


def _sigint(world):
    child, moment = _signalled(world, signal.SIGINT)
    seen = _interrupt_ends(child)
    world.go_on()
    return f"{moment}; {seen}"


def _sigint_twice(world):
    child, moment = _signalled(world, signal.SIGINT, signal.SIGINT)
    seen = _interrupt_ends(child, -signal.SIGINT)
    world.go_on()
    return f"{moment}; {seen}"


def _interrupt_ends(child, *codes):
    if "importlib._bootstrap" in child.said:  # Python itself, which still imports, says it in its own words
        return _ends(child, 1, 130, -signal.SIGINT, words=False)
    return _ends(child, 0, 130, *codes)


def _sigstop(world):
    """The training stands still, a second start is refused, and it goes on."""
    seen = []

    def act(child):
        child.signal(signal.SIGSTOP)
        if (world.workdir / "lock.json").exists():
            second = world.train().wait()
            holder = f"is being written by process {child.pid} on"
            if second.code != 2 or holder not in second.said:
                raise Wrong(f"a second start beside one that stands still: {second.code}, {second.said}")
            seen.append("second start refused, ")
        else:
            child.sleep(world.draw.uniform(0.2, 1.0))
        child.signal(signal.SIGCONT)

    child, moment = interrupted(world, act)
    ended = _ends(child, 0)
    world.ended_well(world.workdir)
    return f"{moment}; {''.join(seen)}{ended}"


def _zombie(world):
    """Killed, and nobody has asked how it ended, as in containers whose first process is no init."""

    def act(child):
        child.ended()
        if child.code is None:
            os.kill(child.pid, signal.SIGKILL)

    child, moment = interrupted(world, act)
    while child.code is None and not child.is_zombie():
        time.sleep(0.001)
    world.go_on()
    return f"{moment}; {_ends(child, -signal.SIGKILL)}"


def _evaluate_killed(world):
    """SIGKILL or SIGINT while a finished run is scored again: the old score or the new one is there."""
    shutil.copytree(world.references.run(world.family), world.workdir)
    number = world.draw.choice((signal.SIGKILL, signal.SIGINT, signal.SIGTERM))
    child = world.server.start("experiments.evaluate", "--workdir", world.workdir, "--num", "20")
    delay = world.draw.uniform(0.1, 3.0)
    late = not child.sleep(delay)
    child.signal(number)
    seen = _ends(child, *([0] if late else [0, -number, 130]))
    world.ended_well(world.workdir, locked=True)
    code, said = world.driver.run("evaluate", "--workdir", world.workdir, "--num", "20")
    if code:
        raise Wrong(f"scoring it again: {said}")
    world.ended_well(world.workdir)
    return f"{number.name} after {delay:.2f} s; {seen}"


KINDS = [
    Kind("signals", "SIGKILL", _sigkill, 6),
    Kind("signals", "SIGTERM", _sigterm, 4),
    Kind("signals", "SIGTERM, SIGKILL", _sigterm_sigkill, 3),
    Kind("signals", "SIGINT", _sigint, 4),
    Kind("signals", "SIGINT twice", _sigint_twice, 4),
    Kind("signals", "SIGSTOP, SIGCONT", _sigstop, 3),
    Kind("signals", "SIGHUP", _sighup, 2),
    Kind("signals", "SIGKILL, zombie", _zombie, 2),
    Kind("signals", "killed evaluate", _evaluate_killed, 2),
]
