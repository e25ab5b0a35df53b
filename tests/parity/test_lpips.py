"""LPIPS against the package lpips, with the published weights of its layers and networks of random weights.

lpips imports torchvision for the two networks. Here it gets their layers without it, as the two papers and torchvision
number them.
"""

import importlib.util
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from genjax.metrics.lpips import load_lpips

VGG16 = (
    64,
    64,
    "pool",
    128,
    128,
    "pool",
    256,
    256,
    256,
    "pool",
    512,
    512,
    512,
    "pool",
    512,
    512,
    512,
    "pool",
)


def alexnet_layers(nn):
    def pool():
        return nn.MaxPool2d(3, 2)

    convolutions = [(3, 64, 11, 4, 2), pool, (64, 192, 5, 1, 2), pool, (192, 384, 3, 1, 1)]
    convolutions += [(384, 256, 3, 1, 1), (256, 256, 3, 1, 1), pool]
    return [
        layer
        for c in convolutions
        for layer in ([c()] if c is pool else [nn.Conv2d(*c), nn.ReLU(inplace=True)])
    ]


def vgg16_layers(nn):
    layers, channels = [], 3
    for width in VGG16:
        if width == "pool":
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
    return layers


@pytest.fixture(scope="module")
def theirs():
    """``backbone -> lpips.LPIPS`` with a random network, its weights at a scale that keeps the features apart."""
    torch = pytest.importorskip("torch")
    if importlib.util.find_spec("lpips") is None:
        pytest.skip("lpips is not installed (it requires torchvision: pip install --no-deps lpips)")

    def network(layers):
        def make(pretrained):
            assert not pretrained
            features = torch.nn.Sequential(*layers(torch.nn))
            for layer in features:
                if isinstance(layer, torch.nn.Conv2d):
                    torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    torch.nn.init.normal_(layer.bias, std=0.1)
            return types.SimpleNamespace(features=features)

        return make

    torchvision, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")
    torchvision.models = models
    models.alexnet, models.vgg16 = network(alexnet_layers), network(vgg16_layers)
    stubs = {"torchvision": torchvision, "torchvision.models": models}
    before = {name: sys.modules[name] for name in stubs if name in sys.modules}
    sys.modules |= stubs
    try:
        import lpips
    finally:
        for name in stubs:
            del sys.modules[name]
        sys.modules |= before
    torch.manual_seed(0)
    return lambda backbone: lpips.LPIPS(net=backbone, pnet_rand=True, verbose=False)


def arrays(tensors):
    return {name: np.ascontiguousarray(tensor.detach().numpy()) for name, tensor in tensors.items()}


@pytest.mark.parametrize("backbone, size", [("alex", (31, 64)), ("alex", (64, 50)), ("vgg", (35, 32))])
def test_equals_lpips(backbone, size, theirs, tmp_path):
    import torch

    model = theirs(backbone)
    # Its slices keep the numbers of the layers: net.slice2.3.weight is features.3.weight.
    network = {f"features.{name.split('.', 1)[1]}": x for name, x in arrays(model.net.state_dict()).items()}
    heads = {
        name: x
        for name, x in arrays(model.state_dict()).items()
        if name.startswith("lin") and "lins" not in name
    }
    assert len(heads) == 5
    path, heads_path = tmp_path / "network.safetensors", tmp_path / "heads.safetensors"
    path.write_bytes(safetensors.numpy.save(network))
    heads_path.write_bytes(safetensors.numpy.save(heads))
    distance = load_lpips(path, backbone, sha256=None, heads=heads_path, heads_sha256=None)

    rng = np.random.default_rng(0)
    x = np.float32(rng.uniform(-1, 1, size=(3, *size, 3)))
    y = np.float32(np.clip(x + np.reshape([0.05, 0.3, 1.0], (3, 1, 1, 1)) * rng.normal(size=x.shape), -1, 1))
    given = [torch.from_numpy(a).permute(0, 3, 1, 2).requires_grad_() for a in (x, y)]
    expected = model(*given).flatten()
    x, y = jnp.asarray(x), jnp.asarray(y)
    np.testing.assert_allclose(jax.jit(distance)(x, y), expected.detach(), rtol=1e-5)
    # As a loss.
    expected.sum().backward()
    gradient = jax.jit(jax.grad(lambda x: distance(x, y).sum()))(x)
    expected = given[0].grad.permute(0, 2, 3, 1).numpy()
    assert np.abs(gradient - expected).max() <= 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("backbone", ["alex", "vgg"])
def test_the_installed_heads(backbone, theirs, tmp_path):
    from genjax.metrics import lpips

    loaded = lpips.load_heads(lpips._installed(backbone), lpips.BACKBONES[backbone].heads)
    state = arrays(theirs(backbone).state_dict())
    for i, weights in enumerate(loaded):
        np.testing.assert_array_equal(weights, state[f"lin{i}.model.1.weight"].ravel())
