"""The run on the digits and the verbs, from tests/experiments."""

from tests.experiments.conftest import digest, run, train_tiny, verb

__all__ = ["digest", "run", "train_tiny", "verb"]
