"""DPM-Solver, DPM-Solver++, DEIS and UniPC against diffusers: whole trajectories in float64, with the same noise.

What of theirs had to be configured around:

* Their noise-prediction solvers may not go to sigma = 0, so those end at their time step 0, t = 1/T here (DEIS always).
* DPMSolverSinglestepScheduler has no trailing spacing: its times are whatever `set_timesteps` gives. Its default for
  lower_order_final is False, which it turns into True for a step to sigma = 0 and for blocks that do not fit.
* DPMSolverMultistepScheduler steps in float32 whatever the dtype of x; see `common.float64`.
* Its "sde-dpmsolver++" of order 3 has the wrong sign in the coefficient of the second difference, which tends to -1
  and not to 0 for small steps; ours is compared with k-diffusion's, in test_k_diffusion.py.
* UniPCMultistepScheduler with "bh1" gives NaN (inf times 0) in a step to sigma = 0.
* lower_order_final holds for fewer than 15 steps in the multistep methods, for any number in the others.
"""

import re

import jax
import numpy as np
import pytest

from genjax.diffusion.samplers import (
    ddim,
    deis,
    dpm_solver_multistep,
    dpm_solver_pp_2m,
    dpm_solver_pp_2m_sde,
    dpm_solver_pp_2s,
    dpm_solver_pp_3m,
    dpm_solver_pp_3s,
    dpm_solver_singlestep,
    unipc,
)
from tests.parity.common import diffusers_states, named, noises, ours, start

# Other people's import-time warnings are not ours to fix.
pytestmark = pytest.mark.filterwarnings("ignore")

NUM_STEPS = (10, 20, 50)


def multistep(algorithm_type, solver_order, solver_type="midpoint", **options):
    if algorithm_type == "dpmsolver":
        options["final_sigmas_type"] = "sigma_min"
    options |= {
        "algorithm_type": algorithm_type,
        "solver_order": solver_order,
        "solver_type": solver_type,
        "timestep_spacing": "trailing",
    }
    return "DPMSolverMultistepScheduler", options


def singlestep(algorithm_type, solver_order, solver_type="midpoint", lower_order_final=True):
    options = {
        "algorithm_type": algorithm_type,
        "solver_order": solver_order,
        "solver_type": solver_type,
        "lower_order_final": lower_order_final,
    }
    if algorithm_type == "dpmsolver":
        options["final_sigmas_type"] = "sigma_min"
    return "DPMSolverSinglestepScheduler", options


def unipc_scheduler(solver_order, solver_type="bh2", **options):
    options |= {"solver_order": solver_order, "solver_type": solver_type, "timestep_spacing": "trailing"}
    return "UniPCMultistepScheduler", options


def deis_scheduler(solver_order, **options):
    return "DEISMultistepScheduler", options | {"solver_order": solver_order, "timestep_spacing": "trailing"}


LATE = {"lower_order_final": False}
ALL_STEPS = {"disable_corrector": list(range(max(NUM_STEPS)))}

# (our constructor, its arguments, (their class, its arguments))
CASES = [
    (ddim, {}, multistep("dpmsolver", 1)),
    (ddim, {}, multistep("dpmsolver++", 1)),
    (ddim, {"eta": 1.0}, multistep("sde-dpmsolver++", 1)),
    (dpm_solver_multistep, {"order": 2}, multistep("dpmsolver", 2)),
    (dpm_solver_multistep, {"order": 2, "solver_type": "heun"}, multistep("dpmsolver", 2, "heun")),
    (dpm_solver_multistep, {"order": 3}, multistep("dpmsolver", 3)),
    (dpm_solver_multistep, {"order": 3, "solver_type": "heun"}, multistep("dpmsolver", 3, "heun")),
    (dpm_solver_multistep, {"order": 3, **LATE}, multistep("dpmsolver", 3, **LATE)),
    (dpm_solver_pp_2m, {}, multistep("dpmsolver++", 2)),
    (dpm_solver_pp_2m, {"solver_type": "heun"}, multistep("dpmsolver++", 2, "heun")),
    (dpm_solver_pp_2m, LATE, multistep("dpmsolver++", 2, **LATE)),
    (dpm_solver_pp_3m, {}, multistep("dpmsolver++", 3)),
    (dpm_solver_pp_3m, {"solver_type": "heun"}, multistep("dpmsolver++", 3, "heun")),
    (dpm_solver_pp_3m, LATE, multistep("dpmsolver++", 3, **LATE)),
    (dpm_solver_pp_2m_sde, {}, multistep("sde-dpmsolver++", 2)),
    (dpm_solver_pp_2m_sde, {"solver_type": "heun"}, multistep("sde-dpmsolver++", 2, "heun")),
    (dpm_solver_singlestep, {"order": 1}, singlestep("dpmsolver", 1)),
    (dpm_solver_singlestep, {"order": 2}, singlestep("dpmsolver", 2)),
    (dpm_solver_singlestep, {"order": 2, "solver_type": "heun"}, singlestep("dpmsolver", 2, "heun")),
    (dpm_solver_singlestep, {"order": 2, **LATE}, singlestep("dpmsolver", 2, **LATE)),
    (dpm_solver_singlestep, {"order": 3}, singlestep("dpmsolver", 3)),
    (dpm_solver_singlestep, {"order": 3, "solver_type": "heun"}, singlestep("dpmsolver", 3, "heun")),
    (dpm_solver_pp_2s, {}, singlestep("dpmsolver++", 2)),
    (dpm_solver_pp_2s, {"solver_type": "heun"}, singlestep("dpmsolver++", 2, "heun")),
    (dpm_solver_pp_3s, {}, singlestep("dpmsolver++", 3)),
    (dpm_solver_pp_3s, {"solver_type": "heun"}, singlestep("dpmsolver++", 3, "heun")),
    (deis, {"order": 1}, deis_scheduler(1)),
    (deis, {"order": 2}, deis_scheduler(2)),
    (deis, {"order": 3}, deis_scheduler(3)),
    (deis, {"order": 3, **LATE}, deis_scheduler(3, **LATE)),
    (unipc, {"order": 1}, unipc_scheduler(1)),
    (unipc, {"order": 2}, unipc_scheduler(2)),
    (unipc, {"order": 3}, unipc_scheduler(3)),
    (unipc, {"order": 2, "variant": "bh1"}, unipc_scheduler(2, "bh1", final_sigmas_type="sigma_min")),
    (unipc, {"order": 3, "variant": "bh1"}, unipc_scheduler(3, "bh1", final_sigmas_type="sigma_min")),
    (unipc, {"order": 3, "corrector": False}, unipc_scheduler(3, **ALL_STEPS)),
    (
        unipc,
        {"order": 2, "predict": "noise"},
        unipc_scheduler(2, predict_x0=False, final_sigmas_type="sigma_min"),
    ),
    (
        unipc,
        {"order": 3, "predict": "noise", "variant": "bh1", **LATE},
        unipc_scheduler(3, "bh1", predict_x0=False, final_sigmas_type="sigma_min", **LATE),
    ),
]

COMPARED = [
    (named(*ours_), re.sub(r"\[0, 1, .*?, (\d+)\]", r"[0, ..., \1]", named(*theirs)))
    for *ours_, theirs in CASES
]
"""(our sampler, theirs), each with its arguments; all at `NUM_STEPS`, to 1e-9."""


@pytest.mark.parametrize("num_steps", NUM_STEPS)
@pytest.mark.parametrize(("constructor", "arguments", "theirs"), CASES, ids=[f"{a}={b}" for a, b in COMPARED])
def test_same_trajectory(constructor, arguments, theirs, num_steps):
    torch, diffusers = pytest.importorskip("torch"), pytest.importorskip("diffusers")
    name, options = theirs
    with jax.enable_x64(True):
        noise = noises(start()[0], num_steps)

        def step(scheduler, output, t, x, i):
            keywords = {}
            if options.get("algorithm_type", "").startswith("sde"):
                keywords = {"variance_noise": torch.from_numpy(noise[i])}
            return scheduler.step(output, t, x, **keywords).prev_sample

        times, expected = diffusers_states(getattr(diffusers, name), num_steps, step, **options)
        assert times.size == num_steps + 1
        actual = ours(constructor(**arguments), times)
    assert actual.dtype == np.float64
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-9)
