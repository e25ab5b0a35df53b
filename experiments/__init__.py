"""Runnable compositions of the library: presets and commands (train, sample, evaluate)."""

import os
from importlib import metadata

# These versions log an error of 3 kB for each program they read from the compilation cache on a CPU, because
# "prefer-no-scatter", a preference of the compiler, is no feature of the machine. Read when jax is imported.
if metadata.version("jax").startswith(("0.10.", "0.11.")):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
