"""Groups of latent variables whose posterior or prior is a normal distribution seen through a flow."""

from genjax.losses import gaussian
from genjax.losses.gaussian import Gaussian, sum_components
from genjax.nn.flows.flow import Flow
from genjax.nn.latent import LatentGroup, draw
from genjax.typing import Array, Key


def with_flows(
    keys: Key,
    posterior: Gaussian,
    prior: Gaussian,
    posterior_flow: Flow | None = None,
    prior_flow: Flow | None = None,
    context: Array | None = None,
    prior_context: Array | None = None,
) -> LatentGroup:
    """A draw from a posterior, `genjax.nn.latent.draw` with flows.

    The draw is z = f(u), u from `posterior`, f the posterior's flow, so log q(z) = log N(u) - log|det dz/du|; the
    prior is the distribution of g(v), v from `prior`, so log p(z) = log N(v) + log|det dv/dz| where v is the inverse
    of z under g. The divergence has no closed form: it is estimated by this draw's log q(z) - log p(z).

    Args:
        keys: Key[B], one for each example.
        posterior: base distribution of the posterior, float[B, ...]; a flow gets its draw as a vector float[B,D].
        prior: base distribution of the prior, of the same shape.
        posterior_flow: None: z is a draw from `posterior`.
        prior_flow: None: `prior` is the prior.
        context: float[B,E] for the posterior's flow, a function of the image.
        prior_context: float[B,E'] for the prior's flow, which must not depend on the image.

    Returns:
        The group; its `posterior` is the base distribution.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.losses import gaussian
        >>> from genjax.nn import flows
        >>> posterior = gaussian.Gaussian(mean=jnp.ones((1, 2)), log_variance=jnp.zeros((1, 2)))
        >>> group = flows.with_flows(jax.random.split(jax.random.key(0), 1), posterior, gaussian.standard((1, 2)))
        >>> group.z.shape, group.kl.tolist()  # without a flow in closed form: half a nat a component
        ((1, 2), [1.0])

    References:
        Rezende and Mohamed, "Variational Inference with Normalizing Flows" (2015), section 3.1.
        Chen et al., "Variational Lossy Autoencoder" (2017), section 3.2, for the prior.
    """
    if posterior_flow is None and prior_flow is None:
        return draw(keys, posterior, prior)
    z = u = gaussian.sample(keys, posterior)
    log_q = sum_components(gaussian.log_density(u, *posterior))
    if posterior_flow is not None:
        flat, log_det = posterior_flow.forward(_flat(u), context)
        z, log_q = flat.reshape(u.shape), log_q - log_det
    log_p = _log_prior(z, prior, prior_flow, prior_context)
    return LatentGroup(z=z, log_q=log_q, log_p=log_p, kl=log_q - log_p, posterior=posterior)


def sample(
    keys: Key,
    prior: Gaussian,
    prior_flow: Flow | None = None,
    prior_context: Array | None = None,
    temperature: float | Array = 1.0,
) -> Array:
    """A draw from the prior of `with_flows`: float[B, ...]. The temperature, one for all
    or float[B], is a factor of the base's standard deviation.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.losses import gaussian
        >>> from genjax.nn import flows
        >>> prior = gaussian.Gaussian(mean=jnp.array([[1.0, 2.0]]), log_variance=jnp.zeros((1, 2)))
        >>> flows.sample(jax.random.split(jax.random.key(0), 1), prior, temperature=0.0).tolist()
        [[1.0, 2.0]]
    """
    v = gaussian.sample(keys, prior, temperature)
    if prior_flow is None:
        return v
    return prior_flow.forward(_flat(v), prior_context)[0].reshape(v.shape)


def _log_prior(z: Array, prior: Gaussian, flow: Flow | None, context: Array | None) -> Array:
    if flow is None:
        return sum_components(gaussian.log_density(z, *prior))
    flat, log_det = flow.inverse(_flat(z), context)
    return sum_components(gaussian.log_density(flat.reshape(z.shape), *prior)) + log_det


def _flat(x: Array) -> Array:
    return x.reshape(len(x), -1)
