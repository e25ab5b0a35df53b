"""Schedule, prediction, sampler and grid from a configuration file of `diffusers`; that library is not needed.

    described = from_diffusers_config("model/scheduler/scheduler_config.json")
    schedule, times = described.schedule, described.times(25)
    network = lambda x, c_noise: unet.apply(params, x, described.timestep(c_noise), condition)
    denoise = described.bound(denoiser(network, schedule, described.prediction))
    images = sample(keys, initial_noise(keys, shape, schedule, times[0]), times, denoise, described.sampler, schedule)

Where it differs from what the class does there: samplers derive the noise from the *bounded* estimate of x_0 (as
DDIMScheduler does with use_clipped_model_output); the last step to clean data adds no noise; networks are given the
exact time of each sigma, where some classes round it; and x_t is alpha x_0 + sigma noise for every class, where some
scale it to x_0 + sigma / alpha noise.
"""

import os
from collections.abc import Mapping
from typing import Any

from genjax.diffusion.interop.classes import CLASSES, Described
from genjax.diffusion.interop.options import read
from genjax.typing import UserError

__all__ = ["CLASSES", "Described", "from_diffusers_config"]


def from_diffusers_config(config: Mapping[str, Any] | str | os.PathLike) -> Described:
    """What a `scheduler_config.json` describes.

    Args:
        config: the mapping, its JSON text, or the path of a file with it.

    Returns:
        See `Described`.

    Raises:
        UserError: if the class is not supported, or one of its options; or nothing can be read.
    """
    options = read(config)
    if options.name not in CLASSES:
        raise UserError(
            f"_class_name = {options.name!r} is not supported; supported are {', '.join(CLASSES)}"
        )
    described = CLASSES[options.name](options)
    options.finish()
    return described
