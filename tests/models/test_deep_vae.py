"""The deep hierarchical VAE: closed forms of its groups, and what posterior and prior share."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.conditions import mask_name
from genjax.losses.likelihood import bernoulli
from genjax.models.vae import deep_vae
from genjax.models.vae.deep_vae import DeepVAE
from genjax.nn import initialize
from genjax.typing import UserError

B = 3
# Resolutions 5x3 (odd), 3x2, 2x1, 1x1, of which the second last has features only; two widths.
NETWORK = DeepVAE(
    image_size=(10, 6),
    groups=(1, 2, 0, 1),
    widths=(6, 6, 8, 8),
    encoder_blocks=(1, 1, 0, 1),
    decoder_blocks=(1, 0, 1, 0),
    latent_channels=2,
    num_classes=3,
)
SHAPES = [(1, 1), (3, 2), (3, 2), (5, 3)]
KEYS = jax.random.split(jax.random.key(0), B)
X = jnp.where(jax.random.bernoulli(jax.random.key(1), 0.5, (B, 10, 6, 1)), 1.0, -1.0)
LABEL = {"label": jnp.arange(B)}


@functools.cache
def start():
    return initialize(NETWORK, jax.random.key(0), KEYS, X, LABEL)["params"]


@functools.cache
def params():
    """No two priors the same, and no layer zero as some are at the start."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: x + jnp.asarray(0.1 * rng.normal(size=x.shape), x.dtype), start())


@functools.cache
def compiled(method, network=NETWORK):
    return jax.jit(lambda params, *args: network.apply({"params": params}, *args, method=method))


def infer(params, keys=KEYS, x=X, label=LABEL):
    return compiled("infer")(params, keys, x, label)


def generate(params, keys=KEYS, label=LABEL, temperature=1.0):
    return compiled("generate")(params, keys, label, temperature)


def set_leaves(params, value, *names):
    """Parameters with those whose path holds all of `names` set to a number."""

    def new(path, x):
        return jnp.full_like(x, value) if all(name in jax.tree_util.keystr(path) for name in names) else x

    return jax.tree_util.tree_map_with_path(new, params)


def test_groups_follow_the_configuration():
    outputs, groups = infer(params())
    assert outputs.shape == (B, 10, 6, 1) and outputs.dtype == jnp.float32
    assert [g.z.shape for g in groups] == [(B, *shape, 2) for shape in SHAPES]
    for group in groups:
        assert group.log_q.shape == group.log_p.shape == group.kl.shape == (B,)
        assert group.posterior.mean.shape == group.posterior.log_variance.shape == group.z.shape


@pytest.mark.parametrize(
    "network, shapes",
    [
        (DeepVAE(), [(1, 1, 8)] * 2 + [(4, 4, 8)] * 3 + [(7, 7, 8)] * 4),
        (
            DeepVAE(
                outputs=30,
                image_size=(32, 32),
                patch=1,
                groups=(1, 2, 1),
                widths=(8, 16, 16),
                encoder_blocks=(0, 0, 2),
                decoder_blocks=(0, 1, 0),
                latent_channels=4,
                dtype=jnp.bfloat16,
                remat=True,
            ),
            [(8, 8, 4), (16, 16, 4), (16, 16, 4), (32, 32, 4)],
        ),
    ],
)
def test_resolutions_of_larger_images(network, shapes):
    x = jnp.zeros((2, *network.image_size, 1))
    (outputs, groups), _ = jax.eval_shape(network.init_with_output, jax.random.key(0), KEYS[:2], x)
    assert outputs.shape == (2, *network.image_size, network.outputs) and outputs.dtype == jnp.float32
    assert [g.z.shape for g in groups] == [(2, *shape) for shape in shapes]
    assert {g.z.dtype for g in groups} == {jnp.dtype("float32")}


def normal_log_density(z, mean, variance):
    return (-0.5 * (np.log(2 * math.pi * variance) + (z - mean) ** 2 / variance)).sum((1, 2, 3))


def test_densities_and_divergence_by_hand():
    """At the start all priors are standard normal distributions; with biases alone they are N(0.3, e^-0.5)."""
    for mean, bias, variance in [(0.0, 0.0, 1.0), (0.3, -0.5, math.exp(8 * math.tanh(-0.5 / 8)))]:
        prior = jnp.array([mean] * 2 + [bias] * 2)
        new = jax.tree_util.tree_map_with_path(
            lambda path, x: prior if jax.tree_util.keystr(path).endswith("['to_prior']['bias']") else x,
            start(),
        )
        for z, log_q, log_p, kl, posterior in infer(new)[1]:
            z, mu, var = (np.asarray(a, np.float64) for a in (z, posterior[0], jnp.exp(posterior[1])))
            np.testing.assert_allclose(log_q, normal_log_density(z, mu, var), rtol=1e-4)
            np.testing.assert_allclose(log_p, normal_log_density(z, mean, variance), rtol=1e-4)
            by_hand = 0.5 * (np.log(variance / var) + (var + (mu - mean) ** 2) / variance - 1)
            np.testing.assert_allclose(kl, by_hand.sum((1, 2, 3)), rtol=1e-4, atol=1e-6)
            assert (kl > 0).all()


def test_posterior_without_differences_is_the_prior():
    """Then KL is exactly 0, and what is decoded from an image is a sample that does not depend on it."""
    equal = set_leaves(params(), 0.0, "to_posterior", "conv_3")
    outputs, groups = infer(equal)
    for group in groups:
        np.testing.assert_array_equal(group.kl, jnp.zeros(B))
        np.testing.assert_array_equal(group.log_q, group.log_p)
    np.testing.assert_array_equal(infer(equal, x=-X)[0], outputs)
    np.testing.assert_allclose(generate(equal), outputs, atol=1e-6)
    assert float(jnp.abs(generate(params()) - infer(params())[0]).max()) > 1e-2


def test_residual_posterior_follows_the_prior_and_another_does_not():
    """Of the first group, which depends on nothing above it."""

    def means(network, shift):
        new = dict(params()["decoder_groups_3_0"])
        to_prior = new["to_prior"]
        new["to_prior"] = {**to_prior, "bias": to_prior["bias"].at[0].add(shift)}
        _, groups = compiled("infer", network)({**params(), "decoder_groups_3_0": new}, KEYS, X, LABEL)
        return groups[0].posterior.mean[:, 0, 0, 0]

    np.testing.assert_allclose(means(NETWORK, 2.0), means(NETWORK, 0.0) + 2.0, rtol=1e-5)
    absolute = NETWORK.clone(residual_posterior=False)
    np.testing.assert_array_equal(means(absolute, 2.0), means(absolute, 0.0))


def test_log_variances_are_bounded():
    huge = set_leaves(params(), 1e5, "to_posterior", "conv_3", "bias")
    huge = set_leaves(huge, -1e5, "to_prior", "bias")
    outputs, groups = infer(huge)
    assert jnp.isfinite(outputs).all()
    for group in groups:
        np.testing.assert_allclose(group.posterior.log_variance, jnp.zeros_like(group.z), atol=1e-5)  # 8 - 8
        assert all(jnp.isfinite(x).all() for x in (group.kl, group.log_p, group.log_q))


def test_groups_have_draws_of_their_own():
    draws = [
        (z - mean) * jnp.exp(-0.5 * log_variance) for z, _, _, _, (mean, log_variance) in infer(params())[1]
    ]
    assert float(jnp.abs(draws[1] - draws[2]).min()) > 1e-3  # of the same shape


def test_temperature():
    cold = generate(params(), temperature=0.0)
    np.testing.assert_array_equal(
        generate(params(), jax.random.split(jax.random.key(7), B), LABEL, 0.0), cold
    )
    distance = [float(jnp.abs(generate(params(), temperature=t) - cold).mean()) for t in (0.1, 1.0)]
    assert 0 < distance[0] < 0.3 * distance[1]


def test_reconstruction_from_some_groups():
    reconstruct = functools.partial(compiled("reconstruct_from"), params())
    outputs, groups = infer(params())
    np.testing.assert_allclose(reconstruct(KEYS, X, LABEL, len(groups)), outputs, atol=1e-6)
    np.testing.assert_allclose(reconstruct(KEYS, X, LABEL, 0), generate(params(), temperature=0.0), atol=1e-6)
    levels = [reconstruct(KEYS, X, LABEL, depth) for depth in range(len(groups) + 1)]
    assert all((a != b).any() for a, b in itertools.pairwise(levels))


def test_a_row_does_not_depend_on_the_others():
    order = jnp.array([2, 0, 1])
    whole = infer(params())
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b[order], atol=1e-4, rtol=1e-4),
        infer(params(), KEYS[order], X[order], {"label": order}),
        whole,
    )
    changed = infer(
        params(), KEYS.at[0].set(jax.random.key(9)), X.at[0].multiply(-1), {"label": jnp.array([2, 1, 2])}
    )
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[1:], b[1:]), changed, whole)
    assert all((a.z[0] != b.z[0]).all() for a, b in zip(changed[1], whole[1], strict=True))


def test_the_label_and_the_image_matter():
    def posteriors_differ(params, **changed):
        pairs = zip(infer(params, **changed)[1], infer(params)[1], strict=True)
        return all((a.posterior.mean != b.posterior.mean).any() for a, b in pairs)

    other = {"label": (LABEL["label"] + 1) % 3}
    assert posteriors_differ(params(), x=-X)
    assert (generate(params(), label=other) != generate(params())).any()
    # The encoder sees it too, not only the decoder.
    assert posteriors_differ(set_leaves(params(), 0.0, "decoder_class"), label=other)
    neither = set_leaves(set_leaves(params(), 0.0, "decoder_class"), 0.0, "encoder_class")
    assert not posteriors_differ(neither, label=other)


def test_a_label_that_is_masked_is_one_that_is_missing():
    """Of one example, or of all: bit for bit. Without a label, what the class adds is 0."""
    missing, given = infer(params(), label={}), infer(params())
    for there in ([False] * 3, [True, False, True]):
        masked = infer(params(), label={**LABEL, mask_name("label"): jnp.array(there)})

        def expected(a, b, there=there):
            return jnp.where(jnp.array(there).reshape(-1, *[1] * (a.ndim - 1)), a, b)

        jax.tree.map(np.testing.assert_array_equal, masked, jax.tree.map(expected, given, missing))
    neither = set_leaves(set_leaves(params(), 0.0, "decoder_class"), 0.0, "encoder_class")
    jax.tree.map(np.testing.assert_array_equal, infer(neither), missing)
    np.testing.assert_array_equal(generate(neither), generate(params(), label={}))
    assert (generate(params(), label={}) != generate(params())).any()


def test_gradients_are_finite_and_reach_every_parameter():
    likelihood = bernoulli()

    @jax.jit
    def gradient(params):
        def loss(params):
            outputs, groups = NETWORK.apply({"params": params}, KEYS, X, LABEL)
            return (sum(g.kl for g in groups) - likelihood.log_prob(outputs, X)).mean()

        return jax.grad(loss)(params)

    # From the start, so that no zero there keeps the gradient from anything.
    for path, grad in jax.tree_util.tree_leaves_with_path(gradient(start())):
        name = jax.tree_util.keystr(path)
        assert jnp.isfinite(grad).all(), name
        assert (grad != 0.0).any(), name


def test_recomputing_changes_nothing():
    remat = compiled("infer", NETWORK.clone(remat=True))(params(), KEYS, X, LABEL)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4), remat, infer(params()))


def test_resampling_of_odd_sizes():
    x = jnp.arange(15.0).reshape(1, 3, 5, 1)
    np.testing.assert_array_equal(deep_vae._pool(x)[0, :, :, 0], [[3.0, 5.0, 6.5], [10.5, 12.5, 14.0]])
    image = jax.random.normal(jax.random.key(0), (2, 6, 4, 3))
    patches = deep_vae._space_to_depth(image, 2)
    np.testing.assert_array_equal(patches[1, 2, 0], image[1, 4:6, 0:2].reshape(-1))
    np.testing.assert_array_equal(deep_vae._depth_to_space(patches, 2), image)


@pytest.mark.parametrize(
    "network, args, message",
    [
        (NETWORK.clone(num_classes=None), (KEYS, X, LABEL), r"label is given"),
        (NETWORK, (KEYS, X[:, :8], LABEL), r"images of 8x6, but image_size=\(10, 6\)"),
        (NETWORK.clone(patch=4), (KEYS, X, LABEL), r"not divisible by patch=4"),
        (NETWORK.clone(widths=(8, 8)), (KEYS, X, LABEL), r"widths=\(8, 8\) must have one entry"),
        (NETWORK.clone(groups=(2, 0, 0, 0)), (KEYS, X, LABEL), r"coarsest resolution needs at least 1 group"),
    ],
)
def test_mistakes_are_named(network, args, message):
    with pytest.raises(UserError, match=message):
        jax.eval_shape(network.init, jax.random.key(0), *args)
