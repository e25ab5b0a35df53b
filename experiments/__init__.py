"""Runnable compositions of the library: presets and commands (train, sample, evaluate)."""

import os

# XLA logs alarms that are none: that a program takes two minutes to compile, and (jax 0.10 and 0.11, on a CPU) an error
# of 3 kB for each program that it reads from the cache. What fails reaches Python as an exception all the same. It is
# read when jax is imported; TF_CPP_MIN_LOG_LEVEL=0 shows everything.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
