"""Grids of sampling times."""

import numpy as np
import pytest

from genjax.diffusion import grids
from genjax.typing import UserError


def test_linspace_goes_from_noise_to_clean_in_equal_steps():
    np.testing.assert_allclose(grids.linspace(4), [1, 0.75, 0.5, 0.25, 0], rtol=1e-7)


def test_linspace_of_all_steps_is_the_discrete_schedule():
    np.testing.assert_array_equal(grids.linspace(1000), (np.arange(1000, -1, -1) / 1000).astype(np.float32))


def test_no_steps_is_an_error():
    with pytest.raises(UserError, match="num_steps = 0 must be at least 1"):
        grids.linspace(0)
