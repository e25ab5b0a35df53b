"""Penalties in closed form, for critics whose slope is known; their state, devices and second derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from genjax.losses import penalties
from genjax.losses.penalties.penalty import GeneratorPenalty
from genjax.nn import Conv, initialize
from genjax.random import fold_in
from genjax.typing import UserError

SHAPE = (4, 4, 2)
SIZE = 32
W = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
NORM = float(np.linalg.norm(W))


def linear(x):
    """float[B]; the slope is W everywhere."""
    return jnp.einsum("bhwc,hwc->b", x, jnp.asarray(W, x.dtype))


def quadratic(x):
    """float[B]; the slope is the image itself."""
    return 0.5 * jnp.square(x).sum((1, 2, 3))


def noise(x, keys):
    return x + jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(keys)


def images(batch=3, seed=0):
    """Keys, real and fake images."""
    real, fake = jax.random.normal(jax.random.key(seed), (2, batch, *SHAPE))
    return jax.random.split(jax.random.key(seed + 100), batch), real, fake


def values(penalty, critic, keys, real, fake):
    """Of the first step."""
    result, _ = penalty.apply(critic, keys, real, fake, critic(real), critic(fake), penalty.init())
    assert result.shape == keys.shape
    return result


@pytest.mark.parametrize(
    ("penalty", "expected"),
    [
        (penalties.gradient_penalty(1.0), (NORM - 1) ** 2),
        (penalties.gradient_penalty(10.0, 2.5), 10 * (NORM - 2.5) ** 2),
        (penalties.gradient_penalty(1.0, 2.5, one_sided=True), (NORM - 2.5) ** 2),
        (penalties.gradient_penalty(1.0, NORM + 1, one_sided=True), 0.0),
        (penalties.gradient_penalty(1.0, NORM + 1), 1.0),
        (penalties.dragan(1.0), (NORM - 1) ** 2),
        (penalties.dragan(3.0, 2.0, std=0.1), 3 * (NORM - 2) ** 2),
        (penalties.r1(1.0), NORM**2 / 2),
        (penalties.r2(1.0), NORM**2 / 2),
        (penalties.r1(jnp.float32(10.0)), 5 * NORM**2),
        (penalties.combine(penalties.r1(1.0), penalties.r2(3.0)), 2 * NORM**2),
        (penalties.combine(), 0.0),
    ],
)
def test_linear_critic(penalty, expected):
    np.testing.assert_allclose(values(penalty, linear, *images()), np.full(3, expected), rtol=2e-6)


def test_r1_is_of_real_images_and_r2_of_fakes():
    keys, real, fake = images()
    squares = [np.square(x).sum((1, 2, 3)) for x in (np.asarray(real), np.asarray(fake))]
    np.testing.assert_allclose(values(penalties.r1(2.0), quadratic, keys, real, fake), squares[0], rtol=1e-5)
    np.testing.assert_allclose(values(penalties.r2(2.0), quadratic, keys, real, fake), squares[1], rtol=1e-5)


def test_gradient_penalty_is_taken_evenly_between_real_and_fake():
    """With target 0 and a slope that is the image, the value is the squared norm of the point."""
    keys = jax.random.split(jax.random.key(0), 4096)
    penalty = penalties.gradient_penalty(1.0, 0.0)
    zeros, ones = jnp.zeros((4096, *SHAPE)), jnp.ones((4096, *SHAPE))
    where = np.sqrt(
        np.asarray(jax.jit(functools.partial(values, penalty, quadratic))(keys, zeros, ones)) / SIZE
    )
    assert where.min() >= 0 and where.max() <= 1
    # Kolmogorov and Smirnov's distance from the uniform distribution; 0.0255 has probability 1 %.
    assert np.abs(np.sort(where) - (np.arange(4096) + 0.5) / 4096).max() < 0.0255
    # The place is that of the image as a whole: with one a pixel its spread would be 0.05.
    assert 0.28 < where.std() < 0.30
    keys, real, fake = keys[:3], *images()[1:]
    points = np.asarray(real) + where[:3].reshape(3, 1, 1, 1) * np.asarray(fake - real)
    expected = np.square(points).sum((1, 2, 3))
    np.testing.assert_allclose(values(penalty, quadratic, keys, real, fake), expected, rtol=1e-5)


@pytest.mark.parametrize(("std", "expected"), [(0.3, 0.3), (None, 0.5 * 2.0)])
def test_dragan_has_noise_around_real_images(std, expected):
    """Real images of 1 and 5, with a standard deviation of 2; noise of half of that where it is not given."""
    batch = 2048
    keys = jax.random.split(jax.random.key(0), batch)
    real = jnp.where(jax.random.bernoulli(jax.random.key(1), shape=(batch, *SHAPE)), 1.0, 5.0)
    penalty = penalties.dragan(1.0, 0.0, std)
    squares = values(penalty, lambda x: quadratic(x - real), keys, real, jnp.full_like(real, 9.0))
    # Chi-squared with SIZE degrees of freedom, in units of the variance.
    scaled = np.asarray(squares) / expected**2
    np.testing.assert_allclose(scaled.mean(), SIZE, rtol=0.02)
    np.testing.assert_allclose(scaled.var(), 2 * SIZE, rtol=0.15)


def test_logits_of_patches_count_as_their_mean():
    keys, real, fake = images()

    def patches(x):
        weights = jnp.arange(1.0, 7.0).reshape(1, 2, 3) / 3.5
        return linear(x).reshape(-1, 1, 1) * weights

    for penalty in (penalties.gradient_penalty(), penalties.r1(), penalties.r2(), penalties.dragan()):
        expected = values(penalty, linear, keys, real, fake)
        np.testing.assert_allclose(values(penalty, patches, keys, real, fake), expected, rtol=1e-5)
    # Squares are taken of each logit, and averaged: the mean of (i / 3.5)^2, i = 1..6, is 91/73.5.
    balanced = penalties.balanced_consistency(lambda keys, x: noise(x, keys))
    expected = values(balanced, linear, keys, real, fake)
    np.testing.assert_allclose(values(balanced, patches, keys, real, fake), expected * 91 / 73.5, rtol=1e-4)
    lecam, logits = later(penalties.lecam(1.0, 0.0)), jnp.array([[[0.0, 2.0]]])
    result, _ = lecam.apply(linear, keys[:1], real[:1], fake[:1], logits, logits, lecam.init())
    np.testing.assert_allclose(result, [(0.4**2 + 2.4**2 + 0.7**2 + 1.3**2) / 2], rtol=1e-6)


def later(penalty):
    """A penalty that has seen ten steps; of LeCam, with averages."""
    state = penalty.init()
    if isinstance(state, penalties.LeCamState):
        state = penalties.LeCamState(jnp.int32(10), jnp.float32(0.7), jnp.float32(-0.4))
    return penalty._replace(init=lambda: state)


class Critic:
    """Two convolutions; without the statistics of a batch, as the penalties need it."""

    def __init__(self, key=0, dtype=jnp.float32):
        x = jnp.zeros((1, *SHAPE), dtype)
        self.layers = [Conv(3, (3, 3), (2, 2), param_dtype=dtype), Conv(1, (2, 2), param_dtype=dtype)]
        first = initialize(self.layers[0], jax.random.key(key), x)["params"]
        second = initialize(self.layers[1], jax.random.key(key + 1), jnp.zeros((1, 2, 2, 3), dtype))["params"]
        self.params = {"first": first, "second": second}

    def __call__(self, params, x):
        x = jnp.tanh(self.layers[0].apply({"params": params["first"]}, x))
        return self.layers[1].apply({"params": params["second"]}, x)[..., 0]


def augment(keys, x):
    return x * (1 + 0.3 * jax.vmap(jax.random.normal)(keys).astype(x.dtype).reshape(-1, 1, 1, 1))


PENALTIES = {
    "gradient penalty": penalties.gradient_penalty(),
    "one-sided": penalties.gradient_penalty(target=0.05, one_sided=True),
    "dragan": penalties.dragan(std=0.5),
    "r1": penalties.r1(),
    "r2": penalties.r2(),
    "lecam": later(penalties.lecam()),
    "consistency": penalties.consistency(augment),
    "balanced consistency": penalties.balanced_consistency(augment),
    "lazy": penalties.lazy(penalties.r1(), 4),
    "combined": penalties.combine(penalties.dragan(std=0.1), penalties.r2()),
}


@functools.cache
def of_all():
    """Compiled: the values of all penalties."""
    critic = Critic()

    @jax.jit
    def run(keys, real, fake):
        judge = functools.partial(critic, critic.params)
        return {name: values(penalty, judge, keys, real, fake) for name, penalty in PENALTIES.items()}

    return run


def test_value_of_an_example_does_not_depend_on_the_others():
    keys, real, fake = images()
    there = of_all()(keys, real, fake)
    order = jnp.array([2, 0, 1])
    moved = of_all()(keys[order], real[order], fake[order])
    others = images(seed=7)
    among = of_all()(*(b.at[1].set(a[1]) for a, b in zip((keys, real, fake), others, strict=True)))
    for name, expected in there.items():
        assert np.ptp(expected) > 1e-4, name
        np.testing.assert_allclose(moved[name], expected[order], rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(among[name][1], expected[1], rtol=1e-5, err_msg=name)


def test_a_slope_of_zero_has_a_gradient():
    """The norm itself has none there."""
    keys, real, fake = images()
    for penalty in (penalties.gradient_penalty(1.0, 3.0), penalties.dragan(1.0, 3.0)):

        def total(scale, penalty=penalty):
            return values(penalty, lambda x: scale * linear(x), keys, real, fake).sum()

        value, slope = jax.value_and_grad(total)(0.0)
        np.testing.assert_allclose([value, slope], [27.0, 0.0])


def test_second_derivatives_against_finite_differences():
    """Of each penalty in the parameters of the critic, and of path length in the generator's, in one direction."""
    with jax.enable_x64(True):
        critic = Critic(dtype=jnp.float64)
        keys, real, fake = images()
        real, fake = real.astype(jnp.float64), fake.astype(jnp.float64)
        direction = jax.tree.map(lambda p: jnp.cos(3.0 * jnp.arange(p.size)).reshape(p.shape), critic.params)

        def total(penalty, params):
            return values(penalty, functools.partial(critic, params), keys, real, fake).sum()

        def path(params):
            lengths, _ = penalties.path_length().apply(
                lambda w: critic(params, w)[..., None], keys, real, jnp.float64(0.1)
            )
            return lengths.sum()

        # `lazy` and `combine` are made of these.
        names = PENALTIES.keys() - {"lazy", "combined"}
        totals = {name: functools.partial(total, PENALTIES[name]) for name in sorted(names)}
        totals |= {"path": path, "orthogonal": penalties.orthogonal, "off": penalties.off_diagonal_orthogonal}

        @jax.jit
        def slopes(params):
            """Reverse over reverse, as in training."""
            gradients = {name: jax.grad(function)(params) for name, function in totals.items()}
            return {name: optax.tree.vdot(gradient, direction) for name, gradient in gradients.items()}

        @jax.jit
        def at(distance):
            params = jax.tree.map(lambda p, d: p + distance * d, critic.params, direction)
            return {name: function(params) for name, function in totals.items()}

        step = 1e-5
        up, down = at(step), at(-step)
        for name, slope in slopes(critic.params).items():
            assert abs(slope) > 1e-3, name
            np.testing.assert_allclose(slope, (up[name] - down[name]) / (2 * step), rtol=1e-7, err_msg=name)


def test_lecam():
    """The averages by the recurrence, from 0 and corrected for it; the penalty with those of the steps before."""
    decay, start = 0.8, 2
    penalty = penalties.lecam(0.5, decay, start)
    above = penalties.lecam(0.5, decay, start, one_sided=True)
    keys, x, _ = images(4)
    rng, state, other = np.random.default_rng(0), penalty.init(), above.init()
    average = np.zeros(2)
    for step in range(5):
        logits = rng.normal([[0.8], [-0.3]], 1.0, (2, 4)).astype(np.float32)
        real, fake = jnp.asarray(logits)
        result, state = penalty.apply(quadratic, keys, x, x, real, fake, state)
        one_sided, other = above.apply(quadratic, keys, x, x, real, fake, other)
        if step < start:
            np.testing.assert_array_equal(result, np.zeros(4))
        else:
            anchor = average / (1 - decay**step)
            up, down = logits[0] - anchor[1], anchor[0] - logits[1]
            np.testing.assert_allclose(result, 0.5 * (up**2 + down**2), rtol=1e-4)
            expected = 0.5 * (np.maximum(up, 0) ** 2 + np.maximum(down, 0) ** 2)
            np.testing.assert_allclose(one_sided, expected, rtol=1e-4, atol=1e-7)
        average = decay * average + (1 - decay) * logits.mean(1)
        np.testing.assert_allclose([state.real, state.fake], average, rtol=1e-5)
        assert int(state.step) == step + 1


def test_states_have_no_gradient():
    keys, x, _ = images()
    lecam, path = later(penalties.lecam()), penalties.path_length()

    def next_states(scale):
        _, state = lecam.apply(
            quadratic, keys, x, x, scale * quadratic(x), -scale * quadratic(x), lecam.init()
        )
        _, length = path.apply(lambda w: scale * w, keys, x, path.init())
        return state.real + state.fake * 2 + length

    assert jax.grad(next_states)(1.5) == 0.0


def test_consistency_of_a_linear_critic():
    """A brighter image changes the logit by the sum of the weights."""
    keys, real, fake = images()
    change = float(W.sum())

    def brighter(keys, x):
        return x + 0.2

    np.testing.assert_allclose(
        values(penalties.consistency(brighter, 3.0), linear, keys, real, fake),
        np.full(3, 3 * (0.2 * change) ** 2),
        rtol=1e-3,
    )
    # With half as much contrast again the logit changes by half of itself.
    balanced = penalties.balanced_consistency(lambda keys, x: 1.5 * x, 3.0, 5.0)
    expected = 3 * (0.5 * linear(real)) ** 2 + 5 * (0.5 * linear(fake)) ** 2
    np.testing.assert_allclose(values(balanced, linear, keys, real, fake), expected, rtol=1e-4)
    same = penalties.balanced_consistency(lambda keys, x: x)
    np.testing.assert_array_equal(values(same, linear, keys, real, fake), np.zeros(3))


def test_consistency_has_its_own_draws_for_each_image_and_its_fake():
    keys, real, _ = images(8)
    real = jnp.broadcast_to(real[:1], real.shape)

    def side(*weights):
        return np.asarray(values(penalties.balanced_consistency(augment, *weights), linear, keys, real, real))

    of_real, of_fake = side(1.0, 0.0), side(0.0, 1.0)
    assert len(np.unique(np.round([of_real, of_fake], 6))) == 16
    np.testing.assert_allclose(side(2.0, 3.0), 2 * of_real + 3 * of_fake, rtol=1e-5)
    alone = values(penalties.consistency(augment, 1.0), linear, keys, real, real)
    np.testing.assert_allclose(alone, of_real, rtol=1e-6)


def test_lazy_is_every_times_as_large_and_free_in_between():
    """Counts how often the augmentation is run, and how the state of the penalty advances."""
    calls = []

    def counted(keys, x):
        jax.debug.callback(lambda: calls.append(1))
        return x + 0.2

    inner = penalties.combine(penalties.consistency(counted, 1.0), penalties.lecam(decay=0.0))
    penalty = penalties.lazy(inner, 3)
    keys, real, fake = images()

    @jax.jit
    def step(scale, state):
        def total(scale, state):
            def critic(x):
                return scale * linear(x)

            result, new = penalty.apply(critic, keys, real, fake, critic(real), critic(fake), state)
            return result.mean(), (result, new)

        (_, (result, state)), slope = jax.value_and_grad(total, has_aux=True)(scale, state)
        return result, slope, state

    state, first, counts, steps = penalty.init(), None, [], []
    for i in range(7):
        result, slope, state = step(2.0, state)
        jax.effects_barrier()
        counts.append(len(calls))
        steps.append(int(state.inner[1].step))
        if first is None:
            first, expected = result, 3 * (0.4 * W.sum()) ** 2
            np.testing.assert_allclose(result, np.full(3, expected), rtol=1e-3)
            # A square of the scale: twice the value over the scale.
            np.testing.assert_allclose(slope, expected, rtol=1e-3)
        elif i % 3:
            np.testing.assert_array_equal(result, np.zeros(3))
            assert slope == 0
        else:
            assert (result > first).all()
    assert [b > a for a, b in zip([0, *counts], counts, strict=False)] == [True, False, False] * 2 + [True]
    assert steps == [1, 1, 1, 2, 2, 2, 3]
    assert int(state.step) == 7


def test_lazy_with_every_step_is_the_penalty():
    keys, real, fake = images()
    expected = values(penalties.gradient_penalty(), quadratic, keys, real, fake)
    result = values(penalties.lazy(penalties.gradient_penalty(), 1), quadratic, keys, real, fake)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_combined_penalties_draw_apart():
    keys, real, fake = images()
    penalty = penalties.gradient_penalty(1.0, 0.0)
    both = values(penalties.combine(penalty, penalty), quadratic, keys, real, fake)
    parts = [values(penalty, quadratic, fold_in(keys, i), real, fake) for i in range(2)]
    np.testing.assert_allclose(both, parts[0] + parts[1], rtol=1e-6)
    assert not np.allclose(parts[0], parts[1], rtol=1e-3)


def test_path_length_of_a_linear_generator():
    """Images are the columns of A, orthogonal and of length 3: |J^T y|^2 is 9 / (H W) times chi-squared."""
    batch, width = 2048, 5
    columns = np.linalg.qr(np.random.default_rng(0).normal(size=(SIZE, width)))[0].astype(np.float32)

    def generate(w):
        return 3 * (w @ columns.T).reshape(-1, *SHAPE)

    keys = jax.random.split(jax.random.key(0), batch)
    w = jax.random.normal(jax.random.key(1), (batch, width))
    penalty = penalties.path_length(2.0, 0.9)
    assert isinstance(penalty, GeneratorPenalty)
    squares, average = penalty.apply(generate, keys, w, penalty.init())
    scaled = np.asarray(squares) / 2 / 9 * 16
    np.testing.assert_allclose([scaled.mean(), scaled.var()], [width, 2 * width], rtol=0.1)
    lengths = np.sqrt(np.asarray(squares) / 2)
    np.testing.assert_allclose(average, 0.1 * lengths.mean(), rtol=1e-5)
    second, after = penalty.apply(generate, keys, w, average)
    np.testing.assert_allclose(second, 2 * (lengths - float(average)) ** 2, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(after, 0.9 * float(average) + 0.1 * lengths.mean(), rtol=1e-5)

    # Four layers with the same w: each has a quarter of the derivative, and the mean of the squares is taken.
    layered = jnp.broadcast_to(w[:, None], (batch, 4, width))
    quarter, _ = penalty.apply(lambda w: generate(w.mean(1)), keys, layered, penalty.init())
    np.testing.assert_allclose(quarter, np.asarray(squares) / 16, rtol=1e-4)


def test_path_length_is_lazy_too():
    penalty = penalties.path_length()
    lazy = penalties.lazy(penalty, 2)
    keys, w, _ = images()
    expected, average = penalty.apply(lambda w: 2 * w, keys, w, penalty.init())
    first, state = lazy.apply(lambda w: 2 * w, keys, w, lazy.init())
    second, state = lazy.apply(lambda w: 2 * w, keys, w, state)
    np.testing.assert_allclose(first, 2 * expected, rtol=1e-6)
    np.testing.assert_array_equal(second, np.zeros(3))
    assert state.inner == average and isinstance(lazy, GeneratorPenalty)


def test_devices_agree():
    """What is over the batch is over that of all devices, under pmap and under jit on a mesh."""
    keys, real, fake = images(16)
    real = real + jnp.arange(16.0).reshape(16, 1, 1, 1)
    lecam, path, dragan = later(penalties.lecam()), penalties.path_length(), penalties.dragan()

    def run(keys, real, fake):
        judged = linear(real), linear(fake)
        one, state = lecam.apply(linear, keys, real, fake, *judged, lecam.init())
        two, length = path.apply(lambda w: jnp.sin(w), keys, fake, path.init())
        three, _ = dragan.apply(quadratic, keys, real, fake, *judged, ())
        return (one, two, three), (state, length)

    (examples, states), batch = jax.jit(run)(keys, real, fake), (keys, real, fake)
    split = jax.pmap(run, axis_name="data")(*(x.reshape(8, 2, *x.shape[1:]) for x in batch))
    for a, b in zip(split[0], examples, strict=True):
        np.testing.assert_allclose(a.reshape(16), b, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, np.full(8, b), rtol=1e-5), split[1], states)
    sharding = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
    spread = jax.jit(run)(*(jax.device_put(x, sharding) for x in batch))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), spread, (examples, states))


def test_orthogonal_kernels():
    """Filters that are orthogonal and of length 2 have |4 - 1|^2 each, and nothing off the diagonal."""
    rng = np.random.default_rng(0)
    matrix = 2 * np.linalg.qr(rng.normal(size=(18, 5)))[0].astype(np.float32)
    params = {"conv": {"kernel": jnp.asarray(matrix.reshape(3, 3, 2, 5)), "bias": jnp.ones(5)}}
    np.testing.assert_allclose(penalties.orthogonal(params), 45, rtol=1e-5)
    np.testing.assert_allclose(penalties.off_diagonal_orthogonal(params), 0, atol=1e-9)
    dense = rng.normal(size=(4, 6)).astype(np.float32)
    params["block"] = {"dense": {"kernel": jnp.asarray(dense)}, "embedding": jnp.ones((3, 2))}
    gram = dense.T @ dense
    np.testing.assert_allclose(
        penalties.orthogonal(params), 45 + np.square(gram - np.eye(6)).sum(), rtol=1e-5
    )
    off = np.square(gram).sum() - np.square(np.diag(gram)).sum()
    np.testing.assert_allclose(penalties.off_diagonal_orthogonal(params), off, rtol=1e-5)
    chosen = penalties.off_diagonal_orthogonal(params, lambda path: path == "block/embedding")
    np.testing.assert_allclose(chosen, 2 * 3**2)


@pytest.mark.parametrize(
    ("select", "shapes"), [(lambda path: False, r"\{\}"), (lambda path: True, r"\{'a/bias': \(3,\)\}")]
)
def test_orthogonal_needs_kernels(select, shapes):
    for regularize in (penalties.orthogonal, penalties.off_diagonal_orthogonal):
        with pytest.raises(UserError, match=rf"select gives {shapes}: valid is at least one parameter"):
            regularize({"a": {"bias": jnp.ones(3)}}, select)


def test_clip_weights():
    params = {"kernel": jnp.array([[-0.5, 0.005], [0.02, -0.01]]), "bias": jnp.array([0.3, -0.001])}
    clipped = jax.jit(penalties.clip_weights)(params, 0.01)
    np.testing.assert_allclose(clipped["kernel"], [[-0.01, 0.005], [0.01, -0.01]], rtol=1e-6)
    np.testing.assert_allclose(clipped["bias"], [0.01, -0.001], rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, penalties.clip_weights(clipped), clipped)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: penalties.gradient_penalty(-1), "weight=-1: valid are 0 and more"),
        (lambda: penalties.gradient_penalty(target=-0.5), r"target=-0\.5: valid"),
        (lambda: penalties.dragan(std=-1.0), r"std=-1\.0: valid"),
        (lambda: penalties.r1(float("nan")), "gamma=nan: valid"),
        (lambda: penalties.r2(-2), "gamma=-2: valid"),
        (lambda: penalties.lecam(decay=1.0), r"decay=1\.0: valid are numbers in \[0, 1\)"),
        (lambda: penalties.lecam(start=0), "start=0: valid are whole numbers of 1 and more"),
        (lambda: penalties.consistency(augment, -3), "weight=-3: valid"),
        (lambda: penalties.balanced_consistency(augment, 1, -3), "fake_weight=-3: valid"),
        (lambda: penalties.path_length(decay=-0.1), r"decay=-0\.1: valid"),
        (lambda: penalties.lazy(penalties.r1(), 0), "every=0: valid are whole numbers of 1 and more"),
        (lambda: penalties.clip_weights({}, 0), "bound=0: valid are numbers above 0"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(UserError, match=message):
        make()
