"""Pictures of methods, conditions, diffusion, guidance, randomness: ``python docs/concepts/pictures_diffusion.py``.

Needs matplotlib (``pip install -e '.[plots]'``). Names of pictures may follow; without them all are drawn.
"""

import functools
import pathlib
import sys

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from genjax.diffusion import analytic, grids, guidance, initial_noise, sample, samplers, schedules, trajectory

HERE = pathlib.Path(__file__).parent
INK, BLUE, ORANGE, GREEN, GREY = "#222222", "#1f6fb2", "#c8570d", "#2b7f3d", "#6b6b6b"
FILL = {INK: "#f4f4f4", BLUE: "#e3f0fa", ORANGE: "#fdeadb", GREEN: "#e4f3e6", GREY: "#f4f4f4"}
PHONE = 3.9
"""Inches: 375 pixels, so that a diagram is as wide as the screen of a phone and its text is not scaled down."""

matplotlib.use("agg")
plt.rcParams |= {
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "genjax",
    "legend.frameon": False,
}


def save(figure, name):
    """Writes a picture on a white background; the same bytes every time."""
    metadata = {"Date": None} if name.endswith(".svg") else {"Software": None}
    figure.savefig(HERE / name, dpi=150, facecolor="white", metadata=metadata)
    if name.endswith(".png"):
        Image.open(HERE / name).convert("RGB").quantize(32).save(HERE / name, optimize=True)
    if "--preview" in sys.argv:
        figure.savefig(pathlib.Path(sys.argv[-1]) / f"{name}.png", dpi=96, facecolor="white")
    plt.close(figure)


# Diagrams.


def diagram(height):
    """An empty figure as wide as a phone, in units of a hundredth of its width."""
    figure = plt.figure(figsize=(PHONE, PHONE * height / 100))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 100), ylim=(height, 0))
    axes.axis("off")
    return figure, axes


def box(axes, x, y, width, height, title, text="", colour=INK, size=9):
    """A box whose upper left corner is at (x, y)."""
    shape = FancyBboxPatch(
        (x + 1, y + 1),
        width - 2,
        height - 2,
        boxstyle="round,pad=1,rounding_size=2",
        facecolor=FILL[colour],
        edgecolor=colour,
        linewidth=1.2,
    )
    axes.add_patch(shape)
    middle = x + width / 2
    if not text:
        axes.text(middle, y + height / 2, title, ha="center", va="center", weight="bold", size=size)
        return
    lines = text.count("\n") + 1
    top = y + height / 2 - 2.2 * lines
    axes.text(middle, top, title, ha="center", va="center", weight="bold", size=size)
    axes.text(
        middle, top + 4.4, text, ha="center", va="top", size=size - 1, color=INK, linespacing=1.25
    ).set_y(top + 2.6)


def arrow(axes, start, end, colour=GREY):
    """An arrow from one point to another."""
    axes.annotate(
        "",
        xytext=start,
        xy=end,
        arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.2, "shrinkA": 0, "shrinkB": 0},
    )


def note(axes, x, y, text, colour=GREY, size=8, **options):
    """Text without a box."""
    axes.text(x, y, text, color=colour, size=size, va="center", **{"ha": "center"} | options)


def methods():
    """A network, an optimizer and constants make a method; who calls its four functions."""
    figure, axes = diagram(118)
    parts = {
        "network": "U-Net,\nencoder, ...",
        "optimizer": "Adam,\nRMSprop, ...",
        "constants": "schedule,\ngame, ...",
    }
    for i, (name, text) in enumerate(parts.items()):
        box(axes, 2 + 33 * i, 3, 30, 19, name, text)
        arrow(axes, (17 + 33 * i, 22), (50 + 20 * (i - 1), 34))
    box(axes, 15, 34, 70, 11, "method", colour=BLUE, size=10)
    functions = ["init", "step", "evaluate", "sample"]
    for i, name in enumerate(functions):
        x = 2 + 24.5 * i
        box(axes, x, 57, 22.5, 10, name, colour=BLUE)
        arrow(axes, (27 + 15.3 * i, 45), (x + 11.25, 57))
    note(axes, 50, 71.5, "four pure functions of a TrainState")
    users = [
        (2, 47, "fit", "the only training loop:\nbatches, devices,\ncheckpoints, logs"),
        (51, 22.5, "evaluate", "loss of\nheld-out\nimages"),
        (75.5, 22.5, "load", "and then\nrun.sample,\nthe scores"),
    ]
    for x, width, name, text in users:
        box(axes, x, 87, width, 25, name, text, colour=ORANGE)
    for i, end in enumerate((13.25, 37.75, 62.25, 86.75)):
        arrow(axes, (13.25 + 24.5 * i, 75), (end, 87), ORANGE)
    save(figure, "methods.svg")


def conditions():
    """A condition of four examples with masks, and what the network takes each example for."""
    figure, axes = diagram(92)
    columns = [("label", 9), ("_has_label", 28), ("text", 49), ("_has_text", 70)]
    rows = [
        ("3", True, "“a rose”", True),
        ("7", False, "“a fern”", True),
        ("1", True, "“…”", False),
        ("5", False, "“…”", False),
    ]
    seen = ["3, a rose", "–, a fern", "1, –", "–, –"]
    note(axes, 40, 5, "condition: arrays by name", INK, 9, weight="bold")
    note(axes, 90, 5, "the network\nis told", BLUE, 8.5, weight="bold")
    for name, x in columns:
        note(axes, x, 14, name, INK, 8)
    for i, row in enumerate(rows):
        y = 24 + 10 * i
        for value, (_, x), there in zip(row, columns, (row[1], True, row[3], True), strict=True):
            mask = isinstance(value, bool)
            colour = (GREEN if value else ORANGE) if mask else (INK if there else GREY)
            face = FILL[colour] if mask else ("white" if there else "#e2e2e2")
            width = 17 if x > 25 else 14
            axes.add_patch(
                plt.Rectangle(
                    (x - width / 2, y - 4), width, 8, facecolor=face, edgecolor=colour, linewidth=0.8
                )
            )
            axes.text(
                x, y, str(value), ha="center", va="center", size=8, color="#b0b0b0" if not there else INK
            )
        note(axes, 91, y, seen[i], BLUE, 8.5)
    note(axes, 50, 68, "A grey value is there, and is not read.", GREY, 8.5)
    box(
        axes,
        2,
        75,
        96,
        14,
        "no key at all  =  a mask that is all False",
        "the same output, bit for bit",
        colour=BLUE,
    )
    save(figure, "conditions.svg")


def randomness():
    """From the seed to the draws of an example in training, and of an image in sampling."""
    figure, axes = diagram(128)
    note(axes, 26, 4, "training", INK, 10, weight="bold")
    note(axes, 77, 4, "sampling", INK, 10, weight="bold")
    training = [
        ("key(seed)", "", INK),
        ("training key", "split", BLUE),
        ("key of step k", "fold_in(·, k), split", BLUE),
        ("key of example i", "fold_in(·, _index)", GREEN),
    ]
    sampling = [("key(seed)", "", INK), ("key of image i", "fold_in(·, i)", GREEN)]
    for x, width, chain in ((2, 48, training), (56, 42, sampling)):
        for j, (name, how, colour) in enumerate(chain):
            y = 10 + 23 * j
            box(axes, x, y, width, 11, name, colour=colour)
            if j:
                arrow(axes, (x + width / 2, y - 12), (x + width / 2, y))
                note(axes, x + width / 2 + 2, y - 6, how, ha="left", size=8)
    last = "time, noise, flip and crop,\ndropped conditions"
    arrow(axes, (26, 90), (26, 100))
    box(axes, 2, 100, 48, 20, "draws of the example", last, colour=ORANGE, size=8.5)
    draws = [("initial noise", "position 0"), ("step 1", "position 1"), ("step K", "position K")]
    for j, (name, where) in enumerate(draws):
        y = 62 + 20 * j
        box(axes, 66, y, 32, 15, name, where, colour=ORANGE, size=8.5)
        axes.plot([60, 60], [44, y + 7.5], color=GREY, lw=1.2)
        arrow(axes, (60, y + 7.5), (66, y + 7.5))
    note(axes, 82, 99.3, "⋮", INK, 10)
    note(axes, 77, 124, "fold_in(·, position)", size=8)
    save(figure, "randomness.svg")


# Plots.


def noise_schedules():
    """alpha and sigma of three kinds of schedules, and the log-SNR of five schedules."""
    t = np.linspace(0.002, 0.998, 250)
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.4), layout="constrained")
    for (name, schedule), colour in zip(
        {"cosine": schedules.cosine(), "flow": schedules.flow()}.items(), (BLUE, ORANGE), strict=True
    ):
        left.plot(t, schedule.alpha(t), color=colour, label=f"{name}, α")
        left.plot(t, schedule.sigma(t), color=colour, ls="--", label=f"{name}, σ")
    left.set(xlabel="time t", title="x_t = α x_0 + σ noise", xlim=(0, 1), ylim=(0, 1.05))
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=8)
    named = {
        "linear": (schedules.linear(), BLUE, "-"),
        "cosine": (schedules.cosine(), BLUE, "--"),
        "flow": (schedules.flow(), ORANGE, "-"),
        "flow, shift 3": (schedules.flow(3.0), ORANGE, "--"),
        "edm": (schedules.edm(), GREEN, "-"),
    }
    for name, (schedule, colour, style) in named.items():
        right.plot(t, schedule.log_snr(t), color=colour, ls=style, label=name)
    right.set(xlabel="time t", title="log-SNR = 2 log(α / σ)", xlim=(0, 1), ylim=(-14, 14))
    right.axhline(0, color="#cccccc", lw=0.8, zorder=0)
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, fontsize=8)
    save(figure, "noise-schedules.svg")


@functools.partial(jax.jit, static_argnames="stochastic")
def paths(keys, x_T, times, schedule, stochastic):
    """The states of samplers between noise and two Gaussians at -1 and 1, at all times: float32[K+1,N]."""
    denoise = analytic.gaussian_mixture(
        jnp.array([[-1.0], [1.0]]), jnp.array([0.15, 0.15]), jnp.array([0.4, 0.6]), schedule
    )
    sampler = samplers.ddpm() if stochastic else samplers.ddim()
    return trajectory(keys, x_T, times, denoise, sampler, schedule)[..., 0]


def trajectories():
    """The same initial noise taken to the data by the probability-flow ODE and by ancestral sampling."""
    schedule, times = schedules.shifted_cosine(), grids.linspace(250)
    keys = jax.random.split(jax.random.key(3), 9)
    x_T = jnp.linspace(-1.9, 1.9, 9)[:, None]
    t, x = np.asarray(times), np.linspace(-2.6, 2.6, 200)
    alpha, sigma = np.asarray(schedule.alpha(times)), np.asarray(schedule.sigma(times))
    density = np.zeros((x.size, t.size))
    for mean, weight in ((-1.0, 0.4), (1.0, 0.6)):
        std = np.sqrt(alpha**2 * 0.15**2 + sigma**2)
        density += weight * np.exp(-0.5 * ((x[:, None] - alpha * mean) / std) ** 2) / std
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.0), layout="constrained", sharey=True)
    for axis, stochastic, title in (
        (axes[0], False, "ddim: deterministic"),
        (axes[1], True, "ddpm: new noise in each step"),
    ):
        axis.contourf(t, x, density**0.5, levels=np.linspace(0, 2.05, 14), cmap="Greys", vmax=4.0)
        states = np.asarray(paths(keys, x_T, times, schedule, stochastic))
        for path in states.T:
            axis.plot(t, path, color=BLUE if path[-1] < 0 else ORANGE, lw=0.9)
        axis.set(xlabel="time t: from noise to data", title=title, xlim=(1, 0), ylim=(-2.6, 2.6))
    axes[0].set_ylabel("x_t")
    save(figure, "trajectories.png")


MEANS = np.array(
    [[-0.9, 0.2], [-0.2, 0.75], [0.1, 0.0], [0.75, 0.45], [-0.45, -0.7], [0.6, -0.6]], np.float32
)
STDS = np.full(6, 0.16, np.float32)
CLASS = np.array([0, 0, 0, 1, 1, 1])


@jax.jit
def of_class_zero(keys, scale):
    """Samples at a guidance scale, where both denoisers are exact."""
    schedule = schedules.shifted_cosine()

    def mixture(chosen):
        means, stds = jnp.asarray(MEANS[chosen]), jnp.asarray(STDS[chosen])
        return analytic.gaussian_mixture(means, stds, jnp.ones(len(means)), schedule)

    denoise = guidance.classifier_free(mixture(CLASS == 0), mixture(CLASS >= 0), scale)
    x_T = initial_noise(keys, (2,), schedule)
    return sample(keys, x_T, grids.linspace(100), denoise, samplers.ddim(), schedule)


def guidance_scales():
    """Samples of one class of a mixture at four scales."""
    keys = jax.random.split(jax.random.key(0), 400)
    figure, axes = plt.subplots(1, 4, figsize=(7.2, 1.95), layout="constrained", sharey=True, sharex=True)
    titles = {0.0: "scale 0", 1.0: "scale 1", 2.0: "scale 2", 5.0: "scale 5"}
    for axis, (scale, title) in zip(axes, titles.items(), strict=True):
        for mean, std, kind in zip(MEANS, STDS, CLASS, strict=True):
            colour = BLUE if kind == 0 else ORANGE
            axis.add_patch(plt.Circle(mean, 2 * std, facecolor=FILL[colour], edgecolor=colour, lw=0.8))
        x = np.asarray(of_class_zero(keys, scale))
        axis.scatter(*x.T, s=1.5, color=INK, linewidths=0)
        axis.set(title=title, xlim=(-1.5, 1.3), ylim=(-1.25, 1.4), xticks=[], yticks=[], aspect="equal")
        axis.spines[:].set_visible(False)
    save(figure, "guidance-scales.png")


PICTURES = {
    f.__name__: f for f in (methods, conditions, randomness, noise_schedules, trajectories, guidance_scales)
}

if __name__ == "__main__":
    asked = [name for name in sys.argv[1:] if name in PICTURES]
    for name in asked or PICTURES:
        PICTURES[name]()
