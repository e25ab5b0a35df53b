"""CycleGAN: two networks and two discriminators follow the gradients of their own losses; the pool is what it says."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from genjax.methods.averages import averaged, exponential, several
from genjax.methods.gan.cycle_gan import cycle_gan
from genjax.methods.gan.image_pool import ImagePool, empty, exchange
from genjax.methods.gradients import mean_gradient
from genjax.random import example_keys
from genjax.typing import DATA_AXIS, UserError

SHAPE, N = (4, 4, 1), 16


class Scale(nn.Module):
    """Multiplies images by a number."""

    start: float = 1.0

    @nn.compact
    def __call__(self, x, *, train=False):
        return x * self.param("scale", nn.initializers.constant(self.start), (1, 1, 1, 1))


class Judge(nn.Module):
    """One logit, of the mean and of the mean square."""

    @nn.compact
    def __call__(self, x, *, train=False):
        seen = jnp.stack([x.mean((1, 2, 3)), jnp.square(x).mean((1, 2, 3))], axis=1)
        return nn.Dense(1)(seen)[:, 0], (x,)


def method(to_image=None, to_source=None, rate=1.0, judge_rate=1.0, **options):
    options = {"image_shape": SHAPE, "source_shape": SHAPE, "pool": 0, **options}
    networks = to_image or Scale(0.8), to_source or Scale(0.5)
    return cycle_gan(*networks, Judge(), optax.sgd(rate), optax.sgd(judge_rate), **options)


def batch(seed=0, n=N):
    keys = jax.random.split(jax.random.key(seed))
    image, source = (jax.random.uniform(key, (n, *SHAPE), minval=-1) for key in keys)
    return {"image": image, "source": 0.5 * source + 0.2, "_index": jnp.arange(n, dtype=jnp.int32)}


def test_identity_networks_have_no_cycle_loss():
    m = method(Scale(), Scale())
    state = m.init(jax.random.key(0), batch())
    values = jax.jit(m.evaluate)(jax.random.key(0), state, batch())
    for name in ("cycle_l1", "identity"):
        np.testing.assert_array_equal(values[name], 0)
    np.testing.assert_allclose(values["cycle_psnr"], 100, rtol=1e-6)
    _, metrics = jax.jit(m.step)(jax.random.key(0), state, batch())
    assert metrics["cycle_l1"] == metrics["identity"] == 0
    np.testing.assert_allclose(metrics["loss"], 2 * metrics["adversarial"], rtol=1e-6)
    b = batch()
    there = m.sample(jax.random.split(jax.random.key(0), N), state, {"source": b["source"]})
    np.testing.assert_array_equal(there, b["source"])


def by_hand(b, pooled, cycle, identity):
    """Both losses from the paper, as functions of all parameters; the discriminators see what is `pooled`."""

    def judge(params, name, x):
        return Judge().apply({"params": params["discriminators"][name]}, x)[0]

    def scales(params):
        return (params["generators"][name]["scale"] for name in ("to_image", "to_source"))

    def l1(x, y):
        return jnp.abs(x - y).mean()

    def makers(params):
        g, f = scales(params)
        x, y = b["source"], b["image"]
        fooled = ((judge(params, "image", g * x) - 1) ** 2).mean() + (
            (judge(params, "source", f * y) - 1) ** 2
        ).mean()
        there_and_back = l1(f * g * x, x) + l1(f * g * y, y)
        return fooled + cycle * (there_and_back + identity * (l1(g * y, y) + l1(f * x, x)))

    def judges(params):
        return sum(
            0.5 * ((judge(params, name, b[name]) - 1) ** 2).mean()
            + 0.5 * (judge(params, name, pooled[name]) ** 2).mean()
            for name in ("image", "source")
        )

    return makers, judges


@pytest.mark.parametrize(("cycle", "identity", "accumulate"), [(10.0, 0.5, 1), (3.0, 0.0, 2)])
def test_each_part_follows_the_gradient_of_its_own_loss(cycle, identity, accumulate):
    m = method(cycle=cycle, identity=identity, gradient=mean_gradient(accumulate))
    state, b = m.init(jax.random.key(0), batch()), batch()
    after, metrics = jax.jit(m.step)(jax.random.key(1), state, b)
    fakes = {"image": 0.8 * b["source"], "source": 0.5 * b["image"]}
    makers, judges = by_hand(b, fakes, cycle, identity)
    value, grads = jax.value_and_grad(makers)(state.params)
    judged, judge_grads = jax.value_and_grad(judges)(state.params)
    moved = jax.tree.map(lambda a, b: a - b, state.params, after.params)
    expected = {"generators": grads["generators"], "discriminators": judge_grads["discriminators"]}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), moved, expected)
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
    np.testing.assert_allclose(metrics["discriminator"], judged, rtol=1e-5)
    values = jax.jit(m.evaluate)(jax.random.key(1), state, b)
    assert ("identity" in values) == bool(identity)
    np.testing.assert_allclose(values["loss"].mean(), value, rtol=1e-5)
    np.testing.assert_allclose(values["cycle_l1"].mean(), metrics["cycle_l1"], rtol=1e-5)
    errors = [np.square(0.6 * b[name]).mean((1, 2, 3)) for name in ("image", "source")]
    psnr = sum(10 * np.log10(4 / error) for error in errors) / 2
    np.testing.assert_allclose(values["cycle_psnr"], psnr, rtol=1e-5)


def test_each_side_leaves_the_other_alone():
    for rates, still in (((0.0, 1.0), "generators"), ((1.0, 0.0), "discriminators")):
        m = method(rate=rates[0], judge_rate=rates[1])
        state = m.init(jax.random.key(0), batch())
        after, _ = jax.jit(m.step)(jax.random.key(1), state, batch())
        for name in ("generators", "discriminators"):
            pairs = zip(jax.tree.leaves(state.params[name]), jax.tree.leaves(after.params[name]), strict=True)
            assert all((a == b).all() for a, b in pairs) == (name == still)


def test_discriminators_learn_from_what_comes_out_of_the_pool():
    m, b, key = method(pool=4), batch(), jax.random.key(3)
    state = m.init(jax.random.key(0), b)
    pools = {
        name: ImagePool(jax.random.normal(jax.random.key(i), (4, *SHAPE)), jnp.int32(4))
        for i, name in enumerate(("image", "source"))
    }
    state = state.replace(mutable={**state.mutable, "pools": pools})
    after, _ = jax.jit(m.step)(key, state, b)
    fakes = {"image": 0.8 * b["source"], "source": 0.5 * b["image"]}
    out = {
        name: exchange(jax.random.fold_in(key, i), pools[name], fakes[name], b["_index"])
        for i, name in enumerate(pools)
    }
    _, judges = by_hand(b, {name: images for name, (images, _) in out.items()}, 10.0, 0.5)
    expected = jax.grad(judges)(state.params)["discriminators"]
    moved = jax.tree.map(lambda a, b: a - b, state.params["discriminators"], after.params["discriminators"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), moved, expected)
    for name, (images, new) in out.items():
        assert (images != fakes[name]).any()
        np.testing.assert_allclose(after.mutable["pools"][name].images, new.images, rtol=1e-6)


def numbered(start, n):
    """Images [n, 1, 1, 1] that show their number."""
    return jnp.arange(start, start + n, dtype=jnp.float32)[:, None, None, None]


def one_by_one(key, pool, images, index, size):
    """The pool as the paper's authors describe it, with lists."""
    back = []
    for image, k in zip(images, example_keys(key, index), strict=True):
        swap = bool(jax.random.bernoulli(k))
        place = int(jax.random.randint(jax.random.fold_in(k, 1), (), 0, size))
        if len(pool) < size:
            pool.append(image)
            back.append(image)
        elif swap:
            back.append(pool[place])
            pool[place] = image
        else:
            back.append(image)
    return back


def test_the_pool_step_by_step():
    size, n, pool, history = 5, 4, [], empty(5, (1, 1, 1))
    give = jax.jit(exchange)
    returned = []
    for i in range(6):
        images, key = numbered(10 + n * i, n), jax.random.key(i)
        expected = one_by_one(key, pool, np.ravel(images).tolist(), jnp.arange(n), size)
        back, history = give(key, history, images, jnp.arange(n))
        np.testing.assert_array_equal(np.ravel(back), expected)
        assert int(history.count) == len(pool)
        np.testing.assert_array_equal(np.ravel(history.images)[: len(pool)], pool)
        returned += expected
    assert returned[:size] == list(range(10, 10 + size))  # while there is room
    older = [image for i, image in enumerate(returned) if image < 10 + i]
    assert older and len(set(older)) == len(older)  # what came back is not in the pool any more


def test_half_of_the_images_are_exchanged_for_older_ones():
    history = ImagePool(numbered(0, 50), jnp.int32(50))
    images = numbered(1000, 2000)
    back, new = jax.jit(exchange)(jax.random.key(0), history, images, jnp.arange(2000))
    same = np.ravel(back == images)
    assert abs(same.mean() - 0.5) < 4 * 0.5 / np.sqrt(2000)
    assert (np.ravel(back)[~same] < np.ravel(images)[~same]).all()
    assert len(np.unique(new.images)) == 50 and float(new.images.min()) >= 1000
    assert not np.array_equal(np.ravel(new.images), np.sort(np.ravel(new.images)))  # at places of all numbers
    untouched, _ = exchange(jax.random.key(0), empty(0, (1, 1, 1)), images, jnp.arange(2000))
    np.testing.assert_array_equal(untouched, images)


def test_the_pool_does_not_know_of_devices():
    history, images, index = ImagePool(numbered(0, 6), jnp.int32(4)), numbered(100, 16), jnp.arange(16)
    key = jax.random.key(2)
    expected, wanted = exchange(key, history, images, index)
    mesh = jax.make_mesh((8,), (DATA_AXIS,), axis_types=(AxisType.Auto,))
    spread = jax.device_put((images, index), NamedSharding(mesh, P(DATA_AXIS)))
    give = functools.partial(exchange, key)
    mapped = jax.shard_map(
        give, mesh=mesh, in_specs=(P(), P(DATA_AXIS), P(DATA_AXIS)), out_specs=(P(DATA_AXIS), P())
    )
    for function in (give, mapped):
        found, new = jax.jit(function)(history, *spread)
        np.testing.assert_array_equal(found, expected)
        jax.tree.map(np.testing.assert_array_equal, new, wanted)


def test_a_step_under_pmap_is_a_step():
    m, b = method(pool=5), batch()
    state = m.init(jax.random.key(0), b)
    step = jax.jit(m.step)
    mapped = jax.pmap(m.step, axis_name=DATA_AXIS, in_axes=(None, 0, 0))
    several = jax.tree.map(lambda x: jnp.stack([x] * 8), state)
    for i in range(2):
        b = batch(i)
        state, metrics = step(jax.random.key(i), state, b)
        parts = jax.tree.map(lambda x: x.reshape(8, -1, *x.shape[1:]), b)
        several, found = mapped(jax.random.key(i), several, parts)
        for name, value in metrics.items():
            np.testing.assert_allclose(found[name], np.full(8, value), rtol=1e-5, atol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, np.broadcast_to(b, a.shape), rtol=1e-5, atol=1e-6),
        several,
        state,
    )


def test_samples_go_both_ways_with_the_average():
    m, b = method(average=exponential(0.5)), batch()
    state, _ = jax.jit(m.step)(jax.random.key(0), m.init(jax.random.key(0), b), b)
    keys = jax.random.split(jax.random.key(0), N)
    for given, name in (("source", "to_image"), ("image", "to_source")):
        expected = b[given] * state.ema[name]["params"]["scale"]
        np.testing.assert_allclose(m.sample(keys, state, {given: b[given]}), expected, rtol=1e-6)
        assert (state.ema[name]["params"]["scale"] != state.params["generators"][name]["scale"]).all()


def test_errors():
    for options in ({"cycle": -1.0}, {"identity": -1.0}, {"pool": -1}, {"adversarial_weight": float("nan")}):
        with pytest.raises(UserError, match=f"{next(iter(options))}=.*: valid are 0 and more"):
            method(**options)
    with pytest.raises(UserError, match=r"identity=0.5: .*\(4, 4, 1\) and \(4, 4, 3\), where valid is 0"):
        method(source_shape=(4, 4, 3))
    m, b = method(), batch()
    with pytest.raises(UserError, match=r"source is missing: images of shape \(4, 4, 1\)"):
        m.init(jax.random.key(0), {"image": b["image"]})
    with pytest.raises(UserError, match=r"source has images of shape \(2, 4, 1\): valid are \(4, 4, 1\)"):
        m.init(jax.random.key(0), {**b, "source": b["source"][:, :2]})
    with pytest.raises(
        UserError, match=r"'to_image' makes images of shape .*: valid is \(4, 4, 1\); out_channels=1"
    ):
        other = method(source_shape=(4, 4, 3), identity=0.0)
        other.init(jax.random.key(0), {**b, "source": jnp.zeros((N, 4, 4, 3))})
    with pytest.raises(UserError, match="source is missing"):
        m.sample(jax.random.split(jax.random.key(0), 2), m.init(jax.random.key(0), b), {})


def test_gradients_and_averages_are_as_asked():
    def threefold(loss, params, key, batch):
        metrics, grads = mean_gradient()(loss, params, key, batch)
        return metrics, jax.tree.map(lambda g: 3 * g, grads)

    b = batch()
    options = {"rate": 3.0, "judge_rate": 3.0}
    asked = method(gradient=threefold, average=several(exponential(0.5), last=exponential(0.0)))
    plain = method(**options, average=exponential(0.5))
    state, other = (
        jax.jit(m.step)(jax.random.key(1), m.init(jax.random.key(0), b), b)[0] for m in (asked, plain)
    )
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # noqa: E731
    jax.tree.map(close, state.params, other.params)
    jax.tree.map(close, averaged(state), other.ema)
    jax.tree.map(
        close,
        [*(x["params"] for _, x in sorted(state.ema.others["last"].items()))],
        [*(x for _, x in sorted(state.params["generators"].items()))],
    )
    keys, condition = jax.random.split(jax.random.key(0), N), {"source": b["source"]}
    close(asked.sample(keys, state, condition), plain.sample(keys, other, condition))
