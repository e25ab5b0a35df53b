"""Purity of codes: closed forms."""

import numpy as np
import pytest

from genjax.metrics.purity import purity
from genjax.typing import UserError

LABELS = np.repeat(np.arange(5), 4)


@pytest.mark.parametrize(
    ("codes", "value"),
    [
        (LABELS, 1.0),
        ((LABELS * 3 + 7) % 5, 1.0),  # whatever the codes are called
        (np.zeros(20, int), 0.2),
        (np.arange(20), 1.0),  # a code for each example says nothing
        (np.arange(20) % 4, 0.2),  # each code once in every class
        (np.where(LABELS < 2, 0, LABELS), 0.8),  # two classes share a code
    ],
)
def test_closed_forms(codes, value):
    assert purity(codes, LABELS) == pytest.approx(value)


def test_refusals():
    with pytest.raises(UserError, match="codes and labels are 3 and 2"):
        purity(np.zeros(3, int), np.zeros(2, int))
    with pytest.raises(UserError, match="codes and labels are 0 and 0"):
        purity(np.zeros(0, int), np.zeros(0, int))
