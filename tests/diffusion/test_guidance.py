"""Guidance: closed forms on simple denoisers."""

import jax.numpy as jnp
import numpy as np
import pytest

from genjax.diffusion import PREDICTIONS, denoiser, guidance, schedules

X = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, 2, 1)), jnp.float32)
T = jnp.float32(0.5)


def conditional(x, t):
    return 0.3 * x + 0.7


def unconditional(x, t):
    return 0.1 * x - 0.2


def test_classifier_free_is_linear_in_scale():
    for scale in (0.0, 0.5, 1.0, 4.0):
        actual = guidance.classifier_free(conditional, unconditional, scale)(X, T)
        expected = unconditional(X, T) + scale * (conditional(X, T) - unconditional(X, T))
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_scale_one_is_the_conditional_denoiser_bit_for_bit():
    np.testing.assert_array_equal(
        guidance.classifier_free(conditional, unconditional, 1.0)(X, T), conditional(X, T)
    )


def test_scale_may_differ_by_example():
    scales = jnp.array([0.0, 1.0, 3.0])
    together = guidance.classifier_free(conditional, unconditional, scales)(X, T)
    for i, scale in enumerate(scales):
        alone = guidance.classifier_free(conditional, unconditional, scale)(X, T)
        np.testing.assert_allclose(together[i], alone[i], rtol=1e-6)


@pytest.mark.parametrize("name", PREDICTIONS)
def test_guiding_the_estimate_is_guiding_the_output_of_the_network(name):
    """Ho and Salimans guide the noise; x0_hat is affine in it, and in v."""
    schedule, prediction, scale = schedules.linear(), PREDICTIONS[name], 3.0

    def network(shift):
        return lambda x, c_noise: jnp.tanh(x + shift)

    def guided(x, c_noise):
        return network(0.0)(x, c_noise) + scale * (network(0.5)(x, c_noise) - network(0.0)(x, c_noise))

    denoisers = [denoiser(network(shift), schedule, prediction) for shift in (0.5, 0.0)]
    np.testing.assert_allclose(
        guidance.classifier_free(*denoisers, scale)(X, T),
        denoiser(guided, schedule, prediction)(X, T),
        atol=2e-5,
    )


def test_clip_bounds_the_estimate_and_composes():
    clipped = guidance.clip(lambda x, t: jnp.array([[-3.0, -1.0, 0.25, 7.0]]))(jnp.zeros((1, 4)), T)
    np.testing.assert_array_equal(clipped, [[-1, -1, 0.25, 1]])
    both = guidance.clip(guidance.classifier_free(conditional, unconditional, 20.0), 0.0, 0.5)(10 * X, T)
    assert both.min() == 0 and both.max() == 0.5
