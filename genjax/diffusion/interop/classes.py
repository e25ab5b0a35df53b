"""What each scheduler class of `diffusers` is, in the terms of this library."""

from genjax.diffusion import samplers
from genjax.diffusion.interop import continuous, in_sigma, in_steps
from genjax.diffusion.interop.described import Describe
from genjax.diffusion.samplers import coordinates

CLASSES: dict[str, Describe] = {
    "DDIMScheduler": in_steps.ddim,
    "DDIMParallelScheduler": in_steps.ddim,
    "DDPMScheduler": in_steps.ddpm,
    "DDPMParallelScheduler": in_steps.ddpm,
    "PNDMScheduler": in_steps.pndm,
    "IPNDMScheduler": in_steps.ipndm,
    "LCMScheduler": in_steps.lcm,
    "TCDScheduler": in_steps.tcd,
    "EulerDiscreteScheduler": in_sigma.k_diffusion(samplers.euler),
    "EulerAncestralDiscreteScheduler": in_sigma.k_diffusion(samplers.euler_ancestral),
    "HeunDiscreteScheduler": in_sigma.k_diffusion(samplers.heun),
    "KDPM2DiscreteScheduler": in_sigma.k_diffusion(samplers.dpm2),
    "KDPM2AncestralDiscreteScheduler": in_sigma.k_diffusion(samplers.dpm2_ancestral),
    "LMSDiscreteScheduler": in_sigma.lms,
    "DPMSolverMultistepScheduler": in_sigma.dpm_multistep,
    "DPMSolverSinglestepScheduler": in_sigma.dpm_singlestep,
    "DEISMultistepScheduler": in_sigma.deis,
    "UniPCMultistepScheduler": in_sigma.unipc,
    "EDMEulerScheduler": continuous.edm(lambda options: samplers.euler()),
    "EDMDPMSolverMultistepScheduler": continuous.edm(in_sigma.multistep_sampler),
    "FlowMatchEulerDiscreteScheduler": continuous.flow(continuous.flow_euler),
    "FlowMatchHeunDiscreteScheduler": continuous.flow(
        lambda options: samplers.heun(coordinates=coordinates.flow)
    ),
    "CMStochasticIterativeScheduler": continuous.consistency,
    "ScoreSdeVeScheduler": continuous.score_sde,
    "SCMScheduler": continuous.trigflow,
}
"""By class name, those that are supported. `fields.FIELDS` has the fields of each."""
