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


def test_a_killed_process_that_nobody_has_asked_for_is_dead(tmp_path):
    """A zombie, as in containers whose first process is no init: it has its number, and writes no more."""
    folder = epath.Path(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with lock.held(folder):
        content = json.loads((folder / lock.LOCK).read_text())
    content |= {"pid": process.pid, "process_start": lock._process_start(process.pid)}
    (folder / lock.LOCK).write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"process {process.pid}"), lock.held(folder):
        pass
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    said = []
    with lock.held(folder, say=said.append):
        assert "taking over" in said[0]
    process.wait()
    process.stdin.close()


@pytest.mark.parametrize("damage", ["torn", "pipe", "link", "../x", "number"])
def test_a_damaged_lock_is_taken_over_after_a_while(tmp_path, damage):
    """Also one that would be waited for for ever, or that names a file elsewhere."""
    folder = epath.Path(tmp_path / "run")
    with lock.held(folder):
        whole = json.loads((folder / lock.LOCK).read_text())
    path = tmp_path / "run" / lock.LOCK
    if damage == "pipe":
        os.mkfifo(path)
    elif damage == "link":
        path.symlink_to(path.name)
    else:
        other = {"token": "../x"} | ({"pid": 10**30} if damage == "number" else {"host": "else\x1bwhere"})
        text = json.dumps({**whole, **other})
        path.write_text(text[:20] if damage == "torn" else text)
    said = []
    with lock.held(folder, say=said.append, **QUICK):
        assert "taking over the lock" in said[-1] and "\x1b" not in "".join(said)
        assert ("lock.json is damaged" in said[-1]) == (damage in ("torn", "pipe", "link"))
    assert os.listdir(tmp_path) == ["run"] and os.listdir(tmp_path / "run") == []


def test_a_folder_in_the_place_of_the_lock_is_named_at_once(tmp_path):
    (tmp_path / lock.LOCK).mkdir()
    with pytest.raises(IsADirectoryError, match=r"lock\.json"), lock.held(epath.Path(tmp_path)):
        pass
    assert os.listdir(tmp_path) == [lock.LOCK]
