"""The page about samplers: ``python -m experiments.gallery``."""
