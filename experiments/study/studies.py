"""Named studies. A study is a value; every part can be changed on the command line.

What each took and what it showed, where it was run, is in the README.
"""

from experiments.study.spec import Study

_QUICK = Study(
    presets=("vae-digits", "dcgan-digits", "ddpm-digits"),
    base={"evaluation.num": 1000},
    per_preset={"ddpm-digits": {"steps": 600}},
    seeds=(0, 1, 2),
    sweep=(2, 5, 10, 20, 50),
    cost=True,
)

_SCHEDULES = Study(
    presets=("ddpm-mnist",),
    grid={"method.schedule": ("linear", "cosine"), "method.prediction": ("eps", "v", "x0")},
    seeds=(0, 1, 2),
    sweep=(5, 10, 20, 50),
)

_MNIST_TABLE = Study(
    presets=("seed-vae", "seed-gan", "seed-diffusion"),
    grid={"optimizer.name": ("adam", "sgd", "rmsprop", "adagrad")},
    cost=True,
)

STUDIES: dict[str, tuple[str, Study]] = {
    "quick": (
        "VAE, GAN and diffusion model on scikit-learn's 8x8 digits, three seeds: ten minutes on two CPU cores.",
        _QUICK,
    ),
    "mnist-table": (
        "VAE, GAN and diffusion model on MNIST (TFDS) with each of four optimizers.",
        _MNIST_TABLE,
    ),
    "schedules": (
        "DDPM on MNIST (TFDS): noise schedules and what the network predicts, three seeds.",
        _SCHEDULES,
    ),
}
"""What each is about, and the study, by name."""
