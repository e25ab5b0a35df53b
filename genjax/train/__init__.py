"""The training loop and what it stands on: sharding, compiled programs, checkpoints, logs.

`genjax.train.checkpoint` and `genjax.train.fit` import Orbax, so they are imported by name where they are needed, not
here.
"""
