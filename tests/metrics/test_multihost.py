"""Moments of two processes are merged on both, to the bit and in float64."""

import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from genjax.metrics.frechet import merge, moments
from genjax.metrics.multihost import merge_processes, pack, unpack
from genjax.typing import UserError

ROOT = pathlib.Path(__file__).parents[2]
WORKER = pathlib.Path(__file__).with_name("moments_worker.py")


def test_packing_keeps_every_bit():
    m = moments(np.random.default_rng(0).normal(size=(2, 5)))._replace(count=2**40 + 1)
    found = unpack(pack(m), 5)
    assert found.count == m.count
    np.testing.assert_array_equal(found.mean, m.mean)
    np.testing.assert_array_equal(found.m2, m.m2)
    with pytest.raises(UserError, match="bits has 62 words: moments of width 4 have 42"):
        unpack(pack(m), 4)


def test_one_process_has_nothing_to_merge():
    m = moments(np.eye(3))
    assert merge_processes(m) is m


def test_two_processes_have_the_moments_of_all():
    with socket.socket() as server:
        server.bind(("localhost", 0))
        address = f"localhost:{server.getsockname()[1]}"
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    commands = [[sys.executable, str(WORKER), address, str(i)] for i in range(2)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(c, env=environment, cwd=ROOT, **pipes) for c in commands]
    try:
        outputs = [process.communicate(timeout=600) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], outputs
    features = np.random.default_rng(0).normal(1e3, 1, (60, 3))
    expected = merge(moments(features[:25]), moments(features[25:]))
    for out, _ in outputs:
        count, mean, m2 = out.splitlines()[-1].split()
        assert int(count) == 60
        np.testing.assert_array_equal(np.frombuffer(bytes.fromhex(mean)), expected.mean)
        np.testing.assert_array_equal(np.frombuffer(bytes.fromhex(m2)).reshape(3, 3), expected.m2)
