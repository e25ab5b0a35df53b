"""On CPU no convolution is left in a layout for which XLA has only its naive routine inside loops and conditionals."""

import re

import jax
import jax.numpy as jnp
import pytest

from genjax.nn import Conv

CANONICAL = "b01f_01io->b01f"


def layouts(function, *args):
    """Of all convolutions of the compiled program, as XLA writes them."""
    return re.findall(r"dim_labels=(\S+?)[,\s]", jax.jit(function).lower(*args).compile().as_text() + " ")


@pytest.mark.parametrize(
    "kernel_size, stride", [((3, 5), 1), ((1, 3), 1), ((3, 3), 1), ((5, 5), 1), ((3, 5), 2)]
)
@pytest.mark.parametrize("towards", ["kernel", "input"])
def test_gradients_inside_a_conditional(kernel_size, stride, towards):
    """Kernels that are not square and small take no shortcut; 3x3 ones on few pixels neither."""
    conv = Conv(40, kernel_size, strides=(stride, stride))
    x = jnp.ones((8, 6 * stride, 6 * stride, 36))
    kernel = conv.init(jax.random.key(0), x)

    def gradient(kernel, x):
        argument = 0 if towards == "kernel" else 1
        return jax.grad(lambda kernel, x: jnp.sin(conv.apply(kernel, x)).sum(), argument)(kernel, x)

    def conditional(yes, kernel, x):
        zeros = jax.tree.map(jnp.zeros_like, kernel if towards == "kernel" else x)
        return jax.lax.cond(yes, lambda: gradient(kernel, x), lambda: zeros)

    found = layouts(conditional, True, kernel, x)
    assert found and set(found) == {CANONICAL}, found
