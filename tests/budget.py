"""What the suite costs: at its end a table of seconds by folder of tests, beside the budget of each.

Seconds are summed over all workers: setting up, running and cleaning up. Seconds of compiling are tracing,
lowering, XLA, and reading what is kept from earlier runs (`tests/compilation_cache.py`), in the tests' own processes
and not in those that they start. Whatever is over its budget is marked; nothing fails.
"""

import collections
import os
import pathlib
import time

import pytest

BUDGETS = {
    "app": 130,
    "augmentation": 20,
    "contracts": 330,
    "data": 20,
    "diffusion": 130,
    "experiments": 600,
    "faults": 20,
    "losses": 20,
    "methods": 150,
    "metrics": 60,
    "models": 50,
    "nn": 50,
    "parity": 160,
    "train": 330,
    ".": 120,
}
"""Seconds of a folder's tests, on two cores that nothing else uses and with programs kept from an earlier run.

In all 17 minutes of two workers, parity not counted, which runs with the oldest versions: with the installations and
what runs once more there, `.ci/run` stays below 25. The site, its tutorials and the browser may add 6. Whoever raises
one lowers another.
"""
SLOW = 20
"""Seconds over which the docstring of a test says why it takes them."""
PROPERTY = "compile_seconds"


class Compiling:
    """Seconds that jax compiled for: a listener of jax.monitoring.

    Events come in when they end, and one may hold others (a function traced while another is). So what is added up is
    the time in which at least one was going on.
    """

    def __init__(self):
        self.spans = []

    def __call__(self, event, seconds, **_):
        if event.startswith("/jax/core/compile/"):
            end = time.time()
            start = end - seconds
            while self.spans and self.spans[-1][1] > start:
                start = min(start, self.spans.pop()[0])
            self.spans.append((start, end))

    def take(self):
        """Seconds since the last call."""
        total = sum(end - start for start, end in self.spans)
        self.spans.clear()
        return total


COMPILING = Compiling()


class Costs:
    """Collects what the tests cost and prints it; in a worker of pytest-xdist the numbers travel with the reports."""

    def __init__(self):
        self.tests = collections.Counter()
        self.seconds = collections.Counter()
        self.compiling = collections.Counter()
        self.single = collections.Counter()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self):
        report = yield
        report.user_properties.append((PROPERTY, COMPILING.take()))
        return report

    def pytest_runtest_logreport(self, report):
        inside = report.nodeid.partition("::")[0].split("/")[1:-1]
        name = inside[0] if inside else "."
        self.tests[name] += report.when == "setup"
        self.seconds[name] += report.duration
        self.single[report.nodeid] += report.duration
        self.compiling[name] += sum(value for key, value in report.user_properties if key == PROPERTY)

    def table(self, budgets=None):
        """Lines: folders, those that cost most first, their total, and the tests that take long."""
        budgets = BUDGETS if budgets is None else budgets
        rows = [("folder", "tests", "seconds", "compiling", "budget", "")]
        for name, seconds in self.seconds.most_common():
            budget = budgets.get(name)
            over = "" if budget is None or seconds <= budget else f"OVER by {seconds - budget:.0f}"
            numbers = (self.tests[name], f"{seconds:.0f}", f"{self.compiling[name]:.0f}")
            rows.append((name, *numbers, "-" if budget is None else budget, over))
        counts = (self.tests.total(), f"{self.seconds.total():.0f}", f"{self.compiling.total():.0f}")
        rows.append(("total", *counts, sum(budgets.get(name, 0) for name in self.seconds), ""))
        lines = [
            f"{row[0]:<14}" + "".join(f"{value:>11}" for value in row[1:5]) + f"  {row[5]}".rstrip()
            for row in rows
        ]
        slow = [(test, seconds) for test, seconds in self.single.most_common() if seconds > SLOW]
        return [*lines, *(f"over {SLOW} s: {seconds:.0f} s {test}" for test, seconds in slow)]

    def pytest_terminal_summary(self, terminalreporter):
        """Also into the file that $GENJAX_TEST_COSTS names, for `.ci/run` to print last."""
        if not self.tests:
            return
        terminalreporter.section("seconds of the tests, against their budgets")
        lines = self.table()
        for line in lines:
            terminalreporter.write_line(line)
        if path := os.environ.get("GENJAX_TEST_COSTS"):
            pathlib.Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
