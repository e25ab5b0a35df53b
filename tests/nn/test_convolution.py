"""Convolutions: the three maps against a loop in numpy, and the layers against flax.linen, derivatives included."""

import collections
import functools
import itertools
import re

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from genjax import nn
from genjax.nn.convolution import blocks, cpu, maps, winograd
from genjax.nn.convolution.plain import output_shape, plain
from genjax.nn.convolution.window import Window

NHWC = ("NHWC", "HWIO", "NHWC")


def reference(a, b, form, window, size):
    """The trilinear form of `maps`, differentiated by hand, in float64: a loop over the kernel's elements."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    spatial = len(window.strides)
    kernel_size = size if form == "kernel" else b.shape[:spatial]
    input_size = size if form == "input" else a.shape[1:-1]
    output_size = {"output": size, "input": a.shape[1:-1], "kernel": b.shape[1:-1]}[form]
    result = np.zeros(output_shape(a.shape, b.shape, form, window, size))
    kernel = result if form == "kernel" else b
    groups = window.groups
    for element in itertools.product(*map(range, kernel_size)):
        # Pairs of output and input positions that this element of the kernel joins, per dimension.
        pairs = []
        for d in range(spatial):
            outputs = np.arange(output_size[d])
            inputs = outputs * window.strides[d] + element[d] * window.dilation[d] - window.padding[d][0]
            inside = (inputs >= 0) & (inputs < input_size[d])
            pairs.append((outputs[inside], inputs[inside]))
        at_output, at_input = (np.ix_(*(pair[side] for pair in pairs)) for side in (0, 1))
        for g in range(groups):
            ins = slice(g * kernel.shape[-2], (g + 1) * kernel.shape[-2])
            outs = slice(g * kernel.shape[-1] // groups, (g + 1) * kernel.shape[-1] // groups)
            x_at, y_at = (slice(None), *at_input, ins), (slice(None), *at_output, outs)
            if form == "output":
                result[y_at] += np.einsum("...c,co->...o", a[x_at], b[element][:, outs])
            elif form == "input":
                result[x_at] += np.einsum("...o,co->...c", a[y_at], b[element][:, outs])
            else:
                x, y = a[x_at], b[y_at]
                result[element][:, outs] = np.einsum(
                    "pc,po->co", x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
                )
    return result


def relative_error(value, expected):
    return np.abs(np.asarray(value, np.float64) - expected).max(initial=0) / max(
        np.abs(expected).max(initial=0), 1e-30
    )


@st.composite
def cases(draw):
    small = st.integers(1, 3)
    kernel = draw(st.sampled_from([(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (3, 1), (2, 3)]))
    strides = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (3, 3), (2, 1)]))
    padding = tuple((draw(st.integers(-1, 3)), draw(st.integers(-1, 3))) for _ in range(2))
    size = tuple(draw(st.integers(4, 11)) for _ in range(2))
    channels = draw(st.sampled_from([(1, 1), (3, 5), (4, 2), (16, 1), (6, 6)]))
    groups = channels[0] if channels == (6, 6) else 1
    window = Window(strides, padding, (1, 1), groups)
    return draw(small), size, channels, kernel, window


@pytest.fixture
def eager_winograd(monkeypatch):
    """Winograd's algorithm, and blocks of images, already for tiny arrays."""
    monkeypatch.setattr(cpu, "_WINOGRAD_CHANNELS", 1)
    monkeypatch.setattr(cpu, "_WINOGRAD_TILES", 1)
    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 500)


def arguments(batch, size, channels, kernel, window):
    def normal(*shape):  # numpy's: that of JAX is compiled for every shape
        return rng.standard_normal(shape, np.float32)

    rng, output = np.random.default_rng(0), window.output_size(size, kernel)
    x = normal(batch, *size, channels[0])
    k = normal(*kernel, channels[0] // window.groups, channels[1])
    dy = normal(batch, *output, channels[1])
    return {"output": (x, k, output), "input": (dy, k, size), "kernel": (x, dy, kernel)}


@given(cases())
@example((3, (8, 9), (4, 2), (3, 3), Window((1, 1), ((1, 1), (1, 2)), (1, 1))))  # blocks of images
@example((3, (17, 16), (4, 6), (4, 4), Window((2, 2), ((1, 1), (1, 2)), (1, 1))))
@example(
    (3, (35, 8), (4, 4), (3, 2), Window((1, 1), ((1, 1), (0, 2)), (1, 1), 4))
)  # depthwise, strips of rows
@example((2, (6, 7), (16, 1), (4, 4), Window((1, 1), ((0, 0), (2, 1)), (1, 1))))
@example((2, (4, 4), (16, 1), (4, 4), Window((1, 1), ((0, 0), (0, 0)), (1, 1))))
@example((2, (9, 8), (16, 1), (5, 5), Window((2, 2), ((1, 2), (0, 0)), (1, 1))))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_maps_equal_loops_in_float64(case):
    _, size, _, kernel, window = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "_WINOGRAD_CHANNELS", 1)
        patch.setattr(cpu, "_WINOGRAD_TILES", 1)
        patch.setattr(blocks, "_BLOCK_BYTES", 500)
        if 0 in window.output_size(size, kernel):
            return
        given = arguments(*case)
        # Not JAX's own: of tiny cropped or dilated arrays, some versions get a gradient wrong.
        forms = [
            f for f, (a, b, wanted) in given.items() if cpu._choose(a, b, f, window, wanted) is not plain
        ]

        @jax.jit
        def run(arrays):
            return {f: cpu.run(*arrays[f], form=f, window=window, size=given[f][2]) for f in forms}

        values = run({f: given[f][:2] for f in forms})
        for form in forms:
            a, b, wanted = given[form]
            expected = reference(a, b, form, window, wanted)
            terms = reference(abs(a), abs(b), form, window, wanted).max()  # what is added up may cancel
            assert np.abs(np.asarray(values[form], np.float64) - expected).max() < 2e-6 * terms, form


ALGORITHMS = {  # batch, size, channels, kernel, window -> what computes output, input gradient and kernel gradient
    "_winograd": (8, (16, 16), (32, 48), (3, 3), Window((1, 1), ((1, 1), (1, 1)), (1, 1))),
    "_by_phases": (8, (32, 32), (32, 32), (4, 4), Window((2, 2), ((1, 1), (1, 1)), (1, 1))),
    "_matmul": (2, (4, 4), (3, 5), (1, 1), Window((1, 1), ((0, 0), (1, 0)), (1, 1))),
    "_depthwise": (2, (9, 9), (6, 6), (3, 3), Window((1, 1), ((1, 1), (1, 1)), (1, 1), 6)),
    "plain": (2, (9, 9), (6, 6), (3, 3), Window((1, 1), ((1, 1), (1, 1)), (2, 1))),
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_choice_and_value(name):
    case = ALGORITHMS[name]
    for form, (a, b, size) in arguments(*case).items():
        assert cpu._choose(a, b, form, case[-1], size).__name__ == name
        value = jax.jit(functools.partial(cpu.run, form=form, window=case[-1], size=size))(a, b)
        assert relative_error(value, reference(a, b, form, case[-1], size)) < 3e-6


@pytest.mark.parametrize(("m", "r"), [(4, 2), (4, 3)])
def test_winograd_matrices_are_exact(m, r):
    b_t, g, a_t = winograd.matrices(m, r)
    rng = np.random.default_rng(0)
    data, kernel = rng.normal(size=m + r - 1), rng.normal(size=r)
    np.testing.assert_allclose(a_t @ ((g @ kernel) * (b_t @ data)), np.correlate(data, kernel), atol=1e-13)


@pytest.mark.parametrize("r", [2, 3])
def test_winograd_rounds_little(r):
    """Of the order of float32's own rounding: with the usual points 0, 1, -1, 2, -2 it is twice as much."""
    x = jax.random.normal(jax.random.key(0), (2, 16, 16, 128))
    kernel = jax.random.normal(jax.random.key(1), (r, r, 128, 32))
    window = Window((1, 1), ((1, 1), (1, 1)), (1, 1))
    expected = reference(x, kernel, "output", window, window.output_size((16, 16), (r, r)))
    value = jax.jit(winograd.convolve, static_argnums=2)(x, kernel, window.padding)
    assert np.sqrt(np.mean((value - expected) ** 2)) < 1.2e-6 * expected.std()


LAYERS = {
    "3x3": (nn.Conv, (32, (3, 3)), {}),
    "odd, dilated": (nn.Conv, (5, (3, 2)), {"kernel_dilation": (2, 1), "padding": ((2, 0), (1, 1))}),
    "strided": (nn.Conv, (32, (4, 4)), {"strides": 2, "padding": 1}),
    "circular": (nn.Conv, (32, (3, 3)), {"padding": "CIRCULAR"}),
    "valid, grouped": (
        nn.Conv,
        (6, (3, 3)),
        {"feature_group_count": 2, "padding": "VALID", "use_bias": False},
    ),
    "depthwise": (nn.Conv, (32, (3, 3)), {"feature_group_count": 32}),
    "input dilation": (nn.Conv, (4, (3, 3)), {"input_dilation": (2, 3), "padding": ((1, 2), (0, 1))}),
    "input dilation and strides": (
        nn.Conv,
        (4, (3, 3)),
        {"input_dilation": (2, 1), "strides": (1, 2), "padding": 1},
    ),
    "transposed k4 s2": (nn.ConvTranspose, (32, (4, 4)), {"strides": (2, 2)}),
    "transposed k2 s2": (nn.ConvTranspose, (8, (2, 2)), {"strides": (2, 2), "padding": "VALID"}),
    "transposed k3 s2 valid": (nn.ConvTranspose, (8, (3, 3)), {"strides": (2, 2), "padding": "VALID"}),
    "transposed kernel": (
        nn.ConvTranspose,
        (8, (3, 4)),
        {"strides": (2, 1), "padding": ((1, 2), (0, 3)), "transpose_kernel": True, "kernel_dilation": (2, 1)},
    ),
    "transposed circular": (nn.ConvTranspose, (4, (3, 3)), {"strides": (2, 2), "padding": "CIRCULAR"}),
    "transposed k1 s2": (nn.ConvTranspose, (4, (1, 1)), {"strides": (2, 2)}),
    "transposed int padding": (
        nn.ConvTranspose,
        (4, (3, 3)),
        {"strides": (2, 2), "padding": 1, "use_bias": False},
    ),
}


def scalar(layer):
    return lambda params, x: jnp.sum(jnp.sin(layer.apply(params, x)))


def outputs(layer, params, x):
    """The layer's output and derivatives: first, second, forward mode, per example."""
    loss = scalar(layer)
    tangents = jax.tree.map(lambda leaf: jnp.cos(7 * leaf), (params, x))
    penalty = jax.grad(lambda params: jnp.sum(jax.grad(loss, argnums=1)(params, x) ** 2))

    def kernel_penalty(x):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(jax.grad(loss)(params, x)))

    return {
        "output": layer.apply(params, x),
        "gradients": jax.grad(loss, argnums=(0, 1))(params, x),
        "gradient of gradient": penalty(params),
        "gradient of the kernel's gradient": jax.grad(kernel_penalty)(x),
        "jvp": jax.jvp(layer.apply, (params, x), tangents),
        "jvp of gradient": jax.jvp(jax.grad(loss, argnums=(0, 1)), (params, x), tangents),
        "per example": jax.vmap(jax.grad(loss), in_axes=(None, 0))(params, x[:, None]),
        "vmap over images": jax.vmap(layer.apply, in_axes=(None, 1))(params, jnp.stack([x, -x], 1)),
        "remat": jax.grad(jax.checkpoint(loss))(params, x),
    }


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.quick_compilation
def test_layers_equal_flax_with_all_derivatives(name, eager_winograd):
    make, args, options = LAYERS[name]
    ours, theirs = make(*args, **options), getattr(flax.linen, make.__name__)(*args, **options)
    x = jax.random.normal(jax.random.key(0), (2, 7, 8, 32 if args[0] == 32 else 4))
    params = theirs.init(jax.random.key(1), x)
    jax.tree.map(np.testing.assert_array_equal, params, ours.init(jax.random.key(1), x))
    value = jax.jit(functools.partial(outputs, ours))(params, x)
    expected = jax.jit(functools.partial(outputs, theirs))(params, x)
    for what in expected:
        for a, b in zip(jax.tree.leaves(value[what]), jax.tree.leaves(expected[what]), strict=True):
            assert a.shape == b.shape
            assert relative_error(a, np.asarray(b, np.float64)) < 1e-5, what


def test_batch_axes_as_in_flax():
    x = jax.random.normal(jax.random.key(0), (2, 3, 6, 6, 4))
    for name, options in (("Conv", {}), ("ConvTranspose", {"strides": (2, 2)})):
        ours, theirs = (getattr(module, name)(5, (3, 3), **options) for module in (nn, flax.linen))
        params = theirs.init(jax.random.key(1), x)
        for images in (x, x[0, 0]):
            np.testing.assert_allclose(ours.apply(params, images), theirs.apply(params, images), atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 9, 4), (2, 5, 6, 4, 3)])
def test_one_and_three_dimensions(shape):
    x = jax.random.normal(jax.random.key(0), shape)
    for name in ("Conv", "ConvTranspose"):
        size = (3,) * (len(shape) - 2)
        ours, theirs = (getattr(module, name)(5, size) for module in (nn, flax.linen))
        params = theirs.init(jax.random.key(1), x)
        grads = [jax.jit(jax.grad(scalar(layer), argnums=(0, 1)))(params, x) for layer in (ours, theirs)]
        jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-4), *grads)


def test_bfloat16_and_float64_go_the_plain_way():
    x = jax.random.normal(jax.random.key(0), (8, 16, 16, 32), jnp.bfloat16)
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 32, 32), jnp.bfloat16)
    convolve = functools.partial(nn.conv_general_dilated, dimension_numbers=NHWC)
    y = convolve(x, kernel, (1, 1), "SAME")
    assert y.dtype == jnp.bfloat16
    expected = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)
    np.testing.assert_array_equal(y.astype(jnp.float32), expected.astype(jnp.float32))
    with jax.enable_x64(True):
        x, kernel = (jnp.asarray(np.asarray(a, np.float64)) for a in (x, kernel))
        y = convolve(x, kernel, (1, 1), "SAME")
        window = Window((1, 1), ((1, 1), (1, 1)), (1, 1))
        assert relative_error(y, reference(x, kernel, "output", window, (16, 16))) < 1e-13


def test_other_layouts_and_types_go_to_lax():
    x, kernel = jnp.arange(72.0).reshape(2, 4, 3, 3), jnp.ones((5, 4, 2, 2))
    np.testing.assert_array_equal(
        nn.conv_general_dilated(x, kernel, (1, 1), "SAME"),
        lax.conv_general_dilated(x, kernel, (1, 1), "SAME"),
    )
    x, kernel = jnp.arange(32).reshape(1, 4, 4, 2), jnp.ones((2, 2, 2, 3), jnp.int32)
    y = nn.conv_general_dilated(x, kernel, (2, 2), "VALID", dimension_numbers=NHWC)
    assert y.dtype == jnp.int32 and y[0, 0, 0, 0] == 0 + 1 + 2 + 3 + 8 + 9 + 10 + 11


def test_inside_scan(eager_winograd):
    """The loop carries the kernel, so that no gradient can be hoisted out of it."""
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 6))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 6, 6)) / 8

    def step(kernel, x, convolve):
        loss = lambda kernel: jnp.sum(jnp.sin(convolve(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)))  # noqa: E731
        return kernel - 0.01 * jax.grad(loss)(kernel), None

    images = jnp.stack([x, x + 1, x - 1])
    final, _ = lax.scan(functools.partial(step, convolve=nn.conv_general_dilated), kernel, images)
    expected = kernel
    for x in images:
        expected, _ = step(expected, x, lax.conv_general_dilated)
    np.testing.assert_allclose(final, expected, rtol=1e-5, atol=1e-5)


def gradients(convolve):
    def loss(x, kernel):
        y = convolve(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)
        y = convolve(y, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=NHWC)
        return jnp.sum(y**2)

    return jax.grad(loss, argnums=(0, 1))


def test_sharded_batch(monkeypatch):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 10_000)
    x = jax.random.normal(jax.random.key(0), (16, 32, 64, 32))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 32, 32)) / 16
    expected = jax.jit(gradients(lax.conv_general_dilated))(x, kernel)
    rows, everywhere = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    run = jax.jit(gradients(nn.conv_general_dilated), out_shardings=(rows, everywhere))
    value = run(jax.device_put(x, rows), jax.device_put(kernel, everywhere))
    for a, b in zip(value, expected, strict=True):
        assert relative_error(a, np.asarray(b, np.float64)) < 1e-5

    @functools.partial(jax.shard_map, mesh=mesh, in_specs=(P("data"), P()), out_specs=(P("data"), P()))
    def mapped(x, kernel):
        return gradients(nn.conv_general_dilated)(x, kernel)

    for a, b in zip(jax.jit(mapped)(x, kernel), expected, strict=True):
        assert relative_error(a, np.asarray(b, np.float64)) < 1e-5


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_accelerators_get_the_operations_of_lax(platform):
    """Lowered for them from here: the same convolutions, with the same windows, and nothing else."""
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((64, 32, 32, 64), (3, 3, 64, 64))]

    def operations(convolve):
        exported = jax.export.export(jax.jit(gradients(convolve)), platforms=[platform])(*shapes)
        text = exported.mlir_module()
        windows = re.findall(r"stablehlo\.convolution.*?window = \{.*?\}", text)
        return collections.Counter(re.findall(r"stablehlo\.\w+", text)), [
            w.split("dim_numbers")[1] for w in windows
        ]

    value, expected = operations(nn.conv_general_dilated), operations(lax.conv_general_dilated)
    assert value[0]["stablehlo.convolution"] == len(value[1]) == 6
    assert value == expected


def test_cpu_gets_other_operations():
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((64, 32, 32, 64), (3, 3, 64, 64))]
    convolve = functools.partial(nn.conv_general_dilated, dimension_numbers=NHWC)
    loss = jax.grad(lambda x, kernel: jnp.sum(convolve(x, kernel, (1, 1), "SAME") ** 2), argnums=(0, 1))
    text = jax.jit(loss).lower(*shapes).as_text()
    assert "stablehlo.convolution" not in text and "stablehlo.dot_general" in text


def test_wrong_shapes_are_errors():
    x = jnp.ones((1, 4, 4, 3))
    with pytest.raises(ValueError, match=r"3.*4|4.*3"):
        nn.conv_general_dilated(x, jnp.ones((3, 3, 4, 8)), (1, 1), "SAME", dimension_numbers=NHWC)


def test_the_maps_are_each_others_gradients():
    """<y(x, k), dy> = <x, x(dy, k)> = <k, k(x, dy)>, the trilinear form."""
    window = Window((2, 1), ((1, 0), (2, 1)), (1, 2))
    x = jax.random.normal(jax.random.key(0), (2, 7, 9, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 2, 3, 4))
    y = maps.convolve(x, kernel, window)
    dy = jax.random.normal(jax.random.key(2), y.shape)
    form = float(jnp.vdot(y, dy))
    assert float(jnp.vdot(x, maps.input_gradient(dy, kernel, window, (7, 9)))) == pytest.approx(
        form, rel=1e-5
    )
    assert float(jnp.vdot(kernel, maps.kernel_gradient(x, dy, window, (3, 2)))) == pytest.approx(
        form, rel=1e-5
    )
