"""Networks of the GAN family: the contract, values by hand, conditioning, and statistics over devices."""

import functools

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.conditions import mask_name
from genjax.models.gan.attention import SpatialAttention
from genjax.models.gan.biggan import BigGANGenerator, biggan_discriminator
from genjax.models.gan.bilinear import bilinear_downsample, bilinear_upsample
from genjax.models.gan.conditioning import Join, Projection
from genjax.models.gan.dcgan import DCGANDiscriminator, DCGANGenerator
from genjax.models.gan.discriminator import ImageDiscriminator, PatchDiscriminator
from genjax.models.gan.grouped import GroupedConv
from genjax.models.gan.heads import ClassHead, CodeHead
from genjax.models.gan.instance_norm import InstanceNorm
from genjax.models.gan.mlp import MLPDiscriminator, MLPGenerator, MLPNorm
from genjax.models.gan.r3gan import R3GANDiscriminator, R3GANGenerator
from genjax.models.gan.residual import ResidualDiscriminator, ResidualGenerator, mean_pool
from genjax.models.gan.residual_translator import ResidualTranslator
from genjax.models.gan.translation_unet import UNetGenerator
from genjax.nn import initialize
from genjax.nn.batch_norm import BatchNorm
from genjax.nn.spectral_norm import SpectralNorm
from genjax.typing import UserError
from tests.nn.over_devices import by_all_devices

B, CLASSES = 4, 3
SHAPE = 8, 8, 2
LABEL = jnp.array([0, 2, 1, 0], jnp.int32)
TOLD = {"label": LABEL}


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


IMAGES = jnp.tanh(normal(0, B, *SHAPE))
Z = normal(1, B, 6)

GENERATORS = {
    "mlp": MLPGenerator(SHAPE, (16, 16), Join(CLASSES, 2)),
    "mlp, normalised": MLPGenerator(SHAPE, (16, 16), Join(CLASSES, 2), MLPNorm, 0.2),
    "dcgan": DCGANGenerator(SHAPE, 4, Join(CLASSES)),
    "residual": ResidualGenerator(SHAPE, (4,), num_classes=CLASSES),
    "biggan": BigGANGenerator(CLASSES, SHAPE, (4, 8), embedding=3, attention=4),
    "r3gan": R3GANGenerator(SHAPE, (4, 6), 1, group_channels=4, join=Join(CLASSES, 2)),
}
DISCRIMINATORS = {
    "mlp": MLPDiscriminator((5, 4), 3, Join(CLASSES), Projection(CLASSES)),
    "dcgan": DCGANDiscriminator(4, Join(CLASSES), Projection(CLASSES)),
    "residual": ResidualDiscriminator((4, 6), 1, join=Join(CLASSES), projection=Projection(CLASSES)),
    "biggan": biggan_discriminator(CLASSES, (8, 8), 1, attention=4),
    "r3gan": R3GANDiscriminator((4, 6), 1, group_channels=4, projection=Projection(CLASSES)),
}
TRANSLATORS = {
    "unet": UNetGenerator(1, 4, 2),
    "residual": ResidualTranslator(1, 4, 1, 1, BatchNorm),
}


def variables_of(network, *args, **kwargs):
    """Random ones, of which none is zero or a usual initial value; gains and variances are positive."""
    random = np.random.default_rng(0)

    def draw(path, x):
        noise = random.normal(size=x.shape).astype(np.float32)
        if path[-1].key in ("scale", "var"):
            return 0.5 + np.abs(noise)
        return noise / np.sqrt(np.prod(x.shape[:-1])) if x.ndim > 1 else 0.2 * noise

    shapes = jax.eval_shape(functools.partial(network.init, **kwargs), jax.random.key(0), *args)
    return jax.tree.map_with_path(draw, shapes)


def with_gradient(network, x):
    """Outputs for two labels, and the gradient of all parameters."""
    variables = variables_of(network, x, TOLD)

    @jax.jit
    def run(label):
        def loss(params):
            result = network.apply({**variables, "params": params}, x, {"label": label})
            y = jax.tree.leaves(result)[0]
            return jnp.sum(y * normal(3, *y.shape)), result

        return jax.grad(loss, has_aux=True)(variables["params"])

    grads, result = run(LABEL)
    return grads, result, run((LABEL + 1) % CLASSES)[1]


def assert_all_nonzero(grads):
    assert [
        jax.tree_util.keystr(k) for k, g in jax.tree.leaves_with_path(grads) if not np.abs(g).max() > 0
    ] == []


@pytest.mark.parametrize(
    ("kind", "name"), [*(("generator", n) for n in GENERATORS), *(("translator", n) for n in TRANSLATORS)]
)
def test_generators(kind, name):
    network = (GENERATORS if kind == "generator" else TRANSLATORS)[name]
    grads, images, others = with_gradient(network, Z if kind == "generator" else IMAGES)
    assert images.dtype == jnp.float32 and images.shape == (B, 8, 8, SHAPE[2] if kind == "generator" else 1)
    assert np.abs(images).max() <= 1 and np.std(images) > 1e-3
    assert_all_nonzero(grads)
    # What the label says matters to a generator; a translator ignores it.
    changed = np.abs(images - others).reshape(B, -1).max(1)
    assert (changed > 1e-4).all() if kind == "generator" else (changed == 0).all()


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminators(name):
    grads, (logits, features), (others, _) = with_gradient(DISCRIMINATORS[name], IMAGES)
    assert logits.shape == (B,) and all(f.shape[0] == B and f.ndim == 4 for f in features)
    assert {y.dtype for y in (logits, *features)} == {jnp.dtype("float32")}
    assert len(features) == (1 if name == "dcgan" else 2)
    assert_all_nonzero(grads)
    assert (np.abs(logits - others) > 1e-5).all()


@pytest.mark.parametrize("network", [PatchDiscriminator(1, 4), ImageDiscriminator((4, 4), 5)])
def test_the_other_discriminators_keep_the_contract(network):
    variables = initialize(network, jax.random.key(0), IMAGES, TOLD, train=True)
    assert variables.keys() == {"params"}
    apply = jax.jit(network.apply, static_argnames="train")
    plain, full = apply(variables, IMAGES), apply(variables, IMAGES, TOLD, train=True)
    jax.tree.map(np.testing.assert_array_equal, plain, full)


@pytest.mark.parametrize(("size", "base", "count"), [(28, 7, 2), (32, 4, 3), (64, 4, 4), (48, 6, 3)])
def test_sizes_of_dcgan(size, base, count):
    generator, discriminator = DCGANGenerator((size, size, 3)), DCGANDiscriminator()
    variables = jax.eval_shape(generator.init, jax.random.key(0), jnp.zeros((2, 100)))
    shapes = jax.tree.map(lambda x: x.shape, variables["params"])
    assert shapes["project"] == {"kernel": (100, base * base * 64 * 2 ** (count - 1))}
    assert [shapes[f"up_{i}"]["kernel"][2:] for i in range(1, count + 1)] == [
        (64 * 2 ** (count - i), 64 * 2 ** (count - 1 - i) if i < count else 3) for i in range(1, count + 1)
    ]
    assert sum(name.startswith("norm") for name in shapes) == count
    images = jax.eval_shape(generator.apply, variables, jnp.zeros((2, 100)))
    assert images.shape == (2, size, size, 3)
    (_, features), variables = jax.eval_shape(
        lambda x: discriminator.init_with_output(jax.random.key(0), x), images
    )
    assert [f.shape[1:] for f in features] == [(size >> i, size >> i, 32 * 2**i) for i in range(1, count + 1)]
    assert variables["params"]["logits"]["kernel"].shape == (base * base * 32 * 2**count, 1)


def test_initial_weights_of_dcgan():
    params = initialize(DCGANGenerator((16, 16, 1), 16), jax.random.key(0), jnp.zeros((1, 64)))["params"]
    for kernel in (params["project"]["kernel"], params["up_1"]["kernel"]):
        np.testing.assert_allclose([kernel.mean(), kernel.std()], [0, 0.02], atol=1e-3)
    np.testing.assert_allclose([params["norm_0"]["scale"].mean()], [1], atol=0.02)


def start(network, *args):
    return lambda: jax.eval_shape(network.init, jax.random.key(0), *args)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (start(DCGANGenerator((30, 30, 1)), Z), r"image_shape=\(30, 30, 1\): valid are sides of 4 to 7"),
        (start(DCGANGenerator((5, 5, 1)), Z), r"image_shape=\(5, 5, 1\)"),
        (start(DCGANDiscriminator(), jnp.zeros((1, 8, 9, 1))), r"image_shape=\(8, 9, 1\)"),
        (start(ResidualGenerator((12, 12, 1), (4, 4, 4)), Z), r"channels has 3 doublings: .*multiples of 8"),
        (start(ResidualDiscriminator((4, 4), 3), IMAGES), r"halvings=3: valid are 0\.\.2"),
        (start(ResidualDiscriminator((4, 4), 2), IMAGES[:, :6]), r"multiples of 4, not 6x8"),
        (start(ResidualDiscriminator((4,), 1, attention=8), IMAGES), r"attention=8: .* heights \[4\]"),
        (start(BigGANGenerator(3, SHAPE, (4,)), Z[:, :5], TOLD), r"z has 5 components: .* multiples of 2"),
        (start(R3GANGenerator((6, 6, 1), (4, 4, 4)), Z), r"channels has 2 doublings"),
        (start(R3GANDiscriminator((4, 4), group_channels=3), IMAGES), r"group_channels=3: .* divisors of 8"),
        (start(MLPDiscriminator(pieces=0), IMAGES), r"pieces=0: valid are 1 and more"),
        (start(UNetGenerator(levels=4), IMAGES), r"levels has 4 halvings: .*multiples of 16, not 8x8"),
        (start(UNetGenerator(levels=0), IMAGES), r"levels=0"),
        (start(ResidualTranslator(), IMAGES[:, :4]), r"images of 4x8: valid with halvings=2 .* 8 pixels"),
        (start(DCGANGenerator(SHAPE, 4), Z, TOLD), r"label is given, but the generator is unconditional"),
        (start(CodeHead((), 0), (IMAGES,)), r"categorical=\(\), continuous=0"),
        (start(CodeHead((1,)), (IMAGES,)), r"categorical=\(1,\)"),
    ],
)
def test_errors(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_join_and_projection():
    joined = Join(CLASSES).apply({}, IMAGES, TOLD)
    np.testing.assert_array_equal(joined[..., :2], IMAGES)
    np.testing.assert_array_equal(joined[:, 3, 5, 2:], np.eye(3)[LABEL])
    embed = normal(2, 3, 5)
    joined = Join(CLASSES, 5).apply({"params": {"embed": {"kernel": embed}}}, Z, TOLD)
    np.testing.assert_allclose(joined, np.concatenate([Z, embed[LABEL]], 1), rtol=1e-6)

    variables = {"params": {"embed": {"kernel": normal(2, 3, 2)}}}
    expected = np.einsum("bhwc,bc->bhw", IMAGES, variables["params"]["embed"]["kernel"][LABEL])
    np.testing.assert_allclose(Projection(CLASSES).apply(variables, IMAGES, TOLD), expected, atol=1e-6)


def test_an_unconditional_discriminator_ignores_labels():
    network = ResidualDiscriminator((4,), 1)
    variables = variables_of(network, IMAGES)
    apply = jax.jit(network.apply)
    np.testing.assert_array_equal(apply(variables, IMAGES, TOLD)[0], apply(variables, IMAGES)[0])


@pytest.mark.parametrize(
    ("kind", "name"),
    [*(("generator", n) for n in GENERATORS), *(("discriminator", n) for n in DISCRIMINATORS)],
)
def test_a_label_that_is_missing_is_one_that_is_hidden(kind, name):
    """Bit for bit, for the whole call and for single examples, whatever the hidden label was."""
    network, x = (GENERATORS[name], Z) if kind == "generator" else (DISCRIMINATORS[name], IMAGES)
    variables = variables_of(network, x, TOLD)
    mask = mask_name("label")

    @jax.jit
    def apply(condition):
        return network.apply(variables, x, condition)

    equal = lambda a, b: jax.tree.map(np.testing.assert_array_equal, a, b)  # noqa: E731
    given = apply(TOLD)
    missing = apply({})
    equal(missing, apply({**TOLD, mask: jnp.zeros(B, bool)}))
    equal(missing, apply({"label": (LABEL + 1) % CLASSES, mask: jnp.zeros(B, bool)}))
    equal(missing, apply(None))
    equal(given, apply({**TOLD, mask: jnp.ones(B, bool)}))
    some = apply({**TOLD, mask: jnp.array([True, False, True, False])})
    for i in range(B):
        expected = missing if i % 2 else given
        equal(jax.tree.map(lambda y: y[i], some), jax.tree.map(lambda y: y[i], expected))
    first, other = (jax.tree.leaves(y)[0] for y in (given, missing))
    assert (np.abs(first - other).reshape(B, -1).max(1) > 0).all()


def test_maxout_by_hand():
    network = MLPDiscriminator((4,), 3)
    variables = variables_of(network, IMAGES)
    logits, (feature,) = network.apply(variables, IMAGES)
    p = variables["params"]
    linear = IMAGES.reshape(B, -1) @ p["hidden_0"]["kernel"] + p["hidden_0"]["bias"][None]
    expected = np.asarray(linear).reshape(B, 4, 3).max(-1)
    np.testing.assert_allclose(feature[:, 0, 0], expected, atol=1e-5)
    np.testing.assert_allclose(
        logits, expected @ p["logits"]["kernel"][:, 0] + p["logits"]["bias"], atol=1e-5
    )


def test_normalised_perceptron_by_hand():
    """Leaky units before the normalisation, which takes moments of the batch and keeps 0.8 of the running ones."""
    network = MLPGenerator(SHAPE, (5,), norm=MLPNorm, slope=0.2)
    variables = variables_of(network, Z)
    images, new = network.apply(variables, Z, train=True, mutable="batch_stats")
    p, old = variables["params"], variables["batch_stats"]["norm_0"]
    linear = np.asarray(Z @ p["hidden_0"]["kernel"] + p["hidden_0"]["bias"][None])
    h = np.where(linear > 0, linear, 0.2 * linear)
    mean, variance = h.mean(0), h.var(0)
    normed = (h - mean) / np.sqrt(variance + 1e-3) * p["norm_0"]["scale"] + p["norm_0"]["bias"]
    expected = np.tanh(normed @ p["out"]["kernel"] + p["out"]["bias"]).reshape(B, *SHAPE)
    np.testing.assert_allclose(images, expected, atol=1e-5)
    kept = new["batch_stats"]["norm_0"]
    np.testing.assert_allclose(kept["mean"], 0.8 * old["mean"] + 0.2 * mean, atol=1e-6)
    np.testing.assert_allclose(kept["var"], 0.8 * old["var"] + 0.2 * variance, atol=1e-6)


def test_the_critic_of_wgan_gp_judges_images_one_by_one():
    network = ResidualDiscriminator((4, 4), 1, pool=mean_pool)
    variables = variables_of(network, IMAGES, train=True)
    assert variables.keys() == {"params"}
    apply = jax.jit(functools.partial(network.apply, train=True))
    logits, features = apply(variables, IMAGES)
    np.testing.assert_allclose(apply(variables, IMAGES[1:2])[0], logits[1:2], atol=1e-6)
    p = variables["params"]["logits"]
    pooled = np.maximum(features[-1], 0).mean((1, 2))
    np.testing.assert_allclose(logits, pooled @ p["kernel"][:, 0] + p["bias"], atol=1e-6)


def test_spectral_normalisation_is_plugged_in():
    """The network is the plain one with every kernel divided by its largest singular value."""
    options = {"attention": 4, "projection": Projection(CLASSES)}
    plain = ResidualDiscriminator((4, 4), 1, **options)
    normalised = plain.clone(weight_norm=SpectralNorm, projection=Projection(CLASSES, SpectralNorm))
    variables = variables_of(normalised, IMAGES, TOLD)
    assert len(jax.tree.leaves(variables["spectral"])) == 3 + 2 + 4 + 1 + 1

    def divided(path, x):
        if path[-1].key != "kernel":
            return x
        return x / np.linalg.norm(np.asarray(x).reshape(-1, x.shape[-1]), 2)

    @jax.jit
    def run(variables):
        return normalised.apply(variables, IMAGES, TOLD, train=True, mutable=["spectral"])

    state = variables
    for _ in range(150):  # of the power iteration
        (logits, _), new = run(state)
        state = {**variables, **new}
    params = jax.tree.map_with_path(divided, variables["params"])
    expected, _ = jax.jit(plain.apply)({"params": params}, IMAGES, TOLD)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4)


def test_a_block_of_biggan_sees_its_part_of_z_and_the_class():
    network = GENERATORS["biggan"]
    variables = variables_of(network, Z, TOLD)

    @jax.jit
    def by_z(variables):
        return jax.grad(lambda z: jnp.sum(network.apply(variables, z, TOLD) * IMAGES))(Z)

    def without(*blocks):
        """No gain or bias of these blocks depends on their condition."""
        params = dict(variables["params"])
        for block in blocks:
            maps = jax.tree.map(jnp.zeros_like, params[block])
            params[block] = {**params[block], **{n: maps[n] for n in ("norm_1", "norm_2")}}
        return {**variables, "params": params}

    def used(variables):
        return (np.abs(by_z(variables)).max(0) > 1e-6).reshape(3, 2).all(1).tolist()

    assert used(variables) == [True, True, True]
    assert used(without("block_1")) == [True, True, False]
    assert used(without("block_0")) == [True, False, True]


def test_attention_by_hand():
    layer = SpatialAttention()
    x = normal(5, 2, 4, 4, 8)
    variables = initialize(layer, jax.random.key(0), x)
    assert {k: p["kernel"].shape for k, p in variables["params"].items() if k != "gate"} == {
        "query": (1, 1, 8, 1),
        "key": (1, 1, 8, 1),
        "value": (1, 1, 8, 4),
        "out": (1, 1, 4, 8),
    }
    np.testing.assert_array_equal(layer.apply(variables, x), x)
    p = jax.tree.map(np.asarray, variables_of(layer, x)["params"])
    flat = np.asarray(x).reshape(2, 16, 8)
    halved = lambda y: y.reshape(2, 2, 2, 2, 2, -1).max((2, 4)).reshape(2, 4, -1)  # noqa: E731
    query, key, value = (flat @ p[n]["kernel"][0, 0] for n in ("query", "key", "value"))
    weights = np.exp(query @ halved(key).swapaxes(1, 2))
    weights /= weights.sum(-1, keepdims=True)
    expected = flat + p["gate"] * (weights @ halved(value) @ p["out"]["kernel"][0, 0])
    y = jax.jit(layer.apply)({"params": p}, x)
    np.testing.assert_allclose(y, expected.reshape(x.shape), atol=1e-5)


def test_blocks_of_r3gan_are_the_identity_at_the_start():
    network = R3GANDiscriminator((4, 8), 2, group_channels=4)
    params = initialize(network, jax.random.key(0), IMAGES)["params"]
    bare = network.clone(blocks=0)
    assert set(params) - set(bare.init(jax.random.key(0), IMAGES)["params"]) == {
        f"stage_{i}_{j}" for i in (0, 1) for j in (0, 1)
    }
    alone = {name: p for name, p in params.items() if not name.startswith("stage")}
    actual = jax.jit(network.apply)({"params": params}, IMAGES)[0]
    np.testing.assert_allclose(actual, bare.apply({"params": alone}, IMAGES)[0], atol=1e-6)
    block = initialize(R3GANDiscriminator((64,), 9), jax.random.key(0), IMAGES)["params"]["stage_0_3"]
    # Variance 2 / (1 + 0.2^2) / fan_in, and a factor L^(-1/4) of the deviation for L = 9 blocks.
    for name, fan_in in (("conv_1", 64), ("conv_2", 9 * 16)):
        std = np.sqrt(2 / 1.04 / fan_in) * 9**-0.25
        np.testing.assert_allclose(block[name]["kernel"].std(), std, rtol=0.03)


def test_convolution_in_groups():
    options = {"feature_group_count": 3, "strides": (2, 1)}
    ours, flax_layer = (layer(6, (3, 3), **options) for layer in (GroupedConv, flax.linen.Conv))
    x = normal(0, 2, 5, 4, 9)
    variables = variables_of(ours, x)
    y = ours.apply(variables, x)
    assert variables["params"]["kernel"].shape == (3, 3, 3, 6)
    np.testing.assert_allclose(y, flax_layer.apply(variables, x), atol=1e-5)


def test_bilinear_resampling():
    x = normal(0, 2, 4, 6, 3)
    expected = jax.image.resize(x, (2, 8, 12, 3), "linear")
    np.testing.assert_allclose(bilinear_upsample(x), expected, atol=1e-5)
    # Along a line, and the border repeated.
    line = jnp.array([1.0, 2.0, 4.0, 8.0]).reshape(1, 4, 1, 1)
    square = jnp.broadcast_to(line, (1, 4, 4, 1))
    rows = bilinear_downsample(square)[0, :, 0, 0]
    np.testing.assert_allclose(rows, [(1 + 3 + 6 + 4) / 8, (2 + 12 + 24 + 8) / 8])
    np.testing.assert_allclose(bilinear_downsample(square.swapaxes(1, 2))[0, 0, :, 0], rows)
    np.testing.assert_allclose(bilinear_downsample(jnp.ones((1, 4, 6, 2))), np.ones((1, 2, 3, 2)), rtol=1e-6)


def test_heads():
    features = (IMAGES, normal(3, B, 2, 2, 3))
    flat = np.asarray(features[-1]).reshape(B, 12)
    head = ClassHead(CLASSES)
    variables = variables_of(head, features)
    p = variables["params"]["logits"]
    np.testing.assert_allclose(
        head.apply(variables, features), flat @ p["kernel"] + p["bias"][None], atol=1e-5
    )

    head = CodeHead((3, 2), 2, 5)
    variables = variables_of(head, features)
    p = jax.tree.map(np.asarray, variables["params"])
    linear = lambda name, x: x @ p[name]["kernel"] + p[name]["bias"]  # noqa: E731
    h = linear("hidden", flat)
    h = np.where(h > 0, h, 0.2 * h)
    codes = head.apply(variables, features)
    assert len(codes.logits) == 2
    for i, logits in enumerate(codes.logits):
        np.testing.assert_allclose(logits, linear(f"categorical_{i}", h), atol=1e-5)
    np.testing.assert_allclose(codes.continuous.mean, linear("mean", h), atol=1e-5)
    np.testing.assert_allclose(codes.continuous.log_variance, linear("log_variance", h), atol=1e-5)
    fixed = CodeHead((), 2, 5, BatchNorm, learn_variance=False)
    variables = variables_of(fixed, features)
    assert variables["params"].keys() == {"hidden", "norm", "mean"} and "batch_stats" in variables
    np.testing.assert_array_equal(fixed.apply(variables, features).continuous.log_variance, np.zeros((B, 2)))


def test_dropout_of_the_unet_belongs_to_the_examples():
    network = UNetGenerator(1, 4, 2, InstanceNorm)
    variables = variables_of(network, IMAGES)

    @jax.jit
    def apply(x, index):
        rngs = {"dropout": jax.random.key(3)}
        return network.apply(variables, x, dropout_index=index, rngs=rngs)

    index = jnp.array([5, 6, 7, 8])
    together = apply(IMAGES, index)
    shuffled = apply(IMAGES[::-1], index[::-1])
    np.testing.assert_allclose(shuffled[::-1], together, atol=1e-6)
    same_image = apply(jnp.broadcast_to(IMAGES[:1], IMAGES.shape), index)
    assert all(np.abs(same_image[i] - same_image[0]).max() > 1e-4 for i in range(1, B))


def test_eight_devices_and_one():
    """A generator and a discriminator, both with batch normalisation: images, logits, statistics and gradients."""
    size = 16, 16, 1  # the discriminator's first normalisation is of the second layer
    networks = {"g": DCGANGenerator(size, 4), "d": DCGANDiscriminator(4)}
    variables = {"g": variables_of(networks["g"], Z), "d": variables_of(networks["d"], jnp.zeros((1, *size)))}
    z = normal(1, 16, 6) * (1 + jnp.arange(16.0)[:, None])

    def step(variables, z, over_devices):
        def apply(name, params, x):
            stats = variables[name]["batch_stats"]
            state = {"params": params[name], "batch_stats": stats}
            return networks[name].apply(state, x, train=True, mutable=["batch_stats"])

        def loss(params):
            images, g = apply("g", params, z)
            (logits, _), d = apply("d", params, images)
            return over_devices(jax.nn.softplus(logits).mean()), ((images, logits), (g, d))

        params = {name: v["params"] for name, v in variables.items()}
        grads, (rows, new) = jax.grad(loss, has_aux=True)(params)
        return rows, new, grads

    expected = jax.jit(functools.partial(step, over_devices=lambda x: x))(variables, z)
    for _, actual in by_all_devices(step, variables, z):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), actual, expected)
