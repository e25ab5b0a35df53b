"""Comparative studies: presets, variants and seeds trained under one roof, ``python -m experiments.study``."""
