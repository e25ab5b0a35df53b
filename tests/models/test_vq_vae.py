"""The networks of VQ-VAE and VQ-VAE-2: shapes, which level sees which, gradients, errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.models.codes.vq_vae import VQVAE, ResidualStack
from genjax.nn import initialize
from genjax.nn.quantization import FiniteScalarQuantizer, VectorQuantizer
from genjax.typing import UserError

pytestmark = pytest.mark.quick_compilation

VECTOR = functools.partial(VectorQuantizer, 16, 4)
X = jax.random.uniform(jax.random.key(1), (3, 8, 8, 1), minval=-1)


def net(**options):
    defaults = {
        "out_channels": 1,
        "quantizer": VECTOR,
        "downsamplings": 1,
        "channels": 8,
        "residual_blocks": 1,
    }
    return VQVAE(**defaults | options)


def variables_of(network):
    """With codes that all are chosen now and then, as after the first update."""
    variables = initialize(network, jax.random.key(0), X)
    return jax.tree_util.tree_map_with_path(
        lambda path, x: 3 * x if path[-1].key == "codes" else x, variables
    )


@pytest.fixture(scope="module")
def two():
    """Two levels: the network, its variables, its compiled pass and decoder."""
    network = net(levels=2)
    decode = functools.partial(network.apply, method="decode")
    return network, variables_of(network), jax.jit(network.apply), jax.jit(decode)


@pytest.mark.parametrize(
    ("levels", "downsamplings", "size", "expected"),
    [
        (1, 1, 8, ((4, 4),)),
        (2, 1, 8, ((2, 2), (4, 4))),
        (3, 1, 8, ((1, 1), (2, 2), (4, 4))),
        (1, 2, 28, ((7, 7),)),
        (2, 1, 28, ((7, 7), (14, 14))),
        (2, 2, 256, ((32, 32), (64, 64))),  # of VQ-VAE-2
    ],
)
@pytest.mark.parametrize("quantizer", [VECTOR, functools.partial(FiniteScalarQuantizer, (4, 3))])
def test_shapes(levels, downsamplings, size, expected, quantizer):
    network = net(levels=levels, downsamplings=downsamplings, quantizer=quantizer, out_channels=5)
    image = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    (outputs, quantized), variables = jax.eval_shape(network.init_with_output, jax.random.key(0), image)
    assert outputs.shape == (2, size, size, 5) and outputs.dtype == jnp.float32
    assert tuple(q.codes.shape[1:] for q in quantized) == network.code_shapes((size, size, 3)) == expected
    assert network.num_codes == (quantizer(parent=None).num_codes,) * levels
    codes = [q.codes for q in quantized]
    assert jax.eval_shape(functools.partial(network.apply, method="decode"), variables, codes) == outputs


def test_sizes_of_the_paper():
    """Two strided 4x4 convolutions, two residual blocks, all of 256 units, 8x8 codes of 32x32 images."""
    shapes = jax.eval_shape(VQVAE().init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    encoder = shapes["params"]["encoders_0"]
    assert encoder["down_0"]["kernel"].shape == (4, 4, 3, 256)
    assert encoder["down_1"]["kernel"].shape == (4, 4, 256, 256)
    stack = encoder["stack"]
    assert sorted(stack) == ["block_0_1", "block_0_2", "block_1_1", "block_1_2"]
    assert stack["block_0_1"]["kernel"].shape == (3, 3, 256, 256)
    assert stack["block_0_2"]["kernel"].shape == (1, 1, 256, 256)
    assert shapes["codebook"]["quantizers_0"]["codes"].shape == (512, 64)
    assert VQVAE().code_shapes((32, 32, 3)) == ((8, 8),)


def test_residual_block():
    """Of one position, where a 3x3 convolution is a product with its middle."""
    x = jax.random.normal(jax.random.key(0), (5, 1, 1, 4))
    stack = ResidualStack(1, 3)
    params = stack.init(jax.random.key(1), x)["params"]
    inner = np.maximum(x, 0) @ params["block_0_1"]["kernel"][1, 1]
    expected = np.maximum(x + np.maximum(inner, 0) @ params["block_0_2"]["kernel"][0, 0], 0)
    np.testing.assert_allclose(stack.apply({"params": params}, x), expected, atol=1e-5)
    assert (expected == 0).any() and (expected > 0).any()


def test_decoding_the_codes_is_the_pass_through_the_network(two):
    _, variables, run, decode = two
    outputs, levels = run(variables, X)
    assert min(len(np.unique(level.codes)) for level in levels) > 2
    np.testing.assert_allclose(decode(variables, [level.codes for level in levels]), outputs, atol=1e-6)


def test_examples_do_not_mix(two):
    _, variables, run, _ = two
    outputs, levels = run(variables, X)
    alone, alone_levels = run(variables, X[1:2])
    np.testing.assert_allclose(alone, outputs[1:2], atol=1e-5)
    for one, all_of_them in zip(alone_levels, levels, strict=True):
        np.testing.assert_array_equal(one.codes, all_of_them.codes[1:2])


def test_decoder_sees_both_levels(two):
    _, variables, run, decode = two
    codes = [level.codes for level in run(variables, X)[1]]
    plain = decode(variables, codes)
    for i in range(2):
        other = list(codes)
        other[i] = (codes[i] + 1) % 16
        assert jnp.abs(decode(variables, other) - plain).max() > 1e-3


def test_the_bottom_is_encoded_given_the_top(two):
    """Another book for the top moves the vectors of the bottom; another one for the bottom does not move the top's."""
    _, variables, run, _ = two
    before = run(variables, X)[1]

    def vectors_with_other_codes_of(level):
        book = variables["codebook"][f"quantizers_{level}"]
        changed = {**variables["codebook"], f"quantizers_{level}": {**book, "codes": -book["codes"]}}
        return [q.vectors for q in run({**variables, "codebook": changed}, X)[1]]

    top, bottom = vectors_with_other_codes_of(0)
    np.testing.assert_array_equal(top, before[0].vectors)
    assert jnp.abs(bottom - before[1].vectors).max() > 1e-3
    top, bottom = vectors_with_other_codes_of(1)
    np.testing.assert_array_equal(top, before[0].vectors)
    np.testing.assert_array_equal(bottom, before[1].vectors)


@pytest.mark.parametrize("by_gradient", [False, True])
def test_every_parameter_has_a_gradient(by_gradient, two):
    if by_gradient:
        network = net(quantizer=functools.partial(VectorQuantizer, 2, 4, by_gradient=True))
        variables = variables_of(network)
    else:
        network, variables, *_ = two

    def loss(params):
        outputs, levels = network.apply({**variables, "params": params}, X)
        return jnp.square(outputs - X).mean() + sum((q.commitment + q.codebook).mean() for q in levels)

    grads = jax.jit(jax.grad(loss))(variables["params"])
    assert ("quantizers_0" in grads) == by_gradient
    for path, g in jax.tree_util.tree_leaves_with_path(grads):
        assert jnp.isfinite(g).all() and jnp.abs(g).max() > 1e-9, jax.tree_util.keystr(path)


def test_mixed_precision_quantises_in_float32():
    image = jnp.zeros((1, 8, 8, 1))
    network = net(dtype=jnp.bfloat16, levels=2)
    (outputs, levels), variables = jax.eval_shape(network.init_with_output, jax.random.key(0), image)
    assert outputs.dtype == levels[1].vectors.dtype == levels[1].z.dtype == jnp.float32
    assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_errors():
    with pytest.raises(UserError, match="10x12 is not divisible by 4"):
        net(levels=2).code_shapes((10, 12, 1))
    with pytest.raises(UserError, match="not divisible by 2"):
        jax.eval_shape(net().init, jax.random.key(0), jnp.zeros((1, 7, 8, 1)))
    for name in ("levels", "downsamplings", "channels"):
        with pytest.raises(UserError, match=f"{name}=0"):
            jax.eval_shape(net(**{name: 0}).init, jax.random.key(0), X)
    with pytest.raises(UserError, match="num_codes=0"):
        jax.eval_shape(net(quantizer=functools.partial(VectorQuantizer, 0)).init, jax.random.key(0), X)
