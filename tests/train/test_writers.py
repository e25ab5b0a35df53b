"""Writers by name: what is opened, what a tracker is told, and that no tracker ends or delays a training."""

import json
import os
import sys
import threading
import time
import types

import jax
import numpy as np
import pytest
from PIL import Image

from genjax.train import writers
from genjax.train.logging import Writer
from genjax.train.writers import tracker
from genjax.train.writers.aside import Aside
from genjax.typing import UserError


class FakeRun(types.SimpleNamespace):
    """A run of the fake wandb."""

    def log(self, values, step):
        self.calls.append((step, values))

    def finish(self):
        self.calls.append("finished")


def fake_wandb(logged_in=True, last_step=-1):
    """A module that stands for wandb; `last_step` is what its server has of the run that is resumed."""
    module = types.ModuleType("wandb")
    module.runs, module.configs = [], []

    def init(**options):
        config = types.SimpleNamespace(update=lambda values, allow_val_change: module.configs.append(values))
        module.runs.append(
            FakeRun(options=options, calls=[], config=config, starting_step=module.last_step + 1)
        )
        return module.runs[-1]

    module.last_step, module.init = last_step, init
    module.login = lambda verify, prompt: logged_in
    module.Settings = lambda **settings: settings
    module.Image, module.Html = (lambda picture: ("image", picture)), (lambda text: ("html", text))
    return module


@pytest.fixture
def wandb(monkeypatch):
    module = fake_wandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return module


class FakeAim(types.ModuleType):
    """A module that stands for Aim. Names in `locked` are of runs that somebody killed seems to write."""

    def __init__(self):
        super().__init__("aim")
        self.runs, self.locked, self.Image, self.Text = [], set(), (lambda picture: ("image", picture)), str
        outer = self

        class Run(dict):
            def __init__(self, run_hash, capture_terminal_logs, force_resume=False):
                if run_hash in outer.locked and not force_resume:
                    raise TimeoutError("locked")
                self.hash, self.forced, self.calls = run_hash or f"hash{len(outer.runs)}", force_resume, []
                outer.runs.append(self)

            def track(self, value, name, step):
                self.calls.append((step, name, value))

            def close(self):
                self.calls.append("closed")

        self.Run = Run


@pytest.fixture
def aim(monkeypatch):
    module, cleanup = FakeAim(), types.ModuleType("aim.ext.cleanup")
    cleanup.AutoClean = types.SimpleNamespace(cleanup=lambda: None)
    monkeypatch.setitem(sys.modules, "aim", module)
    monkeypatch.setitem(sys.modules, "aim.ext", types.ModuleType("aim.ext"))
    monkeypatch.setitem(sys.modules, "aim.ext.cleanup", cleanup)
    return module


def write(workdir, resume_step, steps, log, **more):
    with writers.open_writers(workdir, resume_step, log, **more) as writer:
        for step in steps:
            writer.write_scalars(step, {"loss": np.float32(step) / 2, "time/rate": 7.0})


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


HPARAMS = {"fit.steps": 4, "model.multipliers": (1, 2), "data.data_dir": None, "x": np.dtype("int8")}
PLAIN = {"fit.steps": 4, "model.multipliers": [1, 2], "data.data_dir": None, "x": "int8"}


def test_what_wandb_is_told(tmp_path, wandb):
    write(tmp_path / "digits", 0, [2, 4], ("wandb",), hparams=HPARAMS)
    (run,) = wandb.runs
    assert run.calls == [(2, {"loss": 1, "time/rate": 7}), (4, {"loss": 2, "time/rate": 7}), "finished"]
    assert wandb.configs == [PLAIN]
    told = {name: run.options[name] for name in ("name", "project", "dir", "resume")}
    folder = str(tmp_path / "digits")
    assert told == {"name": "digits", "project": "genjax", "dir": folder, "resume": "allow"}
    assert json.loads((tmp_path / "digits/wandb.json").read_text()) == {"id": run.options["id"]}
    assert lines(tmp_path / "digits") == [{"step": 2, "loss": 1}, {"step": 4, "loss": 2}]
    assert not (tmp_path / "digits/tensorboard").exists()


def test_wandb_goes_on_in_the_same_run(tmp_path, wandb, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    write(tmp_path, 0, [2, 4, 6], ("wandb",))
    wandb.last_step = 6
    write(tmp_path, 4, [6, 8], ("wandb",))  # step 6 is there already, and would be a warning for each value
    wandb.last_step = -1
    write(tmp_path, 0, [2], ("wandb",))  # begins anew
    first, second, third = wandb.runs
    assert first.options["id"] == second.options["id"] != third.options["id"]
    assert first.options["project"] == "mine"
    assert [call[0] for call in second.calls[:-1]] == [8]
    assert json.loads((tmp_path / "wandb.json").read_text()) == {"id": third.options["id"]}


def test_what_aim_is_told(tmp_path, aim):
    write(tmp_path / "digits", 0, [2], ("aim",), hparams=HPARAMS)
    write(tmp_path / "digits", 2, [4], ("aim",))
    aim.locked.add("hash0")
    write(tmp_path / "digits", 4, [6], ("aim",))
    write(tmp_path / "digits", 0, [2], ("aim",))
    first, second, third, fourth = aim.runs
    assert first.calls == [(2, "loss", 1.0), (2, "time/rate", 7.0), "closed"]
    assert first["hparams"] == PLAIN and first.name == "digits" and not first.forced
    assert (second.hash, second.forced) == ("hash0", False) and (third.hash, third.forced) == ("hash0", True)
    assert fourth.hash == "hash3" and json.loads((tmp_path / "digits/aim.json").read_text()) == {
        "id": "hash3"
    }


def test_pictures_and_texts(tmp_path, wandb, aim):
    levels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3), np.uint8)
    with writers.open_writers(tmp_path, 0, ("wandb", "aim")) as writer:
        writer.write_images(1, {"two": levels, "one": levels[0], "gray": np.full((3, 4, 1), 0.5)})
        writer.write_texts(1, {"note": "a < b"})
        levels = levels.copy()
    (images, texts, _), told = wandb.runs[0].calls, aim.runs[0].calls
    for found in (images[1], {name: value for _, name, value in told[:3]}):
        assert {name: len(value) for name, value in found.items()} == {"two": 2, "one": 1, "gray": 1}
        for i in range(2):
            np.testing.assert_array_equal(np.asarray(found["two"][i][1]), levels[i])
        np.testing.assert_array_equal(np.asarray(found["gray"][0][1]), np.full((3, 4), 128))
    assert texts == (1, {"note": ("html", "<pre>a &lt; b</pre>")}) and told[3] == (1, "note", "a < b")
    assert all(isinstance(picture, Image.Image) for picture in tracker.pictures(levels))


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (("tensorbord",), "log=.'tensorbord',.: valid are lists of tensorboard, wandb, aim, none"),
        ("wandb", "log='wandb': valid are lists of"),
        (("package.module:Class",), "valid are lists of"),
        (("tensorboard", "tensorboard"), "has 'tensorboard' twice"),
        (("none", "tensorboard"), "'none' does not go together with others"),
    ],
)
def test_names(log, message):
    with pytest.raises(UserError, match=message):
        writers.check(log)


@pytest.mark.parametrize("name", ["wandb", "aim"])
def test_a_missing_package(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        UserError, match=rf"log='{name}' needs the package {name}: pip install -e '\.\[{name}\]'"
    ):
        writers.check((name,))
    writers.check(())
    writers.check(("none",))
    writers.check(("tensorboard", Writer()))


def test_nobody_is_logged_in(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", fake_wandb(logged_in=False))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with pytest.raises(UserError, match=r"WANDB_API_KEY, or set WANDB_MODE=offline"):
        writers.check(("wandb",))
    monkeypatch.setenv("WANDB_MODE", "offline")
    writers.check(("wandb",))
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setattr(jax, "process_index", lambda: 1)  # whose host need not know who is logged in
    writers.check(("wandb",))


class Kept(Writer):
    """A writer of a user."""

    def __init__(self):
        self.calls = []

    def write_scalars(self, step, scalars):
        self.calls.append(step)

    def truncate_after(self, step):
        self.calls.append(f"after {step}")

    def write_hparams(self, hparams):
        self.calls.append(dict(hparams))

    def flush(self):
        self.calls.append("flush")

    def close(self):
        self.calls.append("close")


def test_writers_of_ones_own(tmp_path, monkeypatch):
    own = Kept()
    write(tmp_path / "a", 3, [4], (own, "tensorboard"), hparams={"a": 1})
    assert own.calls == ["after 3", {"a": 1}, 4, "flush"]
    assert (tmp_path / "a/tensorboard").exists()
    for log in ((), ("none",)):
        write(tmp_path / "b", 0, [4], log)
        assert [path.name for path in (tmp_path / "b").iterdir()] == ["metrics.jsonl"]
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    write(tmp_path / "c", 0, [4], (own, "tensorboard"))
    assert own.calls[-1] == "flush" and not (tmp_path / "c").exists()


@pytest.mark.parametrize("content", ['{"id": "../x"}', '{"id": 7}', "{}", "no json", "[]"])
def test_a_damaged_id_is_left_as_it_is(tmp_path, wandb, caplog, content):
    write(tmp_path, 0, [2], ("none",))
    (tmp_path / "wandb.json").write_text(content)
    write(tmp_path, 2, [4], ("wandb",))
    assert len(caplog.messages) == 1 and "log=wandb: it gets no more of this run" in caplog.text
    assert "wandb.json" in caplog.text and not wandb.runs
    assert (tmp_path / "wandb.json").read_text() == content
    assert [line["step"] for line in lines(tmp_path)] == [2, 4]


class Failing(Kept):
    """Fails at a step, or in its constructor."""

    def __init__(self, at, error):
        super().__init__()
        self.at, self.error = at, error
        if at is None:
            raise error

    def write_scalars(self, step, scalars):
        if step == self.at:
            raise self.error
        super().write_scalars(step, scalars)


@pytest.mark.parametrize("error", [ConnectionError("no network"), SystemExit("no network")])
@pytest.mark.parametrize("at", [None, 2])
def test_a_tracker_that_fails_is_one_warning(caplog, at, error):
    opened = []

    def open():
        opened.append(Failing(at, error))
        return opened[0]

    with Aside("it", open) as writer:
        for step in (1, 2, 3, 2):
            writer.write_scalars(step, {"loss": 1.0})
    assert len(caplog.messages) == 1
    assert (
        f"log=it: it gets no more of this run, which goes on: {type(error).__name__}: no network"
        in caplog.text
    )
    if at:
        assert opened[0].calls == [1, "close"]


def test_a_tracker_that_hangs_is_left(caplog):
    """Nothing waits for it: of what does not fit the room the rest is left out, and the end waits a moment only."""
    released, started = threading.Event(), time.monotonic()

    class Hanging(Kept):
        def write_scalars(self, step, scalars):
            released.wait(20)
            super().write_scalars(step, scalars)

    slow = Hanging()
    writer = Aside("it", lambda: slow, patience=0.2, room=3)
    for step in range(100):
        writer.write_scalars(step, {"loss": 1.0})
    writer.close()
    assert time.monotonic() - started < 10
    assert [message.partition(",")[0] for message in caplog.messages] == [
        "log=it: it does not answer",
        "log=it: it has not ended within 0.2 s",
    ]
    released.set()
    writer._thread.join(10)
    assert not writer._thread.is_alive() and slow.calls == [0, "close"]


def test_values_are_those_of_the_moment():
    """The thread may be later than the next change of an array."""
    gate, seen = threading.Event(), []

    class Late(Writer):
        def write_images(self, step, images):
            gate.wait(10)
            seen.append(images["a"].max())

    pixels = np.zeros((2, 2, 1), np.uint8)
    with Aside("it", Late) as writer:
        writer.write_images(1, {"a": pixels})
        pixels += 9
        gate.set()
    assert seen == [0]
    with (
        Aside("it", Late) as writer,
        pytest.raises(UserError, match="the metric 'loss' must be a single number"),
    ):
        writer.write_scalars(1, {"loss": np.zeros(2)})


def test_what_is_local_still_ends_the_run(tmp_path, wandb):
    """An error of metrics.jsonl is no error of a tracker."""
    os.makedirs(tmp_path / "metrics.jsonl")
    with pytest.raises(UserError, match=r"metrics\.jsonl cannot be read: it is a folder"):
        write(tmp_path, 0, [1], ("wandb",))
    assert not wandb.runs
