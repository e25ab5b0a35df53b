"""Denoising diffusion and what is built on it."""
