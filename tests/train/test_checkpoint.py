"""Round trips are bitwise; whatever is wrong with the newest checkpoint, the one before it is used."""

import asyncio
import errno
import logging
import math
import os
import pathlib
import socket
import subprocess
import sys
import textwrap
import threading

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from etils import epath
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from genjax.train import seal
from genjax.train.checkpoint import Checkpointer, CheckpointError
from genjax.train.seal import SEAL
from genjax.typing import TrainState, UserError


@flax.struct.dataclass
class Extra:
    key: jax.Array
    counts: tuple


def make_state(seed, width=4):
    keys = jax.random.split(jax.random.key(seed), 3)
    params = {"Dense_0": {"kernel": jax.random.normal(keys[0], (16, width)), "bias": jnp.zeros(width)}}
    return TrainState(
        step=jnp.int32(seed),
        params=params,
        opt=optax.chain(optax.clip(1.0), optax.adam(1e-3)).init(params),
        ema=jax.tree.map(lambda x: x.astype(jnp.bfloat16), params),
        mutable=Extra(key=keys, counts=(jnp.arange(3, dtype=jnp.uint8), jnp.bool_(True))),
    )


def abstract(state, sharding=None):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state)


def to_bytes(leaf):
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return str(leaf.dtype), np.asarray(jax.random.key_data(leaf)).tobytes()
    return str(leaf.dtype), np.asarray(leaf).tobytes()


def assert_same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True):
        assert to_bytes(x) == to_bytes(y), jax.tree_util.keystr(path)


def save_steps(directory, steps, keep=3):
    with Checkpointer(directory, keep=keep) as checkpoints:
        for step in steps:
            checkpoints.save(step, make_state(step), {"seed": step})


def restore(directory, **options):
    with Checkpointer(directory, **options) as checkpoints:
        return checkpoints.restore_latest(abstract(make_state(0)))


def largest_file(folder):
    return max(
        (path for path in (folder / "state").rglob("*") if path.is_file()), key=lambda p: p.stat().st_size
    )


def flip_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_round_trip_is_bitwise(tmp_path):
    extra = {"loss": 0.1 + 0.2, "tiny": 5e-324, "list": [1, "a", None], "nan": math.nan, "inf": -math.inf}
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(7, make_state(7), extra)
    with Checkpointer(tmp_path) as checkpoints:
        state, restored_extra, step = checkpoints.restore_latest(abstract(make_state(0)))
    assert step == 7
    assert_same_bits(state, make_state(7))
    assert repr(restored_extra) == repr(extra)
    assert jax.random.normal(state.mutable.key[1]) == jax.random.normal(make_state(7).mutable.key[1])


def test_save_returns_before_it_is_done(tmp_path, monkeypatch):
    release = threading.Event()
    write = seal.seal
    monkeypatch.setattr(seal, "seal", lambda path: release.wait(60) and write(path))
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(1, make_state(1))
        assert checkpoints.steps() == []
        release.set()
        checkpoints.wait()
        assert checkpoints.steps() == [1]


def test_extra_may_change_right_after_save(tmp_path, monkeypatch):
    """It is written by a thread; what is written must be what it was when `save` was called."""
    extra, changed = {"rows": [1]}, threading.Event()
    write = ocp.JsonCheckpointHandler._save_fn

    async def late(*args, **kwargs):
        assert await asyncio.to_thread(changed.wait, 30)
        return await write(*args, **kwargs)

    monkeypatch.setattr(ocp.JsonCheckpointHandler, "_save_fn", late)
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(1, make_state(1), extra)
        extra["rows"].append(2)
        changed.set()
    _, restored, _ = restore(tmp_path)
    assert restored == {"rows": [1]}


@pytest.mark.parametrize("spec", [PartitionSpec("data"), PartitionSpec()], ids=["sharded", "replicated"])
def test_buffers_may_be_donated_right_after_save(tmp_path, spec):
    """The state is overwritten in place while it is written out; what is saved is as it was."""
    sharding = NamedSharding(Mesh(np.array(jax.devices()), "data"), spec)
    update = jax.jit(lambda state, a: jax.tree.map(lambda x: x + a, state), donate_argnums=0)
    values = np.random.default_rng(0).normal(size=(8, 50_000)).astype(np.float32)
    # The output of a computation, as in training: the buffer of a `device_put` may be numpy's, never reused.
    state = update({"x": jax.device_put(values, sharding)}, 1.0)
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(1, state)
        for _ in range(5):
            state = update(state, 1.0)
        checkpoints.wait()
        restored, _, _ = checkpoints.restore_latest(abstract(state))
    np.testing.assert_array_equal(restored["x"], values + 1)
    assert not np.array_equal(state["x"], restored["x"])


def test_restores_onto_other_numbers_of_devices(tmp_path):
    """8 -> 2 -> 1 -> 8 devices, each time saved from where it was restored to."""
    values = np.random.default_rng(1).normal(size=(16, 3)).astype(np.float32)

    def on(count):
        return NamedSharding(Mesh(np.array(jax.devices()[:count]), "data"), PartitionSpec("data"))

    state = {"x": jax.device_put(values, on(8)), "key": jax.random.split(jax.random.key(3), 8)}
    state["key"] = jax.device_put(state["key"], on(8))
    keys = jax.random.key_data(state["key"])
    for step, count in enumerate((2, 1, 8)):
        with Checkpointer(tmp_path) as checkpoints:
            checkpoints.save(step, state)
            state, _, _ = checkpoints.restore_latest(abstract(state, on(count)))
        assert state["x"].sharding == on(count)
        assert {shard.data.shape for shard in state["x"].addressable_shards} == {(16 // count, 3)}
        np.testing.assert_array_equal(state["x"], values)
        np.testing.assert_array_equal(jax.random.key_data(state["key"]), keys)


def test_keeps_the_newest(tmp_path):
    save_steps(tmp_path, range(1, 6), keep=2)
    with Checkpointer(tmp_path) as checkpoints:
        assert checkpoints.steps() == [4, 5]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000004", "00000005"]


def test_a_saved_step_is_left_as_it_is(tmp_path):
    save_steps(tmp_path, [1])
    before = (tmp_path / "00000001" / SEAL).read_bytes()
    save_steps(tmp_path, [1])
    assert (tmp_path / "00000001" / SEAL).read_bytes() == before


def test_an_unsealed_step_is_saved_again(tmp_path, caplog):
    save_steps(tmp_path, [1, 2])
    (tmp_path / "00000002" / SEAL).unlink()
    save_steps(tmp_path, [2])
    assert restore(tmp_path)[2] == 2
    assert (tmp_path / "00000002.unusable").exists() and "not finished" in caplog.text


def test_nothing_saved_yet(tmp_path):
    assert restore(tmp_path / "new" / "folder") is None
    assert restore(tmp_path / "absent", read_only=True) is None
    assert not (tmp_path / "absent").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="needs sha256sum")
def test_seal_is_what_sha256sum_checks(tmp_path):
    save_steps(tmp_path, [1])
    command = ["sha256sum", "--check", "--strict", SEAL]
    done = subprocess.run(command, cwd=tmp_path / "00000001", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    flip_bit(largest_file(tmp_path / "00000001"))
    assert subprocess.run(command, cwd=tmp_path / "00000001", capture_output=True).returncode == 1


def truncate(folder):
    path = largest_file(folder)
    os.truncate(path, path.stat().st_size // 2)


DAMAGES = {
    "truncated": (truncate, "truncated or corrupt"),
    "bit flip": (lambda folder: flip_bit(largest_file(folder)), "truncated or corrupt"),
    "bit flip in the metadata": (
        lambda folder: flip_bit(folder / "metadata" / "metadata"),
        "metadata/metadata",
    ),
    "bit flip in the seal": (lambda folder: flip_bit(folder / SEAL), "state/"),
    "lost file": (lambda folder: largest_file(folder).unlink(), "missing"),
    "foreign file": (lambda folder: (folder / "state" / "other").write_text("x"), "state/other not listed"),
    "seal truncated": (lambda folder: os.truncate(folder / SEAL, 200), "not listed"),
    "seal empty": (lambda folder: os.truncate(folder / SEAL, 0), "not listed"),
    "no seal": (lambda folder: (folder / SEAL).unlink(), "not finished"),
    "a folder for the seal": (
        lambda folder: ((folder / SEAL).unlink(), (folder / SEAL).mkdir()),
        "is a folder",
    ),
    "a pipe": (lambda folder: os.mkfifo(folder / "state" / "other"), "other cannot be read: it is a pipe"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_unusable_checkpoint_is_passed_over(tmp_path, caplog, damage):
    save_steps(tmp_path, [1, 2])
    spoil, reason = DAMAGES[damage]
    spoil(tmp_path / "00000002")

    state, extra, step = restore(tmp_path, read_only=True)
    assert (step, extra) == (1, {"seed": 1})
    assert (tmp_path / "00000002").exists()

    caplog.clear()
    state, extra, step = restore(tmp_path)
    assert (step, extra) == (1, {"seed": 1})
    assert_same_bits(state, make_state(1))
    warning = next(record for record in caplog.records if record.levelno == logging.WARNING)
    assert reason in warning.getMessage() and "00000002" in warning.getMessage()

    # The step can be saved again, and is then the one that is restored.
    assert (tmp_path / "00000002.unusable").exists()
    save_steps(tmp_path, [2])
    state, _, step = restore(tmp_path)
    assert step == 2
    assert_same_bits(state, make_state(2))


@pytest.mark.parametrize("name", ["a[1]", "a*", "what?", "ü b"])
def test_no_path_is_a_pattern(tmp_path, name):
    """Orbax looks for the files that it has written by a pattern, into which etils puts the folder."""
    (tmp_path / "other").mkdir()
    save_steps(tmp_path / name, [1, 2])
    state, extra, step = restore(tmp_path / name)
    assert (step, extra) == (2, {"seed": 2})
    assert_same_bits(state, make_state(2))
    moved = (tmp_path / name).rename(tmp_path / "[x]")
    assert restore(moved, read_only=True)[2] == 2


def test_a_sealed_checkpoint_without_arrays_is_named(tmp_path):
    """As versions before wrote them below a folder with brackets in its path.

    Of one array: of several, tensorstore would report the later ones to an event loop that Orbax has closed, in the
    middle of another test.
    """
    state = {"x": jnp.arange(8.0)}
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(1, state)
    folder = tmp_path / "00000001"
    (folder / "state" / "manifest.ocdbt").unlink()
    seal.seal(epath.Path(folder))
    with (
        Checkpointer(tmp_path) as checkpoints,
        pytest.raises(
            CheckpointError, match=r"00000001 is as it was written, and cannot be read: .*does not"
        ),
    ):
        checkpoints.restore_latest(abstract(state))


def test_litter_does_no_harm(tmp_path):
    """File managers and network file systems leave files everywhere; nothing of a checkpoint is lost by them."""
    save_steps(tmp_path, [1])
    for name in (".DS_Store", "state/._a", "state/.nfs0001", "metadata/Thumbs.db"):
        (tmp_path / "00000001" / name).write_bytes(b"x")
    (tmp_path / "00000001" / "@eaDir").mkdir()
    (tmp_path / "00000001" / "@eaDir" / "a").write_bytes(b"x")
    state, _, step = restore(tmp_path)
    assert step == 1 and not list(tmp_path.glob("*.unusable"))
    assert_same_bits(state, make_state(1))


def test_set_aside_twice(tmp_path):
    save_steps(tmp_path, [1])
    for _ in range(2):
        save_steps(tmp_path, [2])
        truncate(tmp_path / "00000002")
        assert restore(tmp_path)[2] == 1
    assert {path.name for path in tmp_path.iterdir()} == {
        "00000001",
        "00000002.unusable",
        "00000002.unusable1",
    }


def test_without_a_usable_checkpoint_nothing_is_started_over(tmp_path):
    save_steps(tmp_path, [1, 2])
    truncate(tmp_path / "00000001")
    (tmp_path / "00000002" / SEAL).unlink()
    for _ in range(2):  # also the second time: nothing was moved out of sight
        with pytest.raises(CheckpointError, match=r"(?s)no checkpoint in .* is usable.*00000002.*00000001"):
            restore(tmp_path)


def test_killed_in_the_first_save(tmp_path, caplog):
    """The folder that a kill before the rename, or before the seal, leaves: the run starts over by itself."""
    save_steps(tmp_path, [1])
    (tmp_path / "00000001" / SEAL).unlink()
    assert restore(tmp_path) is None
    assert "not finished" in caplog.text

    (tmp_path / "00000001.unusable").rename(tmp_path / "00000001.orbax-checkpoint-tmp")
    caplog.clear()
    assert restore(tmp_path) is None
    assert "half-written" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_killed_while_saving(tmp_path):
    """A process killed at any time leaves a directory from which the last sealed step is restored bitwise."""
    program = f"""
        import os, jax
        from genjax.train.checkpoint import Checkpointer
        checkpoints = Checkpointer({str(tmp_path)!r})
        make = lambda step: {{"x": jax.random.normal(jax.random.key(step), (200_000,))}}
        checkpoints.save(1, make(1))
        checkpoints.wait()
        checkpoints.save(2, make(2))
        os.kill(os.getpid(), 9)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(program)]).returncode == -9
    with Checkpointer(tmp_path) as checkpoints:
        state, _, step = checkpoints.restore_latest({"x": jax.ShapeDtypeStruct((200_000,), jnp.float32)})
        np.testing.assert_array_equal(state["x"], jax.random.normal(jax.random.key(step), (200_000,)))
        assert step in (1, 2)
        assert not [path for path in tmp_path.iterdir() if "tmp" in path.name]


def test_another_state_lists_the_leaves_that_differ(tmp_path):
    save_steps(tmp_path, [1])
    other = make_state(0, width=5)
    other = other.replace(
        params={"Dense_1": other.params["Dense_0"]}, mutable=other.mutable.replace(counts=())
    )
    with Checkpointer(tmp_path) as checkpoints, pytest.raises(CheckpointError) as info:
        checkpoints.restore_latest(abstract(other))
    message = str(info.value)
    assert "params/Dense_0/kernel: saved float32[16,4], wanted nothing" in message
    assert "params/Dense_1/kernel: saved nothing, wanted float32[16,5]" in message
    assert "ema/Dense_0/kernel: saved bfloat16[16,4], wanted bfloat16[16,5]" in message
    assert "mutable/key" not in message
    assert restore(tmp_path)[2] == 1


def test_user_mistakes(tmp_path):
    with pytest.raises(UserError, match="keep must be at least 1, got 0"):
        Checkpointer(tmp_path, keep=0)
    with Checkpointer(tmp_path) as checkpoints:
        with pytest.raises(UserError, match="JSON-able"):
            checkpoints.save(1, make_state(1), {"x": object()})
        with pytest.raises(UserError, match="same path"):
            checkpoints.save(1, {"a": {"b": jnp.zeros(1)}, "a/b": jnp.zeros(1)})
        assert checkpoints.steps() == []
    with Checkpointer(tmp_path, read_only=True) as checkpoints, pytest.raises(UserError, match="read_only"):
        checkpoints.save(1, make_state(1))


def check_full_disk(directory, fill):
    """Step 2 does not fit: the error says so, step 1 stays usable, step 3 is saved once there is room."""
    state = {"x": jax.random.normal(jax.random.key(0), (100_000,))}
    with Checkpointer(directory) as checkpoints:
        checkpoints.save(1, state)
        checkpoints.wait()
        free = fill()
        with pytest.raises(CheckpointError) as info:
            checkpoints.save(2, state)
            checkpoints.wait()
        message = str(info.value)
        assert str(directory) in message and "bytes free" in message and "no space left" in message
        assert "step 2" in message and "latest usable one is of step 1" in message
        assert [path.name for path in directory.iterdir() if path.name != "ballast"] == ["00000001"]
        restored, _, step = checkpoints.restore_latest(abstract(state))
        assert step == 1
        assert_same_bits(restored, state)
        free()
        checkpoints.save(3, state)
        checkpoints.wait()
        assert checkpoints.steps() == [1, 3]


@pytest.mark.parametrize("where", ["writing", "sealing"])
def test_full_disk_simulated(tmp_path, monkeypatch, where):
    def fail(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    def fill():
        if where == "sealing":
            monkeypatch.setattr(seal, "seal", fail)
        else:
            monkeypatch.setattr(ocp.AsyncCheckpointer, "wait_until_finished", wait_and_fail)
        return monkeypatch.undo

    def wait_and_fail(self):
        wait(self)
        if (tmp_path / "00000002").exists():
            (tmp_path / "00000002").rename(tmp_path / "00000002.orbax-checkpoint-tmp")
            fail()

    wait = ocp.AsyncCheckpointer.wait_until_finished
    check_full_disk(tmp_path, fill)


# Where several arrays fail to be written, tensorstore reports the later ones to an event loop that Orbax has closed
# at the first: noise on stderr that no caller can prevent.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_full_disk_for_real(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("may not mount a small file system here")

    def fill():
        ballast = tmp_path / "ballast"
        ballast.write_bytes(bytes(os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_bsize - 100_000))
        return ballast.unlink

    try:
        check_full_disk(tmp_path, fill)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


WORKER = """
import sys, jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
directory, address, process = sys.argv[1], sys.argv[2], int(sys.argv[3])
jax.config.update("jax_num_cpu_devices", 2)
jax.distributed.initialize(address, num_processes=2, process_id=process)
from genjax.train.checkpoint import Checkpointer, CheckpointError
sharding = NamedSharding(Mesh(np.array(jax.devices()), "data"), PartitionSpec("data"))
values = np.arange(8, dtype=np.float32)
state = {"x": jax.make_array_from_callback((8,), sharding, lambda index: values[index])}
abstract = {"x": jax.ShapeDtypeStruct((8,), np.float32, sharding=sharding)}
update = jax.jit(lambda state: {"x": state["x"] + 1}, donate_argnums=0)
with Checkpointer(directory) as checkpoints:
    assert checkpoints.restore_latest(abstract) is None
    for step in (1, 2):
        state = update(state)
        checkpoints.save(step, state, {"step": step})
    checkpoints.save(2, state)
    checkpoints.wait()
    jax.experimental.multihost_utils.sync_global_devices("saved")
    if process == 0:
        (checkpoints._path(2) / "metadata" / "metadata").write_text("{}")
    state, extra, step = checkpoints.restore_latest(abstract)
    assert (step, extra) == (1, {"step": 1}), (step, extra)
    for shard in state["x"].addressable_shards:
        np.testing.assert_array_equal(shard.data, values[shard.index] + 1)
    checkpoints.save(2, update(state))
    checkpoints.wait()
    jax.experimental.multihost_utils.sync_global_devices("saved again")
    if process == 0:
        for step in (1, 2):
            (checkpoints._path(step) / "metadata" / "metadata").write_text("{}")
    try:
        checkpoints.restore_latest(abstract)
    except CheckpointError as error:
        print("refused:", error)
"""


def test_two_processes_agree_on_the_checkpoint(tmp_path):
    """Each holds half of every array; process 0 finds the newest checkpoint corrupt, both use the older."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(pathlib.Path(__file__).parents[2])}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), address, str(process)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for process in range(2)
    ]  # fmt: skip
    outputs = [worker.communicate(timeout=120) for worker in workers]
    for worker, (out, err) in zip(workers, outputs, strict=True):
        assert worker.returncode == 0, err
        assert "refused:" in out
    assert {path.name for path in tmp_path.iterdir()} == {"00000001", "00000002", "00000002.unusable"}
