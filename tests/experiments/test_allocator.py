"""Freed memory: kept on machines without accelerator, and only there."""

import importlib.metadata
import subprocess
import sys

import pytest

from experiments import allocator

FAULTS = """
import resource, sys, threading
from experiments import allocator
if sys.argv[1] == "keep":
    allocator.keep_freed_memory()

def use_twice():  # in a thread, as XLA does: glibc gives threads other arenas
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = bytearray(1 << 27)
        block[::4096] = bytes(1 << 15)
        del block
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=use_twice)
thread.start()
thread.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_second_use_of_a_large_block_faults_no_pages():
    environment = {"PATH": "/usr/bin", "JAX_PLATFORMS": "cpu", "PYTHONMALLOC": "malloc"}
    faults = {
        how: int(
            subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, env=environment).stdout
        )
        for how in ("keep", "default")
    }
    assert faults["keep"] < 1000 < faults["default"]


def test_left_alone_beside_an_accelerator_or_the_users_own_setting(monkeypatch):
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: pytest.fail("malloc was changed"))
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000")
    allocator.keep_freed_memory()
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: ["xla_cuda13"])
    allocator.keep_freed_memory()
