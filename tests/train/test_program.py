"""One compilation, and an error that says why there would be a second."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.train.program import Program, RecompileError


def test_compiles_once_and_says_what_differs():
    traces = []

    def double(state, x):
        traces.append(x.shape)
        return state["w"] * x

    program = Program(double, "doubling")
    state = {"w": jnp.float32(2.0)}
    np.testing.assert_array_equal(program(state, jnp.ones(3)), [2, 2, 2])
    np.testing.assert_array_equal(program(state, jnp.zeros(3)), [0, 0, 0])
    assert traces == [(3,)]
    assert program.compile_seconds > 0
    with pytest.raises(RecompileError) as error:
        program(state, jnp.ones(4))
    message = str(error.value)
    assert "doubling" in message
    assert "[1]: compiled float32[3]" in message and "now float32[4]" in message
    assert "['w']" not in message  # what is the same is not listed
    assert traces == [(3,)]


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (np.ones(3, np.int32), "now int32[3]"),
        (None, "now absent"),
        ((jnp.ones(3), jnp.ones(2)), "[1][1]: compiled absent"),
    ],
)
def test_other_differences(x, text):
    program = Program(lambda x: jax.tree.map(lambda y: y + 1, x), "adding")
    program(jnp.ones(3))
    with pytest.raises(RecompileError) as error:
        program(x)
    assert text.replace("[1][1]", "[0][1]") in str(error.value)


def test_errors_of_the_function_itself_pass_through():
    def wrong(x):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        Program(wrong, "wrong")(jnp.ones(3))
