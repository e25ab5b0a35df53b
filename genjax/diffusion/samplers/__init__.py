"""Samplers, one a file. To add one: its file, and one line below.

A sampler that needs something else than a denoiser says so in its file, as ``@needs("consistency")`` above its
constructor; see `Needs`. Every sampler in `SAMPLERS` is held to tests/contracts/test_samplers.py; what each costs and
reaches is measured in docs/samplers.md.
"""

from genjax.diffusion.samplers.base import Needs as Needs
from genjax.diffusion.samplers.base import Sampler as Sampler
from genjax.diffusion.samplers.base import SamplerKind as SamplerKind
from genjax.diffusion.samplers.base import kind as _kind
from genjax.diffusion.samplers.base import needs as needs
from genjax.diffusion.samplers.base import normal as normal
from genjax.diffusion.samplers.consistency import consistency as consistency
from genjax.diffusion.samplers.ddim import ddim as ddim
from genjax.diffusion.samplers.ddpm import ddpm as ddpm
from genjax.diffusion.samplers.deis import deis as deis
from genjax.diffusion.samplers.dpm2 import dpm2 as dpm2
from genjax.diffusion.samplers.dpm2 import dpm2_ancestral as dpm2_ancestral
from genjax.diffusion.samplers.dpm_solver import dpm_solver_multistep as dpm_solver_multistep
from genjax.diffusion.samplers.dpm_solver import dpm_solver_singlestep as dpm_solver_singlestep
from genjax.diffusion.samplers.dpm_solver_pp import dpm_solver_pp_2m as dpm_solver_pp_2m
from genjax.diffusion.samplers.dpm_solver_pp import dpm_solver_pp_2m_sde as dpm_solver_pp_2m_sde
from genjax.diffusion.samplers.dpm_solver_pp import dpm_solver_pp_2s as dpm_solver_pp_2s
from genjax.diffusion.samplers.dpm_solver_pp import dpm_solver_pp_3m as dpm_solver_pp_3m
from genjax.diffusion.samplers.dpm_solver_pp import dpm_solver_pp_3m_sde as dpm_solver_pp_3m_sde
from genjax.diffusion.samplers.dpm_solver_pp import dpm_solver_pp_3s as dpm_solver_pp_3s
from genjax.diffusion.samplers.dpm_solver_pp_sde import (
    dpm_solver_pp_2s_ancestral as dpm_solver_pp_2s_ancestral,
)
from genjax.diffusion.samplers.dpm_solver_pp_sde import dpm_solver_pp_sde as dpm_solver_pp_sde
from genjax.diffusion.samplers.euler import euler as euler
from genjax.diffusion.samplers.euler import euler_ancestral as euler_ancestral
from genjax.diffusion.samplers.heun import heun as heun
from genjax.diffusion.samplers.inversion import ddim_inversion as ddim_inversion
from genjax.diffusion.samplers.ipndm import ipndm as ipndm
from genjax.diffusion.samplers.lms import lms as lms
from genjax.diffusion.samplers.pndm import pndm as pndm
from genjax.diffusion.samplers.predictor_corrector import predictor_corrector as predictor_corrector
from genjax.diffusion.samplers.predictor_corrector import reverse_diffusion as reverse_diffusion
from genjax.diffusion.samplers.repaint import repaint as repaint
from genjax.diffusion.samplers.repaint import repaint_times as repaint_times
from genjax.diffusion.samplers.tcd import tcd as tcd
from genjax.diffusion.samplers.unipc import unipc as unipc

# `repaint` wraps a sampler, `ddim_inversion` goes the other way in time, `tcd` is for networks distilled for it alone.
_OTHERS = (repaint, ddim_inversion, tcd)

SAMPLERS: dict[str, SamplerKind] = {
    name: _kind(make)
    for name, make in list(globals().items())
    if getattr(make, "__annotations__", {}).get("return") is Sampler and make not in _OTHERS
}
"""All samplers that are imported above, by name, each with what it needs; ``SAMPLERS[name](**options)`` makes one."""
