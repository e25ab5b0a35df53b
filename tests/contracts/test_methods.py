"""What every training method must do. A method with a line in `genjax.app.methods` is found here."""

import jax
import pytest
from jax.interpreters import partial_eval

from genjax.app import build, checks, kinds
from genjax.app.kinds import networks_for
from genjax.app.methods import METHODS
from tests.contracts.method_contract import MethodContract, Subject, batch
from tests.contracts.small import data_info, small


@pytest.fixture(scope="module", params=METHODS)
def subject(request):
    """With the first network of the table that it can train, at its smallest."""
    config = small(networks_for(METHODS[request.param])[0], request.param)
    checks.check(config)
    method = build.method(config, data_info(config))
    return Subject(method, deterministic=not uses_key(method))


def uses_key(method):
    """Whether anything that a step computes depends on its key."""
    state = jax.eval_shape(method.init, jax.random.key(0), batch())
    closed = jax.make_jaxpr(method.step)(jax.random.key(0), state, batch())
    _, used = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    return used[0]


@pytest.mark.parametrize("name", METHODS)
def test_what_is_said_of_it(name):
    """A method has a help text for every field, and at least one network."""
    kind = METHODS[name]
    assert networks_for(METHODS[name]), f"no network can be {kind.role!r}"
    assert kind.config.__doc__ is not None and "Attributes:" in kind.config.__doc__
    config = small(networks_for(METHODS[name])[0], name)
    assert kinds.name("method", config.method) == name
    assert isinstance(config.method.class_conditional, bool)


class TestMethod(MethodContract):
    """See `MethodContract`."""
