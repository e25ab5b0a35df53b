"""Denoisers: networks of diffusion models."""
