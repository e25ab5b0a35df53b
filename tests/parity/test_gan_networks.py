"""Networks of the GAN family against PyTorch, given converted weights: in training, and by the statistics it left.

| here | there |
| --- | --- |
| `DCGANGenerator`, `DCGANDiscriminator` | the layers of pytorch/examples' DCGAN, at 32 pixels |
| `UpBlock`, `DownBlock` | SNGAN's blocks, which double before and halve after the 1x1 convolution |
| `UNetGenerator` | pix2pix's U-Net, as a module inside of a module |
| `ResidualTranslator` | CycleGAN's generator |

PyTorch's momentum is one minus ours, and its running variance is the unbiased one.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax.models.gan.dcgan import DCGANDiscriminator, DCGANGenerator
from genjax.models.gan.residual import DownBlock, UpBlock
from genjax.models.gan.residual_translator import ResidualTranslator
from genjax.models.gan.translation_unet import UNetGenerator
from genjax.nn import ConvTranspose
from genjax.nn.batch_norm import BatchNorm

TOLERANCE = 1e-4
Norm = functools.partial(BatchNorm, momentum=0.9, unbiased=True)


@pytest.fixture(autouse=True)
def torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch


def array(tensor):
    return jnp.asarray(tensor.detach().numpy())


def images_of(tensor):
    return array(tensor.permute(0, 2, 3, 1))


def converted(layer):
    """Parameters, and statistics, of one of PyTorch's layers."""
    kind = type(layer).__name__
    if kind == "BatchNorm2d":
        params = {"scale": array(layer.weight), "bias": array(layer.bias)}
        return params, {"mean": array(layer.running_mean), "var": array(layer.running_var)}
    weight = array(layer.weight)
    if kind == "Conv2d":
        params = {"kernel": weight.transpose(2, 3, 1, 0)}
    elif kind == "ConvTranspose2d":
        # PyTorch's is the gradient of a convolution, whose kernel is turned.
        params = {"kernel": weight[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)}
    else:
        raise AssertionError(kind)
    if layer.bias is not None:
        params["bias"] = array(layer.bias)
    return params, None


def variables_of(layers):
    """Our variables, of PyTorch's layers by our names for them."""
    variables = {"params": {}, "batch_stats": {}}
    for name, layer in layers.items():
        params, stats = converted(layer)
        variables["params"][name] = params
        if stats is not None:
            variables["batch_stats"][name] = stats
    return variables


def randomized(torch, module):
    """No weight or statistic keeps its initial value."""
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if not value.is_floating_point():
                continue
            noise = torch.randn_like(value)
            if name.endswith("running_var"):
                value.copy_(0.5 + noise.abs())
            elif value.ndim > 1:
                value.copy_(noise / (value[0].numel() ** 0.5))
            else:
                value.add_(0.3 * noise)
    return module


def compare(module, network, layers, x, convert=lambda variables: variables, result=lambda y: y):
    """In training, the new statistics, and out of training with these; `x` is PyTorch's input."""
    ours = images_of(x) if x.ndim == 4 and x.shape[-1] > 1 else array(x.reshape(len(x), -1))
    variables = convert(variables_of(layers))
    if not jax.tree.leaves(variables.get("batch_stats", {})):
        variables.pop("batch_stats", None)
    apply = jax.jit(functools.partial(network.apply, mutable=["batch_stats"]), static_argnames="train")

    def output(y):
        return images_of(y) if y.ndim == 4 else array(y)

    module.train()
    y, new = apply(variables, ours, train=True)
    np.testing.assert_allclose(result(y), output(module(x)), atol=TOLERANCE)
    after = convert(variables_of(layers))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=TOLERANCE, rtol=TOLERANCE),
        new.get("batch_stats", {}),
        after.get("batch_stats", {}),
    )
    module.eval()
    y, _ = apply({**variables, **new}, ours, train=False)
    np.testing.assert_allclose(result(y), output(module(x)), atol=TOLERANCE)


def test_transposed_convolution(torch):
    theirs = torch.nn.ConvTranspose2d(5, 4, 4, 2, 1)
    x = torch.randn(2, 5, 7, 6)
    layer = ConvTranspose(4, (4, 4), (2, 2))
    y = layer.apply({"params": converted(theirs)[0]}, images_of(x))
    np.testing.assert_allclose(y, images_of(theirs(x)), atol=1e-5)


@pytest.mark.parametrize("hidden", [None, 6])
def test_dcgan_generator(torch, hidden):
    """A fully connected layer of images with one pixel is a 1x1 convolution."""
    nn = torch.nn
    widths = [hidden or 10, 16, 8, 4]
    module = nn.Sequential()
    layers = {}
    if hidden:
        layers |= {"hidden": nn.Conv2d(10, hidden, 1, bias=False), "norm_hidden": nn.BatchNorm2d(hidden)}
        module.extend([*layers.values(), nn.ReLU()])
    for i, (a, b) in enumerate(zip(widths, [*widths[1:], 2], strict=True)):
        up = nn.ConvTranspose2d(a, b, 4, *((2, 1) if i else (1, 0)), bias=False)
        layers[f"up_{i}" if i else "project"] = up
        module.append(up)
        if i < 3:
            layers[f"norm_{i}"] = nn.BatchNorm2d(b)
            module.extend([layers[f"norm_{i}"], nn.ReLU()])
    module.append(nn.Tanh())
    randomized(torch, module)

    def convert(variables):
        # [4,4,Z,C], turned, as a matrix [Z,4*4*C]: every element of the one-pixel image makes a 4x4 map.
        kernel = layers["project"].weight.permute(0, 2, 3, 1)
        variables["params"]["project"] = {"kernel": array(kernel.reshape(widths[0], -1))}
        if hidden:
            variables["params"]["hidden"]["kernel"] = variables["params"]["hidden"]["kernel"][0, 0]
        return variables

    network = DCGANGenerator((32, 32, 2), 4, norm=Norm, hidden=hidden)
    compare(module, network, layers, torch.randn(4, 10, 1, 1), convert)


@pytest.mark.parametrize("hidden", [None, 6])
def test_dcgan_discriminator(torch, hidden):
    nn = torch.nn
    module, layers = nn.Sequential(), {}
    for i, (a, b) in enumerate([(2, 4), (4, 8), (8, 16)]):
        layers[f"down_{i}"] = nn.Conv2d(a, b, 4, 2, 1, bias=False)
        module.append(layers[f"down_{i}"])
        if i:
            layers[f"norm_{i}"] = nn.BatchNorm2d(b)
            module.append(layers[f"norm_{i}"])
        module.append(nn.LeakyReLU(0.2))
    if hidden:
        layers |= {"hidden": nn.Conv2d(16, hidden, 4, bias=False), "norm_hidden": nn.BatchNorm2d(hidden)}
        module.extend([layers["hidden"], layers["norm_hidden"], nn.LeakyReLU(0.2)])
    layers["logits"] = nn.Conv2d(hidden or 16, 1, 1 if hidden else 4, 1, 0, bias=False)
    module.extend([layers["logits"], nn.Flatten(0)])
    randomized(torch, module)

    def convert(variables):
        for name in {"logits", "hidden"} & variables["params"].keys():
            kernel = variables["params"][name]["kernel"]
            variables["params"][name] = {"kernel": kernel.reshape(-1, kernel.shape[-1])}
        return variables

    x = torch.randn(4, 2, 32, 32)
    compare(module, DCGANDiscriminator(4, norm=Norm, hidden=hidden), layers, x, convert, lambda y: y[0])


def test_block_up(torch):
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm_1, self.norm_2 = nn.BatchNorm2d(3), nn.BatchNorm2d(5)
            self.conv_1, self.conv_2 = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1)
            self.shortcut = nn.Conv2d(3, 5, 1)

        def forward(self, x):
            double = nn.Upsample(scale_factor=2)
            h = self.conv_1(double(torch.relu(self.norm_1(x))))
            return self.conv_2(torch.relu(self.norm_2(h))) + self.shortcut(double(x))

    module = randomized(torch, Block())
    compare(module, UpBlock(5, Norm), dict(module.named_children()), torch.randn(4, 3, 4, 6))


@pytest.mark.parametrize(("halve", "first", "width"), [(True, True, 5), (True, False, 3), (False, False, 3)])
def test_block_down(torch, halve, first, width):
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv_1 = nn.Conv2d(3, width, 3, padding=1)
            self.conv_2 = nn.Conv2d(width, width, 3, padding=1)
            if halve:
                self.shortcut = nn.Conv2d(3, width, 1)

        def forward(self, x):
            h = self.conv_2(torch.relu(self.conv_1(x if first else torch.relu(x))))
            if not halve:
                return h + x
            pool = nn.AvgPool2d(2)
            return pool(h) + (self.shortcut(pool(x)) if first else pool(self.shortcut(x)))

    module = randomized(torch, Block())
    compare(module, DownBlock(width, halve, first), dict(module.named_children()), torch.randn(4, 3, 4, 6))


def test_unet(torch):
    nn = torch.nn
    layers = {}

    class Skip(nn.Module):
        """A halving, what is inside, a doubling; the input of all but the outermost is joined to the result."""

        def __init__(self, i, outer, inner, inside):
            super().__init__()
            last = inside is None
            self.outermost = i == 0
            self.before = nn.LeakyReLU(0.2) if i else nn.Identity()
            plain = self.outermost or last
            layers[f"down_{i}"] = nn.Conv2d(2 if i == 0 else outer, inner, 4, 2, 1, bias=plain)
            layers[f"up_{i}"] = nn.ConvTranspose2d(
                inner if last else 2 * inner, outer, 4, 2, 1, bias=self.outermost
            )
            parts = [layers[f"down_{i}"]]
            if not plain:
                layers[f"down_norm_{i}"] = nn.BatchNorm2d(inner)
                parts.append(layers[f"down_norm_{i}"])
            parts += [nn.Identity() if last else inside, nn.ReLU(), layers[f"up_{i}"]]
            if i:
                layers[f"up_norm_{i}"] = nn.BatchNorm2d(outer)
                parts.append(layers[f"up_norm_{i}"])
            self.parts = nn.Sequential(*parts)

        def forward(self, x):
            y = self.parts(self.before(x))
            return torch.tanh(y) if self.outermost else torch.cat([x, y], 1)

    module = Skip(0, 1, 3, Skip(1, 3, 6, Skip(2, 6, 12, None)))
    randomized(torch, module)
    compare(module, UNetGenerator(1, 3, 3, Norm), layers, torch.randn(4, 2, 16, 8))


def test_residual_translator(torch):
    nn = torch.nn
    layers = {}

    def named(name, layer):
        layers[name] = layer
        return layer

    def convolve(name, a, b, size, stride=1):
        if stride == 2:
            return [named(name, nn.Conv2d(a, b, size, 2, 1, bias=False))]
        return [nn.ReflectionPad2d(size // 2), named(name, nn.Conv2d(a, b, size, bias=name == "out"))]

    class Block(nn.Module):
        def __init__(self, i):
            super().__init__()
            first = [*convolve(f"block_{i}_1", 6, 6, 3), nn.InstanceNorm2d(6), nn.ReLU()]
            self.parts = nn.Sequential(*first, *convolve(f"block_{i}_2", 6, 6, 3), nn.InstanceNorm2d(6))

        def forward(self, x):
            return x + self.parts(x)

    module = nn.Sequential(
        *convolve("in", 2, 3, 7),
        nn.InstanceNorm2d(3),
        nn.ReLU(),
        *convolve("down_0", 3, 6, 3, 2),
        nn.InstanceNorm2d(6),
        nn.ReLU(),
        Block(0),
        named("up_0", nn.ConvTranspose2d(6, 3, 3, 2, 1, output_padding=1, bias=False)),
        nn.InstanceNorm2d(3),
        nn.ReLU(),
        *convolve("out", 3, 1, 7),
        nn.Tanh(),
    )
    randomized(torch, module)
    compare(module, ResidualTranslator(1, 3, 1, 1), layers, torch.randn(2, 2, 8, 6))
