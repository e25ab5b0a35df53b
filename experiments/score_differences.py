"""Scores less earlier ones, where both were measured in the same way."""

from collections.abc import Mapping
from typing import Any

from genjax.metrics import suite
from genjax.metrics.protocol import Protocol, Result, compare
from genjax.typing import UserError


def differences(scores: Mapping[str, Any], before: Mapping[str, Any], name: str) -> dict[str, float]:
    """What has changed, by name of the score: above zero where `scores` is higher.

    Args:
        scores: with "protocols", as `genjax.metrics.score.score` returns.
        before: the same, of an earlier measurement.
        name: of that, for messages.

    Raises:
        ProtocolError: a metric that both have was measured in two ways; the message says in what they differ.
        UserError: they have no metric in common.
    """
    here, there = (x.get("protocols", {}) for x in (scores, before))
    common = [metric for metric in here if metric in there]
    if not common:
        raise UserError(
            f"against={name!r} has no metric in common with these scores: it has {sorted(there)}, these {sorted(here)}"
        )
    found = {}
    for metric in common:
        now, then = (Protocol.parse(x[metric]) for x in (here, there))
        for value in suite.METRICS[metric].values:
            if scores.get(value) is not None and before.get(value) is not None:
                found[value] = compare(
                    Result(f"{value} of these scores", scores[value], now),
                    Result(f"{value} of {name}", before[value], then),
                )
    return found
