"""Paths between codes."""

import jax.numpy as jnp
import numpy as np

from genjax.methods.latent_space import interpolate, traverse


def test_traversal_changes_one_component():
    path = traverse(jnp.array([1.0, 2.0, 3.0]), 1, jnp.array([-1.0, 0.0]))
    np.testing.assert_array_equal(path, [[1, -1, 3], [1, 0, 3]])


def test_interpolation_goes_along_the_arc_between_the_ends():
    a, b = jnp.array([2.0, 0.0, 0.0]), jnp.array([0.0, 4.0, 0.0])
    path = interpolate(a, b, 5)
    np.testing.assert_allclose(path[0], a, atol=1e-6)
    np.testing.assert_allclose(path[-1], b, atol=1e-6)
    np.testing.assert_allclose(path[2], np.array([3, 3, 0]) / np.sqrt(2), atol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(path, axis=1), [2, 2.5, 3, 3.5, 4], rtol=1e-5)


def test_interpolation_between_any_directions_keeps_the_length():
    path = interpolate(jnp.array([1.0, 0.0]), jnp.array([0.5, 0.75**0.5]), 3)
    np.testing.assert_allclose(path[1], [0.75**0.5, 0.5], rtol=1e-5)


def test_interpolation_between_parallel_and_opposite_codes_is_straight():
    a = jnp.array([1.0, -1.0])
    np.testing.assert_allclose(interpolate(a, 3 * a, 3), [[1, -1], [2, -2], [3, -3]], rtol=1e-5)
    assert jnp.isfinite(interpolate(a, -a, 3)).all()
    assert jnp.isfinite(interpolate(0 * a, a, 3)).all()
