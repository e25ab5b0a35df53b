"""The pictures of docs/gallery.md made from a run of `ddpm-digits`: ``python docs/gallery_pictures.py RUN``.

Three files beside this one: ``gallery-guidance.png``, ``gallery-steps.png``, ``gallery-inpainting.png``.
"""

import pathlib
import sys

import jax
import numpy as np

import genjax
from genjax import data
from genjax.app import pictures
from genjax.app.run import TrainedRun
from genjax.diffusion import PREDICTIONS, denoiser, grids, guidance, initial_noise, sample, samplers
from genjax.methods.diffusion import choices

DOCS = pathlib.Path(__file__).parent
SCALES = (0.0, 1.0, 2.0, 4.0)
STEPS = (1, 2, 5, 10, 50)


def rows_of_guidance(run: TrainedRun) -> np.ndarray:
    """uint8[40,8,8,1]: ten classes at each of four guidance scales, from the same noise."""
    return np.concatenate([run.sample(10, seed=0, guidance=scale) for scale in SCALES])


def rows_of_steps(run: TrainedRun) -> np.ndarray:
    """uint8[50,8,8,1]: ten classes at each of five numbers of DDIM steps, from the same noise."""
    return np.concatenate([run.sample(10, seed=0, sampler="ddim", num_steps=steps) for steps in STEPS])


def inpainted(run: TrainedRun, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """uint8[N,8,8,1]: the right halves of the images made anew, by DDPM with 50 steps (`ddim(1.0)`)."""
    options = run.config.method
    schedule = choices.schedule(options)
    known = data.to_float(images)
    mask = (
        np.arange(images.shape[2])[:, None] < images.shape[2] // 2
    )  # bool[W,1]: True where a pixel is known

    @jax.jit
    def make(keys: jax.Array, params: object) -> jax.Array:
        def network(x: jax.Array, c_noise: jax.Array) -> jax.Array:
            return run.network.apply({"params": params}, x, c_noise, {"label": labels})

        model = denoiser(network, schedule, PREDICTIONS[options.prediction])
        guided = guidance.inpaint(guidance.clip(model), known, mask)
        x_T = initial_noise(keys, images.shape[1:], schedule)
        return sample(keys, x_T, grids.linspace(50), guided, samplers.ddim(1.0), schedule)

    made = make(jax.random.split(jax.random.key(0), len(images)), run.params)
    return np.asarray(data.to_uint8(made))


def main(workdir: str) -> None:
    """Writes the three pictures."""
    run = genjax.load(workdir)
    test = data.load("digits", "test").read(np.arange(200))
    first = [
        int(np.flatnonzero(test["label"] == label)[0]) for label in range(10)
    ]  # one test image of each class
    images, labels = test["image"][first], test["label"][first]
    given = images.copy()
    given[:, :, images.shape[2] // 2 :] = 128  # gray: what the model does not see
    made = {
        "guidance": rows_of_guidance(run),
        "steps": rows_of_steps(run),
        "inpainting": np.concatenate([given, inpainted(run, images, labels), images]),
    }
    for name, rows in made.items():
        (DOCS / f"gallery-{name}.png").write_bytes(pictures.encode(pictures.grid(rows, 10, scale=8)))


if __name__ == "__main__":
    main(*sys.argv[1:])
