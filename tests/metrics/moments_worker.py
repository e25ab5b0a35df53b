"""A process of tests/metrics/test_multihost.py: moments of its rows, merged with those of the other."""

import sys

import jax
import numpy as np

from genjax.metrics.frechet import moments
from genjax.metrics.multihost import merge_processes


def main():
    jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
    features = np.random.default_rng(0).normal(1e3, 1, (60, 3))
    mine = features[:25] if jax.process_index() == 0 else features[25:]
    found = merge_processes(moments(mine))
    print(found.count, found.mean.tobytes().hex(), found.m2.tobytes().hex())


if __name__ == "__main__":
    main()
