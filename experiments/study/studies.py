"""Named studies. A study is a value; every part can be changed on the command line.

The costs and results of the studies that were run are in docs/studies.md and docs/results.md.
"""

from experiments.study.spec import Budget, Study

# Scores are of 500 images at all times: of the 355 test digits, more would tell little more.
_QUICK = Study(
    presets=("vae-digits", "dcgan-digits", "ddpm-digits"),
    base={"evaluation.num": 500, "evaluation.score_num": 500},
    per_preset={
        "vae-digits": {"evaluation.score_every": 750, "evaluation.sample_every": 750},
        # Two time scales: with one rate for both networks rho is about half as large again.
        "dcgan-digits": {
            "steps": 6000,
            "model.channels": 64,
            "optimizer.learning_rate": 1e-3,
            "method.discriminator_rate": 0.2,
            "evaluation.score_every": 1500,
            "evaluation.sample_every": 1500,
        },
        "ddpm-digits": {
            "steps": 600,
            "sampling.num_steps": 20,
            "evaluation.score_every": 200,
            "evaluation.sample_every": 200,
        },
    },
    seeds=(0, 1, 2),
    sweep=(2, 5, 10, 20, 50),
    cost=True,
)

# Half as wide as the preset, and an eighth of its steps: twelve runs for two CPU cores. Values can be added, as by
# ``--grid method.prediction=eps,v,x0``.
_SCHEDULES = Study(
    presets=("ddpm-mnist",),
    base={
        "model.channels": 16,
        "steps": 600,
        "sampling.num_steps": 20,
        "evaluation.num": 500,
        "evaluation.sample_every": 200,
    },
    grid={"method.schedule": ("linear", "cosine"), "method.prediction": ("eps", "v")},
    seeds=(0, 1, 2),
    sweep=(2, 5, 10, 20),
)

# The rate of each optimizer is the best of two to five, two to three times apart, from another seed: for the VAE by the
# loss on test images after 2 epochs, for the GAN by rho after 5, for the diffusion model by the loss after a third of
# an epoch (with Adam, and for smaller rates with RMSprop, of 24 channels). SGD diverged at 0.03 (VAE), 0.3 (GAN) and
# 0.1 (diffusion); so did Adagrad for the VAE at 0.1, from seed 0, which had been better by 2 nats of 183.
_RATES = {
    "seed-vae": {"adam": 3e-3, "sgd": 3e-3, "rmsprop": 3e-3, "adagrad": 0.01},
    "seed-gan": {"adam": 5e-4, "sgd": 0.1, "rmsprop": 5e-4, "adagrad": 0.1},
    "seed-diffusion": {"adam": 1e-3, "sgd": 3e-2, "rmsprop": 1e-3, "adagrad": 3e-2},
}

# Equal epochs of equal batches. The diffusion model has 16 channels where its preset has 72, whose epoch takes an hour
# of a CPU core, and makes images in 20 steps, not 400.
_MNIST_TABLE = Study(
    presets=tuple(_RATES),
    base={"batch_size": 128, "evaluation.num": 1000, "evaluation.sample_every": 469},
    per_preset={
        "seed-vae": {"evaluation.score_every": 469},
        "seed-gan": {"evaluation.score_every": 469},
        "seed-diffusion": {"model.channels": 16, "sampling.num_steps": 20},
    },
    variants={
        preset: tuple(
            {"optimizer.name": name, "optimizer.learning_rate": rate} for name, rate in rates.items()
        )
        for preset, rates in _RATES.items()
    },
    seeds=(0, 1, 2),
    seeds_of={"seed-diffusion": 1},
    budget=Budget("epochs", 3),
    cost=True,
)

STUDIES: dict[str, tuple[str, Study]] = {
    "quick": (
        "VAE, GAN and diffusion model on scikit-learn's 8x8 digits, three seeds: five minutes on two CPU cores.",
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
