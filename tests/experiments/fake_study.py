"""A study as its files: what training, evaluation and claims would have written, in the numbers of a seed."""

import json
import math
import pathlib

import numpy as np

from genjax.app import pictures
from genjax.metrics.protocol import Protocol

PROTOCOL = str(Protocol("fd", "digits_classifier@00", "not resized", 355, "digits/test[:355]#bb"))
EVIL = "<script>alert('x')</script>"


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def write_run(folder, preset="seed-vae", seed=0, rho=10.0, **changes):
    """A finished run.

    Args:
        folder: its workdir.
        preset: in its command.
        seed: of the training, and of the noise on its numbers.
        rho: its score; None: it has none.
        changes: "fields" of its config, "metrics", "timing", "sweep" (numbers of steps), "steps", "pictures" (steps),
            "num" (images that scores are of), "images" (size of those in a picture).
    """
    folder = pathlib.Path(folder)
    rng = np.random.default_rng([seed, *preset.encode()])
    steps, num = changes.get("steps", 400), changes.get("num", 355)
    config = {
        "fit": {"steps": steps, "seed": seed},
        "data": {"dataset": "digits"},
        "optimizer": {"name": "adam"},
        "sampling": {"num_steps": 50},
        "evaluation": {"score_num": 1000},
        "method": {"kind": preset.rpartition("-")[2]},
    }
    for name, value in changes.get("fields", {}).items():
        part, _, field = name.partition(".")
        config.setdefault(part, {})[field] = value
    write_json(folder / "config.json", config)
    write_json(folder / "data.json", {"test_records": 355})
    command = f"python -m experiments.train {preset} --seed {seed} --workdir {folder.name}"
    start = {"command": command, "git_commit": "0123456789ab", "packages": {"jax": "0.12.0"}, "seed": seed}
    write_json(folder / "manifest.json", [start | {"devices": ["cpu:cpu", "cpu:cpu"]}])
    at = list(range(steps // 20, steps + 1, steps // 20))
    curve = [[step, step / 100 * (1 + 0.05 * seed)] for step in at]
    timing = {"steps": steps, "train_seconds": curve[-1][1], "compile_seconds": 3.5, "curve": curve}
    timing |= {"first_epoch_seconds": 0.5, "last_epoch_seconds": 0.25, "flops_per_step": 2.5e9}
    write_json(folder / "timing.json", timing | changes.get("timing", {}))
    lines = [
        {
            "step": step,
            "train/loss": len(preset) / 3 * math.exp(-step / steps) + rng.normal() * 0.02,
            "train/grad_norm": 1.0,
        }
        for step in at
    ]
    if rho is not None:
        metrics = {"step": steps, "test_loss": 1.5, "rho": rho, "fd_generated": 35 * rho, "num_samples": num}
        metrics |= {"protocol": PROTOCOL.replace("355", str(num)), "label_agreement": 0.9, "precision": 0.75}
        write_json(folder / "metrics.json", metrics | changes.get("metrics", {}))
        lines += [
            {"step": step, "test/rho": rho * steps / step, "test/loss": 1.5 * steps / step}
            for step in at[4::5]
        ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shape = changes.get("images", (8, 8, 1))
    for step in changes.get("pictures", ()):
        write_picture(folder / "samples" / f"{step:08d}.png", rng, step / steps, shape)
    write_picture(folder / "samples.png", rng, 1.0, shape)
    if "sweep" in changes:
        entries = [
            {
                "num_steps": n,
                "network_evaluations": 2 * n,
                "samples_per_second": 1000 / n,
                "rho": rho * (1 + 5 / n),
                "protocol": PROTOCOL,
            }
            for n in changes["sweep"]
        ]
        write_json(folder / "sweep.json", entries)
        for n in changes["sweep"]:
            write_picture(folder / "sweep" / f"{n:05d}.png", rng, n / 50, shape)
    return folder


def write_picture(path, rng, quality, shape):
    """A picture of 60 blobs in noise, which is less the better they are."""
    height, width, channels = shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    blobs = [np.exp(-3 * ((x - a) ** 2 + (y - b) ** 2)) for a, b in rng.uniform(-0.5, 0.5, (60, 2))]
    noisy = np.stack(blobs) + (1.05 - quality) * rng.normal(0, 0.6, (60, height, width))
    levels = (255 * np.clip(noisy, 0, 1)).astype(np.uint8)[..., None].repeat(channels, -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pictures.encode(pictures.grid(levels, 10)))


def write_study(root, seeds=3, images=(8, 8, 1)):
    """A whole study: three presets, one of them with two optimizers, over seeds; one failed, one missing; claims."""
    planned, frames = [], (100, 200, 300, 400)
    kinds = [
        ("seed-vae", {"optimizer.name": "adam"}, 18.0, {}),
        ("seed-vae", {"optimizer.name": "sgd"}, 18.2, {}),
        ("seed-gan", {}, 9.0, {}),
        ("seed-diffusion", {}, 2.0, {"sweep": (1, 2, 5, 10, 20, 50)}),
    ]
    for preset, overrides, rho, more in kinds:
        for seed in range(seeds):
            parts = [preset, *(f"{k.rpartition('.')[2]}={v}" for k, v in overrides.items()), f"seed={seed}"]
            name = ",".join(parts)
            score = rho * (1 + 0.1 * (seed - 1) + (0.02 if "sgd" in name else 0.0))
            write_run(
                root / "runs" / name,
                preset,
                seed,
                score,
                fields=overrides,
                pictures=frames,
                images=images,
                **more,
            )
            options = "".join(f" --{k} {v}" for k, v in overrides.items())
            command = f"python -m experiments.train {preset}{options} --seed {seed} --workdir runs/{name}"
            planned.append({"name": name, "preset": preset, "seed": seed, "command": command})
    failed = "seed-gan,seed=9"
    planned += [{"name": failed, "preset": "seed-gan"}, {"name": "seed-gan,seed=10", "preset": "seed-gan"}]
    write_json(root / "failed" / f"{failed}.json", {"exit_code": 1, "tail": f"error: NaN in step 3 {EVIL}"})
    about = {
        "name": "Three families on digits",
        "command": "python -m experiments.study three --seeds 3",
        "budget": {"kind": "epochs", "amount": 3.0},
        "grid": {"optimizer.name": ["adam", "sgd"]},
    }
    write_json(root / "study.json", about | {"runs": planned})
    claims = [
        {
            "claim": "Diffusion samples about 1000 times slower than a GAN",
            "survey": "Survey A",
            "status": "does not hold",
            "claimed": 1000,
            "measured": 212.5,
            "interval": [190.0, 240.0],
            "command": "python -m experiments.claims --only speed",
            "why": "At 50 steps, on the same cores.",
        },
        {"claim": "Adam trains better than SGD", "status": "holds", "claimed": "better", "measured": 1.9},
        {
            "claim": "Needs photographs",
            "status": "not tested",
            "claimed": 3,
            "measured": None,
            "interval": None,
        },
    ]
    write_json(root / "claims.json", claims)
    return root
