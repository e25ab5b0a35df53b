"""The table of what the tests cost, and where compiled programs are kept between runs."""

import os
import pathlib
import subprocess
import sys
import time
import zlib
from types import SimpleNamespace

import pytest

from tests import budget, compilation_cache

TRACE, XLA = "/jax/core/compile/jaxpr_trace_duration", "/jax/core/compile/backend_compile_duration"


@pytest.fixture
def clock(monkeypatch):
    """Function: sets the time at which the next event ends."""
    now = SimpleNamespace(time=100.0)
    monkeypatch.setattr(budget, "time", SimpleNamespace(time=lambda: now.time))
    return lambda time: setattr(now, "time", time)


def test_events_within_others_count_once(clock):
    compiling = budget.Compiling()
    # Two traces within a third, 1 to 5; then XLA, 5 to 9; then, after a pause, another, 20 to 21.
    for end, seconds, event in [(2.0, 0.5, TRACE), (4.0, 1.0, TRACE), (5.0, 4.0, TRACE), (9.0, 4.0, XLA)]:
        clock(end)
        compiling(event, seconds, fun_name="f")
    clock(21.0)
    compiling(XLA, 1.0)
    compiling("/jax/compilation_cache/compile_time_saved_sec", 1000.0)
    assert compiling.take() == 9.0
    assert compiling.take() == 0.0


def report(test, when, seconds, compiling=0.0):
    return SimpleNamespace(
        nodeid=test, when=when, duration=seconds, user_properties=[("other", 7), (budget.PROPERTY, compiling)]
    )


def test_table():
    costs = budget.Costs()
    for r in (
        report("tests/nn/test_layers.py::test_a[x/y::z]", "setup", 1.0, 0.5),
        report("tests/nn/test_layers.py::test_a[x/y::z]", "call", 2.0, 1.5),
        report("tests/nn/test_layers.py::test_a[x/y::z]", "teardown", 0.25),
        report("tests/nn/test_other.py::test_skipped", "setup", 0.75),
        report("tests/train/test_fit.py::test_b", "setup", 10.0),
        report("tests/train/test_fit.py::test_b", "call", 11.0, 8.0),
        report("tests/test_imports.py::test_c", "setup", 0.5),
    ):
        costs.pytest_runtest_logreport(r)
    assert [line.split() for line in costs.table({"nn": 4, "train": 15, "data": 100})] == [
        ["folder", "tests", "seconds", "compiling", "budget"],
        ["train", "1", "21", "8", "15", "OVER", "by", "6"],
        ["nn", "2", "4", "2", "4"],
        [".", "1", "0", "0", "-"],
        ["total", "4", "26", "10", "19"],
        ["over", "20", "s:", "21", "s", "tests/train/test_fit.py::test_b"],
    ]


def test_budgets_are_those_of_the_folders():
    tests = pathlib.Path(__file__).parent
    folders = {path.name for path in tests.iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    assert set(budget.BUDGETS) == {*folders, "."}


SUITE = """
import time
from tests import budget

def test_compiles():
    time.sleep(0.6)
    budget.COMPILING("/jax/core/compile/x", 0.6)

def test_does_not():
    pass
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_numbers_of_workers_come_together(workers, tmp_path):
    """A suite of two folders, whose tests say that they compiled for 0.6 seconds each."""
    for folder in ("slow", "slower"):
        (tmp_path / "tests" / folder).mkdir(parents=True)
        (tmp_path / "tests" / folder / "test_it.py").write_text(SUITE)
    (tmp_path / "conftest.py").write_text(
        "from tests import budget\n"
        "def pytest_configure(config):\n    config.pluginmanager.register(budget.Costs())\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[1])}
    environment["GENJAX_TEST_COSTS"] = str(tmp_path / "costs.txt")
    for name in [name for name in environment if name.startswith("PYTEST_")]:
        del environment[name]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", workers, "--import-mode=importlib", "-p", "no:cacheprovider"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "costs.txt").read_text()
    assert lines in done.stdout
    rows = {row[0]: row[1:] for row in map(str.split, lines.splitlines())}
    assert rows["total"][0] == "4" and rows["slow"][0] == rows["slower"][0] == "2"
    assert rows["total"][2] == rows["slow"][2] == rows["slower"][2] == "1"  # 1.2 and twice 0.6, rounded


def test_where_programs_are_kept(monkeypatch, tmp_path):
    assert compilation_cache.root({"GENJAX_TEST_CACHE": "/a", "XDG_CACHE_HOME": "/b"}) == pathlib.Path("/a")
    assert compilation_cache.root({"XDG_CACHE_HOME": "/b"}) == pathlib.Path("/b/genjax/tests")
    assert compilation_cache.root({}) == pathlib.Path.home() / ".cache" / "genjax" / "tests"
    monkeypatch.setenv("GENJAX_TEST_CACHE", "/a")
    jax, lib = (
        SimpleNamespace(__name__="jax", __version__="1"),
        SimpleNamespace(__name__="lib", __version__="2"),
    )
    first = compilation_cache.folder(jax, lib)
    assert first.parent == pathlib.Path("/a")
    assert first.name.startswith(f"py{sys.version_info[0]}.{sys.version_info[1]}-jax1-lib2-")
    # Another processor, other programs; but its clock and the number of its cores are nothing to them.
    cpuinfo = tmp_path / "cpuinfo"
    one = "model name\t: X\ncpu MHz\t\t: 2.5\nflags\t\t: fpu avx2\n"
    cpuinfo.write_text(one)
    of_one = compilation_cache.machine(cpuinfo)
    cpuinfo.write_text(one.replace("2.5", "3.5") * 4)
    assert compilation_cache.machine(cpuinfo) == of_one
    cpuinfo.write_text(one.replace("avx2", "avx2 avx512f"))
    assert compilation_cache.machine(cpuinfo) != of_one
    assert compilation_cache.machine(tmp_path / "none")


def test_what_is_thrown_away(tmp_path):
    """Entries nobody read for long, broken ones of this run, and those that were used first if there are too many."""
    now = time.time()
    whole = zlib.compress(os.urandom(900))
    entries = {
        "old": (whole, 15 * 24 * 3600),
        "broken before": (whole[:500], 9000),
        "first": (whole, 8000),
        "second": (whole, 7000),
        "not of zlib": (b"\x28\xb5\x2f\xfd" + whole, 50),
        "broken": (whole[:500], 40),
        "empty": (b"", 30),
        "new": (whole, 20),
    }
    for i, (name, (data, age)) in enumerate(entries.items()):
        path = tmp_path / f"version {i % 2}" / f"{name}-cache"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (now - age, now - age))
    (tmp_path / "version 0" / "unknown").write_bytes(b"")

    def left():
        return {path.name.removesuffix("-cache") for path in tmp_path.glob("*/*")} - {"unknown"}

    compilation_cache.tidy(now - 100, tmp_path)
    assert left() == {"broken before", "first", "second", "not of zlib", "new"}
    compilation_cache.tidy(now, tmp_path, most=2000)
    assert left() == {"not of zlib", "new"}
    assert (tmp_path / "version 0" / "unknown").exists()
    compilation_cache.tidy(now, tmp_path / "nowhere")
