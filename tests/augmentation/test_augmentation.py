"""Whole augmentations: the controller's trace, independence of images, derivatives, compilations, DiffAugment."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from genjax.augmentation import (
    Augmentation,
    adaptive,
    check_differentiable,
    diff_augment,
    fixed,
    none,
    pipeline,
)
from genjax.augmentation.augmentation import constant
from genjax.augmentation.diff_augment import colour, cutout, translation
from genjax.devices import mean_over_devices
from genjax.typing import DATA_AXIS, UserError

ALL = ("blit", "geometric", "colour", "filter", "noise", "cutout")
FULL = pipeline(ALL)
COMPILED = jax.jit(FULL)
X = jax.random.uniform(jax.random.key(1), (4, 8, 8, 3), minval=-1.0)
KEYS = jax.random.split(jax.random.key(2), 4)


def trace(logits, target=0.6, speed=100.0, every=4, initial=0.0, maximum=1.0):
    """p after each step, in float64, for float[steps, B, ...]."""
    p, signs, images, result = initial, 0.0, 0, []
    for step, values in enumerate(np.asarray(logits), start=1):
        signs += np.sign(values).reshape(len(values), -1).mean(1).sum()
        images += len(values)
        if step % every == 0:
            p = min(max(p + np.sign(signs / images - target) * images / speed, 0.0), maximum)
            signs, images = 0.0, 0
        result.append(p)
    return result


@pytest.mark.parametrize("shape", [(8,), (8, 3, 2)])
@pytest.mark.parametrize("options", [{}, {"target": 0.0, "every": 1}, {"initial": 0.5, "maximum": 0.7}])
def test_p_follows_the_formula(options, shape):
    """Logits that are at first all positive, then all negative, then mixed: p reaches both ends."""
    noise = np.random.default_rng(0).normal(size=(40, *shape)).astype(np.float32)
    shift = np.where(np.arange(40) < 16, 10.0, np.where(np.arange(40) < 28, -10.0, 0.4)).astype(np.float32)
    logits = noise + shift.reshape(40, *[1] * len(shape))
    augmentation = adaptive(FULL, **{"speed_images": 100, **options})

    def scan(update):
        def step(state, values):
            state = update(state, mean_over_devices(jnp.sign(values).mean()), 8)
            return state, state.p

        return lambda values: jax.lax.scan(step, augmentation.init(), values)[1]

    expected = trace(logits, **options)
    assert max(expected) == options.get("maximum", 1.0) and min(expected[20:]) < 0.05
    np.testing.assert_allclose(jax.jit(scan(augmentation.update))(logits), expected, atol=1e-6)
    # The same where each of eight devices sees one image of the batch.
    mesh = jax.make_mesh((8,), (DATA_AXIS,), axis_types=(AxisType.Auto,))
    spread = jax.shard_map(
        scan(augmentation.update), mesh=mesh, in_specs=PartitionSpec(None, DATA_AXIS), out_specs=PartitionSpec(),
        check_vma=False,
    )  # fmt: skip
    np.testing.assert_allclose(jax.jit(spread)(logits), expected, atol=1e-6)


def test_images_are_changed_with_the_state_s_probability():
    augmentation = adaptive(FULL)
    apply, state = jax.jit(augmentation.apply), augmentation.init()
    np.testing.assert_array_equal(apply(KEYS, X, state), X)
    p = jnp.float32(0.7)
    np.testing.assert_array_equal(apply(KEYS, X, state._replace(p=p)), COMPILED(KEYS, X, p))
    at = fixed(FULL, 0.7)
    assert at.init() == p and at.apply is FULL
    assert at.update(at.init(), jnp.ones(()), 4) == at.init()
    np.testing.assert_array_equal(none().apply(KEYS, X, none().init()), X)


def test_nothing_recompiles_when_p_changes():
    results = [COMPILED(KEYS, X, jnp.float32(0.0))]
    size = COMPILED._cache_size()
    results += [COMPILED(KEYS, X, jnp.float32(p)) for p in (0.5, 1.0)]
    assert COMPILED._cache_size() == size
    assert not np.allclose(results[1], results[2]) and not np.allclose(results[0], results[1])


@pytest.mark.parametrize("augmentation", [fixed(FULL, 0.8), diff_augment()])
def test_an_image_does_not_see_the_others(augmentation):
    state = augmentation.init()
    apply = COMPILED if augmentation.apply is FULL else jax.jit(augmentation.apply)
    whole = apply(KEYS, X, state)
    for i in range(2):
        # The same image under the same key, beside others.
        y = apply(KEYS[i : i + 1], X[i : i + 1], state)
        np.testing.assert_allclose(y[0], whole[i], atol=1e-5)
    order = jnp.array([2, 0, 3, 1])
    np.testing.assert_array_equal(apply(KEYS[order], X[order], state), whole[order])
    same = apply(KEYS, jnp.broadcast_to(X[:1], X.shape), state)
    assert not np.allclose(same[0], same[1])


@pytest.mark.parametrize("augmentation", [fixed(FULL, 1.0), diff_augment()])
def test_derivatives(augmentation):
    """All transforms are affine in the image, so differences are exact; and a penalty's second derivatives hold."""
    state = augmentation.init()
    tangent = jax.random.normal(jax.random.key(5), X.shape)

    @jax.jit
    def compare(x):
        def f(x):
            return augmentation.apply(KEYS, x, state)

        _, vjp = jax.vjp(f, x)
        forward = f(x + tangent) - f(x)
        return jnp.vdot(tangent, vjp(forward)[0]), jnp.vdot(forward, forward)

    np.testing.assert_allclose(*compare(X), rtol=1e-4)

    @jax.jit
    def penalty_slope(scale):
        def critic(x):
            return jnp.square(scale * augmentation.apply(KEYS, x, state)).sum()

        return jax.grad(lambda s: jnp.square(jax.grad(lambda x: _critic(x, s))(X)).sum())(scale), jnp.square(
            jax.grad(critic)(X)
        ).sum()

    def _critic(x, scale):
        return jnp.square(scale * augmentation.apply(KEYS, x, state)).sum()

    # The slope is proportional to scale^2, its square to scale^4.
    slope, value = penalty_slope(jnp.float32(2.0))
    np.testing.assert_allclose(slope, 4 * value / 2, rtol=1e-4)


@pytest.mark.parametrize(
    "augmentation", [none(), diff_augment(), fixed(FULL, 0.0), constant(lambda k, x: 2 * x)]
)
def test_differentiable_ones_pass(augmentation):
    check_differentiable(augmentation, (8, 8, 3))


def rounds(keys, images, p):
    return jnp.where(p > 0, jnp.round(127.5 * images) / 127.5, images)


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        (constant(lambda keys, x: jnp.round(x)), "zero everywhere"),
        (adaptive(rounds), "zero everywhere"),
        (fixed(rounds, 0.0), "zero everywhere"),
        (constant(lambda keys, x: jnp.sqrt(x * 0.0)), "not finite"),
        (constant(lambda k, x: jax.pure_callback(lambda x: x, x, x)), "no derivative"),
    ],
)
def test_what_a_generator_cannot_learn_through_is_refused(augmentation, message):
    with pytest.raises(UserError, match=message):
        check_differentiable(augmentation, (8, 8, 3))
    with pytest.raises(UserError, match=message):  # also while a function is traced
        jax.jit(lambda x: check_differentiable(augmentation, (8, 8, 3)) or x)(1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pipeline(("blit", "colors")), "colors.*valid"),
        (lambda: pipeline(()), "groups"),
        (lambda: diff_augment(("color",)), "policies.*translation"),
        (lambda: adaptive(FULL, target=1.0), "target=1.0"),
        (lambda: adaptive(FULL, speed_images=0), "speed_images=0"),
        (lambda: adaptive(FULL, every=0), "every=0"),
        (lambda: adaptive(FULL, initial=0.9, maximum=0.8), "initial=0.9"),
        (lambda: fixed(FULL, 1.5), "p=1.5"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()


@functools.cache
def many(policy, shape, value=None):
    x = jax.random.uniform(jax.random.key(1), shape, minval=-1.0) if value is None else jnp.full(shape, value)
    keys = jax.random.split(jax.random.key(0), 2000)
    return np.asarray(x), np.asarray(jax.jit(jax.vmap(policy, in_axes=(0, None)))(keys, x))


def test_diff_augment_colour():
    x, y = many(colour, (6, 6, 3))
    brightness = y.mean((1, 2, 3)) - x.mean()
    np.testing.assert_allclose([brightness.mean(), brightness.std()], [0, 1 / math.sqrt(12)], atol=0.02)
    assert np.abs(brightness).max() < 0.5 + 1e-5
    luma = y.mean(-1).std((1, 2)) / x.mean(-1).std()
    assert 0.5 <= luma.min() < 0.51 and 1.49 < luma.max() < 1.5001 and abs(luma.mean() - 1) < 0.03
    chroma = (y - y.mean(-1, keepdims=True)).std((1, 2, 3)) / (x - x.mean(-1, keepdims=True)).std() / luma
    assert chroma.min() < 0.01 and 1.99 < chroma.max() < 2.0001 and abs(chroma.mean() - 1) < 0.05


def test_diff_augment_translation():
    x, y = many(translation, (8, 16, 1))
    padded = np.pad(x, ((1, 1), (2, 2), (0, 0)))
    moved = {
        padded[1 - i : 9 - i, 2 - j : 18 - j].tobytes(): (i, j) for i in (-1, 0, 1) for j in range(-2, 3)
    }
    moves = np.array([moved[image.tobytes()] for image in y])
    np.testing.assert_allclose(np.bincount(moves[:, 0] + 1) / 2000, 1 / 3, atol=0.05)
    np.testing.assert_allclose(np.bincount(moves[:, 1] + 2) / 2000, 1 / 5, atol=0.05)


def test_diff_augment_cutout():
    for shape in ((8, 8, 1), (6, 10, 1)):
        _, y = many(cutout, shape, 1.0)
        hole = y[..., 0] == 0
        rows, columns = hole.any(2).sum(1), hole.any(1).sum(1)
        np.testing.assert_array_equal(rows * columns, hole.sum((1, 2)))
        assert (rows.max(), columns.max()) == (shape[0] // 2, shape[1] // 2)
        # Centres at either border are drawn, and opposite rows are cut equally often.
        share = hole.mean((0, 2))
        np.testing.assert_allclose(share, share[::-1], atol=0.05)


def test_an_augmentation_may_be_three_functions():
    own = Augmentation(lambda: (), lambda keys, images, state: -images, lambda state, logits: state)
    check_differentiable(own, (4, 4, 1))
