"""The autoencoder of VQ-VAE with and without its quantiser, trained in the same way: what does quantisation cost?"""

import dataclasses
import functools
import hashlib
import json
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from experiments import train_command
from experiments.claims import runs
from experiments.claims.claim import Place
from genjax import data
from genjax.app import build, kinds
from genjax.app.config import Config
from genjax.methods.codes.vq_vae import vq_vae, vq_vae_codes
from genjax.nn.quantization import Quantized, Statistics, perplexity
from genjax.typing import Array, TrainState

PRESET, STEPS = "vqvae-digits", 1000


class Unquantised(nn.Module):
    """A quantiser (`genjax.nn.quantization.Quantizer`) that leaves the feature maps as they are; all have code 0.

    Attributes:
        width: D, of the vectors.
    """

    width: int

    @property
    def num_codes(self) -> int:
        """K."""
        return 1

    def __call__(self, encoded: Array) -> Quantized:
        """float[B,H,W,D], unchanged but for its type, float32."""
        zeros = jnp.zeros(len(encoded))
        z = encoded.astype(jnp.float32)
        return Quantized(z, jnp.zeros(encoded.shape[:-1], jnp.int32), None, commitment=zeros, codebook=zeros)

    def lookup(self, codes: Array) -> Array:
        """int32[B,H,W] -> zeros: codes say nothing here."""
        return jnp.zeros((*codes.shape, self.width))

    def learn(self, statistics: Statistics, first: Array) -> dict[str, Array]:
        """Nothing to learn."""
        del statistics, first
        return {"perplexity": jnp.ones(()), "dead_codes": jnp.zeros(())}


class Trained(NamedTuple):
    """An autoencoder on test images.

    Attributes:
        psnr: PSNR of reconstructions, in dB, mean over the images.
        perplexity: perplexity of the codes of all test images, in [1, K].
    """

    psnr: float
    perplexity: float


def _digest(config: Config) -> str:
    """Of what is trained: what an earlier version of the preset has left is not taken for this one."""
    content = json.dumps(runs.what_is_trained(config), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:8]


def trained(place: Place, num_codes: int | None, seed: int, steps: int = STEPS) -> Trained:
    """The first stage of `PRESET` with this number of codes, or unquantised. It is trained unless the runs have it."""
    from genjax.train.fit import fit  # brings Orbax

    book = [] if num_codes is None else ["--model.num-codes", str(num_codes)]
    config = train_command.parse([PRESET, *book, "--seed", str(seed)]).config
    sources = [
        build.source(config.data, split) for split in (config.data.train_split, config.data.test_split)
    ]
    info = sources[0].info
    context = kinds.context(config, info)
    network = kinds.method(config).network(context)
    if num_codes is None:
        network = network.clone(quantizer=functools.partial(Unquantised, width=config.model.code_width))
    method = vq_vae(
        network,
        context.optimizer(steps),
        image_shape=info.image_shape,
        commitment=config.method.commitment,
        average=context.average,
    )
    fitted = fit(
        method,
        build.training_feed(config, sources[0], 0, 1),
        dataclasses.replace(config.fit, steps=steps, checkpoint_every=steps),
        workdir=place.runs
        / f"{PRESET},first_stage,num_codes={num_codes},steps={steps},seed={seed},{_digest(config)}",
        example=build.example(info),
        preprocess=functools.partial(build.augment, config.data),
        progress=False,
    )
    image = data.to_float(jnp.asarray(data.to_memory(sources[1])["image"]))

    @jax.jit
    def scores(state: TrainState) -> tuple[Array, Array]:
        values = method.evaluate(jax.random.key(0), state, {"image": image})
        (found,) = vq_vae_codes(network, info.image_shape).encode(state, image)
        used = jnp.bincount(found.ravel(), length=num_codes or 1)
        return values["psnr"].mean(), perplexity(used.astype(jnp.float32))

    psnr, used = scores(fitted.state)
    return Trained(float(psnr), float(used))
