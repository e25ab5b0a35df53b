"""Folded batch normalisation: against the layer it replaces, and the check of a file's arrays."""

import jax
import numpy as np
import pytest
from jax import lax

from genjax.metrics import folding, weight_files
from genjax.typing import UserError

SHAPE = 3, 3, 4, 6


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    shapes = folding.state_dict_shapes("conv", "norm", SHAPE)
    assert shapes["conv.weight"] == (6, 4, 3, 3) and set(shapes.values()) == {(6, 4, 3, 3), (6,)}
    drawn = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return {**drawn, "norm.running_var": rng.uniform(1e-4, 1e-2, 6)}


def test_convolution_and_normalisation(arrays):
    with jax.enable_x64(True):
        x = np.random.default_rng(1).normal(size=(2, 5, 5, 4))
        kernel = arrays["conv.weight"].transpose(2, 3, 1, 0)

        def convolve(kernel):
            return np.asarray(
                lax.conv_general_dilated(
                    x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
                )
            )

        y = (convolve(kernel) - arrays["norm.running_mean"]) / np.sqrt(arrays["norm.running_var"] + 1e-3)
        y = y * arrays["norm.weight"] + arrays["norm.bias"]
        folded = folding.fold(arrays, "conv", "norm", 1e-3)
        assert folded.kernel.shape == SHAPE and folded.kernel.dtype == folded.bias.dtype == np.float32
        # The kernel was rounded once, at the end.
        np.testing.assert_allclose(
            convolve(folded.kernel.astype(np.float64)) + folded.bias, y, rtol=1e-5, atol=1e-4
        )


def test_arrays_are_checked(arrays):
    expected = folding.state_dict_shapes("conv", "norm", SHAPE)
    weight_files.check_arrays(
        "file", arrays | {"norm.num_batches_tracked": np.array(3)}, expected, "a network"
    )
    wrong = {**arrays, "norm.bias": np.zeros(7), "norm.weight": np.zeros(6, int), "more": np.zeros(1)}
    del wrong["conv.weight"]
    with pytest.raises(
        UserError, match="path is 'file': not weights of a network; these arrays differ: "
    ) as error:
        weight_files.check_arrays("file", wrong, expected, "a network")
    assert str(error.value).endswith("conv.weight, more, norm.bias, norm.weight")
    with pytest.raises(UserError, match=r"a0, a1, a2, a3, a4 and 5 more$"):
        weight_files.check_arrays("file", {}, {f"a{i}": () for i in range(10)}, "a network")
