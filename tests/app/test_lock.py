"""The lock of a workdir: one writer, whoever else comes; the dead give way."""

import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from etils import epath

from genjax.app import lock
from genjax.typing import UserError

QUICK = {"renewed_every": 0.05, "patience": 0.5}


def test_a_second_writer_is_refused_and_told_of_the_first(tmp_path):
    folder = epath.Path(tmp_path / "run")
    with lock.held(folder):
        found = json.loads((folder / lock.LOCK).read_text())
        assert found["pid"] == os.getpid()
        message = rf"run' is being written by process {os.getpid()} on"
        with pytest.raises(UserError, match=message), lock.held(folder):
            pass
        assert (folder / lock.LOCK).exists()
    assert not (folder / lock.LOCK).exists()
    with lock.held(folder):
        pass


def test_it_is_gone_after_an_error(tmp_path):
    folder = epath.Path(tmp_path)
    with pytest.raises(RuntimeError), lock.held(folder):
        raise RuntimeError
    assert os.listdir(folder) == []


def test_the_lock_of_a_killed_process_is_taken_over_at_once(tmp_path):
    program = (
        "import sys, time; from etils import epath; from genjax.app import lock\n"
        "with lock.held(epath.Path(sys.argv[1])): print(1, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"1\n"
        with pytest.raises(UserError, match=f"process {process.pid}"), lock.held(epath.Path(tmp_path)):
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    said = []
    with lock.held(epath.Path(tmp_path), say=said.append):
        pass
    assert len(said) == 1 and f"taking over the lock of process {process.pid}" in said[0]
    assert os.listdir(tmp_path) == []


def test_another_process_of_the_same_number_is_not_the_holder(tmp_path):
    folder = epath.Path(tmp_path)
    with lock.held(folder):
        content = json.loads((folder / lock.LOCK).read_text())
    (folder / lock.LOCK).write_text(json.dumps({**content, "process_start": "1"}))
    said = []
    with lock.held(folder, say=said.append):
        assert "taking over" in said[0]


def elsewhere(folder):
    """A lock as a process of another machine writes it."""
    with lock.held(folder):
        content = json.loads((folder / lock.LOCK).read_text())
    content |= {"host": "elsewhere", "machine": "another", "token": "theirs"}
    (folder / lock.LOCK).write_text(json.dumps(content))
    return content


def test_a_machine_that_gives_no_sign_of_life_gives_way(tmp_path):
    folder, said = epath.Path(tmp_path), []
    elsewhere(folder)
    began = time.monotonic()
    with lock.held(folder, say=said.append, **QUICK):
        assert time.monotonic() - began >= QUICK["patience"]
        assert json.loads((folder / lock.LOCK).read_text())["host"] != "elsewhere"
    assert [re.search("waiting|taking over", text).group() for text in said] == ["waiting", "taking over"]


def test_a_machine_that_renews_its_lock_is_not_robbed(tmp_path):
    folder = epath.Path(tmp_path)
    content = elsewhere(folder)

    def renewed(_):
        (folder / lock.LOCK).write_text(json.dumps({**content, "renewals": 1}))

    with pytest.raises(UserError, match="on elsewhere"), lock.held(folder, say=renewed, **QUICK):
        pass
    assert json.loads((folder / lock.LOCK).read_text())["token"] == "theirs"


def test_the_holder_renews_it(tmp_path):
    folder = epath.Path(tmp_path)
    with lock.held(folder, **QUICK):
        deadline = time.monotonic() + 10
        while json.loads((folder / lock.LOCK).read_text())["renewals"] < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert os.listdir(tmp_path) == []


def test_of_many_that_start_at_once_one_wins(tmp_path):
    """Also where all find the lock of a dead process first."""
    folder = epath.Path(tmp_path)
    with lock.held(folder):
        content = json.loads((folder / lock.LOCK).read_text())
    (folder / lock.LOCK).write_text(json.dumps({**content, "process_start": "1", "token": "dead"}))
    start, ended = threading.Barrier(8), threading.Event()

    def enter(_):
        start.wait()
        try:
            with lock.held(folder, say=lambda text: None, **QUICK):
                return ended.wait(0.5) or True
        except UserError:
            return False

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(enter, range(8))) == 1
    assert os.listdir(tmp_path) == []
