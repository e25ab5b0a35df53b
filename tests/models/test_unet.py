"""The U-Net: what it must be at initialisation, how it conditions, precision, memory, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.conditions import mask_name
from genjax.models import UNet
from genjax.nn import initialize
from genjax.typing import UserError

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (3, 8, 8, 2))
T = jnp.array([0.1, 0.5, 0.9])
LABEL = {"label": jnp.array([0, 1, 2])}


def net(**options):
    return UNet(
        **{"channels": 8, "multipliers": (1, 2), "blocks": 1, "attention": (8,), "num_classes": 3} | options
    )


@jax.jit
def apply(variables, x, t, condition):
    return net().apply(variables, x, t, condition)


@pytest.fixture(scope="module")
def variables():
    """Parameters away from initialisation, where outputs are zero."""
    rng = np.random.default_rng(0)
    initial = jax.device_get(initialize(net(), KEY, X, T, LABEL))
    return jax.tree.map(lambda p: p + 0.2 * rng.normal(size=p.shape).astype(np.float32), initial)


def test_output_is_zero_at_initialisation():
    y = apply(initialize(net(), KEY, X, T, LABEL), X, T, LABEL)
    assert y.dtype == jnp.float32
    np.testing.assert_array_equal(y, np.zeros(X.shape))


def test_parameters_are_independent_draws():
    params = jax.device_get(initialize(net(), KEY, X, T, LABEL))
    kernels = [p.ravel()[:8] for p in jax.tree.leaves(params) if p.ndim == 4 and np.any(p != 0)]
    assert len({k.tobytes() for k in kernels}) == len(kernels) > 5


def test_every_input_matters(variables):
    y = apply(variables, X, T, LABEL)
    for other in (
        apply(variables, X + 0.1, T, LABEL),
        apply(variables, X, T + 0.05, LABEL),
        apply(variables, X, T, {"label": jnp.array([1, 2, 0])}),
        apply(variables, X, T, None),
    ):
        assert jnp.abs(other - y).max() > 1e-3


def test_examples_do_not_mix(variables):
    y = apply(variables, X, T, LABEL)
    alone = apply(variables, X[1:2], T[1:2], {"label": LABEL["label"][1:2]})
    np.testing.assert_allclose(alone, y[1:2], atol=1e-5)


def test_null_label_is_the_last_row_of_the_table(variables):
    # Not compiled, so that both are the same operations: equal bit for bit.
    null = net().apply(variables, X, T, {"label": jnp.full(3, 3)})
    np.testing.assert_array_equal(net().apply(variables, X, T, None), null)


def test_a_missing_label_is_a_masked_one_bit_for_bit(variables):
    """Missing for the whole call (None, no key), for all examples by a mask, or for some."""
    missing = net().apply(variables, X, T, None)
    np.testing.assert_array_equal(net().apply(variables, X, T, {}), missing)
    given = net().apply(variables, X, T, LABEL)

    def masked(*has):
        return net().apply(variables, X, T, LABEL | {mask_name("label"): jnp.array(has)})

    np.testing.assert_array_equal(masked(False, False, False), missing)
    np.testing.assert_array_equal(masked(True, True, True), given)
    some = masked(True, False, True)
    np.testing.assert_array_equal(some[::2], given[::2])
    np.testing.assert_array_equal(some[1], missing[1])
    assert jnp.abs(given - missing).max() > 1e-3


def test_conditions_that_the_network_does_not_know_change_nothing(variables):
    more = LABEL | {"text": jnp.ones((3, 4))}
    np.testing.assert_array_equal(net().apply(variables, X, T, more), net().apply(variables, X, T, LABEL))


def gradients(module, variables):
    """With dropout, which what is computed twice must draw twice alike."""

    def loss(variables):
        rngs = {"dropout": jax.random.key(1)}
        y = module.apply(variables, X, T, LABEL, dropout_index=jnp.arange(3), rngs=rngs)
        return jnp.square(y - X).mean()

    return jax.device_get(jax.jit(jax.grad(loss))(variables))


def test_every_parameter_has_a_gradient(variables):
    for path, g in jax.tree_util.tree_leaves_with_path(gradients(net(dropout=0.1), variables)):
        assert np.isfinite(g).all()
        assert np.abs(g).max() > 1e-9, jax.tree_util.keystr(path)


def test_remat_changes_nothing():
    small = {"multipliers": (1,), "attention": (), "dropout": 0.1}
    variables = initialize(net(**small), KEY, X, T, LABEL)
    variables = jax.tree.map(lambda p: p + 0.1, variables)  # at initialisation most gradients are 0
    plain, again = (gradients(net(**small, remat=remat), variables) for remat in (False, True))
    assert max(np.abs(g).max() for g in jax.tree.leaves(plain)) > 0.01
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), plain, again)


def test_bfloat16_computes_in_bfloat16_with_float32_parameters(variables):
    low = initialize(net(dtype=jnp.bfloat16), KEY, X, T, LABEL)
    assert {p.dtype for p in jax.tree.leaves(low)} == {jnp.dtype("float32")}
    y, y16 = apply(variables, X, T, LABEL), jax.jit(net(dtype=jnp.bfloat16).apply)(variables, X, T, LABEL)
    assert y16.dtype == jnp.float32
    error = float(jnp.abs(y16 - y).max() / jnp.abs(y).max())
    assert 1e-4 < error < 0.1  # not equal: it did compute in lower precision


def test_size_that_cannot_be_halved():
    with pytest.raises(UserError, match=r"7x7 is not divisible by 2.*multipliers=\(1, 2\)"):
        net().init(KEY, jnp.zeros((1, 7, 7, 1)), T[:1])


def test_label_for_an_unconditional_network():
    with pytest.raises(UserError, match="unconditional"):
        net(num_classes=None).init(KEY, X, T, LABEL)
