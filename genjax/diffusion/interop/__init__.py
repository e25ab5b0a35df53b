"""Schedule, prediction, sampler and grid from a configuration file of `diffusers`; that library is not needed.

    described = from_diffusers_config("model/scheduler/scheduler_config.json")
    schedule, times = described.schedule, described.times(25)
    network = lambda x, c_noise: unet.apply(params, x, described.timestep(c_noise), condition)
    denoise = described.bound(denoiser(network, schedule, described.prediction))
    images = sample(keys, initial_noise(keys, shape, schedule, times[0]), times, denoise, described.sampler, schedule)

A class reads the fields that are its own there (`fields.FIELDS`); the other ones are ignored, and one line of the log
names them. Where the result differs from what the class does there stands in docs/samplers.md.
"""

import os
from collections.abc import Mapping
from typing import Any

from genjax.diffusion.interop.classes import CLASSES
from genjax.diffusion.interop.described import Described
from genjax.diffusion.interop.fields import FIELDS
from genjax.diffusion.interop.options import read

__all__ = ["CLASSES", "FIELDS", "Described", "from_diffusers_config"]


def from_diffusers_config(
    config: Mapping[str, Any] | str | os.PathLike, mu: float | None = None
) -> Described:
    """What a `scheduler_config.json` describes.

    Args:
        config: the mapping, its JSON text, or the path of a file with it.
        mu: only for a file with use_dynamic_shifting, where the shift depends on the image: as in the pipelines,
            for N tokens, ``base_shift + (max_shift - base_shift) (N - base_image_seq_len) / (max_image_seq_len -
            base_image_seq_len)``. The shift is its exponential, or mu itself if time_shift_type is "linear".

    Returns:
        See `Described`.

    Raises:
        UserError: if the class is not supported, or the value of one of its fields; if no class has such a field; or
            nothing can be read.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import from_diffusers_config
        >>> described = from_diffusers_config({"_class_name": "DDIMScheduler", "timestep_spacing": "trailing"})
        >>> described.times(4)
        Array([1.  , 0.75, 0.5 , 0.25, 0.  ], dtype=float32)
        >>> described.timestep(jnp.array([1.0, 0.25]))  # what the network of that file is told
        Array([999., 249.], dtype=float32)
    """
    options = read(config, mu)
    return CLASSES[options.name](options)
