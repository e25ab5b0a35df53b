"""`bench step`: that contenders train the same networks, where time goes, what is reported."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bench import __main__ as bench_main
from experiments.bench import breakdown, fresh, libraries, own_process, specs, step, tasks, torch_weights
from experiments.bench.step import Options
from genjax.train.program import Program
from genjax.typing import UserError

TINY = {
    "unet": specs.UNet(
        (8, 8, 1), channels=12, multipliers=(1, 2), blocks=1, attention=(8,), head_channels=4, num_classes=3
    ),
    "dcgan": specs.DCGAN((16, 16, 3), generator=(8, 6), discriminator=(4, 8), latent=5),
    "vae": specs.VAE((8, 8, 1), widths=(4, 6), hidden=5),
}
QUICK = Options(batch_size=(2,), repeats=2, seconds=1e-4, fresh=False)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("unet-2.5m", 2.609027),
        ("unet-10m", 10.401539),
        ("dcgan-32", 4.111872),
        ("dcgan-64", 6.342272),
        ("vae", 0.134165),  # as in the Keras example
        ("mnist-unet", 6.658777),
    ],
)
def test_parameter_counts(name, millions):
    spec = specs.SPECS[name]
    shapes = jax.eval_shape(tasks.task(spec).init, jax.random.key(0), specs.batch(spec, 2))
    assert tasks.num_parameters(shapes) == 1e6 * millions


@pytest.mark.parametrize("name", TINY)
def test_twins_have_the_same_losses(name):
    pytest.importorskip("torch")
    from experiments.bench import torch_tasks

    spec = TINY[name]
    batch = specs.batch(spec, 3)
    variables = tasks.random_variables(spec, batch)
    _, ours = tasks.subject(spec, variables, batch)
    twin = torch_tasks.twin(spec, batch, variables["params"])
    first = ours()
    assert twin.losses() == pytest.approx(first, rel=1e-5)
    for _ in range(3):
        last = ours()
        assert twin.losses() == pytest.approx(last, rel=1e-4)
    for key in first:  # every network learns something
        assert last[key] != first[key]


def test_weights_need_a_place_each():
    torch = pytest.importorskip("torch")
    layers = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 3)})
    kernel, bias = np.arange(6.0, dtype=np.float32).reshape(2, 3), np.zeros(3, np.float32)
    torch_weights.load(layers, {"a": {"kernel": kernel, "bias": bias}})
    np.testing.assert_array_equal(layers["a"](torch.eye(2)).detach().numpy(), kernel)
    with pytest.raises(ValueError, match=r"/a: PyTorch has \['bias', 'weight'\], Linen \['weight'\]"):
        torch_weights.load(layers, {"a": {"kernel": kernel}})
    with pytest.raises(ValueError, match=r"network: PyTorch has \['a'\], Linen \['a', 'b'\]"):
        torch_weights.load(layers, {"a": {"kernel": kernel, "bias": bias}, "b": {}})
    with pytest.raises(ValueError, match=r"/a/weight: PyTorch has \(3, 2\), Linen \(2, 3\)"):
        torch_weights.load(layers, {"a": {"kernel": kernel.T, "bias": bias}})


@pytest.mark.parametrize(
    ("theirs", "fails"),
    [([1.0001, 2.0], False), ([1.0, 2.001], False), ([1.0002, 2.0], True), ([1.0, 2.003], True)],
)
def test_check_of_losses(theirs, fails):
    losses = {"genjax": [{"loss": 1.0}, {"loss": 2.0}], "torch": [{"loss": x} for x in theirs]}
    if fails:
        with pytest.raises(UserError, match=r"against='torch': after [01] updates its losses"):
            step.check(losses)
    else:
        step.check(losses)
    losses["torch"][0]["loss"] = float("nan")
    with pytest.raises(UserError, match="after 0 updates"):
        step.check(losses)


def test_another_network_is_noticed(monkeypatch):
    monkeypatch.setattr(libraries, "torch_installed", lambda: False)
    monkeypatch.setattr(
        step, "with_stock_layers", lambda f: lambda s, b: f(s, {**b, "noise": 0 * b["noise"]})
    )
    with pytest.raises(UserError, match="against='stock': after 0 updates"):
        step.measure(TINY["vae"], 2, QUICK)


# What is reported.


def test_results(monkeypatch, capsys):
    monkeypatch.setattr(fresh, "start", lambda module, *args, cache: {"start_seconds": len(args)})
    options = Options(("vae",), (2, 4), repeats=2, seconds=1e-4, profile=True)
    results = step.bench(options, TINY)
    json.dumps(results)
    assert list(results) == ["vae"] and list(results["vae"]) == ["batch 2", "batch 4"]
    one = results["vae"]["batch 4"]
    shapes = jax.eval_shape(tasks.task(TINY["vae"]).init, jax.random.key(0), specs.batch(TINY["vae"], 2))
    assert one["parameters"] == tasks.num_parameters(shapes)
    rate = one["images_per_second"]
    assert one["ms_per_step"]["max"] == pytest.approx(1000 * 4 / rate["min"])
    assert one["memory"]["temporary_bytes"] > 0
    assert one["cold"] == one["warm"] == {"start_seconds": 3}
    assert set(one["against"]) == {"stock", "torch"}
    assert set(one["against"]["stock"]["ratio"]) == {"median", "min", "max"}
    assert one["profile"]["all_operations"] == pytest.approx(sum(one["profile"]["ms_by_kind"].values()))
    assert {"convolution_forward", "convolution_kernel_gradient"} <= set(one["profile"]["ms_by_kind"])
    out = capsys.readouterr().out
    assert "vae batch 2 against stock ratio" in out and "vae batch 4 memory temporary MiB" in out


def test_without_torch(monkeypatch, capsys):
    monkeypatch.setattr(libraries, "torch_installed", lambda: False)
    monkeypatch.setitem(sys.modules, "torch", None)
    options = Options(("vae",), (2,), ("torch",), 1, 1e-4, fresh=False)
    results = step.bench(options, TINY)["vae"]["batch 2"]
    assert results["against"] == {"torch": "not installed: pip install -e '.[parity]'"}
    assert "torch" in capsys.readouterr().out and "cold" not in results


@pytest.mark.parametrize("contender", ["genjax", "torch"])
def test_alone(monkeypatch, capsys, contender):
    pytest.importorskip(contender)
    for name in ("MIN_ENTRY_SIZE_BYTES", "MIN_COMPILE_TIME_SECS"):  # set for its own process
        monkeypatch.setenv(f"JAX_PERSISTENT_CACHE_{name}", "0")
    monkeypatch.setitem(specs.SPECS, "tiny", TINY["vae"])
    monkeypatch.setattr(sys, "argv", ["alone", contender, "tiny", "2", "0"])
    own_process.main()
    result = json.loads(capsys.readouterr().out)
    assert 2**25 < result["imports_rss_bytes"] <= result["peak_rss_bytes"] < 2**36
    assert result["start_seconds"] > 1e9  # since the epoch


def test_memory_of_torch_is_measured_without_jax():
    code = "import experiments.bench.own_process, experiments.bench.torch_tasks, sys; print('jax' in sys.modules)"
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            Options(only=("unet",)),
            "only='unet': valid are unet-2.5m, unet-10m, dcgan-32, dcgan-64, vae, mnist-unet",
        ),
        (Options(against=("stokc",)), "against='stokc': valid are stock, torch"),
        (Options(batch_size=()), "batch_size"),
        (Options(batch_size=(64, 0)), "batch_size"),
        (Options(repeats=0), "repeats=0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(UserError, match=message):
        step.bench(options)


def test_command_line(monkeypatch):
    called = []
    monkeypatch.setitem(bench_main._ALONE, Options, ("step", lambda options: called.append(options) or {}))
    line = "step --only vae --batch-size 64 128 --against torch --no-fresh --profile"
    monkeypatch.setattr(sys, "argv", ["bench", *line.split()])
    bench_main.main()
    assert called == [Options(("vae",), (64, 128), ("torch",), fresh=False, profile=True)]


# Where the time goes.

_SMALL = "window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f"
_LARGE = "window={size=16x16 pad=1_1x1_1}, dim_labels=b01f_01io->b01f"
_FORWARD, _BACKWARD = "jit(step)/jvp(N)", "jit(step)/transpose(jvp(N))"
HLO = """\
HloModule jit_step, is_scheduled=true

%fused_computation (p.0: f32[4,8]) -> f32[8,4] {
  %p.0 = f32[4,8]{1,0} parameter(0)
  %transpose.1 = f32[8,4]{0,1} transpose(%p.0), dimensions={1,0}
  ROOT %copy.1 = f32[8,4]{1,0} copy(%transpose.1)
}

%fused_computation.1 (p.1: f32[4,8]) -> f32[4] {
  %p.1 = f32[4,8]{1,0} parameter(0)
  %exponential.1 = f32[4,8]{1,0} exponential(%p.1)
  ROOT %reduce.1 = f32[4]{0} reduce(%exponential.1, %c), dimensions={1}, to_apply=%add
}

%fused_computation.2 (p.2: f32[8,16,16,4], p.3: f32[4,16,16,8]) -> f32[4,3,3,8] {
  ROOT %convolution.9 = f32[4,3,3,8]{3,2,1,0} convolution(%p.2, %p.3), LARGE
}

ENTRY %main (x: f32[8,16,16,4]) -> (f32[4], f32[8,4]) {
  %x = f32[8,16,16,4]{3,2,1,0} parameter(0)
  %conv.1 = f32[8,16,16,4]{3,2,1,0} convolution(%x, %k), SMALL, metadata={op_name="FORWARD/up/transpose()/conv"}
  %conv.2 = f32[8,16,16,4]{3,2,1,0} convolution(%x, %k), SMALL, metadata={op_name="BACKWARD/conv/conv_general_dilated"}
  %ynn_fusion = f32[4,3,3,8]{3,2,1,0} fusion(%x, %x), kind=kCustom, calls=%fused_computation.2
  %dot.1 = f32[4,4]{1,0} dot(%a, %b), metadata={op_name="BACKWARD/conv/convolution_kernel/dot_general"}
  %dot.2 = f32[4,4]{1,0} dot(%a, %b), metadata={op_name="BACKWARD/Dense_0/dot_general"}
  %dot.3 = f32[4,4]{1,0} dot(%a, %b), metadata={op_name="BACKWARD/conv/convolution_input/dot_general"}
  %dot.4 = f32[4,4]{1,0} dot(%a, %b), metadata={op_name="FORWARD/conv/convolution_output/dot_general"}
  %copy_fusion = f32[8,4]{1,0} fusion(%a), kind=kLoop, calls=%fused_computation
  %reduce_fusion = f32[4]{0} fusion(%a), kind=kLoop, calls=%fused_computation.1
  %add.1 = f32[4]{0} add(%a, %a)
  %while.1 = (s32[], f32[4]{0}) while(%t), condition=%c, body=%b
  ROOT %tuple.1 = (f32[4]{0}, f32[8,4]{1,0}) tuple(%add.1, %copy_fusion)
}
"""
for word, text in (("SMALL", _SMALL), ("LARGE", _LARGE), ("FORWARD", _FORWARD), ("BACKWARD", _BACKWARD)):
    HLO = HLO.replace(word, text)


def test_kinds_of_operations():
    kinds = breakdown.classify(HLO)
    assert {name: kinds[name] for name in kinds if not name.startswith(("p.", "x"))} == {
        "transpose.1": breakdown.COPY,
        "copy.1": breakdown.COPY,
        "exponential.1": breakdown.ELEMENTWISE,
        "reduce.1": breakdown.REDUCTION,
        "convolution.9": breakdown.KERNEL,
        "conv.1": breakdown.FORWARD,
        "conv.2": breakdown.INPUT,
        "ynn_fusion": breakdown.KERNEL,
        "dot.1": breakdown.KERNEL,
        "dot.2": breakdown.MATMUL,
        "dot.3": breakdown.INPUT,
        "dot.4": breakdown.FORWARD,
        "copy_fusion": breakdown.COPY,
        "reduce_fusion": breakdown.REDUCTION,
        "add.1": breakdown.ELEMENTWISE,
        "while.1": None,
        "tuple.1": breakdown.COPY,
    }


def test_breakdown_of_a_program_finds_all_of_its_operations():
    x = jnp.ones((2, 8, 8, 3))
    kernel = jnp.ones((3, 3, 3, 4))

    def loss(kernel, x):
        y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", None, None, ("NHWC", "HWIO", "NHWC"))
        return jnp.square(y).mean()

    program = Program(jax.value_and_grad(loss, (0, 1)), "test")

    def run(count):
        for _ in range(count):
            jax.block_until_ready(program(kernel, x))

    run(1)
    result = breakdown.breakdown(run, program)
    assert {breakdown.FORWARD, breakdown.INPUT, breakdown.KERNEL} <= set(result["ms_by_kind"])
    assert "unknown" not in result["ms_by_kind"]
    assert all(x > 0 for x in result["ms_by_kind"].values())
