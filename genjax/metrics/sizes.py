"""What is said where a set is too small for a metric."""

from genjax.typing import UserError


class TooFewError(UserError):
    """A set has fewer images than a metric is defined for; scores of several metrics leave that one out, with a
    note."""
