"""The bench: arithmetic on fake contenders, that baselines do the same work, that the whole of it reports."""

import dataclasses
import json
import math
import os
import shlex
import sys
import types

import flax.linen as nn
import jax
import numpy as np
import pytest

from experiments.bench import __main__ as bench_main
from experiments.bench import baselines, command, fresh, report, timing, workloads
from experiments.bench.measure import OURS, Options, measure
from genjax.app import build
from genjax.app.config import Config, EvaluationConfig, SamplingConfig
from genjax.methods.diffusion.diffusion import DiffusionConfig
from genjax.methods.optimizers import OptimizerConfig
from genjax.models.denoisers import unet
from genjax.models.denoisers.unet import UNetConfig
from genjax.train.options import FitOptions
from genjax.typing import UserError

TINY = Config(
    fit=FitOptions(steps=10, batch_size=8),
    model=UNetConfig(channels=8, multipliers=(1,), blocks=1),
    method=DiffusionConfig(timesteps=10),
    optimizer=OptimizerConfig(warmup_steps=0),
    sampling=SamplingConfig(num_steps=3, guidance=2.0, batch_size=8),
    evaluation=EvaluationConfig(num=0),
)
QUICK = Options(repeats=2, seconds=1e-3, fresh=False)


def python(code):
    return shlex.join([sys.executable, "-c", code])


def prints(**values):
    return python(f"print('noise'); print({json.dumps(json.dumps(values))})")


# Arithmetic.


def test_contenders_take_turns():
    order = []

    def contender(name):
        return lambda: order.append(name) or {timing.RATE: float(len(order))}

    results = timing.interleave({"a": contender("a"), "b": contender("b")}, 3)
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert timing.column(results["a"], timing.RATE) == [1, 3, 5]
    assert timing.column(results["b"], timing.RATE) == [2, 4, 6]


def test_ratio_is_that_of_pairs():
    # The machine is four times faster in the second round: the ratio of the medians would be 60 / 20.
    assert timing.ratio([20, 60, 90], [10, 20, 90]) == {"median": 2.0, "min": 1.0, "max": 3.0}
    with pytest.raises(ValueError):
        timing.ratio([1.0, 2.0], [1.0])


def test_summary():
    assert timing.summary([3.0, 1.0, 7.0, 4.0]) == {"median": 3.5, "min": 1.0, "max": 7.0}


@pytest.mark.parametrize(("seconds", "count"), [(1.0, 8), (0.01, 1)])
def test_timed_repeats_last_as_long_as_asked(monkeypatch, seconds, count):
    now = 0.0
    calls = []

    def run(count):
        nonlocal now
        compiling = 100.0 if not calls else 0.0
        calls.append(count)
        now += compiling + 0.125 * count

    monkeypatch.setattr(timing, "time", types.SimpleNamespace(perf_counter=lambda: now))
    contender = timing.timed(run, images=4, seconds=seconds)
    assert contender() == {timing.RATE: 32.0}  # 4 images in an eighth of a second; compiling not counted
    assert calls == [1, 1, count]


# Baseline commands.


def test_command_reports_numbers_of_its_last_line():
    line = prints(images_per_second=50, loss=0.25, name="x")
    assert command.contender(line)() == {timing.RATE: 50, "loss": 0.25}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (python("import sys; sys.exit('no such model')"), "ended with exit code 1: no such model"),
        ("exit 3", "'exit 3' ended with exit code 3: nothing on stderr"),
        ("echo fast", "must print a JSON object as its last line, got 'fast'"),
        ("true", "must print a JSON object as its last line, got ''"),
        ("echo 7", "must print a JSON object as its last line, got '7'"),
        (prints(images=3), r"must report a positive number as 'images_per_second', got \{'images': 3\}"),
        (prints(images_per_second=0), "must report a positive number"),
        (prints(images_per_second=math.nan), "must report a positive number"),
        (prints(images_per_second="9"), "must report a positive number"),
    ],
)
def test_bad_command_is_named(line, message):
    with pytest.raises(UserError, match=message) as caught:
        command.contender(line)
    assert repr(line) in str(caught.value)


def test_bad_command_ends_the_bench_before_anything_is_compiled(monkeypatch, capsys):
    monkeypatch.setattr(workloads, "Program", None)
    monkeypatch.setattr(sys, "argv", ["bench", "data", "--baseline", "echo oops >&2; exit 4"])
    monkeypatch.setattr(bench_main.cli, "_enable_compilation_cache", lambda: None)
    with pytest.raises(SystemExit) as ended:
        bench_main.cli.run(bench_main.main)
    assert ended.value.code == 2
    assert "ended with exit code 4: oops" in capsys.readouterr().err


# Built-in baselines.


def test_stock_layers_give_the_same_loss(monkeypatch):
    monkeypatch.setattr(unet, "_ZEROS", nn.initializers.normal(0.1))  # or nothing reaches the output
    config = dataclasses.replace(TINY, model=UNetConfig(channels=8, multipliers=(1,), blocks=1, remat=True))
    info = build.data_info(config)
    method = build.method(config, info)
    stock = baselines.stock(method)
    state = method.init(jax.random.key(0), build.example(info))
    assert jax.tree.structure(stock.init(jax.random.key(0), build.example(info))) == jax.tree.structure(state)
    batch = {
        "image": jax.random.normal(jax.random.key(1), (4, 8, 8, 1)),
        "label": np.arange(4),
        "_index": np.arange(4),
    }
    used = []
    original = nn.GroupNorm.__call__
    monkeypatch.setattr(nn.GroupNorm, "__call__", lambda self, x: used.append(1) or original(self, x))
    ours = jax.jit(method.evaluate)(jax.random.key(2), state, batch)["loss"]
    assert not used
    theirs = jax.jit(stock.evaluate)(jax.random.key(2), state, batch)["loss"]
    assert used
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_python_loop_makes_the_same_images(monkeypatch):
    monkeypatch.setattr(unet, "_ZEROS", nn.initializers.normal(0.1))
    loop, scan = baselines.python_loop(TINY), workloads.sample(TINY)
    assert loop.images == scan.images == 8
    images = np.asarray(scan.run(1))
    assert np.std(images) > 0.1
    np.testing.assert_allclose(loop.run(2), images, atol=1e-5)


def test_feed_goes_on_where_it_ended():
    feed = workloads.feed(TINY)
    first, third = feed.run(1), feed.run(2)
    source = build.source(TINY.data, "train")
    for batch, step in ((first, 0), (third, 2)):
        expected = build.data.train_batch(source, step, batch_size=8, seed=0)
        assert batch.keys() == expected.keys()
        for name, x in expected.items():
            np.testing.assert_array_equal(batch[name], x)


def test_network_evaluations():
    assert workloads.network_evaluations(TINY) == 6
    unguided = dataclasses.replace(TINY, sampling=SamplingConfig(num_steps=50))
    assert workloads.network_evaluations(unguided) == 50


# Fresh starts.


def test_warm_start_finds_what_the_cold_one_compiled(monkeypatch):
    seen = []

    def spy(line, env):
        result = command.run_command(line, env)
        seen.append(set(os.listdir(env["JAX_COMPILATION_CACHE_DIR"])))
        return result

    monkeypatch.setattr(fresh, "run_command", spy)
    # One device, and little optimisation: compiles faster.
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    starts = fresh.measure("sample", TINY)

    def programs(names):
        return {name for name in names if not name.endswith("-atime")}

    assert programs(seen[0]) and programs(seen[0]) == programs(seen[1])
    assert list(starts) == ["cold", "warm"]
    for start in starts.values():
        assert 0 < start["compile_seconds"] < start["start_seconds"]
        assert 2**25 < start["peak_rss_bytes"] < 2**36


def test_peak_memory_is_in_bytes():
    before = fresh.peak_rss_bytes()
    block = np.ones(before + 2**25, np.uint8)
    assert block.nbytes < fresh.peak_rss_bytes() < 2 * block.nbytes + 2**27


# The whole.


@pytest.fixture(scope="module")
def train_results():
    line = prints(images_per_second=1e-3, loss=2)
    options = dataclasses.replace(QUICK, against=("pmap", "python-loop"))
    return measure("train", TINY, options, {line: command.contender(line)})


def test_train_results(train_results):
    results = train_results
    fake = prints(images_per_second=1e-3, loss=2)
    assert list(results["against"]) == ["pmap", fake]  # a Python loop is a baseline of sampling
    assert results["against"]["pmap"]["memory"]["temporary_bytes"] > 0
    theirs = results["against"][fake]
    assert theirs["loss"] == {"median": 2, "min": 2, "max": 2}
    rate = results["images_per_second"]
    for name in ("min", "median", "max"):
        assert theirs["ratio"][name] == pytest.approx(1e3 * rate[name])
    # Fewest images a second, most milliseconds a step.
    assert results["ms_per_step"]["max"] == pytest.approx(1000 * 8 / rate["min"])
    assert results["ms_per_step"]["min"] == pytest.approx(1000 * 8 / rate["max"])
    # Parameters, two moments of Adam and the moving average are arguments of the step.
    info = build.data_info(TINY)
    abstract = jax.eval_shape(build.method(TINY, info).init, jax.random.key(0), build.example(info))
    parameters = sum(4 * x.size for x in jax.tree.leaves(abstract.params))
    data = 1442 * 64
    assert 4 * parameters < results["memory"]["argument_bytes"] - data < 4 * parameters + 50_000


def test_flops_are_those_of_the_network(train_results):
    # A convolution of k x k x C_in x C_out weights on H x W pixels: 2 k k C_in C_out H W forward, three times
    # that with both gradients; nearly all of the work of this network is its 3 x 3 convolutions.
    info = build.data_info(TINY)
    params = jax.eval_shape(build.method(TINY, info).init, jax.random.key(0), build.example(info)).params
    kernels = [x for x in jax.tree.leaves(params) if x.ndim == 4]
    expected = 3 * 2 * 64 * sum(x.size for x in kernels)
    per_image = [
        1e9 * train_results["gflop_per_second"][name] / train_results["images_per_second"][name]
        for name in ("min", "median", "max")
    ]
    np.testing.assert_allclose(per_image, per_image[0])
    assert 0.7 * expected < per_image[0] < 2 * expected


def test_prints_a_table_and_json(capsys):
    options = dataclasses.replace(QUICK, against=("stock", "streamed"))
    bench_main.bench(("sample", "data"), TINY, options)
    *lines, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    rate = result["sample"]["images_per_second"]
    evaluations = result["sample"]["network_evaluations_per_second"]
    for name in ("median", "min", "max"):
        assert evaluations[name] == pytest.approx(6 * rate[name])
    assert "images_per_second" not in result  # of two subjects
    assert list(result["data"]["against"]) == ["streamed"] and list(result["sample"]["against"]) == ["stock"]
    assert set(result["data"]["against"]["streamed"]["ratio"]) == {"median", "min", "max"}
    assert result["config"]["model.channels"] == 8
    assert result["manifest"]["packages"]["jax"] == jax.__version__
    starts = [line.split("  ")[0].strip() for line in lines]
    for title in ("sample images/second", "sample memory temporary MiB", "data against streamed ratio"):
        assert title in starts


def test_one_subject_can_be_a_baseline(monkeypatch, capsys):
    rates = {timing.RATE: timing.summary([3.0, 9.0, 5.0])}
    monkeypatch.setattr(bench_main, "measure", lambda *_: rates)
    monkeypatch.setattr(fresh, "measure", lambda *_: {"cold": {"compile_seconds": 4}})
    bench_main.bench(("train",), TINY, Options())
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result[timing.RATE] == 5.0
    assert result["train"] == {**rates, "cold": {"compile_seconds": 4}}


def test_table():
    spread = {"median": 1234.5678, "min": 0.123456, "max": 2.0}
    results = {
        "train": {"images_per_second": spread, "memory": {"temporary_bytes": 3 * 2**19}},
        "data": {"against": {"python -c 'a_per_b'": {"ratio": spread}, "x " * 30: {"loss": 7}}},
    }
    assert report.table(results).splitlines() == [
        "                                                            median     min  max",
        "train images/second                                          1,235  0.1235    2",
        "train memory temporary MiB                                     1.5             ",
        "data against python -c 'a_per_b' ratio                       1,235  0.1235    2",
        f"data against {'x ' * 18}x... loss       7             ",
    ]


# The command line.


@pytest.mark.parametrize(
    ("given", "completed"),
    [
        ("", "all ddpm-digits"),
        ("train", "train ddpm-digits"),
        ("--repeats 2", "all ddpm-digits --repeats 2"),
        ("data --model.channels 8", "data ddpm-digits --model.channels 8"),
        ("data --repeats 2 ddpm-mnist", "data --repeats 2 ddpm-mnist"),
        ("sample ddpm-mnist", "sample ddpm-mnist"),
        ("sample ddpm-mnits --repeats 2", "sample ddpm-mnits --repeats 2"),
        ("train --help", "train --help"),
    ],
)
def test_verb_and_preset_may_be_left_out(given, completed):
    assert " ".join(bench_main.with_defaults(given.split())) == completed


def test_command_line(monkeypatch):
    called = []
    monkeypatch.setattr(bench_main, "bench", lambda *args: called.append(args))
    against = "--against stock --against python-loop"
    line = f"sample ddpm-mnist {against} --no-fresh --model.multipliers 1 2 --seconds 3"
    monkeypatch.setattr(sys, "argv", ["bench", *line.split()])
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")
    bench_main.main()
    (verbs, config, options), *_ = called
    assert verbs == ("sample",)
    assert (config.data.dataset, config.model.multipliers) == ("mnist", (1, 2))
    assert options == Options(seconds=3.0, against=("stock", "python-loop"), fresh=False)
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"  # what the user says holds


def test_bad_config():
    config = dataclasses.replace(TINY, sampling=SamplingConfig(num_steps=0))
    with pytest.raises(UserError, match=r"sampling\.num_steps=0"):
        bench_main.bench(("sample",), config, QUICK)


@pytest.mark.parametrize(
    ("verbs", "options", "message"),
    [
        (
            ("train",),
            Options(against=("sotck",)),
            r"against='sotck': valid for train are \['one-step', 'pmap', 'stock', 'torch'\]",
        ),
        (("data",), Options(against=("stock",)), r"against='stock': valid for data are \['streamed'\]"),
        (("sample", "data"), Options(baseline=("x",)), "baseline='x' needs one thing to be compared with"),
        (("train",), Options(repeats=0), "repeats=0"),
        (("train",), Options(seconds=0.0), "seconds=0.0"),
    ],
)
def test_bad_options(verbs, options, message):
    with pytest.raises(UserError, match=message):
        bench_main.bench(verbs, TINY, options)


def test_all_takes_every_built_in_baseline():
    names = {name for built_in in baselines.BUILT_IN.values() for name in built_in}
    bench_main.check(Options(against=tuple(names)), tuple(baselines.BUILT_IN))
    assert OURS not in names
