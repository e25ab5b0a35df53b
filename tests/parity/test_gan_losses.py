"""Penalties and spectral normalisation against PyTorch: the same weights and images; values and gradients.

| here | PyTorch |
| --- | --- |
| `r1`, `r2`, `gradient_penalty`; their gradients in the parameters | `torch.autograd.grad`, twice |
| `SpectralNorm` of `flax.linen.Dense` and `genjax.nn.Conv` | `torch.nn.utils.parametrizations.spectral_norm` |

Conventions that differ: kernels are [h,w,C,O] and images [B,H,W,C] here, [O,C,h,w] and [B,C,H,W] there. PyTorch keeps v
beside u, from the weights of the step before; here v is computed from u.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.losses import penalties
from genjax.nn import Conv, initialize
from genjax.nn.spectral_norm import SpectralNorm

SHAPE = H, W, C = 8, 8, 3
BATCH = 4
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


class Critic(nn.Module):
    """Strided convolutions and a dense layer over all positions."""

    @nn.compact
    def __call__(self, x):
        for i, width in enumerate((6, 8)):
            x = Conv(width, (4, 4), (2, 2), ((1, 1), (1, 1)), name=f"conv_{i}")(x)
            x = nn.silu(x)
        return nn.Dense(1, name="logits")(x.reshape(x.shape[0], -1))[:, 0]


def images_to_torch(x):
    """[B,H,W,C] -> [B,C,H,W]; features stay."""
    import torch

    return torch.from_numpy(np.array(to_torch_layout(x)))


def to_torch_layout(x):
    return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x


def to_torch(parameter):
    """[h,w,C,O] -> [O,C,h,w] and [C,O] -> [O,C]."""
    import torch

    axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[parameter.ndim]
    return torch.from_numpy(np.array(parameter).transpose(axes).copy())


def torch_critic(params):
    """The critic, and its parameters as leaves in the order of ours."""
    import torch
    import torch.nn.functional as F

    leaves = jax.tree.map(lambda p: to_torch(p).requires_grad_(), params)

    def critic(x):
        for i in range(2):
            layer = leaves[f"conv_{i}"]
            x = F.silu(F.conv2d(x, layer["kernel"], layer["bias"], stride=2, padding=1))
        # Ours has the channels last when it flattens.
        flat = torch.flatten(x.permute(0, 2, 3, 1), 1)
        return F.linear(flat, leaves["logits"]["kernel"], leaves["logits"]["bias"])[:, 0]

    return critic, leaves


def places(keys):
    """Where on its line each point of the gradient penalty lies, read off a critic whose slope is the image."""
    ones = jnp.ones((BATCH, H, W, C))
    penalty = penalties.gradient_penalty(1.0, 0.0)
    squares, _ = penalty.apply(
        lambda x: 0.5 * jnp.square(x).sum((1, 2, 3)),
        keys,
        0 * ones,
        ones,
        ones[:, 0, 0, 0],
        ones[:, 0, 0, 0],
        (),
    )
    return np.sqrt(np.asarray(squares) / (H * W * C))


@pytest.mark.parametrize(
    ("penalty", "points", "formula"),
    [
        (penalties.r1(10.0), lambda real, fake, u: real, lambda squares: 5 * squares),
        (penalties.r2(0.1), lambda real, fake, u: fake, lambda squares: 0.05 * squares),
        (
            penalties.gradient_penalty(10.0),
            lambda real, fake, u: real + u * (fake - real),
            lambda squares: 10 * (squares.sqrt() - 1) ** 2,
        ),
        (
            penalties.gradient_penalty(1.0, 0.02, one_sided=True),
            lambda real, fake, u: real + u * (fake - real),
            lambda squares: (squares.sqrt() - 0.02).clamp(min=0) ** 2,
        ),
    ],
    ids=["r1", "r2", "gradient penalty", "one-sided"],
)
def test_penalty_and_its_gradient(penalty, points, formula):
    torch = pytest.importorskip("torch")
    real, fake = jax.random.normal(jax.random.key(0), (2, BATCH, *SHAPE))
    keys = jax.random.split(jax.random.key(1), BATCH)
    params = initialize(Critic(), jax.random.key(2), real)["params"]
    # Slopes of about 1, and biases that are not 0.
    params = jax.tree.map(lambda p: 2 * p + 0.1, params)

    @jax.jit
    def ours(params):
        def mean(params):
            def critic(x):
                return Critic().apply({"params": params}, x)

            values, _ = penalty.apply(critic, keys, real, fake, critic(real), critic(fake), ())
            return values.mean(), values

        return jax.value_and_grad(mean, has_aux=True)(params)

    (_, values), gradient = ours(params)
    critic, leaves = torch_critic(params)
    u = torch.from_numpy(places(keys)).reshape(-1, 1, 1, 1)
    x = points(images_to_torch(real), images_to_torch(fake), u).requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    theirs = formula(slope.square().sum((1, 2, 3)))
    np.testing.assert_allclose(values, theirs.detach(), **TOLERANCE)
    assert float(values.min()) > 1e-4
    names = jax.tree.leaves(leaves)
    expected = torch.autograd.grad(theirs.mean(), names, allow_unused=True)
    for a, b in zip(jax.tree.leaves(gradient), expected, strict=True):
        # The last bias has no part in a slope.
        b = np.zeros(a.shape) if b is None else b
        np.testing.assert_allclose(to_torch(a), b, **TOLERANCE)


@pytest.mark.parametrize("num_steps", [1, 3])
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_spectral_norm(kind, num_steps):
    """From the same u: three calls in training, one in evaluation, and the gradient of the last one in training."""
    torch = pytest.importorskip("torch")
    shape = {"dense": (7,), "conv": SHAPE}[kind]
    layer = {"dense": nn.Dense(5), "conv": Conv(6, (4, 4), (2, 2), ((1, 1), (1, 1)))}[kind]
    network = SpectralNorm(layer, num_steps)
    x = jax.random.normal(jax.random.key(0), (BATCH, *shape))
    variables = initialize(network, jax.random.key(1), x)
    params, spectral = variables["params"], {"spectral": variables["spectral"]}
    params["layer"]["bias"] = 0.1 * jnp.arange(layer.features)

    plain = {"dense": torch.nn.Linear(7, 5), "conv": torch.nn.Conv2d(C, 6, 4, 2, 1)}[kind]
    plain.load_state_dict(
        {"weight": to_torch(params["layer"]["kernel"]), "bias": to_torch(params["layer"]["bias"])}
    )
    theirs = torch.nn.utils.parametrizations.spectral_norm(plain, n_power_iterations=num_steps)
    norm = theirs.parametrizations.weight[0]
    u = to_torch(spectral["spectral"]["u"])
    with torch.no_grad():
        w = theirs.parametrizations.weight.original.flatten(1)
        norm._u.copy_(u)
        norm._v.copy_(torch.nn.functional.normalize(w.T @ u, dim=0))

    apply = jax.jit(lambda variables, x: network.apply(variables, x, train=True, mutable=["spectral"]))
    theirs.train()
    for _ in range(3):
        y, changed = apply({"params": params, **spectral}, x)
        expected = theirs(images_to_torch(x))
        np.testing.assert_allclose(to_torch_layout(y), expected.detach(), **TOLERANCE)
        np.testing.assert_allclose(changed["spectral"]["u"], norm._u, **TOLERANCE)
        before, spectral = spectral, changed

    weights = np.cos(np.arange(expected.numel())).reshape(expected.shape).astype(np.float32)
    (expected * torch.from_numpy(weights)).sum().backward()

    def loss(params):
        y, _ = network.apply({"params": params, **before}, x, train=True, mutable=["spectral"])
        return (to_torch_layout(y) * weights).sum()

    gradient = jax.grad(loss)(params)["layer"]
    np.testing.assert_allclose(
        to_torch(gradient["kernel"]), theirs.parametrizations.weight.original.grad, **TOLERANCE
    )
    np.testing.assert_allclose(gradient["bias"], theirs.bias.grad, **TOLERANCE)

    theirs.eval()
    evaluated = network.apply({"params": params, **spectral}, x)
    np.testing.assert_allclose(to_torch_layout(evaluated), theirs(images_to_torch(x)).detach(), **TOLERANCE)
