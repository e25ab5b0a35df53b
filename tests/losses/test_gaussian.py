"""Normal distributions against closed forms and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from genjax.losses import gaussian
from genjax.losses.gaussian import Gaussian


def test_kl_from_the_standard_normal():
    q = Gaussian(jnp.ones((1, 1)), jnp.log(jnp.full((1, 1), 0.25)))
    np.testing.assert_allclose(gaussian.kl(q, gaussian.standard((1, 1))), [[0.8181472]], rtol=1e-6)


def test_kl_is_the_mean_log_ratio():
    """Between two normal distributions neither of which is standard; by quadrature."""
    q = Gaussian(jnp.array([[0.3]]), jnp.array([[-0.7]]))
    p = Gaussian(jnp.array([[-0.4]]), jnp.array([[0.5]]))
    x = np.linspace(-8, 8, 20001)
    log_q, log_p = (
        scipy.stats.norm(d.mean[0, 0], np.exp(d.log_variance[0, 0] / 2)).logpdf(x) for d in (q, p)
    )
    expected = np.trapezoid(np.exp(log_q) * (log_q - log_p), x)
    np.testing.assert_allclose(gaussian.kl(q, p)[0, 0], expected, rtol=1e-6)
    assert gaussian.kl(p, p)[0, 0] == 0


def test_log_density_is_scipys():
    x, mean, log_variance = jax.random.normal(jax.random.key(0), (3, 5, 2))
    expected = scipy.stats.norm(mean, np.exp(log_variance / 2)).logpdf(x)
    np.testing.assert_allclose(gaussian.log_density(x, mean, log_variance), expected, rtol=1e-5)


def test_samples_have_the_moments_and_belong_to_their_keys():
    keys = jax.random.split(jax.random.key(0), 20_000)
    d = Gaussian(jnp.full((20_000, 1), 2.0), jnp.full((20_000, 1), jnp.log(9.0)))
    x = gaussian.sample(keys, d)
    np.testing.assert_allclose([x.mean(), x.std()], [2, 3], atol=0.07)
    np.testing.assert_array_equal(
        gaussian.sample(keys[5:6], Gaussian(d.mean[:1], d.log_variance[:1])), x[5:6]
    )
    temperature = jnp.where(jnp.arange(20_000) < 10_000, 0.0, 0.5)
    cooled = gaussian.sample(keys, d, temperature)
    assert (cooled[:10_000] == 2).all()
    np.testing.assert_allclose(cooled[10_000:].std(), 1.5, atol=0.04)
