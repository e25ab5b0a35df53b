"""A tiny run of each family of models, which is trained once without a fault, and what has to be equal to it."""

import json
import re
import shutil
import threading

from genjax.train.seal import SEAL

STEPS, CHECKPOINT_EVERY = 40, 10
# Of the lines of the log, the checkpoints and the losses no two meet before the end.
_COMMON = f"""
    --steps {STEPS} --batch-size 8 --log-every 7 --checkpoint-every {CHECKPOINT_EVERY} --evaluation.loss-every 15
    --evaluation.sample-every 25 --evaluation.num 20 --evaluation.grid-columns 2 --sampling.batch-size 20
    --data.limit 60
"""
FAMILIES = {
    "diffusion": """ddpm-digits --model.channels 8 --model.multipliers 1 --model.blocks 1 --model.attention
        --optimizer.warmup-steps 5 --sampling.num-steps 2""",
    "VAE": "vae-digits --model.hidden 8 --model.latent 2 --optimizer.warmup-steps 5",
    "GAN": "dcgan-digits --model.channels 4 --method.latent 4",
    "VQ": """vqvae-digits --model.channels 8 --model.num-codes 8 --model.code-width 4 --model.residual-blocks 1
        --model.prior-channels 8 --model.prior-depth 1 --method.first-steps 20 --optimizer.warmup-steps 5""",
}
"""Preset and options of each."""


def arguments(family, workdir, *more):
    """Of the training of a family."""
    return [*FAMILIES[family].split(), "--workdir", str(workdir), *_COMMON.split(), *more]


class References:
    """The runs without a fault; each is trained when it is first asked for.

    Args:
        folder: where they lie.
        server: starts processes.
        driver: computes digests.
    """

    def __init__(self, folder, server, driver):
        self._folder, self._server, self._driver = folder, server, driver
        self._lock, self._digests, self.starting = threading.Lock(), {}, {}

    def run(self, family, *more):
        """Workdir of the finished run of a family; nobody may change it."""
        workdir = self._folder / re.sub(r"\W+", "-", "-".join([family, *more]))
        with self._lock:
            if (family, *more) not in self._digests:
                child = self._server.start("experiments.train", *arguments(family, workdir, *more))
                child.until(lambda: (workdir / "lock.json").exists())
                self.starting[family] = child.seconds
                if child.wait().code != 0:
                    raise RuntimeError(f"the {family} run fails without a fault: {child.said}")
                self._digests[family, *more] = self._driver.run("digest", workdir)
        return workdir

    def half(self, family, workdir):
        """A copy that a kill could have left: its last checkpoint and what comes after it are missing."""
        shutil.copytree(self.run(family), workdir)
        shutil.rmtree(workdir / "checkpoints" / f"{STEPS:08d}")
        for name in ("metrics.json", "samples.png", f"samples/{STEPS:08d}.png"):
            (workdir / name).unlink()
        return workdir

    def differences(self, driver, workdir, family, *more):
        """What of a finished run is not, bit for bit, as in the run without a fault: texts, none if all is."""
        reference = self.run(family, *more)
        found = []
        if driver.run("digest", workdir) != self._digests[family, *more]:
            found.append("the arrays of the last checkpoint differ")
        pictures = [f"samples/{path.name}" for path in sorted((reference / "samples").iterdir())]
        for name in ("metrics.jsonl", "config.json", "data.json", "parameters.txt", "samples.png", *pictures):
            if not (workdir / name).exists():
                found.append(f"{name} is missing")
            elif (workdir / name).read_bytes() != (reference / name).read_bytes():
                found.append(f"{name} differs")
        if _scores(workdir) != _scores(reference):
            found.append("metrics.json differs")
        return found


def _scores(workdir):
    """What metrics.json says, but for measured times."""
    path = workdir / "metrics.json"
    if not path.exists():
        return None
    return {name: value for name, value in json.loads(path.read_text()).items() if "seconds" not in name}


def sealed(workdir):
    """Steps of the finished checkpoints, ascending."""
    folder = workdir / "checkpoints"
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir() if re.fullmatch(r"\d{8}", path.name)]
    return sorted(int(name) for name in names if (folder / name / SEAL).exists())


def unfinished(workdir):
    """Whether a checkpoint is begun that is newer than all that are finished."""
    folder, newest = workdir / "checkpoints", max(sealed(workdir), default=0)
    if not folder.is_dir():
        return False
    begun = [path.name for path in folder.iterdir() if re.match(r"\d{8}", path.name)]
    return any(int(name[:8]) > newest for name in begun if ".unusable" not in name)
