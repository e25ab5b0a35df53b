"""What surveys claim, measured here: ``python -m experiments.claims``.

* `claim`: what a claim is, and when a measurement supports a claim.
* `registry`: all of them by name. Those that can be tested, one idea a file: `sampling_speed`, `latent_compute`,
  `mode_collapse`, `edits`, `blur`, `quantisation`, `epochs`; `untestable`: those that cannot, and why.
* `runs`: finished runs that are found, or trained where they are cheap; `autoencoders`: more, without a quantiser.
"""
