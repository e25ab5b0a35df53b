"""Draws the pictures of the pages on GAN parts, VAEs, metrics and devices: ``python docs/concepts/pictures_parts.py``.

A name draws one of them: ``python docs/concepts/pictures_parts.py games``. All is computed: the losses by
`genjax.losses`, the distances by `genjax.metrics`, and the VAEs are trained (two minutes on two CPU cores).
"""

import functools
import pathlib
import sys

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from PIL import Image

from genjax import data, methods, metrics, models
from genjax.losses.adversarial import GAMES
from genjax.losses.likelihood import bernoulli
from genjax.methods.latent_space import vae_space
from genjax.methods.vae import regularizers
from genjax.metrics.extrapolation import fd_infinity
from genjax.models.vae.mlp import MLPDecoder, MLPEncoder
from genjax.typing import TrainState

matplotlib.use("Agg")
import matplotlib.pyplot as plt

STEPS = 2000
"""Updates of each VAE."""
FOLDER = pathlib.Path(__file__).parent
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]
DASHES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1))]
plt.rcParams |= {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "genjax",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def save(figure: plt.Figure, name: str) -> None:
    """Writes the picture; equal figures give equal files."""
    path = FOLDER / name
    if path.suffix == ".svg":
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    else:
        figure.savefig(path, bbox_inches="tight", dpi=110)
        Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)
    plt.close(figure)
    print(f"{name}: {path.stat().st_size / 1000:.0f} kB")


def games() -> None:
    """Losses of both sides of every game, against the logit of a fake image; the real image's logit is 1."""
    logits = jnp.linspace(-5, 5, 201)
    real = jnp.ones_like(logits)
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    for (name, make), colour, dashes in zip(GAMES.items(), COLOURS, DASHES, strict=True):
        for axis, loss in zip(axes, make(), strict=True):
            axis.plot(logits, loss(real, logits), color=colour, ls=dashes, lw=1.8, label=name)
    for axis, title in zip(axes, ("discriminator", "generator"), strict=True):
        axis.axhline(0, color="0.8", lw=0.8, zorder=0)
        axis.axvline(1, color="0.8", lw=0.8, zorder=0)
        axis.set(title=f"loss of the {title}", xlabel="logit of the fake image", xlim=(-5, 5), ylim=(-6, 8))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    save(figure, "games.svg")


def elbo() -> None:
    """Rate and distortion of VAEs on binarised digits for several beta, and the latent plane of one with D = 2."""
    train, test = (
        data.to_memory(data.Binarized(data.load("digits", split)))["image"] for split in ("train", "test")
    )

    batches = [data.train_indices(i, batch_size=64, num_examples=len(train), seed=0) for i in range(STEPS)]
    places, images = jnp.arange(64), data.to_float(jnp.asarray(train))
    held_out = {"image": data.to_float(jnp.asarray(test)), "_index": jnp.arange(len(test))}

    @functools.partial(jax.jit, static_argnums=0)
    def fitted(latent: int, beta: jax.Array) -> tuple:
        network = models.VAE(MLPEncoder((256, 256)), MLPDecoder((8, 8, 1), (256, 256)), latent)
        optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, STEPS))
        method = methods.vae(
            network, optimizer, bernoulli(), image_shape=(8, 8, 1), regularizer=regularizers.kl(beta)
        )

        def step(state: TrainState, rows: jax.Array) -> tuple[TrainState, None]:
            key = jax.random.fold_in(jax.random.key(1), state.step)
            return method.step(key, state, {"image": images[rows], "_index": places})[0], None

        start = method.init(jax.random.key(0), {"image": images[:1], "_index": places[:1]})
        state, _ = jax.lax.scan(step, start, jnp.asarray(np.stack(batches)))
        values = method.evaluate(jax.random.key(2), state, held_out)
        # The latent plane, by the quantiles of the prior.
        side = jax.scipy.stats.norm.ppf((jnp.arange(14) + 0.5) / 14)
        z = jnp.stack(jnp.meshgrid(side, side), -1).reshape(-1, 2)
        plane = vae_space(network, bernoulli()).decode(state, z, None) if latent == 2 else None
        return {name: x.mean() for name, x in values.items()}, plane

    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained", width_ratios=(1.15, 1))
    betas = (0.3, 0.5, 1.0, 2.0, 4.0)
    found = []
    for beta in betas:
        values = fitted(8, jnp.asarray(beta))[0]
        found.append((values["rate"], values["distortion"]))
        print(
            f"beta {beta}:", {name: round(float(values[name]), 2) for name in ("rate", "distortion", "loss")}
        )
    rates, distortions = np.array(found).T
    for total in (24, 28, 32):
        line = np.array([0.0, total])
        left.plot(line, total - line, color="0.85", lw=0.8, zorder=0)
    left.plot(rates, distortions, "o-", color=COLOURS[0])
    for beta, rate, distortion in zip(betas, rates, distortions, strict=True):
        left.annotate(f"β = {beta:g}", (rate, distortion), xytext=(6, 4), textcoords="offset points")
    left.set(
        xlabel="rate: KL(q(z|x) | p(z)), nats",
        ylabel="distortion: −log p(x|z), nats",
        xlim=(0, rates.max() * 1.15),
        ylim=(0, distortions.max() * 1.1),
    )
    plane = fitted(2, jnp.asarray(0.3))[1]
    tiles = np.asarray(plane).reshape(14, 14, 8, 8).transpose(0, 2, 1, 3).reshape(14 * 8, 14 * 8)
    right.imshow(tiles, cmap="gray_r", vmin=-1, vmax=1, interpolation="nearest")
    right.set(xticks=[], yticks=[], xlabel="first latent variable", ylabel="second latent variable")
    save(figure, "elbo.png")


def number_of_images() -> None:
    """Fréchet distances of draws from two known distributions to 50,000 draws of the standard normal one."""
    width, largest = 128, 50_000
    rng = np.random.default_rng(0)
    reference = metrics.moments(rng.standard_normal((largest, width)))
    shifts = {"A: truly 1.0": 1.0, "B: truly 0.5": 0.5}
    sizes = np.array([500, 1000, 2000, 5000, 10_000, 20_000, 50_000])
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    for (name, true), colour, dashes in zip(shifts.items(), COLOURS, DASHES, strict=False):
        features = rng.standard_normal((largest, width))
        features[:, 0] += true**0.5
        values = [metrics.distance(metrics.moments(features[:n]), reference) for n in sizes]
        limit = fd_infinity(features, reference, smallest=1000)
        print(
            name,
            dict(zip(sizes.tolist(), np.round(values, 3).tolist(), strict=True)),
            f"limit {limit.limit:.3f}",
        )
        left.semilogx(sizes, values, "o", ls=dashes, color=colour, label=name)
        left.axhline(true, color=colour, lw=0.8, ls=":")
        right.plot(1 / limit.sizes, limit.values, "o", ms=4, color=colour, label=name)
        x = np.array([0, 1 / 1000])
        right.plot(x, limit.limit + limit.slope * x, color=colour, ls=dashes)
        right.plot([0], [true], "*", ms=10, color=colour, clip_on=False, zorder=3)
    left.set(xlabel="number of images N", ylabel="Fréchet distance", ylim=(0, None))
    right.set(xlabel="1 / N", xlim=(0, 1.05e-3), ylim=(0, None))
    right.set_xticks([0, 2e-4, 5e-4, 1e-3], ["0", "1/5,000", "1/2,000", "1/1,000"])
    left.legend(frameon=False)
    save(figure, "number-of-images.svg")


def layout() -> None:
    """Where a batch of eight examples and the parameters lie: four devices, and the same with fsdp = 2."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.1), layout="constrained")
    for axis, fsdp in zip(axes, (1, 2), strict=True):
        axis.set_title(f"fsdp = {fsdp}: mesh {4 // fsdp} x {fsdp}", fontsize=9)
        for device in range(4):
            x = device * 2.6
            axis.add_patch(plt.Rectangle((x - 0.15, -0.2), 2.3, 4.9, fill=False, ec="0.5"))
            axis.text(x + 1, 4.35, f"device {device}", ha="center", va="center")
            for row in range(2):
                number = 2 * device + row
                axis.add_patch(plt.Rectangle((x, 3.35 - 0.75 * row), 2, 0.6, fc="#cfe8f7", ec=COLOURS[0]))
                axis.text(x + 1, 3.65 - 0.75 * row, f"_index {number}", ha="center", va="center", fontsize=8)
            for part in range(2):
                has = fsdp == 1 or device % 2 == part
                box = plt.Rectangle(
                    (x + part, 0.5),
                    1,
                    1.3,
                    fc="#fbe3d0" if has else "white",
                    ec=COLOURS[1],
                    ls="-" if has else ":",
                )
                axis.add_patch(box)
            axis.text(x + 1, 0.15, "params", ha="center", va="center", fontsize=8)
        axis.set(xlim=(-0.3, 10.2), ylim=(-0.4, 4.9), xticks=[], yticks=[])
        axis.axis("off")
    save(figure, "layout.svg")


PICTURES = {"games": games, "elbo": elbo, "number-of-images": number_of_images, "layout": layout}

if __name__ == "__main__":
    for chosen in sys.argv[1:] or PICTURES:
        PICTURES[chosen]()
