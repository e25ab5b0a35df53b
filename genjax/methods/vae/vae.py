"""The variational autoencoder as a method: shallow or deep, conditional or not, with any likelihood and regularizer."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from genjax.conditions import select
from genjax.losses.likelihood import LEVELS, Likelihood
from genjax.methods import update
from genjax.methods.averages import Average, averaged, exponential
from genjax.methods.gradients import Gradient, mean_gradient
from genjax.methods.kind import Context, MethodKind
from genjax.methods.latent_space import LatentSpace, vae_space
from genjax.methods.vae import choices, regularizers
from genjax.methods.vae.choices import LikelihoodName, RegularizerName
from genjax.methods.vae.regularizers import Regularizer
from genjax.nn import initialize
from genjax.nn.latent import LatentGroup
from genjax.random import example_keys, fold_in
from genjax.ranges import Count, FirstStepsOrNone, NonNegative, Positive, Share
from genjax.typing import Array, Batch, Key, Method, PyTree, TrainState, UserError

_ELBO = regularizers.kl()
_AVERAGE, _GRADIENT = exponential(), mean_gradient()


def vae(
    network: nn.Module,
    optimizer: optax.GradientTransformation,
    likelihood: Likelihood,
    *,
    image_shape: tuple[int, int, int],
    conditions: Sequence[str] = (),
    regularizer: Regularizer = _ELBO,
    draw_pixels: bool = False,
    average: Average = _AVERAGE,
    gradient: Gradient = _GRADIENT,
    importance_samples: int = 0,
) -> Method:
    """A variational autoencoder as a method.

    The loss is ``-log p(x|z) + regularizer`` in nats, averaged over the batch; with the default regularizer, minus the
    evidence lower bound. beta-VAE, beta-TCVAE, capacity annealing and free bits are
    regularizers; a conditional VAE is a network that is told conditions; how deep the hierarchy is, is the network's
    affair.

    Args:
        network: has the methods ``infer(keys[B], x, condition) -> (outputs, groups)`` and
            ``generate(keys[N], condition, temperature) -> outputs``, as `genjax.models.VAE` and
            `genjax.models.DeepVAE`.
        optimizer: optimizer of the network's parameters.
        likelihood: what the outputs mean, see `genjax.losses.likelihood`.
        image_shape: H, W, C of the images.
        conditions: names of the arrays of a batch that the network is told, see `genjax.conditions`; all of them must
            be there.
        regularizer: the price of the latent variables, see `genjax.methods.vae.regularizers`.
        draw_pixels: `sample` draws from the likelihood, instead of taking its mean.
        average: moving average of the parameters, with which images are made and bounds evaluated, see
            `genjax.methods.averages`.
        gradient: how gradients are computed, see `genjax.methods.gradients`.
        importance_samples: k; `evaluate` adds the importance-weighted bound with k draws an image ("nll"), which
            falls towards the negative log-likelihood as k grows. 0: without.

    Returns:
        The method. `evaluate` gives "loss" (the negative evidence lower bound, whatever the regularizer), "distortion"
        and "rate" (the two parts), "kl_0", ... of each group where there are several, "nll", and "bits_per_dim" (of
        "nll", else of "loss") where the likelihood is one of the 256 levels of a pixel. `sample` takes all
        of the `conditions`, and "temperature" float32[N], a factor of the standard deviations of the prior, 1 without.

    Raises:
        UserError: `importance_samples` below 0; from the functions of the method, a missing condition.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from genjax import methods, models
        >>> from genjax.losses import likelihood
        >>> from genjax.models.vae.mlp import MLPDecoder, MLPEncoder
        >>> network = models.VAE(MLPEncoder((16,)), MLPDecoder((8, 8, 1), (16,)), latent=2)
        >>> method = methods.vae(network, optax.adam(1e-3), likelihood.bernoulli(), image_shape=(8, 8, 1))
        >>> batch = {"image": jnp.zeros((4, 8, 8, 1)), "_index": jnp.arange(4)}
        >>> state = jax.eval_shape(method.init, jax.random.key(0), batch)
        >>> sorted(jax.eval_shape(method.step, jax.random.key(0), state, batch)[1])
        ['distortion', 'grad_norm', 'loss', 'rate']

    References:
        Kingma and Welling, "Auto-Encoding Variational Bayes" (2014), equation 3; Burda, Grosse and Salakhutdinov,
        "Importance Weighted Autoencoders" (2016), equation 8, for `importance_samples`.
    """
    if importance_samples < 0:
        raise UserError(f"importance_samples={importance_samples}: valid are 0 and more")
    names = tuple(conditions)

    def init(key: Key, batch: Batch) -> TrainState:
        image = jnp.zeros((1, *batch["image"].shape[1:]))
        blank = update.example_condition(select(batch, names, required=True), names)
        params = initialize(network, key, jax.random.split(key, 1), image, blank)["params"]
        return update.start(params, optimizer, average)

    def infer(params: PyTree, keys: Key, batch: Batch) -> tuple[Array, Sequence[LatentGroup]]:
        """Logarithm of p(x|z), float[B], and the groups."""
        x = batch["image"]
        told = select(batch, names, required=True)
        outputs, groups = _apply(network, params, keys, x, told, method="infer")
        return likelihood.log_prob(outputs, x), groups

    def step(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        def mean_loss(params: PyTree, key: Key, batch: Batch) -> tuple[Array, dict[str, Array]]:
            log_prob, groups = infer(params, example_keys(key, batch["_index"]), batch)
            loss = (regularizer(state.step, groups) - log_prob).mean()
            return loss, {"distortion": -log_prob.mean(), "rate": regularizers.divergence(groups).mean()}

        metrics, grads = gradient(mean_loss, state.params, key, batch)
        return update.advance(state, optimizer, grads, average), metrics

    def evaluate(key: Key, state: TrainState, batch: Batch) -> dict[str, Array]:
        keys, params = example_keys(key, batch["_index"]), averaged(state)
        log_prob, groups = infer(params, keys, batch)
        total = regularizers.divergence(groups)
        values = {"loss": total - log_prob, "distortion": -log_prob, "rate": total}
        if len(groups) > 1:
            values |= {f"kl_{i}": group.kl for i, group in enumerate(groups)}
        nats = values["loss"]
        if importance_samples:
            nats = values["nll"] = -_importance_weighted(
                lambda keys: _log_weight(*infer(params, keys, batch)), keys, importance_samples
            )
        if likelihood.levels == LEVELS:
            values["bits_per_dim"] = nats / (jnp.log(2.0) * batch["image"][0].size)
        return values

    def sample(keys: Key, state: TrainState, condition: Mapping[str, Array]) -> Array:
        told = select(condition, names, required=True)
        temperature = update.temperature(condition, len(keys))
        outputs = _apply(network, averaged(state), fold_in(keys, 0), told, temperature, method="generate")
        return likelihood.sample(fold_in(keys, 1), outputs) if draw_pixels else likelihood.mean(outputs)

    return Method(init, step, evaluate, sample)


def _apply(network: nn.Module, params: PyTree, *args: Any, method: str) -> Any:
    return network.apply({"params": params}, *args, method=method)


def _log_weight(log_prob: Array, groups: Sequence[LatentGroup]) -> Array:
    """log p(x, z) / q(z|x), float[B]."""
    return log_prob + sum(group.log_p - group.log_q for group in groups)


def _importance_weighted(log_weight: Any, keys: Key, k: int) -> Array:
    """float[B]: ``log mean(exp(log_weight))`` over k draws, one draw after another.

    The running sum is kept relative to the largest weight so far.
    """

    def add(carry: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], None]:
        largest, total = carry
        value = log_weight(fold_in(keys, i))
        new = jnp.maximum(largest, value)
        return (new, total * jnp.exp(largest - new) + jnp.exp(value - new)), None

    start = jnp.full(keys.shape, -jnp.inf), jnp.zeros(keys.shape)
    (largest, total), _ = jax.lax.scan(add, start, jnp.arange(k))
    return largest + jnp.log(total) - jnp.log(k)


@dataclasses.dataclass(frozen=True)
class VAEConfig:
    """The training method: a variational autoencoder (genjax.methods.vae.vae).

    Attributes:
        likelihood: The distribution that the decoder predicts: "bernoulli" for black and white
            pixels, "gaussian" (fixed scale), "gaussian_shared" (one learned scale), "gaussian_learned" (one for each
            pixel), "logistic_mixture" (probabilities of the 256 levels).
        scale: Standard deviation of "gaussian", where images span [-1, 1].
        mixtures: Number of components of "logistic_mixture".
        rate: The cost of the latent variables: "kl" (beta-VAE; beta 1 is the VAE), "capacity" (Burgess et al. 2018)
            or "tc" (beta-TCVAE).
        beta: Weight of the divergence ("kl"), of its distance from the capacity ("capacity"), or of the total
            correlation ("tc").
        warmup_steps: Number of updates over which the weight of "kl" grows from 0.
        free_bits: Under "kl": number of nats that each group of latent variables may use without cost.
        balance: During the warm-up, weight each group by the nats that it uses.
        capacity: Under "capacity": number of nats that the divergence is led to.
        capacity_steps: Number of updates until this capacity is reached.
        dataset_size: Under "tc": number of training images. Without it: all images of the training split.
        class_conditional: Condition on labels if the data set has them.
        draw_pixels: Draw the pixels of samples from the likelihood. Otherwise samples are its means.
        ema_decay: Decay of the moving average of the parameters. Images are made with this average.
    """

    likelihood: LikelihoodName = "bernoulli"
    scale: Positive = 0.2
    mixtures: Count = 5
    rate: RegularizerName = "kl"
    beta: NonNegative = 1.0
    warmup_steps: FirstStepsOrNone = 0
    free_bits: NonNegative = 0.0
    balance: bool = False
    capacity: NonNegative = 25.0
    capacity_steps: Count = 10_000
    dataset_size: Count | None = None
    class_conditional: bool = False
    draw_pixels: bool = False
    ema_decay: Share = 0.999


def _build(context: Context) -> Method:
    likelihood = choices.likelihood_of(context)
    return vae(choices.network(context), context.optimizer(), likelihood, **choices.settings(context))


def latent_space(context: Context) -> LatentSpace:
    """Reconstructions and codes."""
    conditions = tuple(choices.asked_conditions(context))
    return vae_space(choices.network(context), choices.likelihood_of(context), conditions)


METHOD = MethodKind(
    VAEConfig,
    "vae",
    _build,
    choices.network,
    contradictions=choices.contradictions,
    sampling=("temperature",),
    latent_space=latent_space,
    small={"class_conditional": True},
)
