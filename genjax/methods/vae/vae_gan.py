"""VAE-GAN: a variational autoencoder whose images are judged by a discriminator, and by the features it looks at.

Larsen, Sønderby, Larochelle and Winther, "Autoencoding beyond pixels using a learned similarity metric" (2016).
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from genjax.losses import adversarial as games
from genjax.losses.adversarial import AdversarialLoss
from genjax.losses.gaussian import sum_components
from genjax.losses.likelihood import Likelihood
from genjax.methods import update
from genjax.methods.gan.adversary import descend, judge, with_discriminator
from genjax.methods.vae import regularizers as rates
from genjax.methods.vae.vae import vae
from genjax.nn.latent import LatentGroup
from genjax.random import example_keys
from genjax.typing import Array, Batch, Key, Method, PyTree, TrainState, UserError

_ELBO = rates.kl()
_GAME = games.non_saturating()
_ENCODER = ("encoder", "parameters", "posterior_flow")


class _View(NamedTuple):
    """What the network makes of a batch, and the discriminator of that.

    Attributes:
        log_prob: float[B], log p(x|z).
        groups: of latent variables.
        feature: float[B], half the squared distance of the features of images and reconstructions.
        logits: of the images, of reconstructions, of images drawn from the prior.
    """

    log_prob: Array
    groups: Sequence[LatentGroup]
    feature: Array
    logits: tuple[Array, ...]


def in_encoder(path: str) -> bool:
    """Whether a parameter of `genjax.models.VAE` is the encoder's; `path` is its name, as "encoder/hidden/bias"."""
    return path.split("/")[0] in _ENCODER


def vae_gan(
    network: nn.Module,
    discriminator: nn.Module,
    optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    likelihood: Likelihood,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int | None = None,
    rate: rates.Rate = _ELBO,
    pixel: float = 1.0,
    weight: float = 1.0,
    gamma: float = 1.0,
    game: AdversarialLoss = _GAME,
    fakes: tuple[float, float] = (0.5, 0.5),
    layer: int = -1,
    encodes: Callable[[str], bool] = in_encoder,
    draw_pixels: bool = False,
    ema_decay: float = 0.999,
    importance_samples: int = 0,
    accumulate: int = 1,
) -> Method:
    """A variational autoencoder with a discriminator as a method.

    There are two kinds of fake images: reconstructions, and images of draws from the prior. All three parts are updated
    at once, on the same images, each on the mean over the batch of a loss of its own::

        encoder        rate + pixel * distortion + weight * feature
        decoder        rate + pixel * distortion + weight * (gamma * feature + adversarial)
        discriminator  its loss in the game, summed over the kinds of fakes, each times its weight in `fakes`

    distortion is ``-log p(x|z)`` as in `genjax.methods.vae`, feature is ``|f(x) - f(reconstruction)|^2 / 2``, minus the
    logarithm of a standard normal density of the discriminator's features and a constant (equation 7), and adversarial
    is the generator's loss, summed as the discriminator's.

    With ``weight=0`` the network is trained as by `genjax.methods.vae`, bit for bit, and the discriminator, which has
    no say, is not trained. The paper's model (algorithm 1) is ``pixel=0, weight=1, game=minimax(real_weight=0.5),
    fakes=(1, 1)``: it counts a real image once against two fakes.

    Args:
        network: as for `genjax.methods.vae`.
        discriminator: ``network.apply(variables, images) -> (logits, features)``, as in `genjax.models.gan`.
        optimizer: of the network's parameters, encoder and decoder (`optax.partition` gives each one of its own).
        discriminator_optimizer: of the discriminator's.
        likelihood: what the outputs mean; the discriminator sees its expected images. Where these are clipped
            (`gaussian`) the discriminator has no say in clipped pixels, so with ``pixel=0`` take one that is smooth
            (`bernoulli`).
        image_shape: H, W, C of the images.
        num_classes: number of classes, None for an unconditional model. The discriminator does not see labels.
        rate: the price of the latent variables, see `genjax.methods.vae.regularizers`.
        pixel: weight of the distortion, 0 or more; 1 where ``weight=0``.
        weight: of all that the discriminator has to do with, 0 or more.
        gamma: weight of the features against the game in the decoder's loss, 0 or more.
        game: see `genjax.losses.adversarial`.
        fakes: weights of reconstructions and of images drawn from the prior in the game, 0 or more.
        layer: which of the discriminator's features are compared.
        encodes: ``path -> bool``, which of the network's parameters are the encoder's, for networks other than
            `genjax.models.VAE`.
        draw_pixels: see `genjax.methods.vae`.
        ema_decay: of the moving average of the network's parameters.
        importance_samples: see `genjax.methods.vae`.
        accumulate: number of micro-batches a step is computed in.

    Returns:
        The method. ``TrainState.params`` and ``opt`` are ``{"network": ..., "discriminator": ...}``; ``ema`` is of the
        network alone, as that of `genjax.methods.vae`, whose `sample` and `evaluate` this method has; `evaluate` adds
        "feature". Metrics of a step are "distortion", "rate", "feature", "adversarial" and "discriminator" too; "loss"
        is the decoder's.

    Raises:
        UserError: a negative weight; from `init`, a `layer` that the discriminator does not have, or parameters that
            are all the encoder's, or all not.
    """
    for name, value in {"pixel": pixel, "weight": weight, "gamma": gamma}.items():
        if not value >= 0:
            raise UserError(f"{name}={value}: valid are 0 and more")
    if len(fakes) != 2 or not min(fakes) >= 0:
        raise UserError(f"fakes={fakes}: valid are two numbers of 0 and more")
    if not weight and pixel != 1:
        raise UserError(f"pixel={pixel} with weight=0: valid is 1, that of the variational autoencoder")
    base = vae(
        network,
        optimizer,
        likelihood,
        image_shape=image_shape,
        num_classes=num_classes,
        rate=rate,
        draw_pixels=draw_pixels,
        ema_decay=ema_decay,
        importance_samples=importance_samples,
        accumulate=accumulate,
    )
    optimizers = {"network": optimizer, "discriminator": discriminator_optimizer}

    def init(key: Key, batch: Batch) -> TrainState:
        state = base.init(key, batch)
        encoders = jax.tree.leaves(_of_encoder(state.params, encodes))
        if all(encoders) or not any(encoders):
            raise UserError(
                f"encodes says {encoders[0]} of every parameter of the network; valid is one that tells the "
                f"encoder from the decoder, among {sorted(state.params)}"
            )
        state = with_discriminator(state, discriminator, optimizers, key, batch)
        image = jnp.zeros((1, *image_shape))
        maps = jax.eval_shape(lambda p: judge(discriminator, p, image)[1], state.params["discriminator"])
        if not -len(maps) <= layer < len(maps):
            raise UserError(
                f"layer={layer}: the discriminator has {len(maps)} feature maps, 0..{len(maps) - 1}"
            )
        return state

    def look(params: PyTree, key: Key, batch: Batch) -> _View:
        """The draws of z are those of `vae`."""
        x, label = batch["image"], None if num_classes is None else batch["label"]
        keys, prior_keys = (example_keys(k, batch["_index"]) for k in (key, jax.random.split(key)[1]))
        outputs, groups = _apply(network, params["network"], keys, x, label, method="infer")
        drawn = _apply(network, params["network"], prior_keys, label, method="generate")
        images = x, likelihood.mean(outputs), likelihood.mean(drawn)
        judged = [judge(discriminator, params["discriminator"], image) for image in images]
        (_, real), (_, reconstructed), _ = judged
        feature = 0.5 * sum_components(jnp.square(real[layer] - reconstructed[layer]))
        return _View(likelihood.log_prob(outputs, x), groups, feature, tuple(logits for logits, _ in judged))

    def play(side: Callable[[Array, Array], Array], logits: Sequence[Array]) -> Array:
        """float[B]: the loss of one side of the game."""
        real, reconstruction, prior = logits
        return fakes[0] * side(real, reconstruction) + fakes[1] * side(real, prior)

    def step(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        def mean_loss(params: PyTree, key: Key, batch: Batch) -> tuple[Array, dict[str, Array]]:
            """The sum of the three losses, each of which has the gradient of its own part only.

            The network is written down three times and computed once: XLA merges equal operations.
            """
            view = look(_only("encoder", params, encodes), key, batch)
            encoder = rate(state.step, view.groups) - pixel * view.log_prob + weight * view.feature

            view = look(_only("decoder", params, encodes), key, batch)
            played = play(game.generator, view.logits)
            decoder = rate(state.step, view.groups) - pixel * view.log_prob
            decoder += weight * (gamma * view.feature + played)

            judge_view = look(_only("discriminator", params, encodes), key, batch)
            judging = play(game.discriminator, judge_view.logits)
            metrics = {
                "distortion": -view.log_prob,
                "rate": rates.divergence(view.groups),
                "feature": view.feature,
                "adversarial": played,
                "discriminator": judging,
                "decoder": decoder,
            }
            total = encoder.mean() + decoder.mean() + judging.mean()
            return total, {name: value.mean() for name, value in metrics.items()}

        metrics, grads = update.gradients(mean_loss, state.params, key, batch, accumulate=accumulate)
        params, opt = descend(optimizers, grads, state.opt, state.params)
        number = state.step + 1
        average = update.ema(state.ema, params["network"], number, ema_decay)
        new = dataclasses.replace(state, step=number, params=params, opt=opt, ema=average)
        return new, {**metrics, "loss": metrics.pop("decoder")}

    def step_alone(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        """That of the autoencoder, in a program that holds nothing else: in another one it could round otherwise."""
        alone = dataclasses.replace(state, params=state.params["network"], opt=state.opt["network"])
        new, metrics = base.step(key, alone, batch)
        params, opt = {**state.params, "network": new.params}, {**state.opt, "network": new.opt}
        return dataclasses.replace(new, params=params, opt=opt), metrics

    def evaluate(key: Key, state: TrainState, batch: Batch) -> dict[str, Array]:
        view = look({"network": state.ema, "discriminator": state.params["discriminator"]}, key, batch)
        return {**base.evaluate(key, state, batch), "feature": view.feature}

    return Method(init, step if weight else step_alone, evaluate, base.sample)


def _only(part: str, params: PyTree, encodes: Callable[[str], bool]) -> PyTree:
    """The same parameters, of which only those of "encoder", "decoder" or "discriminator" have a gradient."""
    fixed = jax.lax.stop_gradient
    if part == "discriminator":
        return {**params, "network": fixed(params["network"])}
    mask = _of_encoder(params["network"], encodes)
    kept = jax.tree.map(
        lambda x, mine: x if mine == (part == "encoder") else fixed(x), params["network"], mask
    )
    return {"network": kept, "discriminator": fixed(params["discriminator"])}


def _of_encoder(params: PyTree, encodes: Callable[[str], bool]) -> PyTree:
    """Of each parameter, whether it is the encoder's."""

    def name(path: Any) -> str:
        return "/".join(str(entry.key) for entry in path)

    return jax.tree_util.tree_map_with_path(lambda path, _: bool(encodes(name(path))), params)


def _apply(network: nn.Module, params: PyTree, *args: Any, method: str) -> Any:
    return network.apply({"params": params}, *args, method=method)
