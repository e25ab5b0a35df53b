"""`bench layers`: counts, that contenders do the same work, what is reported."""

import json
import sys

import flax.linen as nn
import jax
import numpy as np
import pytest

from experiments.bench import __main__ as bench_main
from experiments.bench import layers, layers_table, libraries, stock, timing, torch_weights
from experiments.bench.layers import LAYERS, Layer, Options
from genjax.nn import Conv, ConvTranspose
from genjax.typing import UserError

TINY = {
    "conv3": Layer("conv", (8, 8, 4), features=6, kernel=3),
    "conv1": Layer("conv", (4, 4, 4), features=6, kernel=1),
    "conv4-stride2": Layer("conv", (8, 8, 4), features=6, kernel=4, stride=2),
    "transpose4-stride2": Layer("conv_transpose", (4, 4, 6), features=4, kernel=4, stride=2),
    "transpose2-stride2": Layer("conv_transpose", (4, 4, 6), features=4, kernel=2, stride=2),
    "depthwise3": Layer("conv", (8, 8, 4), features=4, kernel=3, groups=4),
    "group-norm": Layer("group_norm", (4, 4, 8)),
    "max-pool": Layer("max_pool", (4, 4, 8), kernel=2),
    "attention": Layer("attention", (4, 4, 16), head_channels=4),
}
QUICK = Options(batch_size=2, repeats=2, seconds=1e-4)
GRADIENTS = ["forward", "input_gradient", "kernel_gradient", layers.IN_SCAN]


@pytest.fixture
def same_speed(monkeypatch):
    """Everything is done 100 times a second; nothing is timed."""
    monkeypatch.setattr(timing, "timed", lambda run, images, seconds: lambda: {timing.RATE: 100.0})


@pytest.fixture
def no_torch(monkeypatch):
    monkeypatch.setattr(libraries, "torch_installed", lambda: False)
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.mark.parametrize(
    ("layer", "part", "expected"),
    [
        # 2 * outputs * weights that meet in each.
        (LAYERS["conv3-64-28"], "forward", 2 * (64 * 28 * 28 * 64) * (3 * 3 * 64)),
        (LAYERS["conv3-64-28"], layers.IN_SCAN, 2 * (64 * 28 * 28 * 64) * (3 * 3 * 64)),
        (LAYERS["conv1-128-64-32"], "kernel_gradient", 2 * (64 * 32 * 32 * 64) * 128),
        (LAYERS["conv4-stride2-64-128-32"], "input_gradient", 2 * (64 * 16 * 16 * 128) * (4 * 4 * 64)),
        # Every input meets every weight of its channel.
        (LAYERS["transpose4-stride2-128-64-16"], "forward", 2 * (64 * 16 * 16 * 128) * (4 * 4 * 64)),
        (LAYERS["depthwise3-128-32"], "forward", 2 * (64 * 32 * 32 * 128) * 9),
        (LAYERS["group-norm-128-32"], "forward", 0),
        # Four products with C x C matrices, logits and weighted values; twice that for the gradients.
        (
            LAYERS["attention-heads8-128-16"],
            "forward",
            64 * (4 * 2 * 256 * 128 * 128 + 2 * 2 * 256 * 256 * 128),
        ),
        (
            LAYERS["attention-heads64-128-16"],
            "forward_backward",
            3 * 64 * (4 * 2 * 256 * 128 * 128 + 2 * 2 * 256 * 256 * 128),
        ),
    ],
)
def test_flops(layer, part, expected):
    assert layers.flops(layer, part, 64) == expected


def test_contenders_agree_and_are_reported(same_speed, capsys):
    installed = libraries.torch_installed()
    results = layers.bench(QUICK, TINY, matmul_size=8)  # raises where outputs differ
    json.dumps(results)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + sum(map(len, results.values()))
    assert len(set(map(len, lines))) == 1
    assert ("torch" in results["conv3"]["forward"]["ratio"]) == installed
    assert list(results) == list(TINY)
    for name, layer in TINY.items():
        convolution = layer.kind in ("conv", "conv_transpose")
        assert list(results[name]) == (GRADIENTS if convolution else ["forward", "forward_backward"])
        for part, numbers in results[name].items():
            alone = part == layers.IN_SCAN
            others = set() if alone else {"stock", *(["torch"] if installed else [])}
            assert set(numbers["ms"]) == {"genjax", *others} and set(numbers["ratio"]) == others
            # Two iterations in the time of one call.
            assert numbers["ms"]["genjax"]["median"] == pytest.approx(5.0 if alone else 10.0)
            work = layers.flops(layer, part, 2)
            assert ("gflop_per_second" in numbers) == (work > 0)
            if work and not alone:
                assert numbers["gflop_per_second"]["max"] == pytest.approx(100 * work / 1e9)
                assert numbers["of_matmul_peak"]["min"] == pytest.approx(work / (2 * 8**3))


def test_ratio_above_one_is_faster_genjax(monkeypatch):
    rates = iter([1.0] + [4.0, 2.0] * 2)  # the peak; genjax and flax.linen, forward and both

    def timed(run, images, seconds):
        rate = next(rates)
        return lambda: {timing.RATE: rate}

    monkeypatch.setattr(timing, "timed", timed)
    options = Options(("group-norm",), 2, ("stock",), 1, 1e-4)
    results = layers.bench(options, TINY, matmul_size=8)
    assert results["group-norm"]["forward"]["ratio"]["stock"]["median"] == 2.0
    assert results["group-norm"]["forward"]["ms"]["stock"]["median"] == 500.0


def test_without_torch(no_torch, same_speed):
    results = layers.bench(Options(("conv1",), 2), TINY, matmul_size=8)
    assert set(results["conv1"]["forward"]["ratio"]) == {"stock"}
    assert "pip install" in libraries.described(QUICK)["torch"]


def test_other_weights_are_noticed(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setitem(torch_weights._TO_TORCH, "ConvTranspose2d", lambda x: x.transpose(2, 3, 0, 1))
    with pytest.raises(UserError, match=r"transpose4-stride2 forward of torch: .* differs from flax\.linen"):
        layers.bench(Options(("transpose4-stride2",), 2), TINY, matmul_size=8)


def test_check():
    expected = [np.array([1.0, -100.0])]
    layers.check("x", [np.array([1.009, -100.0])], expected)
    with pytest.raises(UserError, match="x: shape"):
        layers.check("x", [np.array([1.011, -100.0])], expected)
    with pytest.raises(UserError, match="differs"):
        layers.check("x", [np.array([np.nan, -100.0])], expected)
    with pytest.raises(UserError, match=r"shape \(1, 2\) and expected \(2,\)"):
        layers.check("x", [np.array([[1.0, -100.0]])], expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(only=("conv5",)), "only='conv5': valid are conv3-64-28, conv3-128-16"),
        (Options(against=("tensorflow",)), "against='tensorflow': valid are stock, torch"),
        (Options(repeats=0), "repeats=0"),
        (Options(seconds=0.0), "seconds=0.0"),
        (Options(batch_size=0), "batch_size"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(UserError, match=message):
        layers.bench(options)


@pytest.mark.parametrize(
    ("ours", "theirs", "arguments"),
    [
        (Conv, nn.Conv, {"strides": 2, "feature_group_count": 2, "padding": ((1, 2), (0, 1))}),
        (ConvTranspose, nn.ConvTranspose, {"strides": (2, 2), "use_bias": False}),
    ],
)
def test_stock_layers_are_those_of_linen(ours, theirs, arguments):
    x = np.zeros((1, 4, 4, 2), np.float32)
    layer, linen = ours(4, (3, 3), **arguments), theirs(4, (3, 3), **arguments)
    variables = layer.init(jax.random.key(0), x)
    expected = jax.make_jaxpr(linen.apply)(variables, x)
    assert str(jax.make_jaxpr(stock.with_stock_layers(layer.apply))(variables, x)) == str(expected)


def test_table():
    spread = {"median": 2.0, "min": 1.0, "max": 3.0}
    numbers = {"ms": {"genjax": spread, "torch": {**spread, "median": 1234.5}}, "ratio": {"torch": spread}}
    speed = {"gflop_per_second": spread, "of_matmul_peak": {**spread, "median": 0.5}}
    text = layers_table.table({"conv": {"kernel_gradient": numbers | speed, "forward": numbers}})
    _, first, second = text.splitlines()
    assert " ".join(first.split()) == "conv kernel gradient 2 - 1234 - 2.00 (1.00-3.00) 2 50%"
    assert " ".join(second.split()) == "conv forward 2 - 1234 - 2.00 (1.00-3.00) - -"


def test_command_line(monkeypatch, capsys):
    called = []
    monkeypatch.setitem(
        bench_main._ALONE, Options, ("layers", lambda options: called.append(options) or {"conv1": {}})
    )
    line = "layers --only conv1 conv3 --against stock --batch-size 8"
    monkeypatch.setattr(sys, "argv", ["bench", *line.split()])
    bench_main.main()
    assert called == [Options(("conv1", "conv3"), 8, ("stock",))]
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["layers"] == {"conv1": {}} and result["options"]["batch_size"] == 8
    assert result["manifest"]["packages"]["jax"] == jax.__version__
