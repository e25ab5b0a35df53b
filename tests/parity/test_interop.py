"""`from_diffusers_config` against the class it read the configuration of: whole trajectories in float64.

How they are compared, and what is configured around, stands in `scheduler_configs`. ``python -m
tests.parity.scheduler_configs`` compares as many random configurations as one likes; docs/results.md has 2,000.
"""

import inspect

import numpy as np
import pytest

from genjax.diffusion.interop import CLASSES, FIELDS
from tests.diffusion.scheduler_files import FILES
from tests.parity.scheduler_configs import compare, draw, in_float64

# Other people's import-time warnings are not ours to fix.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.quick_compilation]

SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
KARRAS = {"use_karras_sigmas": True}
IN_SIGMA = [
    {},
    SD | {"timestep_spacing": "leading", "steps_offset": 1},
    {"timestep_spacing": "trailing"},
    KARRAS,
]
V = {"prediction_type": "v_prediction"}
SVD = KARRAS | V | {"sigma_min": 0.002, "sigma_max": 700.0, "timestep_type": "continuous"}
FLOW_SIGMAS = {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}
DYNAMIC = {"use_dynamic_shifting": True, "shift_terminal": 0.1}
LINEAR = {"time_shift_type": "linear"}
CASES = {
    "DDIMScheduler": [
        {"clip_sample": False},
        SD | V | {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1},
        {"clip_sample": False, "timestep_spacing": "trailing", "rescale_betas_zero_snr": True} | V,
        {"timestep_spacing": "linspace", "num_train_timesteps": 501},
    ],
    "DDPMScheduler": [
        {"clip_sample": False, "prediction_type": "sample"},
        {"clip_sample": True, "beta_schedule": "squaredcos_cap_v2"},
        {"thresholding": True, "sample_max_value": 1.5},
        {"timestep_spacing": "trailing", "num_train_timesteps": 997},
    ],
    "PNDMScheduler": [
        SD | {"skip_prk_steps": True, "steps_offset": 1},
        {"timestep_spacing": "trailing", "set_alpha_to_one": True},
    ],
    "IPNDMScheduler": [{}],
    "LCMScheduler": [{}, V | {"clip_sample": True, "original_inference_steps": 40}],
    "TCDScheduler": [{}, V],
    "EulerDiscreteScheduler": [
        *IN_SIGMA,
        {"use_exponential_sigmas": True},
        {"final_sigmas_type": "sigma_min", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        | V,
        {"use_beta_sigmas": True, "sigma_max": 30.0},
        SVD,
    ],
    "EulerAncestralDiscreteScheduler": IN_SIGMA[:3],
    "HeunDiscreteScheduler": IN_SIGMA,
    "KDPM2DiscreteScheduler": IN_SIGMA,
    "KDPM2AncestralDiscreteScheduler": IN_SIGMA,
    "LMSDiscreteScheduler": IN_SIGMA,
    "DPMSolverMultistepScheduler": [
        *IN_SIGMA[:3],
        {"use_karras_sigmas": True, "solver_order": 3, "beta_schedule": "squaredcos_cap_v2"},
        {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min", "solver_type": "heun"},
        {"algorithm_type": "sde-dpmsolver++"} | V,
        {"algorithm_type": "sde-dpmsolver++", "solver_order": 1},
        {"euler_at_final": True, "final_sigmas_type": "sigma_min", "lambda_min_clipped": -3.0},
        KARRAS | {"final_sigmas_type": "sigma_min"} | V,
        FLOW_SIGMAS,
    ],
    "DPMSolverSinglestepScheduler": [
        {},
        {
            "solver_order": 3,
            "algorithm_type": "dpmsolver",
            "final_sigmas_type": "sigma_min",
            "lower_order_final": True,
        },
        {"algorithm_type": "sde-dpmsolver++"},
        {"algorithm_type": "sde-dpmsolver++", "solver_order": 3},
    ],
    "DEISMultistepScheduler": [{}, KARRAS, {"solver_order": 3, "timestep_spacing": "trailing"}],
    "UniPCMultistepScheduler": [
        {},
        {"solver_order": 3, "solver_type": "bh1", "predict_x0": False, "final_sigmas_type": "sigma_min"},
        FLOW_SIGMAS | {"shift_terminal": 0.1},
    ],
    "EDMEulerScheduler": [
        {"final_sigmas_type": "sigma_min"},
        V | {"sigma_schedule": "exponential", "sigma_data": 0.7},
    ],
    "EDMDPMSolverMultistepScheduler": [V, {"solver_order": 3, "sigma_min": 0.01}],
    "FlowMatchEulerDiscreteScheduler": [
        {},
        {"shift": 3.0},
        {"stochastic_sampling": True},
        DYNAMIC,
        DYNAMIC | LINEAR,
    ],
    "FlowMatchHeunDiscreteScheduler": [{}, {"shift": 3.0}],
    "CMStochasticIterativeScheduler": [{}],
    "ScoreSdeVeScheduler": [{"sigma_max": 50.0, "correct_steps": 1}],
    "SCMScheduler": [{}],
}
COMPARED = [
    (
        f'from_diffusers_config({{"_class_name": "{name}", ...}})',
        f"{name}, {len(options)} and random configurations",
    )
    for name, options in CASES.items()
]


@pytest.fixture(scope="module")
def diffusers():
    pytest.importorskip("torch")
    return pytest.importorskip("diffusers")


@pytest.fixture(autouse=True)
def float64(diffusers):
    with in_float64():
        yield


def test_every_class_is_compared():
    assert {name.replace("Parallel", "") for name in CLASSES} == set(CASES)


@pytest.mark.parametrize("name", CLASSES)
def test_fields_are_those_of_the_constructor(diffusers, name):
    """With their defaults. For a ramp, sigma_min and sigma_max are read from a file by all classes that have one."""
    parameters = list(inspect.signature(getattr(diffusers, name).__init__).parameters.values())[1:]
    theirs = {parameter.name: parameter.default for parameter in parameters}
    ours = dict(FIELDS[name])
    if "use_karras_sigmas" in ours:
        theirs = {"sigma_min": None, "sigma_max": None} | theirs
        ours = {"sigma_min": None, "sigma_max": None} | ours
    assert ours == theirs


@pytest.mark.parametrize("name", CASES)
def test_trajectories(diffusers, name):
    for config in CASES[name]:
        assert compare(diffusers, name, config, 20) == "equal", config


def test_random_configurations(diffusers):
    verdicts = [compare(diffusers, *draw(np.random.default_rng([1, i]))) for i in range(12)]
    assert not [verdict for verdict in verdicts if verdict.startswith("WRONG")]
    assert verdicts.count("equal") >= 8


def test_files_of_public_repositories(diffusers):
    wrong = {}
    for name, fields in FILES.items():
        fields = dict(fields)
        verdict = compare(diffusers, fields.pop("_class_name"), fields, 20)
        if verdict != "equal":
            wrong[name] = verdict
    assert not wrong
