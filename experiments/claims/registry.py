"""All claims, by name, in the order in which they are tested: cheap ones first."""

from experiments.claims import (
    blur,
    edits,
    epochs,
    latent_compute,
    mode_collapse,
    quantisation,
    sampling_speed,
    untestable,
)
from experiments.claims.claim import Claim

CLAIMS: dict[str, Claim] = {
    claim.name: claim
    for module in (
        latent_compute,
        mode_collapse,
        edits,
        epochs,
        blur,
        quantisation,
        sampling_speed,
        untestable,
    )
    for claim in module.CLAIMS
}
