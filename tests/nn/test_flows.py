"""Normalising flows against automatic differentiation, and latent groups made with them against `latent.draw`."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.losses import gaussian
from genjax.losses.gaussian import Gaussian
from genjax.nn.flows import Inverse, InverseAutoregressive, RealNVP, sample, with_flows
from genjax.nn.latent import draw
from genjax.typing import UserError

B, D, E = 3, 5, 2
FLOWS = {
    "RealNVP": RealNVP(couplings=3, hidden=(8, 8)),
    "InverseAutoregressive": InverseAutoregressive(steps=2, hidden=(16,)),
    "Inverse": Inverse(InverseAutoregressive(steps=2, hidden=())),
}
KEYS = jax.random.split(jax.random.key(0), B)
U = jax.random.normal(jax.random.key(1), (B, D))
CONTEXT = jax.random.normal(jax.random.key(2), (B, E))


def variables(flow, context=False):
    """Random parameters, as flows start close to the identity."""
    shapes = jax.eval_shape(flow.init, jax.random.key(0), U, CONTEXT if context else None)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: jnp.asarray(0.3 * rng.normal(size=x.shape), x.dtype), shapes)


@functools.cache
def both_ways(name, context):
    """z, log_det and Jacobian of `forward`, and from z those of `inverse`, one vector at a time."""
    flow = FLOWS[name].bind(variables(FLOWS[name], context))

    def run(function, x, context_row):
        y, log_det = function(x[None], context_row[None] if context else None)
        return y[0], (y[0], log_det[0])

    def one(u, context_row):
        jacobian, (z, log_det) = jax.jacfwd(lambda u: run(flow.forward, u, context_row), has_aux=True)(u)
        back, (u, back_log_det) = jax.jacfwd(lambda z: run(flow.inverse, z, context_row), has_aux=True)(z)
        return (z, log_det, jacobian), (u, back_log_det, back)

    return jax.jit(jax.vmap(one))


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("context", [False, True], ids=["", "context"])
def test_log_determinant_is_that_of_the_jacobian(name, context):
    (z, log_det, jacobian), (u, back_log_det, back) = both_ways(name, context)(U, CONTEXT)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], atol=1e-5)
    np.testing.assert_allclose(back_log_det, np.linalg.slogdet(back)[1], atol=1e-5)
    np.testing.assert_allclose(back_log_det, -log_det, atol=1e-5)
    np.testing.assert_allclose(u, U, atol=1e-5)
    # Not the identity: it would pass all of the above.
    assert float(jnp.abs(log_det).max()) > 0.1 and float(jnp.abs(z - U).max()) > 0.1


@pytest.mark.parametrize("name", FLOWS)
def test_context_matters_and_belongs_to_its_row(name):
    (z, log_det, _), _ = both_ways(name, True)(U, CONTEXT)
    (other, _, _), _ = both_ways(name, True)(U, CONTEXT.at[0].set(3.0))
    assert (other[0] != z[0]).any() and (other[1:] == z[1:]).all()
    whole = FLOWS[name].apply(variables(FLOWS[name], True), U, CONTEXT, method="forward")
    np.testing.assert_allclose(whole[0], z, atol=1e-6)
    np.testing.assert_allclose(whole[1], log_det, atol=1e-6)


@pytest.mark.parametrize("hidden", [(), (7, 9), (3,)])
@pytest.mark.parametrize("context", [None, CONTEXT[:1]], ids=["", "context"])
def test_autoregressive_jacobian_is_triangular(hidden, context):
    flow = InverseAutoregressive(steps=1, hidden=hidden)
    flow = flow.bind(variables(flow, context is not None))
    jacobian = np.asarray(jax.jacfwd(lambda u: flow.forward(u[None], context)[0][0])(U[0]))
    assert (jacobian[np.triu_indices(D, 1)] == 0.0).all()
    if not hidden or min(hidden) >= D:  # enough units: every component depends on all before it
        assert (jacobian[np.tril_indices(D)] != 0.0).all()


def test_second_autoregressive_step_has_the_reversed_order():
    name = "InverseAutoregressive"
    (z, _, jacobian), _ = both_ways(name, False)(U, CONTEXT)
    assert (np.asarray(jacobian) != 0.0).all()
    params = variables(FLOWS[name])["params"]
    step = InverseAutoregressive(steps=1, hidden=(16,))
    first = step.apply({"params": {"networks_0": params["networks_0"]}}, U)[0]
    second = step.apply({"params": {"networks_0": params["networks_1"]}}, first[:, ::-1])[0]
    np.testing.assert_allclose(z, second[:, ::-1], atol=1e-6)


def test_flows_at_the_start():
    """RealNVP is the identity; a step of the autoregressive flow is its gate's bias (Kingma et al. 2016, eq. 14)."""
    z, log_det = RealNVP().init_with_output(jax.random.key(0), U)[0]
    np.testing.assert_array_equal(z, U)
    np.testing.assert_array_equal(log_det, jnp.zeros(B))
    sigma = 1 / (1 + math.exp(-2.0))
    z, log_det = InverseAutoregressive(steps=2).init_with_output(jax.random.key(0), U)[0]
    np.testing.assert_allclose(z, sigma**2 * U, rtol=1e-6)
    np.testing.assert_allclose(log_det, jnp.full(B, 2 * D * math.log(sigma)), rtol=1e-6)


def test_scale_of_a_coupling_is_bounded():
    flow = RealNVP(couplings=1, hidden=(), max_log_scale=0.7)
    params = {"params": {"coupling_0": {"out": {"kernel": jnp.full((3, 4), 1e6), "bias": jnp.zeros(4)}}}}
    log_det = flow.apply(params, jnp.abs(U))[1]
    np.testing.assert_allclose(log_det, jnp.full(B, 2 * 0.7), rtol=1e-6)


def test_coupling_of_one_component_is_an_error():
    with pytest.raises(UserError, match="vectors of 1 components"):
        RealNVP().init(jax.random.key(0), U[:, :1])


def test_autoregressive_flow_of_one_component_uses_the_context():
    flow = InverseAutoregressive(steps=2, hidden=(4,))
    params = jax.tree.map(jnp.ones_like, flow.init(jax.random.key(0), U[:, :1], CONTEXT))
    z, log_det = flow.apply(params, U[:, :1], CONTEXT)
    assert (z != flow.apply(params, U[:, :1], CONTEXT + 1.0)[0]).all()
    u, inverse = flow.apply(params, z, CONTEXT, method="inverse")
    np.testing.assert_allclose(u, U[:, :1], atol=1e-5)
    np.testing.assert_allclose(inverse, -log_det, atol=1e-6)


class Identity:
    def forward(self, u, context=None):
        return u, jnp.zeros(len(u))

    inverse = forward


class Scale:
    """z = 2 u."""

    def forward(self, u, context=None):
        return 2.0 * u, jnp.full(len(u), u.shape[1] * math.log(2.0))

    def inverse(self, z, context=None):
        return z / 2.0, jnp.full(len(z), -z.shape[1] * math.log(2.0))


SHAPE = (B, 2, 2, 3)
POSTERIOR = Gaussian(*jax.random.normal(jax.random.key(4), (2, *SHAPE)))
PRIOR = Gaussian(*jax.random.normal(jax.random.key(5), (2, *SHAPE)))


def test_group_with_identity_flows_is_a_plain_draw():
    plain = draw(KEYS, POSTERIOR, PRIOR)
    for flows in [(Identity(), Identity()), (Identity(), None), (None, Identity())]:
        group = with_flows(KEYS, POSTERIOR, PRIOR, *flows)
        np.testing.assert_array_equal(group.z, plain.z)
        np.testing.assert_array_equal(group.log_q, plain.log_q)
        np.testing.assert_array_equal(group.log_p, plain.log_p)
        np.testing.assert_array_equal(group.kl, plain.log_q - plain.log_p)
    jax.tree.map(np.testing.assert_array_equal, with_flows(KEYS, POSTERIOR, PRIOR), plain)


def test_group_with_scaled_distributions_is_the_scaled_gaussian():
    """2 u of a normal u is normal with twice the mean and four times the variance."""

    def scaled(distribution):
        return Gaussian(2.0 * distribution.mean, distribution.log_variance + 2.0 * math.log(2.0))

    group = with_flows(KEYS, POSTERIOR, PRIOR, Scale(), Scale())
    np.testing.assert_allclose(group.z, draw(KEYS, scaled(POSTERIOR), scaled(PRIOR)).z, rtol=1e-5)
    for log, distribution in [(group.log_q, POSTERIOR), (group.log_p, PRIOR)]:
        density = gaussian.log_density(group.z, *scaled(distribution))
        np.testing.assert_allclose(log, density.sum((1, 2, 3)), rtol=1e-5)
    # One map on both sides changes no divergence.
    plain = draw(KEYS, POSTERIOR, PRIOR)
    np.testing.assert_allclose(group.kl, plain.log_q - plain.log_p, atol=1e-4)
    np.testing.assert_allclose(sample(KEYS, PRIOR, Scale()), 2.0 * sample(KEYS, PRIOR), rtol=1e-6)
    np.testing.assert_allclose(sample(KEYS, PRIOR, Scale(), None, 0.0), 2.0 * PRIOR.mean, rtol=1e-6)


def test_prior_of_a_group_is_what_is_sampled():
    """The density of a sample, by the group's formula, is that of its base draw without the log-determinant."""
    flow = FLOWS["Inverse"].bind(variables(FLOWS["Inverse"]))
    prior = Gaussian(U, jnp.zeros_like(U))
    z = sample(KEYS, prior, flow)
    v = gaussian.sample(KEYS, prior)
    np.testing.assert_allclose(flow.inverse(z)[0], v, atol=1e-5)
    at_z = Gaussian(z, jnp.full_like(z, -60.0))  # a posterior that draws z itself
    group = with_flows(KEYS, at_z, prior, None, flow)
    np.testing.assert_allclose(group.z, z, atol=1e-6)
    density = gaussian.log_density(v, *prior).sum(-1) - flow.forward(v)[1]
    np.testing.assert_allclose(group.log_p, density, rtol=1e-4)


@pytest.mark.parametrize(
    "posterior, prior",
    [
        ("InverseAutoregressive", "Inverse"),
        ("RealNVP", "InverseAutoregressive"),
        ("InverseAutoregressive", "RealNVP"),
    ],
)
def test_gradients_are_finite_and_reach_every_parameter(posterior, prior):
    flows = FLOWS[posterior], FLOWS[prior]
    base = Gaussian(U, 0.1 * U), Gaussian(jnp.zeros_like(U), jnp.zeros_like(U))

    def kl(params):
        return with_flows(KEYS, *base, *map(nn.Module.bind, flows, params), CONTEXT).kl.mean()

    grads = jax.jit(jax.grad(kl))((variables(flows[0], True), variables(flows[1])))
    for path, grad in jax.tree_util.tree_leaves_with_path(jax.device_get(grads)):
        assert np.isfinite(grad).all() and (grad != 0.0).any(), jax.tree_util.keystr(path)
