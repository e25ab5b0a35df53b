"""What the exponential integrators share: one step in the half log-SNR lambda = log(alpha / sigma).

Let x0(lambda) and noise(lambda) be the estimates along a solution, h = lambda_s - lambda_t, and u in [0, 1] the part of
the step that is done. Either of these is the exact solution of the probability-flow ODE from t to s::

    x_s = sigma_s / sigma_t x_t + alpha_s int_0^1 h exp(-(1 - u) h) x0(lambda_t + u h) du
    x_s = alpha_s / alpha_t x_t - sigma_s int_0^1 h exp((1 - u) h) noise(lambda_t + u h) du

A method is a polynomial in u in place of x0 or of the noise. The constant one makes both the DDIM step
``alpha_s x0 + sigma_s noise``; the rest of the polynomial is added to it. With k = h for the data and k = -h for the
noise, the two differ in nothing but a factor, and the integrals are the functions phi_n of exponential integrators.

References:
    Lu et al., "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling" (2022), proposition 3.1 and
    equation 3.6; Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (2022),
    proposition 4.1; Hochbruck and Ostermann, "Exponential integrators" (2010), section 2.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
from jax.typing import ArrayLike

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.process import expand
from genjax.diffusion.samplers.base import half_log_snr, normal
from genjax.diffusion.samplers.coordinates import noise_estimate
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array, UserError

_LARGEST_STEP = 4.5
_SERIES = 14  # terms; with |z| < 1/2 the next one is below float64's resolution


class Estimate(NamedTuple):
    """What the denoiser says at one point, float[N, ...] each; ``x = alpha x0 + sigma noise``."""

    x0: Array
    noise: Array


class Variable(NamedTuple):
    """What is a polynomial in lambda: `DATA` or `NOISE`.

    Attributes:
        of: picks it from an estimate.
        scale: ``(schedule, s) -> factor of the integral``.
        sign: k is ``sign h``.
    """

    of: Callable[[Estimate], Array]
    scale: Callable[[Schedule, Array], Array]
    sign: int


DATA = Variable(lambda estimate: estimate.x0, lambda schedule, s: schedule.alpha(s), 1)
NOISE = Variable(lambda estimate: estimate.noise, lambda schedule, s: schedule.sigma(s), -1)

Weights: TypeAlias = Callable[[Array, Sequence[Array], Array], list[Array]]
"""``(k, nodes, order []) -> [w_1, w_2, ...]``: the factors of the divided differences (see `integrals`)."""


def estimate(x: Array, t: Array, denoise: Denoiser, schedule: Schedule) -> Estimate:
    """Calls the denoiser, once, with x float[N, ...] and a scalar t > 0."""
    x0 = denoise(x, t).astype(x.dtype)
    return Estimate(x0, noise_estimate(schedule, x, x0, t).astype(x.dtype))


def first_order(now: Estimate, s: Array, schedule: Schedule) -> Array:
    """The step with constant estimates, float[N, ...]: DDIM. Right at s = 0 and where alpha(t) = 0; s is scalar."""
    return schedule.alpha(s) * now.x0 + schedule.sigma(s) * now.noise


def first_order_sde(
    now: Estimate, h: Array, s: Array, schedule: Schedule, eta: ArrayLike, keys: Array
) -> Array:
    """As `first_order` for the reverse SDE with `eta` times the usual amount of noise.

    Args:
        now: the estimates at t.
        h: of the step, in lambda; scalar.
        s: scalar.
        schedule: schedule of x.
        eta: scalar, or [N].
        keys: Key[N].

    Returns:
        float[N, ...], the state at s.

    References:
        Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (2022), section 6,
        there with eta = 1.
    """
    x0 = now.x0
    kept = jnp.exp(-jnp.asarray(eta) * h)
    # The floor is there because sqrt has no derivative at 0, which is where it is for eta = 0.
    new = jnp.sqrt(jnp.maximum(-jnp.expm1(-2 * jnp.asarray(eta) * h), jnp.finfo(kept.dtype).tiny))
    noise = expand(kept, x0) * now.noise + expand(new, x0) * normal(keys, x0.shape[1:], x0.dtype)
    return schedule.alpha(s) * x0 + schedule.sigma(s) * noise


def phi(n: int, z: Array) -> Array:
    """phi_n(z), the sum over j >= 0 of z^j / (j + n)!, for n >= 1. Accurate and differentiable at 0 too.

    Elementwise in z, of any shape.

    References:
        Hochbruck and Ostermann, "Exponential integrators" (2010), equations 2.10 and 2.11.
    """
    small = jnp.abs(z) < 0.5
    near, far = jnp.where(small, z, 0), jnp.where(small, 1, z)
    series = jnp.zeros_like(z)
    for j in reversed(range(_SERIES)):
        series = series * near + 1 / math.factorial(j + n)
    value = jnp.expm1(far) / far
    for j in range(1, n):
        value = (value - 1 / math.factorial(j)) / far
    return jnp.where(small, series, value)


def moment(n: int, k: Array) -> Array:
    """The integral over u in [0, 1] of ``k exp(-(1 - u) k) u^n``; elementwise in k, of any shape."""
    return math.factorial(n) * k * phi(n + 1, -k)


def integrals(k: Array, nodes: Sequence[Array]) -> list[Array]:
    """As `moment`, of u, u (u - u_1), u (u - u_1)(u - u_2), ...: the factors of Newton's divided differences.

    Args:
        k: a scalar, or one for each example.
        nodes: u_0 = 0, u_1, ..., each a scalar.

    Returns:
        One less than the nodes, each of the shape of k.
    """
    moments = [moment(n, k) for n in range(1, len(nodes))]
    coefficients: list[Array | float] = [1.0]  # of u, u^2, ...
    results: list[Array] = []
    for node in nodes[1:]:
        terms = [c * m for c, m in zip(coefficients, moments, strict=False)]
        results.append(sum(terms[1:], terms[0]))
        lower, higher = [*coefficients, 0.0], [0.0, *coefficients]
        coefficients = [b - expand(node, k) * a for a, b in zip(lower, higher, strict=True)]
    return results


def differences(nodes: Sequence[Array], values: Sequence[Array]) -> list[Array]:
    """Newton's divided differences f[u_0, u_1], f[u_0, u_1, u_2], ... of values at nodes.

    Nodes that coincide stand for estimates that do not exist yet; theirs is finite, to be multiplied by 0.

    Args:
        nodes: each a scalar.
        values: one float[N, ...] for each node.

    Returns:
        One less than the nodes, each float[N, ...].
    """
    table, results = list(values), []
    for n in range(1, len(nodes)):
        table = [
            (table[j + 1] - table[j]) / apart(nodes[j + n] - nodes[j]).astype(table[j].dtype)
            for j in range(len(table) - 1)
        ]
        results.append(table[0])
    return results


def apart(difference: Array) -> Array:
    """The difference, of any shape, or 1 where it is 0: to divide by."""
    return jnp.where(difference == 0, 1, difference)


def higher_order(
    weights: Weights,
    k: Array,
    nodes: Sequence[Array],
    values: Sequence[Array],
    order: Array,
) -> Array:
    """What the polynomial through the values adds to the integral of its constant term.

    Args:
        weights: the factors of the divided differences.
        k: a scalar, or one for each example.
        nodes: in units of h; the first is 0.
        values: one float[N, ...] for each node.
        order: int[], number of nodes that are used.
    """
    total = jnp.zeros_like(values[0])
    for n, (w, d) in enumerate(
        zip(weights(k, nodes, order), differences(nodes, values), strict=True), start=1
    ):
        total = total + expand(jnp.where(order > n, w, 0), d) * d
    return total


def advance(
    start: Estimate,
    h: Array,
    s: Array,
    schedule: Schedule,
    variable: Variable,
    weights: Weights,
    nodes: Sequence[Array],
    values: Sequence[Array],
    order: Array,
    eta: ArrayLike | None,
    keys: Array,
) -> Array:
    """x at s, a step of `order` from `start`: the step of order 1, and what the polynomial adds to it.

    Args:
        start: where the step begins.
        h: of the step, in lambda; scalar.
        s: where the step ends; scalar.
        schedule: schedule of x.
        variable: what is a polynomial.
        weights, nodes, values, order: see `higher_order`.
        eta: of `first_order_sde`; None: the ODE.
        keys: one for each example; for the SDE.
    """
    if eta is None:
        x_s, k = first_order(start, s, schedule), variable.sign * h
    else:
        x_s = first_order_sde(start, h, s, schedule, eta, keys)
        k = variable.sign * (1 + jnp.asarray(eta)) * h
    return x_s + variable.scale(schedule, s) * higher_order(weights, k, nodes, values, order)


def moderate(h: Array) -> Array:
    """Whether a step is small enough for the noise to be a polynomial in it, bool[].

    Its differences are multiplied by exp(h), h in lambda: 90 at the bound. A step from where alpha is 0 has no end.
    """
    return h < _LARGEST_STEP


def previous_lambda(schedule: Schedule, times: Array, i: Array) -> Array:
    """lambda, float[], at the i-th of the times float[K+1]; for negative i, lambda at the first time."""
    return half_log_snr(schedule, times[jnp.maximum(i, 0)])


def check_choice(name: str, value: object, valid: Sequence[object]) -> None:
    """Raises a UserError unless the value is one of the valid ones."""
    if value not in valid:
        raise UserError(f"{name} = {value!r} must be one of {', '.join(map(repr, valid))}")
