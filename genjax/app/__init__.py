"""What a trained run needs: configs, the networks and methods by name, checks, the workdir, restoring and scoring.

`genjax.load` is the way in. The command line in `experiments` is made of these parts.
"""
