"""How probable a diffusion model makes held-out images: ``experiments.evaluate --workdir DIR --likelihood N``.

Both numbers are bits a dimension of 8-bit images, given their labels where the model is conditional; guidance makes no
density, and is left out.

* The variational bound belongs to the model that `ddpm` samples from, with the variance of the posterior, on the run's
  grid: ``--num-steps`` changes it, and more steps bring it down. The levels of the images are told by the decoder.
* The probability flow has a density, exact up to the tolerance of the solver and, image by image, the random projection
  by which its trace is estimated. Images get it by uniform dequantisation: each level is spread evenly over its width,
  2/255. By that it is a bound, too, of the bits of the levels, in the mean over the draws, of which each image has one.

The two are bounds of two models of one network: nothing forces either to be the lower one. Of images that have but few
of the 256 levels, as the 8x8 digits' 17, the decoder knows the levels, and the evenly spread density pays for them: of
20 digits under ddpm-digits the bound of 50 steps is 4.74 bits, of 1,000 steps 4.60, and the flow's 4.89.
"""

import importlib.util
from typing import Any

import jax
import numpy as np

from genjax import data
from genjax.app import build, kinds
from genjax.app.config import Config
from genjax.app.restore import Run
from genjax.conditions import select
from genjax.diffusion import PREDICTIONS, guidance, likelihood, prediction
from genjax.diffusion.decoders import bits_per_dimension, dequantize
from genjax.methods.averages import averaged
from genjax.methods.diffusion import choices
from genjax.metrics.intervals import mean_interval
from genjax.metrics.multihost import fetch
from genjax.random import example_keys, fold_in
from genjax.train import sharding
from genjax.typing import PyTree, UserError

_BATCH = 100


def check(config: Config, num: int) -> None:
    """Raises UserError where `num` images have no such likelihood: before hours have gone into other scores."""
    if num == 1 or num < 0:
        raise UserError(f"likelihood={num}: valid are 0, none, and numbers from 2, for an interval")
    if not num:
        return
    if kinds.method(config).samplers != "denoiser":
        raise UserError(
            f"likelihood={num} is for diffusion models, and the run's method is "
            f"{kinds.name('method', config.method)}; a VAE's is importance_samples"
        )
    if config.data.binarize != "no":
        raise UserError(
            f"likelihood={num}: images with data.binarize={config.data.binarize!r} have two levels, and not the 256 of "
            "whose bits it is"
        )
    if importlib.util.find_spec("diffrax") is None:
        raise UserError(f"likelihood={num} needs diffrax: pip install -e '.[ode]'")


def likelihood_scores(run: Run, test: data.Source, num: int, seed: int = 0) -> dict[str, Any]:
    """Bits a dimension over `num` test images, or all if there are fewer, by a fixed permutation.

    * ``test_bound_bits``, the variational bound, and its terms: ``test_bound_prior_bits``, ``test_bound_step_bits``,
      ``test_bound_decoder_bits``.
    * ``test_flow_bits``: by the probability-flow ODE.
    * ``intervals``: of both, 95 % by Student's t over the images.
    * ``likelihood_images``: their number; ``likelihood_steps``: of the bound's grid.

    Args:
        run: of a diffusion model.
        test: held-out images.
        num: see `check`.
        seed: seed of noise, dequantisation and projections. For an image they depend only on its place in the split.

    Raises:
        UserError: as `check`.
    """
    check(run.config, num)
    bits = jax.jit(lambda params, places, batch: _bits(run, params, jax.random.key(seed), places, batch))
    places = data.permute(np.arange(min(num, len(test))), len(test), (0,))
    size, rows = sharding.round_up(min(_BATCH, len(places)), run.mesh), sharding.batch_sharding(run.mesh)
    names = ("image", *build.conditions(run.config, run.info))
    parts = []
    for start in range(0, len(places), size):
        here = places[start : start + size]
        filled = np.resize(here, size)  # the last batch has the shape of the others
        records = test.read(filled)
        batch = {name: records[name] for name in names}
        made = fetch(bits(averaged(run.state), *jax.device_put((filled, batch), rows)))
        parts.append({name: x[: len(here)] for name, x in made.items()})
    found = {name: np.concatenate([part[name] for part in parts]).astype(np.float64) for name in parts[0]}
    whole = {name: mean_interval(found[name]) for name in ("test_bound_bits", "test_flow_bits")}
    return {
        **{name: float(x.mean()) for name, x in found.items()},
        "likelihood_images": len(places),
        "likelihood_steps": run.config.sampling.num_steps,
        "intervals": {name: [x.low, x.high] for name, x in whole.items()},
    }


def _bits(
    run: Run, params: PyTree, key: jax.Array, places: jax.Array, batch: dict[str, jax.Array]
) -> dict[str, jax.Array]:
    """float32[B] of each number."""
    batch = data.preprocess(key, batch)
    x_0, context = batch["image"], run.context
    schedule = choices.schedule(run.config.method)
    network = kinds.method(run.config).network(context)
    condition = select(batch, context.conditions)
    denoise = prediction.denoiser(
        lambda x, c_noise: network.apply({"params": params}, x, c_noise, condition),
        schedule,
        PREDICTIONS[run.config.method.prediction],
    )
    keys = example_keys(key, places)
    bound_keys, level_keys, trace_keys = (fold_in(keys, i) for i in range(3))
    # Clipped, as when images are made. Not for the flow: of what is spread around a level at the end of the range half
    # lies outside, where a clipped flow brings nothing.
    times = choices.sampling_times(run.config)
    bound = likelihood.variational_bound(bound_keys, x_0, guidance.clip(denoise), schedule, times)
    flow = likelihood.flow_likelihood(trace_keys, dequantize(level_keys, x_0), denoise, schedule)
    return {
        "test_bound_bits": bound.total,
        "test_bound_prior_bits": bound.prior,
        "test_bound_step_bits": bound.steps.sum(0),
        "test_bound_decoder_bits": bound.decoder,
        "test_flow_bits": bits_per_dimension(flow.log_density, x_0[0].size),
    }
