"""Runnable compositions of the library: presets and commands (train, sample, evaluate)."""
