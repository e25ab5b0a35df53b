"""Variational and plain autoencoders."""
