"""Numbers are compared with like numbers only."""

import dataclasses

import pytest

from genjax.metrics.protocol import Protocol, ProtocolError, Result, compare, ratio
from genjax.typing import UserError

PROTOCOL = Protocol(
    metric="fd", extractor="net@abc", resize="linear", num_samples=10_000, reference="mnist/test[:10000]#12"
)


def test_like_results_compare():
    a, b = Result("a", 3.0, PROTOCOL), Result("b", 4.0, dataclasses.replace(PROTOCOL))
    assert compare(a, b) == -1.0
    assert ratio(a, b) == 0.75
    assert ratio(a, Result("b", 0.0, PROTOCOL)) == float("inf")


@pytest.mark.parametrize("function", [compare, ratio])
@pytest.mark.parametrize(
    "change",
    [
        {"metric": "kd"},
        {"extractor": "net@abd"},
        {"resize": "cubic"},
        {"num_samples": 5_000},
        {"reference": "mnist/train[:10000]#34"},
    ],
)
def test_unlike_results_are_refused(function, change):
    a = Result("ours", 3.0, PROTOCOL)
    b = Result("theirs", 4.0, dataclasses.replace(PROTOCOL, **change))
    with pytest.raises(ProtocolError) as error:
        function(a, b)
    ((name, value),) = change.items()
    message = str(error.value)
    assert f"{name} ({getattr(PROTOCOL, name)!r} and {value!r})" in message
    assert "'ours'" in message and "'theirs'" in message
    assert [field.name for field in dataclasses.fields(Protocol) if f"{field.name} (" in message] == [name]
    assert isinstance(error.value, UserError)


def test_text_is_canonical():
    assert str(PROTOCOL) == (
        '{"extractor": "net@abc", "metric": "fd", "num_samples": 10000, '
        '"reference": "mnist/test[:10000]#12", "resize": "linear"}'
    )
    assert Protocol.parse(str(PROTOCOL)) == PROTOCOL


@pytest.mark.parametrize("text", ["fd", "{}", '["fd"]', '{"metric": "fd", "other": 1}'])
def test_other_text_is_refused(text):
    with pytest.raises(UserError, match="not a protocol, which is a JSON object of metric, extractor"):
        Protocol.parse(text)
