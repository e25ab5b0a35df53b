"""How commands end, and where compiled programs are kept."""

import errno
import logging
import os
import signal
import subprocess
import sys

import absl.logging
import jax
import pytest

from experiments import cli
from genjax.app.config import Launch
from genjax.train.fit import NonFiniteError
from genjax.train.program import RecompileError
from genjax.typing import UserError


@pytest.fixture(autouse=True)
def settings():
    """`cli.run` sets things for the whole process."""
    loggers = absl.logging.get_absl_logger(), logging.getLogger("asyncio")
    levels = [logger.level for logger in loggers]
    verbosity = absl.logging.get_verbosity()
    cache, hook = jax.config.jax_compilation_cache_dir, sys.unraisablehook
    at_interrupt = signal.getsignal(signal.SIGINT)
    yield
    sys.unraisablehook = hook
    signal.signal(signal.SIGINT, at_interrupt)
    absl.logging.set_verbosity(verbosity)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    jax.config.update("jax_compilation_cache_dir", cache)


def ended(error, capsys, **options):
    def main():
        raise error

    with pytest.raises(SystemExit) as end:
        cli.run(main, **options)
    return end.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("no such thing"), 2),
        (NonFiniteError("no such thing"), 1),
        (RecompileError("no such thing"), 1),
        (OSError(errno.ENOSPC, "no such thing"), 1),
    ],
)
def test_expected_errors_are_one_line(error, code, capsys):
    assert ended(error, capsys) == (code, f"error: {error}\n")


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.EBADF, "a bug")])
def test_bugs_keep_their_traceback(error, capsys):
    def main():
        raise error

    with pytest.raises(type(error), match="a bug"):
        cli.run(main)


def test_interrupts(capsys):
    assert ended(KeyboardInterrupt(), capsys) == (130, "\ninterrupted\n")
    assert ended(KeyboardInterrupt(), capsys, when_interrupted="go on") == (130, "\ninterrupted: go on\n")


def test_libraries_are_silent_where_an_error_is_raised_anyway(capsys, caplog):
    cli.run(lambda: None)
    absl.logging.error("a traceback for each of 500 arrays")
    logging.getLogger("asyncio").error("Task exception was never retrieved")
    logging.getLogger("genjax.train.checkpoint").warning("the checkpoint is not usable")
    assert [record.getMessage() for record in caplog.records] == ["the checkpoint is not usable"]


def test_an_error_that_nobody_can_catch_is_said_but_for_late_writes(monkeypatch):
    said = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: said.append(str(unraisable.exc_value)))
    cli.run(lambda: None)

    class Fails:
        def __init__(self, text):
            self.text = text

        def __del__(self):
            raise RuntimeError(self.text)

    for text in ("Event loop is closed", "a bug"):
        Fails(text)
    assert said == ["a bug"]


@pytest.mark.parametrize(("output", "why"), [("full", "No space left on device"), ("pipe", "Broken pipe")])
def test_an_output_that_takes_nothing_is_named_once(output, why):
    """As of a full disk, and of ``| head -1``; in a process, whose own end is looked at, too."""
    program = "from experiments import cli; cli.run(lambda: [print(i, flush=i > 1) for i in range(3)])"
    read, write = os.pipe()
    os.close(read)
    with open("/dev/full" if output == "full" else write, "wb") as file:
        ended = subprocess.run(
            [sys.executable, "-c", program], stdout=file, stderr=subprocess.PIPE, text=True
        )
    if output == "full":
        os.close(write)
    assert (ended.returncode, ended.stderr) == (1, f"error: standard output cannot be written: {why}\n")


def test_nobody_waits_for_what_orbax_cannot_write():
    """Its threads wait for minutes for files that a full disk did not take, and the interpreter for them."""
    program = """if True:
        import threading, time
        from experiments import cli
        from genjax.typing import UserError
        class Waits(threading.Thread):
            __module__ = "orbax.checkpoint"
            def run(self):
                time.sleep(999)
        def main():
            print("begun")
            Waits().start()
            raise UserError("no room")
        cli.run(main)
    """
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "begun\n", "error: no room\n")


def test_compilation_cache(monkeypatch, tmp_path):
    given = str(tmp_path / "given")
    jax.config.update("jax_compilation_cache_dir", given)
    cli.run(lambda: None)
    assert jax.config.jax_compilation_cache_dir == given
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cli.run(lambda: None)
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "genjax" / "xla")
    assert jax.config.jax_persistent_cache_min_entry_size_bytes == -1
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0


@pytest.mark.parametrize(
    ("launch", "message"),
    [
        (Launch("x", num_processes=2, process_id=0), r"\['num_processes', 'process_id'\] need --distributed"),
        (Launch("x", distributed=True, process_id=0), r"\['coordinator', 'num_processes'\] missing"),
    ],
)
def test_half_a_description_of_the_processes(launch, message):
    with pytest.raises(UserError, match=message):
        cli.join_processes(launch)


def test_one_process_joins_nothing(monkeypatch):
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_: pytest.fail("joined"))
    cli.join_processes(Launch("x"))
    monkeypatch.setattr(jax.distributed, "initialize", _unreachable)
    with pytest.raises(UserError, match="the processes did not find each other: deadline"):
        cli.join_processes(Launch("x", distributed=True))


def _unreachable(*_):
    raise RuntimeError("deadline")
