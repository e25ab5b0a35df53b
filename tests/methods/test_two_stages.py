"""Two stages in one run: each bit for bit as alone, in one compiled step, on one device or eight."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax.conditions import label_or_null
from genjax.methods.averages import ema
from genjax.methods.codes.code_model import CodeModel
from genjax.methods.codes.code_prior import code_prior
from genjax.methods.codes.two_stages import stages, two_stages
from genjax.methods.gradients import mean_gradient
from genjax.nn import Dropout
from genjax.train import sharding
from genjax.train.program import Program
from genjax.typing import DATA_AXIS, PRESENT, Method, TrainState, UserError

SHAPE, SWITCH, N = (2, 2, 1), 3, 16
# A rate that changes at each step: a stage that counted the steps of the other would show it.
RATE = optax.linear_schedule(0.5, 0.1, 8)


def batch(i=0):
    image = jax.random.uniform(jax.random.key(100 + i), (N, *SHAPE), minval=-1)
    return {"image": image, "label": jnp.arange(N) % 2, "_index": jnp.arange(N, dtype=jnp.int32)}


def toy(name, target, frozen=lambda key, batch: ()):
    """Learns w of ``w * noise = target(state.frozen, image)``, an example's noise being its own, and counts steps in
    ``mutable``; its sample is w and what is frozen."""
    optimizer = optax.adam(RATE)

    def init(key, batch):
        params = {"w": jax.random.normal(key, ())}
        zero = jnp.zeros((), jnp.int32)
        average, mutable = jax.tree.map(jnp.copy, params), {"count": zero}
        return TrainState(zero, params, optimizer.init(params), average, mutable, frozen(key, batch))

    def errors(params, state, key, batch):
        noise = jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(key, i)))(batch["_index"])
        wanted = target(state.frozen, batch["image"]).mean((1, 2, 3))
        return jnp.square(params["w"] * noise - wanted)

    def step(key, state, batch):
        def loss(params, key, batch):
            value = errors(params, state, key, batch).mean()
            return value, {name: 2.0 * value, "step": state.step}

        metrics, grads = mean_gradient()(loss, state.params, key, batch)
        changes, opt = optimizer.update(grads, state.opt, state.params)
        params, number = optax.apply_updates(state.params, changes), state.step + 1
        new = {"params": params, "opt": opt, "mutable": {"count": state.mutable["count"] + 1}}
        new["ema"] = ema(state.ema, params, number, 0.999)
        return dataclasses.replace(state, step=number, **new), metrics

    def evaluate(key, state, batch):
        return {"loss": errors(state.ema, state, key, batch)}

    def sample(keys, state, condition):
        value = jnp.tanh(state.ema["w"] + sum(x.sum() for x in jax.tree.leaves(state.frozen)))
        return jnp.broadcast_to(value, (len(keys), *SHAPE))

    return Method(init, step, evaluate, sample)


FIRST = toy("one", lambda frozen, image: image)
SECOND = toy("two", lambda one, image: one.ema["w"] * image, FIRST.init)

CODES = CodeModel(
    encode=lambda state, image: (jnp.where(image[..., 0] > state.ema["w"], 1, 0),),
    decode=lambda state, codes: 2.0 * codes[0][..., None] - 1.0,
    shapes=((2, 2),),
    num_codes=(2,),
)


class Places(nn.Module):
    """Of each class and place, p(code), which depends on no other."""

    @nn.compact
    def __call__(self, codes, condition=None, coarser=None, *, dropout_index=None):
        logits = self.param("logits", nn.initializers.normal(1.0), (3, 2, 2, 2))
        return Dropout(0.1)(logits[label_or_null(condition, "label", 2, len(codes))], dropout_index)


PRIOR = code_prior(
    [Places()],
    optax.adam(RATE),
    CODES,
    first_state=FIRST.init,
    conditions=("label",),
)


def trajectory(step, state, steps):
    """The states before and after each step, and the metrics; keys and batches are those of the step's number."""
    states, metrics = [state], []
    for i in steps:
        state, values = step(jax.random.key(i), state, batch(i))
        states.append(state)
        metrics.append(values)
    return states, metrics


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("second", [SECOND, PRIOR], ids=["toy", "prior over codes"])
def test_each_stage_is_bit_for_bit_as_alone(second):
    m = two_stages(FIRST, second, SWITCH)
    start = m.init(jax.random.key(0), batch())
    states, metrics = trajectory(Program(m.step, "step"), start, range(6))
    one, two = stages(start, SWITCH)
    own, own_metrics = trajectory(jax.jit(FIRST.step), one, range(SWITCH))
    for i in range(SWITCH + 1):
        assert_same(stages(states[i], SWITCH)[0], own[i])
        assert_same(stages(states[i], SWITCH)[1].params, two.params)

    reached = own[-1]
    then, then_metrics = trajectory(jax.jit(second.step), two.replace(frozen=reached), range(SWITCH, 6))
    for i in range(4):
        assert_same(stages(states[SWITCH + i], SWITCH), (reached, then[i]))
    assert int(states[-1].step) == 6 and int(then[-1].step) == 3
    assert (jax.tree.leaves(then[-1].params)[0] != jax.tree.leaves(two.params)[0]).any()

    alone = [("first", x) for x in own_metrics] + [("second", x) for x in then_metrics]
    assert all(x.keys() == metrics[0].keys() for x in metrics)
    for values, (name, expected) in zip(metrics, alone, strict=True):
        for stage in ("first", "second"):
            assert float(values[PRESENT + stage]) == (stage == name)
        for k, value in values.items():
            stage, _, inner = k.rpartition("/")
            if k.startswith(PRESENT):
                continue
            assert float(value) == (float(expected[inner]) if stage in ("", name) else 0.0), k
    assert {"loss", "grad_norm", "first/one", "first/loss", "first/step", "second/loss"} <= metrics[0].keys()


def test_state_keeps_its_structure_and_stages_count_their_own_steps():
    m = two_stages(FIRST, SECOND, SWITCH)
    start = m.init(jax.random.key(0), batch())
    states, _ = trajectory(jax.jit(m.step), start, range(5))

    def described(state):
        return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state)

    assert {str(described(s)) for s in states} == {str(described(start))}
    counts = [[int(s.step) for s in stages(state, SWITCH)] for state in states]
    assert counts == [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1], [3, 2]]
    assert [[int(s.mutable["count"]) for s in stages(state, SWITCH)] for state in states] == counts
    assert float(start.params["first"]["w"]) != float(start.params["second"]["w"])


def test_evaluate_gives_both_stages_and_sample_the_second():
    m = two_stages(FIRST, SECOND, SWITCH)
    states, _ = trajectory(jax.jit(m.step), m.init(jax.random.key(0), batch()), range(4))
    one, two = stages(states[-1], SWITCH)
    key, keys = jax.random.key(5), jax.random.split(jax.random.key(6), 2)
    expected = {
        "first/loss": FIRST.evaluate(key, one, batch())["loss"],
        "second/loss": SECOND.evaluate(key, two, batch())["loss"],
    }
    actual = m.evaluate(key, states[-1], batch())
    assert actual.keys() == expected.keys()
    assert_same(actual, expected)
    assert (actual["first/loss"] != actual["second/loss"]).all()
    assert_same(m.sample(keys, states[-1], {}), SECOND.sample(keys, two, {}))


@pytest.mark.parametrize("backend", ["jit", "pmap"])
def test_one_and_eight_devices_agree(backend):
    m = two_stages(FIRST, SECOND, 2)
    start = m.init(jax.random.key(0), batch())
    expected, metrics = trajectory(jax.jit(m.step), start, range(4))
    if backend == "jit":
        mesh = sharding.make_mesh()
        everywhere = sharding.replicated(mesh)
        step = Program(m.step, "step on eight devices")
        state = sharding.place(start, jax.tree.map(lambda _: everywhere, start))

        def run(key, state, i):
            b = sharding.place_batch({k: np.asarray(x) for k, x in batch(i).items()}, mesh)
            return step(sharding.place(key, everywhere), state, b)
    else:
        mapped = jax.pmap(m.step, axis_name=DATA_AXIS, in_axes=(None, None, 0), out_axes=None)
        state = start

        def run(key, state, i):
            return mapped(key, state, {k: x.reshape(8, -1, *x.shape[1:]) for k, x in batch(i).items()})

    for i in range(4):
        state, values = run(jax.random.key(i), state, i)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
            (state.params, state.ema, values),
            (expected[i + 1].params, expected[i + 1].ema, metrics[i]),
        )


def test_error():
    with pytest.raises(UserError, match="switch=0: valid are 1 and more steps"):
        two_stages(FIRST, SECOND, 0)
