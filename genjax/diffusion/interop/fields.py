"""Which fields each scheduler class of `diffusers` reads, with the values that it takes where a file has none.

A file often carries fields of another class: whoever turns one scheduler into another there keeps them. A class reads
only the fields of its own line here; the other ones are ignored.
"""

from collections.abc import Mapping
from typing import Any

_TRAINED: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
}
_SD_BETAS: Mapping[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012}
_LEADING: Mapping[str, Any] = {"timestep_spacing": "leading", "steps_offset": 0}
_LINSPACE: Mapping[str, Any] = {"timestep_spacing": "linspace", "steps_offset": 0}
_CLIPS: Mapping[str, Any] = {"clip_sample": True, "clip_sample_range": 1.0}
_NO_CLIP: Mapping[str, Any] = {"clip_sample": False, "clip_sample_range": 1.0}
_THRESHOLDING: Mapping[str, Any] = {
    "thresholding": False,
    "dynamic_thresholding_ratio": 0.995,
    "sample_max_value": 1.0,
}
_ZERO_SNR: Mapping[str, Any] = {"rescale_betas_zero_snr": False}
# Most of these constructors don't take sigma_min and sigma_max, but all of these classes read them for a ramp.
_RAMPS: Mapping[str, Any] = {
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "sigma_min": None,
    "sigma_max": None,
}
_FLOW_SIGMAS: Mapping[str, Any] = {
    "use_flow_sigmas": False,
    "flow_shift": 1.0,
    "use_dynamic_shifting": False,
    "time_shift_type": "exponential",
}
_FINAL: Mapping[str, Any] = {"final_sigmas_type": "zero"}
_SOLVER: Mapping[str, Any] = {
    "solver_order": 2,
    "algorithm_type": "dpmsolver++",
    "solver_type": "midpoint",
    "lower_order_final": True,
}
_DPM: Mapping[str, Any] = {
    **_TRAINED,
    **_SOLVER,
    **_THRESHOLDING,
    **_RAMPS,
    **_FLOW_SIGMAS,
    **_FINAL,
    "lambda_min_clipped": -float("inf"),
    "variance_type": None,
}
_DDIM: Mapping[str, Any] = {
    **_TRAINED,
    **_LEADING,
    **_CLIPS,
    **_THRESHOLDING,
    **_ZERO_SNR,
    "set_alpha_to_one": True,
}
_DDPM: Mapping[str, Any] = {
    **_TRAINED,
    **_LEADING,
    **_CLIPS,
    **_THRESHOLDING,
    **_ZERO_SNR,
    "variance_type": "fixed_small",
}
_LATENT_CONSISTENCY: Mapping[str, Any] = {
    **_DDIM,
    **_SD_BETAS,
    **_NO_CLIP,
    "beta_schedule": "scaled_linear",
    "original_inference_steps": 50,
    "timestep_scaling": 10.0,
}
_EDM: Mapping[str, Any] = {
    **_FINAL,
    "sigma_min": 0.002,
    "sigma_max": 80.0,
    "sigma_data": 0.5,
    "sigma_schedule": "karras",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "rho": 7.0,
}
_FLOW_MATCH: Mapping[str, Any] = {"num_train_timesteps": 1000, "shift": 1.0}

FIELDS: Mapping[str, Mapping[str, Any]] = {
    "DDIMScheduler": _DDIM,
    "DDIMParallelScheduler": _DDIM,
    "DDPMScheduler": _DDPM,
    "DDPMParallelScheduler": _DDPM,
    "PNDMScheduler": {**_TRAINED, **_LEADING, "skip_prk_steps": False, "set_alpha_to_one": False},
    "IPNDMScheduler": {"num_train_timesteps": 1000, "trained_betas": None},
    "LCMScheduler": _LATENT_CONSISTENCY,
    "TCDScheduler": _LATENT_CONSISTENCY,
    "EulerDiscreteScheduler": {
        **_TRAINED,
        **_LINSPACE,
        **_RAMPS,
        **_ZERO_SNR,
        **_FINAL,
        "interpolation_type": "linear",
        "timestep_type": "discrete",
    },
    "EulerAncestralDiscreteScheduler": {**_TRAINED, **_LINSPACE, **_ZERO_SNR},
    "HeunDiscreteScheduler": {**_TRAINED, **_SD_BETAS, **_LINSPACE, **_RAMPS, **_NO_CLIP},
    "KDPM2DiscreteScheduler": {**_TRAINED, **_SD_BETAS, **_LINSPACE, **_RAMPS},
    "KDPM2AncestralDiscreteScheduler": {**_TRAINED, **_SD_BETAS, **_LINSPACE, **_RAMPS},
    "LMSDiscreteScheduler": {**_TRAINED, **_LINSPACE, **_RAMPS},
    "DPMSolverMultistepScheduler": {
        **_DPM,
        **_LINSPACE,
        **_ZERO_SNR,
        "euler_at_final": False,
        "use_lu_lambdas": False,
    },
    "DPMSolverSinglestepScheduler": {**_DPM, "lower_order_final": False},
    "DEISMultistepScheduler": {
        **_TRAINED,
        **_LINSPACE,
        **_SOLVER,
        **_THRESHOLDING,
        **_RAMPS,
        **_FLOW_SIGMAS,
        "algorithm_type": "deis",
        "solver_type": "logrho",
    },
    "UniPCMultistepScheduler": {
        **_TRAINED,
        **_LINSPACE,
        **_THRESHOLDING,
        **_RAMPS,
        **_FLOW_SIGMAS,
        **_FINAL,
        **_ZERO_SNR,
        "solver_order": 2,
        "solver_type": "bh2",
        "lower_order_final": True,
        "predict_x0": True,
        "disable_corrector": [],
        "solver_p": None,
        "shift_terminal": None,
    },
    "EDMEulerScheduler": _EDM,
    "EDMDPMSolverMultistepScheduler": {**_EDM, **_SOLVER, **_THRESHOLDING, "euler_at_final": False},
    "FlowMatchEulerDiscreteScheduler": {
        **_FLOW_MATCH,
        "use_dynamic_shifting": False,
        "base_shift": 0.5,
        "max_shift": 1.15,
        "base_image_seq_len": 256,
        "max_image_seq_len": 4096,
        "invert_sigmas": False,
        "shift_terminal": None,
        "use_karras_sigmas": False,
        "use_exponential_sigmas": False,
        "use_beta_sigmas": False,
        "time_shift_type": "exponential",
        "stochastic_sampling": False,
    },
    "FlowMatchHeunDiscreteScheduler": _FLOW_MATCH,
    "CMStochasticIterativeScheduler": {
        "num_train_timesteps": 40,
        "sigma_min": 0.002,
        "sigma_max": 80.0,
        "sigma_data": 0.5,
        "s_noise": 1.0,
        "rho": 7.0,
        "clip_denoised": True,
    },
    "ScoreSdeVeScheduler": {
        "num_train_timesteps": 2000,
        "snr": 0.15,
        "sigma_min": 0.01,
        "sigma_max": 1348.0,
        "sampling_eps": 1e-5,
        "correct_steps": 1,
    },
    "SCMScheduler": {"num_train_timesteps": 1000, "prediction_type": "trigflow", "sigma_data": 0.5},
}
"""Class -> field -> its value where a file has none."""

_OF_OTHER_CLASSES = (
    "args",
    "block_length",
    "corrector_k",
    "corrector_order",
    "corrector_selection",
    "corrector_selection_tau",
    "corrector_steps",
    "editing_threshold",
    "entropy_bound",
    "eps",
    "eta",
    "final_step_size_scale",
    "gamma",
    "kwargs",
    "mask_token_id",
    "masking_schedule",
    "minimal_topk",
    "n_grid",
    "noise_mode",
    "num_inference_steps",
    "num_policy_substeps",
    "num_vec_classes",
    "predictor_order",
    "s",
    "scale_factors",
    "scaler",
    "schedule_mode",
    "scheduler_type",
    "snr_shift_scale",
    "stage_range",
    "stages",
    "t_lim_ode",
    "t_lim_ode_below",
    "t_max",
    "t_min",
    "tail_step_multiplier",
    "tail_steps",
    "tau_func",
    "threshold",
    "tsr_k",
    "tsr_sigma",
    "upscale_mode",
    # Of the first versions; today's classes ignore them too.
    "tensor_format",
    "timestep_values",
    "timesteps",
    "rescale_timesteps",
)

KNOWN = frozenset(_OF_OTHER_CLASSES).union(*FIELDS.values())
"""All fields that some scheduler class has. Another name in a file is a mistake, or newer than this list."""
