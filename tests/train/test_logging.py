"""Metric files are exact and survive a kill; event files hold what was written; the bar tells the truth."""

import io
import json
import math
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.train.logging import JsonlWriter, MultiWriter, Writer
from genjax.train.progress import progress
from genjax.train.writers import open_writers
from genjax.train.writers.tensorboard import TensorBoardWriter
from genjax.typing import NonFiniteError, UserError


def write_steps(path, steps, seed=0):
    with JsonlWriter(path) as writer:
        for step in steps:
            loss = np.random.default_rng([seed, step]).standard_normal(dtype=np.float32)
            writer.write_scalars(step, {"loss": jnp.float32(loss), "learning_rate": 0.1 + 0.2})
            if step % 4 == 0:
                writer.write_scalars(step, {"eval/loss": 2.0 * loss})


def test_numbers_are_exact(tmp_path):
    values = {
        "float32": jnp.float32(0.1),
        "double": 0.1 + 0.2,
        "tiny": 5e-324,
        "bfloat16": jnp.bfloat16(1.5),
        "int": jnp.int32(2**31 - 1),
        "bool": np.bool_(True),
    }
    with JsonlWriter(tmp_path / "new" / "metrics.jsonl") as writer:
        writer.write_scalars(np.int64(3), values)
        # JSON has no text for it, and other readers would stumble.
        for value in (math.nan, -math.inf):
            with pytest.raises(NonFiniteError, match=f"step 4: loss is {value}"):
                writer.write_scalars(4, {"loss": value})
        # Readable before it is closed: a killed run loses no line.
        (first,) = map(json.loads, (tmp_path / "new" / "metrics.jsonl").read_text().splitlines())
    expected = {
        "step": 3, "float32": float(np.float32(0.1)), "double": 0.30000000000000004, "tiny": 5e-324,
        "bfloat16": 1.5, "int": 2147483647, "bool": True,
    }  # fmt: skip
    assert first == expected and [type(first[k]) for k in expected] == [type(v) for v in expected.values()]


def test_timings_are_left_out(tmp_path):
    with JsonlWriter(tmp_path / "m") as writer:
        writer.write_scalars(1, {"time/step": 0.123, "timeless": 1})
        writer.write_scalars(1, {"time/step": 0.456})
    assert (tmp_path / "m").read_bytes() == b'{"step": 1, "timeless": 1}\n'


@pytest.mark.parametrize("value", [np.zeros(1), "text", 1j, None], ids=["array", "text", "complex", "none"])
def test_only_single_numbers(tmp_path, value):
    with (
        JsonlWriter(tmp_path / "m") as writer,
        pytest.raises(UserError, match="metric 'loss' must be a single"),
    ):
        writer.write_scalars(1, {"loss": value})
    assert (tmp_path / "m").read_bytes() == b""


@pytest.mark.parametrize("killed_at", [4, 5, 7, 8])
def test_killed_and_resumed_ends_with_the_same_bytes(tmp_path, killed_at):
    write_steps(tmp_path / "whole", range(1, 11))
    resumed = tmp_path / "resumed"
    write_steps(resumed, range(1, killed_at + 1))
    with resumed.open("ab") as file:
        file.write(b'{"step": 2, "lo')  # half a line, whatever step it claims
    with JsonlWriter(resumed) as writer:
        writer.truncate_after(4)
        assert [json.loads(line)["step"] for line in resumed.read_text().splitlines()] == [1, 2, 3, 4, 4]
    write_steps(resumed, range(5, 11))
    assert resumed.read_bytes() == (tmp_path / "whole").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["resumed", "whole"]


def test_truncate_then_write_with_the_same_writer(tmp_path):
    write_steps(tmp_path / "m", range(1, 4))
    with JsonlWriter(tmp_path / "m") as writer:
        writer.truncate_after(0)
        assert (tmp_path / "m").read_bytes() == b""
        writer.write_scalars(1, {"loss": 1})
    assert (tmp_path / "m").read_bytes() == b'{"step": 1, "loss": 1}\n'


def test_a_foreign_line_is_not_dropped(tmp_path):
    (tmp_path / "m").write_text('{"step": 1}\nhello\n{"step": 2}\n')
    with JsonlWriter(tmp_path / "m") as writer, pytest.raises(UserError, match=r"m, line 2.*hello"):
        writer.truncate_after(1)
    assert (tmp_path / "m").read_text() == '{"step": 1}\nhello\n{"step": 2}\n'


def read_events(directory):
    """The events of all files in the directory, in order (TFRecord framing: length, crc, data, crc)."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            yield Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]


def test_tensorboard_holds_what_was_written(tmp_path):
    from PIL import Image

    images = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    with TensorBoardWriter(tmp_path) as writer:
        writer.write_hparams({"lr": 0.1, "name": "a", "shape": (1, 2), "flag": True})
        writer.write_scalars(5, {"loss": jnp.float32(0.25)})
        writer.write_images(6, {"one": images, "gray": np.full((2, 4, 4, 1), 0.5, np.float32)})
        writer.write_texts(7, {"note": "hello"})
        writer.flush()
    values = {
        value.tag: (event.step, value) for event in read_events(tmp_path) for value in event.summary.value
    }
    assert values["loss"][0] == 5 and values["loss"][1].simple_value == 0.25
    step, value = values["one"]
    assert step == 6
    decoded = np.asarray(Image.open(io.BytesIO(value.image.encoded_image_string)))
    np.testing.assert_array_equal(decoded, images)
    assert "gray" in values
    note = next(v for tag, v in values.items() if tag.startswith("note"))
    assert note[0] == 7 and note[1].tensor.string_val == [b"hello"]
    session = values["_hparams_/session_start_info"][1].metadata.plugin_data.content
    assert all(name in session for name in (b"lr", b"name", b"(1, 2)", b"flag"))
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("how", ["argument", "method"])
def test_tensorboard_resume_hides_later_steps_only(tmp_path, how):
    with TensorBoardWriter(tmp_path, resume_step=4 if how == "argument" else None) as writer:
        if how == "method":
            writer.truncate_after(4)
        writer.write_scalars(5, {"loss": 1.0})
    starts = [event.step for event in read_events(tmp_path) if event.HasField("session_log")]
    assert starts == [5]  # TensorBoard drops events of step >= 5 that came before


def test_writers_of_a_run(tmp_path, monkeypatch):
    def write(resume_step, steps):
        with open_writers(tmp_path / "run", resume_step) as writer:
            for step in steps:
                writer.write_scalars(step, {"loss": step, "time/step": 0.5})

    write(0, [1, 2, 3])
    write(2, [3, 4])
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"step": i, "loss": i} for i in (1, 2, 3, 4)]
    tags = [v.tag for event in read_events(tmp_path / "run" / "tensorboard") for v in event.summary.value]
    assert tags.count("loss") == tags.count("time/step") == 5

    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with open_writers(tmp_path / "other", 0) as writer:
        writer.write_scalars(1, {"loss": 1})
    assert not (tmp_path / "other").exists()


class Recorder(Writer):
    def __init__(self, log, broken=False):
        self.log, self.broken = log, broken

    def write_scalars(self, step, scalars):
        self.log.append((step, dict(scalars)))

    def close(self):
        self.log.append("closed")
        if self.broken:
            raise OSError("disk")


def test_multi_writer():
    logs = [], []
    writer = MultiWriter(Recorder(logs[0], broken=True), Writer(), Recorder(logs[1], broken=True))
    writer.write_scalars(1, {"a": 2})
    writer.write_texts(1, {"a": "b"})
    with pytest.raises(OSError, match="disk"):
        writer.close()
    assert logs[0] == logs[1] == [(1, {"a": 2}), "closed"]
    MultiWriter().write_scalars(1, {"a": 2})


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(stream, *, seconds_per_step=1.0, steps=100, initial=0, compile_seconds=50.0, **options):
    now = [0.0]
    with progress(steps, initial, 32, stream=stream, clock=lambda: now[0], **options) as bar:
        now[0] += compile_seconds
        for step in range(initial + 1, steps - 39):
            now[0] += seconds_per_step
            bar.advance(1, loss=1 / step, other=None)
    return stream.getvalue()


def test_lines_where_there_is_no_terminal():
    lines = run(io.StringIO()).splitlines()
    # After 51 s (the first step, no rate is known), 81 s and, at the end, 110 s; 1 step/s of 32 images.
    assert lines == [
        "train: step 1/100, loss 1",
        "train: step 31/100, 32 images/s, loss 0.03226, ETA 0:01:09",
        "train: step 60/100, 32 images/s, loss 0.01667, ETA 0:00:40",
    ]


def test_resumed_rate_counts_only_new_steps():
    last = run(io.StringIO(), initial=50, seconds_per_step=0.25).splitlines()[-1]
    assert last == "train: step 60/100, 128 images/s, loss 0.01667, ETA 0:00:10"


def test_bar_on_a_terminal_or_when_asked():
    for text in (run(Terminal()), run(io.StringIO(), show=True)):
        last = text.rstrip().split("\r")[-1]
        assert "60%" in last and "60/100" in last
        assert "32 images/s, loss 0.01667, ETA 0:00:40" in last
    assert "\r" not in run(Terminal(), show=False)


def test_what_takes_long_is_said_and_timed():
    now = [0.0]
    for stream, asked in ((io.StringIO(), None), (Terminal(), None)):
        with progress(10, 0, 1, stream=stream, show=asked, clock=lambda: now[0]) as bar:
            with bar.busy("compiling the train step"):
                now[0] += 12.34
                before = stream.getvalue()
            bar.advance(10)
        assert "compiling the train step" in before and "12.3" not in before
        assert "compiling the train step: 12.3 s\n" in stream.getvalue()
    with pytest.raises(ZeroDivisionError), progress(1, 0, 1, stream=Terminal()) as bar, bar.busy("x"):
        raise ZeroDivisionError


def test_an_idle_progress_is_silent():
    stream = io.StringIO()
    with progress(10, 10, 1, stream=stream):
        pass
    assert stream.getvalue() == ""
