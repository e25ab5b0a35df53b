"""Pure functions of arrays: likelihoods, divergences, penalties. No network in them."""
