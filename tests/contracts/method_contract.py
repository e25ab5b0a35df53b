"""What every training method must do, as tests that two files share."""

import jax
import jax.numpy as jnp
import numpy as np

from genjax.train import sharding
from genjax.train.program import Program
from genjax.typing import Method

SHAPE = (8, 8, 1)
SOURCE = (8, 8, 2)
"""Of images that are to be translated."""
CLASSES = 3
N = 8


def batch(seed=0):
    image = jax.random.uniform(jax.random.key(seed), (N, *SHAPE), minval=-1)
    source = jax.random.uniform(jax.random.key(seed + 100), (N, *SOURCE), minval=-1)
    return {
        "image": image,
        "source": source,
        "label": jnp.arange(N) % CLASSES,
        "_index": jnp.arange(N, dtype=jnp.int32),
    }


class Subject:
    """A method, its state after three steps, and its compiled step (whose second compilation is an error)."""

    def __init__(self, method, deterministic=False):
        self.method = Method(*(jax.jit(function) for function in method))
        self.deterministic = deterministic
        self.initial = self.method.init(jax.random.key(0), batch())
        self.step = Program(self.method.step, "step")
        self.metrics = []
        self.state = self.initial
        for i in range(3):
            self.state, metrics = self.step(jax.random.key(i), self.state, batch(i))
            self.metrics.append(metrics)


class MethodContract:
    """What every method must do: tests of a fixture `subject`, for a class of a test module that has one."""

    def test_init_is_a_function_of_the_key(self, subject):
        again = subject.method.init(jax.random.key(0), batch(7))
        jax.tree.map(np.testing.assert_array_equal, again.params, subject.initial.params)
        other = subject.method.init(jax.random.key(1), batch())
        pairs = zip(jax.tree.leaves(other.params), jax.tree.leaves(again.params), strict=True)
        assert any((a != b).any() for a, b in pairs)

    def test_step_changes_every_parameter_and_nothing_is_nan(self, subject):
        assert int(subject.state.step) == 3
        for path, leaf in jax.tree_util.tree_leaves_with_path(subject.state):
            assert jnp.isfinite(leaf).all(), jax.tree_util.keystr(path)
        moved = jax.tree.map(lambda a, b: bool((a != b).any()), subject.state.params, subject.initial.params)
        still = [jax.tree_util.keystr(p) for p, m in jax.tree_util.tree_leaves_with_path(moved) if not m]
        assert not still
        for metrics in subject.metrics:
            assert {"loss", "grad_norm"} <= metrics.keys()
            assert all(x.shape == () and jnp.isfinite(x) for x in metrics.values())

    def test_step_keeps_the_structure(self, subject):
        def described(state):
            return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), state)

        assert described(subject.state) == described(subject.initial)

    def test_step_is_a_function_of_key_state_and_batch(self, subject):
        one, _ = subject.step(jax.random.key(5), subject.state, batch())
        two, _ = subject.step(jax.random.key(5), subject.state, batch())
        jax.tree.map(np.testing.assert_array_equal, one, two)
        other, _ = subject.step(jax.random.key(6), subject.state, batch())
        pairs = zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True)
        assert any((a != b).any() for a, b in pairs) != subject.deterministic

    def test_one_and_eight_devices_agree(self, subject):
        mesh = sharding.make_mesh()
        everywhere = jax.tree.map(lambda _: sharding.replicated(mesh), subject.initial)
        step = Program(subject.method.step, "step on eight devices")
        state = sharding.place(subject.initial, everywhere)
        for i in range(3):
            spread = sharding.place_batch({k: np.asarray(x) for k, x in batch(i).items()}, mesh)
            state, metrics = step(sharding.place(jax.random.key(i), sharding.replicated(mesh)), state, spread)
            for name, value in metrics.items():
                np.testing.assert_allclose(value, subject.metrics[i][name], rtol=1e-5, err_msg=name)

    def test_evaluate_gives_one_value_per_example(self, subject):
        evaluate = subject.method.evaluate
        values = evaluate(jax.random.key(0), subject.state, batch())
        assert values
        for value in values.values():
            assert value.shape == (N,) and jnp.isfinite(value).all()
        order = jnp.array([3, 1, 0, 2, 7, 6, 5, 4])
        shuffled = evaluate(jax.random.key(0), subject.state, {k: x[order] for k, x in batch().items()})
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[order], rtol=1e-4), shuffled, values)

    def test_image_belongs_to_its_key_and_condition(self, subject):
        sample = subject.method.sample
        keys = jax.random.split(jax.random.key(0), N)
        condition = {name: batch()[name] for name in ("label", "source")}
        images = sample(keys, subject.state, condition)
        assert images.shape == (N, *SHAPE) and images.dtype == jnp.float32
        assert float(jnp.abs(images).max()) <= 1.0
        # Image 3 in another place, among others.
        among = jax.random.split(jax.random.key(1), N).at[5].set(keys[3])
        others = {name: x[::-1].at[5].set(x[3]) for name, x in condition.items()}
        np.testing.assert_allclose(sample(among, subject.state, others)[5], images[3], atol=1e-5)
        order = jnp.arange(N)[::-1]
        turned = {name: x[order] for name, x in condition.items()}
        np.testing.assert_allclose(sample(keys[order], subject.state, turned), images[order], atol=1e-5)
        assert len({x.tobytes() for x in np.asarray(images)}) == N
