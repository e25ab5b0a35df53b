"""The loop, with a method so small that every number it logs can be written down."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.train import feed, sharding
from genjax.train.checkpoint import Checkpointer
from genjax.train.evaluate import evaluator
from genjax.train.fit import FitOptions, Hook, NonFiniteError, fit
from genjax.train.generate import generator
from genjax.train.logging import Writer
from genjax.train.program import Program, RecompileError
from genjax.typing import PRESENT, Method, TrainState, UserError

EXAMPLE = {"image": np.zeros((1, 1, 1, 1), np.uint8), "_index": np.zeros(1, np.int32)}


def counting(bad_step=None, bad="loss", value=np.nan):
    """Adds the mean of the batch to `w`. The metrics are the step's number and the mean of the batch."""

    def init(key, batch):
        return TrainState(step=jnp.zeros((), jnp.int32), params={"w": jnp.zeros(())}, opt=())

    def step(key, state, batch):
        mean = batch["image"].astype(jnp.float32).mean()
        number = state.step + 1
        metrics = {"loss": number.astype(jnp.float32), "mean": mean, "noise": jax.random.normal(key)}
        if bad_step is not None:
            metrics[bad] = jnp.where(number == bad_step, value, metrics[bad])
        return state.replace(step=number, params={"w": state.params["w"] + mean}), metrics

    def evaluate(key, state, batch):
        return {"pixel": batch["image"].astype(jnp.float32).sum((1, 2, 3))}

    def sample(keys, state, condition):
        noise = jax.vmap(lambda k: jax.random.normal(k, (1, 1, 1)))(keys)
        return noise + condition["label"][:, None, None, None]

    return Method(init, step, evaluate, sample)


def data_feed():
    """Batch of step i: eight images of level i."""
    levels = {"image": np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1)}
    return feed.resident(levels, lambda step: np.full(8, step))


def run(
    workdir,
    method=None,
    hooks=(),
    preprocess=lambda key, batch: batch,
    data=None,
    on_save=lambda times: None,
    log=("tensorboard",),
    **options,
):
    options = FitOptions(**{"steps": 10, "batch_size": 8, "log_every": 4, "checkpoint_every": 5} | options)
    return fit(
        method or counting(),
        data or data_feed(),
        options,
        workdir=workdir,
        example=EXAMPLE,
        preprocess=preprocess,
        hooks=hooks,
        on_save=on_save,
        log=log,
        hparams={"fit.steps": options.steps},
    )


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def saved_steps(workdir):
    with Checkpointer(workdir / "checkpoints", read_only=True) as checkpoints:
        return checkpoints.steps()


def test_a_run(tmp_path):
    fitted = run(tmp_path)
    assert (fitted.step, fitted.preempted) == (10, False)
    assert float(fitted.state.params["w"]) == sum(range(10))
    # One line per interval, the last one shorter; each the mean over its steps, which count from 1.
    assert [line["step"] for line in lines(tmp_path)] == [4, 8, 10]
    assert [line["train/loss"] for line in lines(tmp_path)] == [2.5, 6.5, 9.5]
    assert [line["train/mean"] for line in lines(tmp_path)] == [1.5, 5.5, 8.5]
    assert saved_steps(tmp_path) == [5, 10]


class Own(Writer):
    """A writer of a user, which fails where asked."""

    def __init__(self, bad_step=None):
        self.bad_step, self.hparams, self.steps = bad_step, [], []

    def write_hparams(self, hparams):
        self.hparams.append(dict(hparams))

    def write_scalars(self, step, scalars):
        if step == self.bad_step:
            raise OSError("mine")
        if "train/loss" in scalars:
            self.steps.append(step)

    def truncate_after(self, step):
        self.steps = [one for one in self.steps if one <= step]


def test_writers_are_chosen(tmp_path):
    with pytest.raises(UserError, match=r"log=.'tensorbord',.: valid are lists of tensorboard"):
        run(tmp_path / "a", log=("tensorbord",))
    assert not (tmp_path / "a").exists()
    own = Own()
    run(tmp_path / "a", log=(own,), steps=6)
    run(tmp_path / "a", log=(own, "tensorboard"))  # goes on
    assert own.steps == [line["step"] for line in lines(tmp_path / "a")] == [4, 6, 8, 10]
    assert own.hparams == [{"fit.steps": 6}, {"fit.steps": 10}]
    assert (tmp_path / "a/tensorboard").exists()
    with pytest.raises(OSError, match="mine"):  # the user's own errors are the user's
        run(tmp_path / "b", log=(Own(bad_step=8),))
    assert not (tmp_path / "b/tensorboard").exists()


def test_training_time_is_that_of_steps(tmp_path, monkeypatch):
    """A clock that the feed (1 s a batch), the hooks (100 s each), the compiler and checkpoints turn: of these, the
    first is training."""
    now = [0.0]
    monkeypatch.setattr("genjax.train.timing.time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    for slow, seconds in [(Program.compile, 1000), (Checkpointer.save, 10_000)]:
        monkeypatch.setattr(*turning(now, slow, seconds))
    source = data_feed()

    @contextlib.contextmanager
    def items(start):
        with source.items(start) as batches:
            yield (now.__setitem__(0, now[0] + 1) or batch for batch in batches)

    def hook(step, state, writer):
        now[0] += 100

    saved = []
    arguments = {"data": source._replace(items=items), "hooks": [Hook(3, hook)], "on_save": saved.append}
    fitted = run(tmp_path, **arguments)
    # At each line of the log, and at each checkpoint.
    assert fitted.times.curve == ((0, 0.0), (4, 4.0), (5, 5.0), (8, 8.0), (10, 10.0))
    assert fitted.trained == 10 and fitted.times.compile_seconds > 0  # by another clock
    assert [times.curve[-1] for times in saved] == [(5, 5.0), (10, 10.0)] and saved[-1] == fitted.times
    again = run(tmp_path, **arguments)
    assert again.trained == 0 and again.times == fitted.times and len(saved) == 2
    # From an older checkpoint the curve goes on: what came after it is trained, and timed, again.
    shutil.rmtree(tmp_path / "checkpoints" / "00000010")
    resumed = run(tmp_path, **arguments)
    assert resumed.trained == 5 and resumed.times.curve == fitted.times.curve
    assert resumed.times.compile_seconds > fitted.times.compile_seconds


def turning(now, slow, seconds):
    """For monkeypatch: a method that turns the clock."""
    owner = {"Program": Program, "Checkpointer": Checkpointer}[slow.__qualname__.partition(".")[0]]

    def slower(*args, **kwargs):
        now[0] += seconds
        return slow(*args, **kwargs)

    return owner, slow.__name__, slower


def test_a_run_of_before_there_were_times(tmp_path, monkeypatch):
    """Its curve begins where it goes on."""
    with monkeypatch.context() as patch:
        patch.setattr("genjax.train.timing.Stopwatch.saved", lambda self: None)
        run(tmp_path, steps=5)
    times = run(tmp_path, steps=10).times
    assert [step for step, _ in times.curve] == [5, 8, 10] and times.curve[0][1] == 0.0 and times.steps == 5


def test_finished_run_is_left_alone(tmp_path):
    run(tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    fitted = run(tmp_path)
    assert fitted.step == 10 and float(fitted.state.params["w"]) == 45
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_resumed_run_equals_the_uninterrupted_one(tmp_path):
    """Stopped in the middle of a log interval (6 of 4..8) by SIGTERM: the interval's mean must still be whole."""

    def terminate(step, state, writer):
        if step == 6 and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            os.kill(os.getpid(), signal.SIGTERM)

    whole = run(tmp_path / "a", hooks=[Hook(2, lambda *_: None)])
    first = run(tmp_path / "b", hooks=[Hook(2, terminate)])
    assert first.preempted and first.step == 7
    assert saved_steps(tmp_path / "b")[-1] == first.step
    second = run(tmp_path / "b", hooks=[Hook(2, terminate)])
    assert not second.preempted
    np.testing.assert_array_equal(second.state.params["w"], whole.state.params["w"])
    assert (tmp_path / "a/metrics.jsonl").read_bytes() == (tmp_path / "b/metrics.jsonl").read_bytes()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_lines_after_the_checkpoint_are_dropped(tmp_path):
    """A kill after line 8 but before checkpoint 10: the run goes on from 5, and line 8 must not be there twice."""
    run(tmp_path)
    complete = (tmp_path / "metrics.jsonl").read_bytes()
    with Checkpointer(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.steps() == [5, 10]
    newest = tmp_path / "checkpoints" / "00000010"
    for path in newest.rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    assert run(tmp_path).step == 10
    assert (tmp_path / "metrics.jsonl").read_bytes() == complete


@pytest.mark.parametrize("steps_per_dispatch", [1, 5])
@pytest.mark.parametrize(("bad", "value"), [("loss", np.nan), ("mean", np.inf)])
def test_non_finite_metrics_stop_the_run(tmp_path, steps_per_dispatch, bad, value):
    message = rf"step 8: {bad} is {value}.*latest checkpoint is of step 5"
    with pytest.raises(NonFiniteError, match=message):
        run(
            tmp_path,
            counting(bad_step=8, bad=bad, value=value),
            log_every=10,
            steps_per_dispatch=steps_per_dispatch,
        )
    assert saved_steps(tmp_path) == [5]
    assert run(tmp_path, log_every=10).step == 10  # and it goes on once the cause is gone


def test_parameters_that_an_update_spoilt_are_not_saved(tmp_path):
    """The metrics of the step are of before its update, and finite."""
    method = counting()

    def step(key, state, batch):
        new, metrics = method.step(key, state, batch)
        spoilt = jnp.where(new.step == 10, jnp.inf, new.params["w"])
        return new.replace(params={"w": spoilt}), metrics

    hooked = []
    hooks = [Hook(2, lambda step, state, writer: hooked.append(step))]
    message = r"step 10: params/w is not finite. The latest checkpoint is of step 5"
    with pytest.raises(NonFiniteError, match=message):
        run(tmp_path, method._replace(step=step), hooks)
    assert saved_steps(tmp_path) == [5] and hooked == [2, 4, 6, 8]


@pytest.fixture
def heard():
    """Ctrl-C is heard, also where a shell has started the tests in its background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_leaves(tmp_path, number):
    before = signal.getsignal(number)
    hooks = [Hook(3, lambda step, state, writer: signal.raise_signal(number) if step == 3 else None)]
    fitted = run(tmp_path, hooks=hooks, checkpoint_every=100)
    assert fitted.preempted and fitted.signal == number and fitted.step == 4
    assert saved_steps(tmp_path) == [4] and signal.getsignal(number) is before
    assert run(tmp_path).step == 10


@pytest.mark.usefixtures("heard")
def test_a_second_ctrl_c_stops_at_once(tmp_path):
    def twice(step, state, writer):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, hooks=[Hook(6, twice)])
    assert saved_steps(tmp_path) == [5]


def test_no_checkpoint_of_a_step_that_was_not_finite(tmp_path):
    with pytest.raises(NonFiniteError, match="There is no checkpoint yet"):
        run(tmp_path, counting(bad_step=5))
    assert saved_steps(tmp_path) == []


def test_changed_shapes_are_an_error_that_shows_both(tmp_path):
    def batches(start):
        def batch(step):
            size = 8 if step < 3 else 16
            return {"image": np.zeros((size, 1, 1, 1), np.uint8), "_index": np.arange(size, dtype=np.int32)}

        return contextlib.nullcontext(map(batch, itertools.count(start)))

    with pytest.raises(RecompileError, match=r"compiled uint8\[1, 8, 1, 1, 1\].*now uint8\[1, 16, 1, 1, 1\]"):
        run(tmp_path, data=feed.streamed(batches))


def test_hooks_run_when_due_and_at_the_end(tmp_path):
    seen = []
    hooks = [
        Hook(3, lambda step, state, writer: seen.append(("three", step, int(state.step)))),
        Hook(0, lambda step, state, writer: seen.append(("end", step, int(state.step)))),
    ]
    run(tmp_path, hooks=hooks)
    assert seen == [("three", 3, 3), ("three", 6, 6), ("three", 9, 9), ("three", 10, 10), ("end", 10, 10)]


def test_preprocessing_and_method_draw_from_keys_of_their_own(tmp_path):
    keys = []

    def preprocess(key, batch):
        jax.debug.callback(lambda k: keys.append(tuple(k.tolist())), jax.random.key_data(key))
        return batch

    run(tmp_path / "a", preprocess=preprocess)
    jax.effects_barrier()
    assert len(set(keys)) == 10
    first = [line["train/noise"] for line in lines(tmp_path / "a")]
    run(tmp_path / "b")
    assert [line["train/noise"] for line in lines(tmp_path / "b")] == first
    run(tmp_path / "c", seed=1)
    assert [line["train/noise"] for line in lines(tmp_path / "c")] != first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps=0 must be at least 1"),
        ({"batch_size": 12}, "batch_size=12 must be a positive multiple of the number of devices, 8"),
        ({"backend": "tpu"}, r"backend='tpu': valid are \['jit', 'pmap'\]"),
        ({"backend": "pmap"}, "takes a streamed feed"),
        ({"fsdp": 3}, "fsdp=3 does not divide"),
    ],
)
def test_bad_options(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        run(tmp_path, **options)


def test_evaluation_counts_every_example_once():
    """19 examples in batches of 8: padding repeats the last one, and must not count."""
    evaluate = evaluator(counting(), sharding.make_mesh(), lambda key, batch: batch)
    values = np.arange(1, 20, dtype=np.uint8)

    def batches():
        for start in range(0, 19, 8):
            index = np.arange(start, start + 8)
            yield {
                "image": values[np.minimum(index, 18)].reshape(8, 1, 1, 1),
                "_index": index.astype(np.int32),
                "_mask": index < 19,
            }

    state = counting().init(jax.random.key(0), EXAMPLE)
    assert evaluate(state, jax.random.key(0), batches()) == {"pixel": pytest.approx(10.0)}


def test_generated_images_belong_to_their_number():
    method, mesh = counting(), sharding.make_mesh()
    state = method.init(jax.random.key(0), EXAMPLE)
    labels = np.arange(20, dtype=np.int32) % 3

    def make(numbers, batch_size):
        generate = generator(method, mesh, batch_size)
        condition = {"label": labels[numbers.start : numbers.stop]}
        return np.concatenate(list(generate(state, jax.random.key(7), condition, numbers)))

    whole = make(range(20), 16)
    expected = [
        jax.random.normal(jax.random.fold_in(jax.random.key(7), i), (1, 1, 1)) + labels[i] for i in range(20)
    ]
    np.testing.assert_allclose(whole, expected, atol=1e-6)
    np.testing.assert_array_equal(make(range(13, 14), 1), whole[13:14])
    np.testing.assert_array_equal(make(range(3, 20), 8), whole[3:])


def test_condition_of_another_length():
    generate = generator(counting(), sharding.make_mesh(), 8)
    with pytest.raises(UserError, match="condition 'label' has 3 rows, but 4 images"):
        list(generate(None, jax.random.key(0), {"label": np.zeros(3)}, range(4)))


@pytest.mark.parametrize("backend", ["jit", "pmap"])
def test_another_seed_is_no_other_program(tmp_path, monkeypatch, backend):
    """Seeds of a study find what the first has compiled; each draws its own noise all the same."""
    programs, compile_it = [], Program.compile

    def compiled(self, *args):
        compile_it(self, *args)
        programs.append(self._jitted.lower(*args).as_text())

    monkeypatch.setattr(Program, "compile", compiled)
    row = {"image": np.zeros((8, 1, 1, 1), np.uint8), "_index": np.arange(8, dtype=np.int32)}
    data = feed.streamed(lambda start: contextlib.nullcontext(itertools.repeat(row)))
    for seed in (0, 1):
        run(tmp_path / str(seed), seed=seed, backend=backend, data=data)
    assert programs[0] == programs[1]
    first, second = ([line["train/noise"] for line in lines(tmp_path / seed)] for seed in ("0", "1"))
    assert not set(first) & set(second)


@pytest.mark.parametrize("steps_per_dispatch", [1, 2])
def test_metrics_without_a_value_are_left_out(tmp_path, steps_per_dispatch):
    """One phase runs for five of ten steps, then the other; what stands in the place of values may be anything."""
    plain = counting()

    def step(key, state, batch):
        first = state.step < 5
        new, metrics = plain.step(key, state, batch)
        number = metrics["loss"]
        values = {"one/x": jnp.where(first, number, jnp.nan), "two/x": jnp.where(first, jnp.inf, -number)}
        return new, {**metrics, **values, PRESENT + "one": first, PRESENT + "two": 1.0 - first}

    run(tmp_path, plain._replace(step=step), steps_per_dispatch=steps_per_dispatch)
    logged = [
        {name: line[name] for name in line if "/x" in name or "present" in name} for line in lines(tmp_path)
    ]
    assert logged == [
        {"train/one/x": 2.5},
        {"train/one/x": 5.0, "train/two/x": -7.0},
        {"train/two/x": -9.5},
    ]
