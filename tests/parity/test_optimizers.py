"""Optimizers by name against PyTorch: the same gradients for ten updates, where rates and decays are the same.

| here | PyTorch |
| --- | --- |
| `optimizer.name` = adam, and with weight decay | `torch.optim.Adam`, `torch.optim.AdamW` |
| sgd | `torch.optim.SGD` |
| rmsprop | `torch.optim.RMSprop` |
| adagrad | `torch.optim.Adagrad` |

Conventions that differ: PyTorch's weight decay is decoupled in AdamW alone, its RMSprop has a decay of 0.99 by default,
its Adagrad sums squares from 0 on by default and adds its epsilon, 1e-10, to the root; here 1e-7 is added under it.
"""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genjax.methods.optimizers import OptimizerConfig, optimizer

torch = pytest.importorskip("torch")

RATE, STEPS = 0.05, 10
OPTIMIZERS = {
    "adam": ({"b1": 0.5, "b2": 0.99}, torch.optim.Adam, {"betas": (0.5, 0.99)}),
    "adam, decay": ({"weight_decay": 0.1}, torch.optim.AdamW, {"weight_decay": 0.1}),
    "sgd": ({"momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9}),
    "rmsprop": ({"momentum": 0.9}, torch.optim.RMSprop, {"momentum": 0.9, "alpha": 0.9}),
    "adagrad": ({}, torch.optim.Adagrad, {"initial_accumulator_value": 0.1}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ten_updates(name):
    options, theirs, their_options = OPTIMIZERS[name]
    random = np.random.default_rng(0)
    start = random.normal(size=20).astype(np.float32)
    gradients = (random.normal(size=(STEPS, 20)) * np.logspace(-4, 2, 20)).astype(np.float32)

    config = OptimizerConfig(
        name=name.split(",")[0],
        learning_rate=RATE,
        warmup_steps=0,
        decay="constant",
        clip_norm=None,
        **options,
    )
    ours = optimizer(config, STEPS)
    x = jnp.asarray(start)
    state = ours.init(x)
    for gradient in gradients:
        changes, state = ours.update(jnp.asarray(gradient), state, x)
        x = optax.apply_updates(x, changes)

    y = torch.nn.Parameter(torch.from_numpy(start.copy()))
    reference = theirs([y], lr=RATE, **their_options)
    for gradient in gradients:
        y.grad = torch.from_numpy(gradient)
        reference.step()
    np.testing.assert_allclose(x, y.detach().numpy(), rtol=2e-5, atol=2e-6)
