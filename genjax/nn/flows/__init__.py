"""Normalising flows: invertible networks with a log-determinant, as posteriors and priors of latent variables.

A flow is a Linen module with two methods, on vectors float[B,D] and an optional context float[B,E]:

* ``forward(u, context) -> (z, log|det dz/du|)``, from the base distribution to the variable;
* ``inverse(z, context) -> (u, log|det du/dz|)``, each log-determinant float[B].
"""

from genjax.nn.flows.autoregressive import InverseAutoregressive
from genjax.nn.flows.coupling import RealNVP
from genjax.nn.flows.flow import Flow, Inverse
from genjax.nn.flows.group import sample, with_flows

__all__ = ["Flow", "Inverse", "InverseAutoregressive", "RealNVP", "sample", "with_flows"]
