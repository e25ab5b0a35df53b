"""Generative adversarial networks, and translation between two domains."""
