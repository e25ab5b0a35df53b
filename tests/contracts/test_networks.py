"""What every network must do. A network with a line in `genjax.app.networks` is found here.

In each of its roles: it is built from its config, its output depends on its own example alone, a condition that is
missing for the call is the same as one that is missing for each example, bit for bit, and gradients are finite.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.app import build, checks, kinds
from genjax.app.kinds import networks_for
from genjax.app.methods import METHODS
from genjax.app.networks import NETWORKS
from genjax.conditions import hide
from genjax.models.kind import ROLES
from tests.contracts.method_contract import CLASSES, SHAPE, SOURCE
from tests.contracts.small import data_info, small

N = 4
KEYS = jax.random.split(jax.random.key(0), N)
IMAGES = jax.random.uniform(jax.random.key(1), (N, *SHAPE), minval=-1)
SOURCES = jax.random.uniform(jax.random.key(2), (N, *SOURCE), minval=-1)
LABEL = {"label": jnp.arange(N, dtype=jnp.int32) % CLASSES}


def _denoiser(network, condition, rows):
    return network, (IMAGES[rows], jnp.linspace(0.1, 0.9, N)[rows], condition), {}


def _generator(pair, condition, rows):
    z = jax.random.normal(jax.random.key(3), (N, 4))[rows]
    return pair[0], (z, condition), {"train": False}


def _discriminator(pair, condition, rows):
    return pair[1], (IMAGES[rows], condition), {"train": False}


def _infer(network, condition, rows):
    return network, (KEYS[rows], IMAGES[rows], condition), {"method": "infer"}


def _generate(network, condition, rows):
    return network, (KEYS[rows], condition, jnp.ones(len(KEYS[rows]))), {"method": "generate"}


def _translator(networks, condition, rows):
    network = networks[0] if isinstance(networks, tuple) else networks
    return network, (SOURCES[rows],), {}


def _codes(network, condition, rows):
    return network, (IMAGES[rows],), {}


CALLS = {
    "denoiser": [_denoiser],
    "adversaries": [_generator, _discriminator],
    "vae": [_infer, _generate],
    "translator": [_translator],
    "codes": [_codes],
}
"""How a network is called, by its role in a method; the halves of autoencoders are called by "vae"."""

CASES = [
    (network, method, call)
    for method, kind in METHODS.items()
    for call in CALLS.get(kind.role, ())
    for network in networks_for(METHODS[method])
]
METHOD_OF_ROLE = {kind.role: method for method, kind in reversed(METHODS.items())}
cases = pytest.mark.parametrize(
    ("network", "method", "call"),
    [case for case in CASES if METHOD_OF_ROLE[METHODS[case[1]].role] == case[1]],
    ids=lambda value: getattr(value, "__name__", value),
)


@functools.cache
def built(network, method):
    config = small(network, method)
    return METHODS[method].network(kinds.context(config, data_info(config)))


@functools.cache
def variables(network, method, call):
    module, arguments, options = call(built(network, method), LABEL, slice(0, 1))
    shapes = jax.eval_shape(
        lambda key, *rest: module.init({"params": key}, *rest, **options),
        jax.random.key(4),
        *jax.tree.map(lambda x: x[:1], arguments),
    )
    # None is zero, which would hide what depends on what; a variance is above zero.
    draws = np.random.default_rng(0)

    def drawn(path, x):
        value = draws.normal(0, 0.3, x.shape)
        positive = "var" in jax.tree_util.keystr(path)
        return jnp.asarray(np.abs(value) + 0.5 if positive else value, x.dtype)

    return jax.tree_util.tree_map_with_path(drawn, shapes)


@functools.cache
def applied(network, method, call):
    """Compiled once for each shape of the arguments."""
    module, _, options = call(built(network, method), LABEL, slice(0, 1))
    return jax.jit(functools.partial(module.apply, **options))


def output(network, method, call, condition, rows=slice(0, N)):
    _, arguments, _ = call(built(network, method), condition, rows)
    made = applied(network, method, call)(variables(network, method, call), *arguments)
    return [x for x in jax.tree.leaves(made) if jnp.ndim(x) and len(x) == len(KEYS[rows])]


def test_roles_are_those_of_the_page():
    assert set(CALLS) <= ROLES.keys() and all(kind.roles.keys() <= ROLES.keys() for kind in NETWORKS.values())


@cases
def test_examples_do_not_meet(network, method, call):
    whole = output(network, method, call, LABEL)
    assert whole and all(jnp.isfinite(x).all() for x in whole)
    some = output(network, method, call, {k: x[1:3] for k, x in LABEL.items()}, slice(1, 3))
    for one, all_of_them in zip(some, whole, strict=True):
        np.testing.assert_allclose(one, all_of_them[1:3], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("network", "method", "call"),
    [case for case in cases.args[1] if NETWORKS[case[0]].conditions and case[2] is not _codes],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_missing_condition_is_one_that_every_example_lacks(network, method, call):
    config = small(network, method)
    told = kinds.context(config, data_info(config)).conditions
    given = {name: LABEL.get(name, jnp.zeros((N, *told[name].shape))) for name in told}
    assert given
    for name in told:
        masked = hide(given, name, jnp.ones(N, bool))
        lacking = output(network, method, call, {other: x for other, x in given.items() if other != name})
        for one, other in zip(output(network, method, call, masked), lacking, strict=True):
            np.testing.assert_array_equal(one, other)
        some = output(network, method, call, hide(given, name, jnp.array([True, False, True, False])))
        whole = output(network, method, call, given)
        for one, without, with_all in zip(some, lacking, whole, strict=True):
            np.testing.assert_allclose(one[::2], without[::2], atol=2e-5, rtol=1e-4)
            np.testing.assert_allclose(one[1::2], with_all[1::2], atol=2e-5, rtol=1e-4)
        assert any((a != b).any() for a, b in zip(whole, lacking, strict=True)), f"{name} changes nothing"


@pytest.mark.parametrize(
    ("network", "method"),
    sorted(
        {case[:2] for case in CASES}
        | {(network, method) for method in METHODS for network in networks_for(METHODS[method])}
    ),
)
def test_every_method_takes_every_network_of_its_role(network, method):
    """Traced, as before a training: nothing is compiled."""
    config = small(network, method)
    checks.check(config)
    info = data_info(config)
    made = build.method(config, info)
    key, example, batch = jax.random.key(0), build.example(info), build.example(info, 8)
    state = jax.eval_shape(made.init, key, example)

    def step(key, state, batch):
        return made.step(key, state, build.augment(config.data, key, batch))

    new, metrics = jax.eval_shape(step, key, state, batch)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), new) == jax.tree.map(
        lambda x: (x.shape, x.dtype), state
    )
    assert "loss" in metrics
    keys = jax.random.split(key, 2)
    images = jax.eval_shape(made.sample, keys, state, build.every_condition(config, info, 2))
    assert images.shape == (2, *SHAPE)


@pytest.mark.parametrize("network", [name for name, kind in NETWORKS.items() if "denoiser" in kind.roles])
def test_a_denoiser_knows_how_noisy_its_input_is(network):
    """Noise levels of order 1 that are a little apart look a little different, and far ones very different."""
    call, method = _denoiser, METHOD_OF_ROLE["denoiser"]
    _, (x, _, condition), _ = call(built(network, method), LABEL, slice(0, N))

    def at(c_noise):
        made = applied(network, method, call)(
            variables(network, method, call), x, jnp.full(N, c_noise), condition
        )
        assert made.shape == x.shape and made.dtype == jnp.float32
        return np.asarray(made).ravel()

    base, near, far = at(0.5), at(0.501), at(0.9)
    assert 0 < np.linalg.norm(near - base) < 0.7 * np.linalg.norm(far - base)
