"""Autoencoders: plain, sparse and denoising."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from genjax.conditions import select
from genjax.devices import mean_over_devices
from genjax.losses import sparsity as penalties
from genjax.losses.likelihood import Likelihood
from genjax.methods import update
from genjax.methods.averages import Average, averaged, ema, exponential
from genjax.methods.gradients import Gradient, mean_gradient
from genjax.methods.kind import Context, MethodKind
from genjax.methods.latent_space import LatentSpace, autoencoder_space
from genjax.methods.vae import choices
from genjax.models.vae.autoencoder import Autoencoder
from genjax.nn import initialize
from genjax.random import example_keys, fold_in
from genjax.ranges import Count, NonNegative, Positive, Range, Share
from genjax.typing import Array, Batch, Condition, Key, Method, PyTree, TrainState, UserError

Penalty: TypeAlias = Callable[[Array], Array]
"""``code float[B,D] -> scalar``."""

Corruption: TypeAlias = Callable[[Key, Array], Array]
"""``(keys[B], x float[B,H,W,C]) -> float[B,H,W,C]``, random, each example with its own key."""

_AVERAGE, _GRADIENT = exponential(), mean_gradient()
_DECAY = 0.99


def l1(weight: float) -> Penalty:
    """The sum of the absolute values of a code, times `weight`: float[B,D] -> float[], the mean over the codes.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.methods.vae.autoencoder import l1
        >>> print(f"{l1(weight=0.1)(jnp.array([[1.0, -3.0], [0.0, 4.0]])):.3f}")  # of two codes, 4 each
        0.400
    """
    _check_weight(weight)
    return lambda code: weight * penalties.l1(code)


def kl(weight: float, target: float = 0.05) -> Penalty:
    """Divergence of the components' mean activations from `target`, times `weight`; for codes float[B,D] in (0, 1).

    The mean is over the examples of the global batch (of a micro-batch with accumulated gradients).

    Raises:
        UserError: a negative weight, or a target outside (0, 1).

    References:
        Ng, "Sparse autoencoder" (CS294A lecture notes, 2011), section 3.
    """
    _check_weight(weight)
    if not 0 < target < 1:
        raise UserError(f"target={target}: valid are (0, 1)")
    return lambda code: weight * penalties.kl(mean_over_devices(code.mean(0)), target)


def gaussian_noise(std: float) -> Corruption:
    """Adds normal noise of this standard deviation to images float[B,H,W,C]."""

    def corrupt(keys: Key, x: Array) -> Array:
        return x + std * jax.vmap(lambda key: jax.random.normal(key, x.shape[1:], x.dtype))(keys)

    return corrupt


def masking(probability: float) -> Corruption:
    """Makes pixels of images float[B,H,W,C] black (-1), all channels at once, each with this probability.

    Raises:
        UserError: a probability outside [0, 1].

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.methods.vae.autoencoder import masking
        >>> x = jnp.ones((1, 8, 8, 1))
        >>> sorted(set(masking(0.5)(jax.random.split(jax.random.key(0), 1), x).ravel().tolist()))
        [-1.0, 1.0]

    References:
        Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders" (2008), section 2.2.
    """
    if not 0 <= probability <= 1:
        raise UserError(f"probability={probability}: valid are [0, 1]")

    def corrupt(keys: Key, x: Array) -> Array:
        hidden = jax.vmap(lambda key: jax.random.bernoulli(key, probability, (*x.shape[1:3], 1)))(keys)
        return jnp.where(hidden, -1.0, x)

    return corrupt


def autoencoder(
    network: nn.Module,
    optimizer: optax.GradientTransformation,
    likelihood: Likelihood,
    *,
    image_shape: tuple[int, int, int],
    conditions: Sequence[str] = (),
    penalty: Penalty | None = None,
    corrupt: Corruption | None = None,
    walkback: int = 1,
    chain: int = 50,
    average: Average = _AVERAGE,
    gradient: Gradient = _GRADIENT,
) -> Method:
    """An autoencoder as a method.

    The loss is ``-log p(x | code of x) + penalty``, averaged over the batch. A denoising autoencoder gets a corrupted
    image and is to give back the clean one; with `walkback` above 1 also what it is led to by its own reconstructions,
    corrupted again.

    How images are made: a denoising autoencoder defines a Markov chain, ``x <- draw from p(x | corrupted x)``, whose
    stationary distribution estimates the distribution of the data; `sample` takes `chain` steps of it from noise and
    gives the last mean. The others have no distribution over codes: a normal one with the mean and covariance of the
    codes seen in training, kept in ``TrainState.mutable``, stands in for it.

    Args:
        network: ``network.apply(variables, x, condition) -> (outputs, code)`` with methods ``encode`` and ``decode``,
            as `genjax.models.vae.autoencoder.Autoencoder`.
        optimizer: optimizer of the network's parameters.
        likelihood: what the outputs mean, see `genjax.losses.likelihood`.
        image_shape: H, W, C of the images.
        conditions: names of the arrays of a batch that the network is told, see `genjax.conditions`; all of them must
            be there, in what `sample` is given too.
        penalty: on the code.
        corrupt: what a denoising autoencoder repairs.
        walkback: corruptions of each example in training.
        chain: steps of the Markov chain.
        average: moving average of the parameters, with which images are made and losses evaluated; see
            `genjax.methods.averages`.
        gradient: how gradients are computed, see `genjax.methods.gradients`.

    Raises:
        UserError: `walkback` or `chain` below 1, or `walkback` above 1 without a corruption; from the functions of the
            method, a condition that is missing.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from genjax import methods
        >>> from genjax.losses import likelihood
        >>> from genjax.models.vae.autoencoder import Autoencoder
        >>> from genjax.models.vae.mlp import MLPDecoder, MLPEncoder
        >>> network = Autoencoder(MLPEncoder((16,)), MLPDecoder((8, 8, 1), (16,)), latent=2)
        >>> method = methods.autoencoder(network, optax.adam(1e-3), likelihood.gaussian(), image_shape=(8, 8, 1))
        >>> batch = {"image": jnp.zeros((4, 8, 8, 1)), "_index": jnp.arange(4)}
        >>> state = jax.eval_shape(method.init, jax.random.key(0), batch)
        >>> sorted(jax.eval_shape(method.step, jax.random.key(0), state, batch)[1])
        ['distortion', 'grad_norm', 'loss', 'penalty']

    References:
        Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders" (2008), for corruption;
        Bengio et al., "Generalized Denoising Auto-Encoders as Generative Models" (2013), algorithm 1, with a fixed
        number of steps, for `walkback`; Ghosh et al., "From Variational to Deterministic Autoencoders" (2020), section
        4, for the distribution of codes.
    """
    if walkback < 1 or chain < 1:
        raise UserError(f"walkback={walkback}, chain={chain}: valid are 1 and more")
    if walkback > 1 and corrupt is None:
        raise UserError(f"walkback={walkback}: without a corruption, valid is 1")
    names = tuple(conditions)

    def init(key: Key, batch: Batch) -> TrainState:
        image = jnp.zeros((1, *batch["image"].shape[1:]))
        blank = update.example_condition(told(batch), names)
        params = initialize(network, key, image, blank)["params"]
        code = jax.eval_shape(lambda p: _apply(network, p, image, blank)[1], params)
        width = code.shape[-1]
        moments = {"mean": jnp.zeros(width), "second": jnp.eye(width)}
        return update.start(params, optimizer, average, mutable=moments)

    def told(batch: Batch) -> Condition:
        return select(batch, names, required=True)

    def step(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        def mean_loss(params: PyTree, key: Key, batch: Batch) -> tuple[Array, dict[str, Array]]:
            x, keys = batch["image"], example_keys(key, batch["_index"])
            outputs, code = _apply(network, params, _corrupted(keys, x, 0), told(batch))
            distortion = -likelihood.log_prob(outputs, x).mean()
            for i in range(1, walkback):
                drawn = likelihood.sample(fold_in(keys, 2 * i), jax.lax.stop_gradient(outputs))
                outputs, _ = _apply(network, params, _corrupted(keys, drawn, 2 * i + 1), told(batch))
                distortion += -likelihood.log_prob(outputs, x).mean()
            price = jnp.zeros(()) if penalty is None else penalty(code)
            moments = {"_mean": code.mean(0), "_second": code.T @ code / len(code)}
            return distortion + price, {"distortion": distortion, "penalty": price, **moments}

        metrics, grads = gradient(mean_loss, state.params, key, batch)
        seen = {"mean": metrics.pop("_mean"), "second": metrics.pop("_second")}
        new = update.advance(state, optimizer, grads, average)
        return dataclasses.replace(new, mutable=ema(state.mutable, seen, new.step, _DECAY)), metrics

    def _corrupted(keys: Key, x: Array, number: int | Array) -> Array:
        return x if corrupt is None else corrupt(fold_in(keys, number), x)

    def evaluate(key: Key, state: TrainState, batch: Batch) -> dict[str, Array]:
        keys = example_keys(key, batch["_index"])
        x = _corrupted(keys, batch["image"], 0)
        outputs, _ = _apply(network, averaged(state), x, told(batch))
        return {"loss": -likelihood.log_prob(outputs, batch["image"])}

    def sample(keys: Key, state: TrainState, condition: Mapping[str, Array]) -> Array:
        given = told(condition)
        if corrupt is not None:
            return _markov_chain(keys, state, given)
        mean, second = state.mutable["mean"], state.mutable["second"]
        covariance = second - jnp.outer(mean, mean) + 1e-6 * jnp.eye(len(mean))
        noise = jax.vmap(lambda key: jax.random.normal(key, mean.shape))(keys)
        # By eigenvalues and not by Cholesky: a component that is always off leaves no positive definite matrix.
        values, vectors = jnp.linalg.eigh(covariance)
        # Multiplied and summed, not a matrix product: an image must not depend on how many are made with it.
        factor = vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None, :]
        code = mean[None] + (factor[None] * noise[:, None, :]).sum(-1)
        return likelihood.mean(_apply(network, averaged(state), code, given, method="decode"))

    def _markov_chain(keys: Key, state: TrainState, given: Condition) -> Array:
        def outputs_of(x: Array, i: int | Array) -> Array:
            return _apply(network, averaged(state), _corrupted(keys, x, 2 * i), given)[0]

        def advance(i: Array, x: Array) -> Array:
            return likelihood.sample(fold_in(keys, 2 * i + 1), outputs_of(x, i))

        shape = image_shape
        noise = jax.vmap(lambda key: jax.random.uniform(key, shape, minval=-1.0))(fold_in(keys, 2 * chain))
        x = jax.lax.fori_loop(0, chain - 1, advance, noise)
        return likelihood.mean(outputs_of(x, chain - 1))

    return Method(init, step, evaluate, sample)


def _apply(network: nn.Module, params: PyTree, *args: Any, method: str = "__call__") -> Any:
    return network.apply({"params": params}, *args, method=method)


def _check_weight(weight: float) -> None:
    if not weight >= 0:
        raise UserError(f"weight={weight}: valid are 0 and more")


LIKELIHOODS = {name: choices.LIKELIHOODS[name] for name in ("bernoulli", "gaussian")}
"""By name, from an `AutoencoderConfig`."""

PENALTIES: dict[str, Callable[[Any], Penalty | None]] = {
    "none": lambda c: None,
    "l1": lambda c: l1(c.sparsity_weight),
    "kl": lambda c: kl(c.sparsity_weight, c.sparsity_target),
}
"""By name, from an `AutoencoderConfig`."""

CORRUPTIONS: dict[str, Callable[[Any], Corruption | None]] = {
    "none": lambda c: None,
    "gaussian": lambda c: gaussian_noise(c.corruption_level),
    "masking": lambda c: masking(c.corruption_level),
}
"""By name, from an `AutoencoderConfig`."""

if TYPE_CHECKING:
    LikelihoodName = PenaltyName = CorruptionName = str
else:
    LikelihoodName, PenaltyName = Literal[tuple(LIKELIHOODS)], Literal[tuple(PENALTIES)]
    CorruptionName = Literal[tuple(CORRUPTIONS)]


@dataclasses.dataclass(frozen=True)
class AutoencoderConfig:
    """The training method: an autoencoder (genjax.methods.vae.autoencoder).

    Attributes:
        likelihood: The distribution that the decoder predicts: "bernoulli" or "gaussian" (fixed scale).
        scale: Standard deviation of "gaussian", where images span [-1, 1].
        sparsity: Penalty on the code: its absolute values, or ("kl") the divergence of its mean activations, which lie
            in (0, 1), from the target.
        sparsity_weight: Weight of the penalty on the code.
        sparsity_target: Target of the mean activations under "kl".
        corruption: What a denoising autoencoder repairs. "none" makes a plain autoencoder.
        corruption_level: Standard deviation of "gaussian", or probability of "masking".
        walkback: Number of corruptions of each example in training. Above 1, reconstructions are corrupted too.
        chain: Number of steps of the Markov chain with which a denoising autoencoder makes images.
        class_conditional: Condition on labels if the data set has them.
        ema_decay: Decay of the moving average of the parameters. Images are made with this average.
    """

    likelihood: LikelihoodName = "gaussian"
    scale: Positive = 0.2
    sparsity: PenaltyName = "none"
    sparsity_weight: NonNegative = 1.0
    sparsity_target: Annotated[float, Range("(0, 1)")] = 0.05
    corruption: CorruptionName = "none"
    corruption_level: NonNegative = 0.5
    walkback: Count = 1
    chain: Count = 50
    class_conditional: bool = False
    ema_decay: Share = 0.999


def _network(context: Context) -> Autoencoder:
    activation = nn.sigmoid if context.config.method.sparsity == "kl" else None
    conditions = choices.asked_conditions(context)
    encoder, decoder = context.network("encoder_decoder", outputs=context.image_shape, conditions=conditions)
    return Autoencoder(encoder, decoder, context.config.model.latent, activation)


def _build(context: Context) -> Method:
    options = context.config.method
    return autoencoder(
        _network(context),
        context.optimizer(),
        choices.likelihood_of(context),
        image_shape=context.image_shape,
        conditions=tuple(context.conditions),
        penalty=PENALTIES[options.sparsity](options),
        corrupt=CORRUPTIONS[options.corruption](options),
        walkback=options.walkback,
        chain=options.chain,
        average=context.average,
        gradient=context.gradient,
    )


def _latent_space(context: Context) -> LatentSpace:
    return autoencoder_space(_network(context), choices.likelihood_of(context), tuple(context.conditions))


def _contradictions(config: Any) -> list[tuple[bool, str]]:
    options = config.method
    flows = [
        name for name in ("posterior_flow", "prior_flow") if getattr(config.model, name, "none") != "none"
    ]
    return [
        (
            bool(flows),
            f"model.{''.join(flows[:1])} is for variational autoencoders; valid for an autoencoder is 'none'",
        ),
        (
            options.corruption == "none" and options.walkback > 1,
            f"method.walkback={options.walkback}: method.corruption='none', where valid is 1",
        ),
        (
            options.corruption == "masking" and options.corruption_level > 1,
            f"method.corruption_level={options.corruption_level}: of 'masking' valid are [0, 1]",
        ),
    ]


METHOD = MethodKind(
    AutoencoderConfig,
    "encoder_decoder",
    _build,
    _network,
    contradictions=_contradictions,
    latent_space=_latent_space,
    small={"class_conditional": True, "corruption": "gaussian", "chain": 3},
)
