"""Injects faults and checks what comes of them: ``python -m tests.faults --seed 0 --num 100``.

Signals at random moments, full and read-only disks, second starts, damaged files; diffusion, VAE, GAN and VQ in turn.
After each: nothing is lost, nothing is mixed, nothing hangs, and every message names the file. Linux only; file systems
without room need root. ``--seed`` draws other moments, bytes and files.
"""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from typing import NamedTuple

from tests.faults import damage, disk, signals, starts
from tests.faults.families import References
from tests.faults.processes import Driver, Hung, Server
from tests.faults.world import Kind, World, Wrong

_TURNS = ("VAE", "GAN", "diffusion", "GAN", "VAE", "VQ", "GAN", "VAE")
"""Families of models in turn; those that start sooner come more often."""
_LONGEST = 1500
"""Letters of a failure that are printed; ``failure.txt`` in its folder has the rest."""
KINDS = [*signals.KINDS, *disk.KINDS, *starts.KINDS, *damage.KINDS]


class Fault(NamedTuple):
    """A planned fault: its number, its kind, the family of models."""

    number: int
    kind: Kind
    family: str


class Result(NamedTuple):
    """What came of a fault: what was seen; what is wrong, "" if nothing; seconds."""

    fault: Fault
    seen: str
    wrong: str
    seconds: float

    def __str__(self):
        cut = self.wrong[: _LONGEST // 2] + "\n[...]\n" + self.wrong[-_LONGEST // 2 :]
        fault, end = self.fault, "ok"
        if self.wrong:
            end = f"FAILED {self.wrong if len(self.wrong) < _LONGEST else cut}"
        kind = f"{fault.kind.theme}: {fault.kind.name}"
        return f"{fault.number:>4} {kind:<44} {fault.family:<10} {self.seconds:5.1f} s  {self.seen}  {end}"


def plan(num, kinds=KINDS):
    """The faults: each kind by its share, each family of models in turn within a theme."""
    total, faults = sum(kind.share for kind in kinds), []
    turn = collections.Counter()
    taken = collections.Counter()
    for number in range(1, num + 1):
        kind = max(kinds, key=lambda kind: kind.share * number / total - taken[kind.name])
        taken[kind.name] += 1
        faults.append(Fault(number, kind, _TURNS[turn[kind.theme] % len(_TURNS)]))
        turn[kind.theme] += 1
    return faults


class Harness:
    """Injects faults, each in a folder of its own; use it as a context manager.

    Args:
        folder: for everything.
        seed: of what is random.
        patience: seconds after which a process has hung.
        keep: whether folders of faults stay where nothing is wrong.
    """

    def __init__(self, folder, seed=0, patience=120.0, keep=False):
        self._folder, self._seed, self._keep = folder, seed, keep
        self._server = Server(folder, environment(folder), patience)
        self._local, self._drivers = threading.local(), []

    def __enter__(self):
        self._server.__enter__()
        self._drivers.append(Driver(self._server))
        self._references = References(self._folder, self._server, self._drivers[0])
        return self

    def __exit__(self, *_):
        for driver in self._drivers:
            driver.close()
        self._server.__exit__()

    def end(self):
        """Ends the processes under test, and so the faults that are being injected."""
        self._server.end()

    def inject(self, fault):
        """Injects a fault; never raises."""
        began, folder = time.monotonic(), self._folder / f"fault{fault.number:03d}"
        folder.mkdir()
        draw = random.Random(f"{self._seed} {fault.number}")
        world = World(fault.family, draw, folder, self._server, self._driver(), self._references)
        seen, wrong = "", ""
        try:
            seen = " ".join(fault.kind.inject(world).split())
        except Wrong as error:
            wrong = str(error)
        except Hung as error:
            wrong = f"hung: {error}"
        except Exception:
            wrong = traceback.format_exc()
        if wrong:
            (folder / "failure.txt").write_text(wrong)
        elif not self._keep:
            shutil.rmtree(folder)
        return Result(fault, seen, wrong, time.monotonic() - began)

    def _driver(self):
        """One for each thread, since it runs one command at a time."""
        if not hasattr(self._local, "driver"):
            self._local.driver = Driver(self._server)
            self._drivers.append(self._local.driver)
        return self._local.driver


def environment(folder):
    """Variables of the processes: one device, no threads before JAX's own, compiled programs of earlier runs."""
    import jax
    import jaxlib

    from tests import compilation_cache

    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "",
        "JAX_COMPILATION_CACHE_DIR": str(compilation_cache.folder(jax, jaxlib)),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "XDG_STATE_HOME": str(folder / "state"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(pathlib.Path.cwd()), os.environ.get("PYTHONPATH")])),
    }


def chosen(only):
    """Kinds that are asked for: all, a theme, or one kind."""
    kinds = [kind for kind in KINDS if only in (None, kind.theme, kind.name)]
    if not kinds:
        valid = [*dict.fromkeys(kind.theme for kind in KINDS), *(kind.name for kind in KINDS)]
        sys.exit(f"error: --only {only!r}; valid are {', '.join(map(repr, valid))}")
    return kinds


def table(results):
    """Lines: faults and failures by kind."""
    rows = collections.defaultdict(list)
    for result in results:
        rows[result.fault.kind.theme, result.fault.kind.name].append(result)
    yield f"{'theme':<10}{'kind':<38}{'faults':>7}{'failed':>7}{'seconds':>9}  families"
    for (theme, name), found in rows.items():
        failed = sum(bool(result.wrong) for result in found)
        families = " ".join(dict.fromkeys(result.fault.family for result in found))
        seconds = sum(result.seconds for result in found)
        yield f"{theme:<10}{name:<38}{len(found):>7}{failed:>7}{seconds:>9.0f}  {families}"


def main():
    """Reads the command line, injects the faults, prints what came of them; exit code 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="of what is random (default: 0)")
    parser.add_argument("--num", type=int, default=100, help="number of faults (default: 100)")
    parser.add_argument("--only", help="a theme, or one kind of fault")
    parser.add_argument("--number", type=int, help="only the fault of this number")
    parser.add_argument("--workers", type=int, default=2, help="faults at a time (default: 2)")
    parser.add_argument(
        "--patience", type=float, default=120, help="seconds until a process has hung (default: 120)"
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep all folders; without it the folders of failures stay"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    folder, began = pathlib.Path(tempfile.mkdtemp(prefix="genjax-faults-")), time.monotonic()
    kinds = chosen(options.only)
    if not disk.can_mount(folder / "mount"):
        print("file systems cannot be mounted here: limits of file sizes take the place of full disks")
        kinds = [kind for kind in kinds if kind.theme != "disk" or kind.name in disk.WITHOUT_MOUNT]
    faults = [fault for fault in plan(options.num, kinds) if options.number in (None, fault.number)]
    print(f"seed {options.seed}, {len(faults)} faults, in {folder}", flush=True)
    results = []
    with (
        Harness(folder, options.seed, options.patience, options.keep) as harness,
        concurrent.futures.ThreadPoolExecutor(options.workers) as pool,
    ):
        try:
            for done in concurrent.futures.as_completed(
                [pool.submit(harness.inject, fault) for fault in faults]
            ):
                results.append(done.result())
                print(results[-1], flush=True)
        except BaseException:  # Ctrl-C: what has not begun doesn't, what has is ended
            pool.shutdown(wait=False, cancel_futures=True)
            harness.end()
            raise
    print(*table(sorted(results, key=lambda result: result.fault.number)), sep="\n")
    failed = sum(bool(result.wrong) for result in results)
    print(f"{len(results)} faults, {failed} failed, {time.monotonic() - began:.0f} s")
    if not (failed or options.keep):
        shutil.rmtree(folder)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
