"""The vector-quantised autoencoder as a method: VQ-VAE, VQ-VAE-2, and the same with another quantiser.

van den Oord, Vinyals and Kavukcuoglu, "Neural Discrete Representation Learning" (2017).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from genjax.losses import likelihood as likelihoods
from genjax.losses.gaussian import sum_components
from genjax.losses.likelihood import Likelihood
from genjax.methods import update
from genjax.methods.averages import Average, Several, averaged, exponential
from genjax.methods.codes.code_model import CodeModel, reconstruct, uniform
from genjax.methods.codes.code_prior import code_prior
from genjax.methods.codes.two_stages import stages, two_stages
from genjax.methods.gradients import Gradient, mean_gradient
from genjax.methods.kind import Context, MethodKind
from genjax.methods.latent_space import LatentSpace
from genjax.nn import initialize
from genjax.nn.quantization import Quantized, Statistics, choose, collect
from genjax.ranges import FirstSteps, NonNegative, Probability, Share
from genjax.typing import Array, Batch, Key, Method, PyTree, TrainState, UserError

# Its negative logarithm is the squared error and a constant.
_SQUARED_ERROR = likelihoods.gaussian(math.sqrt(0.5))
_AVERAGE, _GRADIENT = exponential(), mean_gradient()
_STATISTICS = "_statistics"


def vq_vae(
    network: nn.Module,
    optimizer: optax.GradientTransformation,
    likelihood: Likelihood = _SQUARED_ERROR,
    *,
    image_shape: tuple[int, int, int],
    commitment: float = 0.25,
    average: Average = _AVERAGE,
    gradient: Gradient = _GRADIENT,
) -> Method:
    """An autoencoder whose latent variables are integer codes.

    The loss is equation 3 of the paper, each term as a mean over its components, so that none grows with the size of
    the images, the codes or the code book::

        -log p(x | codes) / (H W C)
        + sum over levels of mean((sg(vectors) - codes)^2), where the code book is learned by gradient
        + commitment * sum over levels of mean((vectors - sg(codes))^2)

    With the default likelihood the first term is the mean squared error, x in [-1, 1], and the constant log(pi) / 2.
    The authors' code divides the squared error by the variance s^2 of the data: ``gaussian(s * sqrt(0.5))``.

    Args:
        network: as `genjax.models.codes.vq_vae.VQVAE`: ``network.apply(variables, x) -> (outputs, levels)``, methods
            ``decode(codes)`` and ``learn(statistics, first)``, ``num_codes`` and ``code_shapes(image_shape)``. How its
            code books are learned, and when codes restart, are attributes of its quantisers.
        optimizer: optimizer of the network's parameters.
        likelihood: what the outputs mean.
        image_shape: H, W, C of the images.
        commitment: weight of the commitment loss (the paper's beta), not negative.
        average: moving average of the parameters, with which images are made and losses evaluated; see
            `genjax.methods.averages`. A code that is a parameter and is replaced, is replaced in the average too.
        gradient: how gradients are computed, see `genjax.methods.gradients`.

    Returns:
        The method. Code books are in ``TrainState.mutable["codebook"]``. Metrics of a step are "perplexity" and
        "dead_codes" of the codes of the batch too, with several levels "perplexity_0" (the coarsest), ... .
        `evaluate` gives "loss", "reconstruction" (the first term), "commitment", "mean_squared_error" of the expected
        image and "psnr" in dB. `sample` draws all codes with equal probability, which makes images of no likeness to
        the data: a prior over the codes of `vq_vae_codes` takes its place. It ignores the condition.

    Raises:
        UserError: a negative `commitment`; an image size that the network cannot halve as often as it has to; from
            the first step, another number of output channels than the likelihood needs.

    Example:
        >>> import functools, jax, jax.numpy as jnp, optax
        >>> from genjax import methods
        >>> from genjax.models.codes.vq_vae import VQVAE
        >>> from genjax.nn.quantization import VectorQuantizer
        >>> quantizer = functools.partial(VectorQuantizer, num_codes=16, width=4)
        >>> network = VQVAE(out_channels=1, quantizer=quantizer, downsamplings=1, channels=8, residual_blocks=1)
        >>> method = methods.vq_vae(network, optax.adam(1e-3), image_shape=(8, 8, 1))
        >>> batch = {"image": jnp.zeros((4, 8, 8, 1)), "_index": jnp.arange(4)}
        >>> state = jax.eval_shape(method.init, jax.random.key(0), batch)
        >>> sorted(jax.eval_shape(method.step, jax.random.key(0), state, batch)[1])
        ['commitment', 'dead_codes', 'grad_norm', 'loss', 'perplexity', 'reconstruction']
    """
    if not commitment >= 0:
        raise UserError(f"commitment={commitment}: valid are 0 and more")
    model = vq_vae_codes(network, image_shape, likelihood)

    def init(key: Key, batch: Batch) -> TrainState:
        variables = initialize(network, key, jnp.zeros((1, *batch["image"].shape[1:])))
        params = variables.pop("params")
        return update.start(params, optimizer, average, mutable=variables)

    def losses(variables: PyTree, x: Array) -> tuple[dict[str, Array], Array, Sequence[Quantized]]:
        """The terms, float32[B] each, the outputs, and the quantised levels."""
        outputs, levels = _apply(network, variables, x)
        if outputs.shape[-1] != likelihood.outputs(x.shape[-1]):
            raise UserError(
                f"out_channels={outputs.shape[-1]} of the network: the likelihood of images with {x.shape[-1]} "
                f"channels needs {likelihood.outputs(x.shape[-1])}"
            )
        reconstruction = -likelihood.log_prob(outputs, x) / math.prod(x.shape[1:])
        distance = sum(level.commitment for level in levels)
        loss = reconstruction + sum(level.codebook for level in levels) + commitment * distance
        return {"loss": loss, "reconstruction": reconstruction, "commitment": distance}, outputs, levels

    def step(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        batch_size = update.global_batch_size(batch)
        chosen = candidates(key, model, batch_size)

        def mean_loss(params: PyTree, key: Key, batch: Batch) -> tuple[Array, dict[str, Any]]:
            values, _, levels = losses({"params": params, **state.mutable}, batch["image"])
            means = {name: value.mean() for name, value in values.items()}
            return means.pop("loss"), {
                **means,
                _STATISTICS: share(levels, batch["_index"], chosen, batch_size),
            }

        metrics, grads = gradient(mean_loss, state.params, key, batch)
        statistics: Any = metrics.pop(_STATISTICS)
        new = update.advance(state, optimizer, grads, average)
        ema = learn_average(network, new.ema, state.mutable, statistics, state.step == 0)
        params, mutable, usage = learn(network, new.params, state.mutable, statistics, state.step == 0)
        new = dataclasses.replace(new, params=params, ema=ema, mutable=mutable)
        return new, {**metrics, **usage}

    def evaluate(key: Key, state: TrainState, batch: Batch) -> dict[str, Array]:
        x = batch["image"]
        values, outputs, _ = losses({"params": averaged(state), **state.mutable}, x)
        error = sum_components(jnp.square(likelihood.mean(outputs) - x)) / math.prod(x.shape[1:])
        return {**values, "mean_squared_error": error, "psnr": update.psnr(error)}

    def sample(keys: Key, state: TrainState, condition: Mapping[str, Array]) -> Array:
        return model.decode(state, uniform(model, keys))

    return Method(init, step, evaluate, sample)


def vq_vae_codes(
    network: nn.Module, image_shape: tuple[int, int, int], likelihood: Likelihood = _SQUARED_ERROR
) -> CodeModel:
    """The trained first stage as a prior sees it: with the averaged parameters.

    Args:
        network: see `vq_vae`.
        image_shape: H, W, C of the images.
        likelihood: the one of the training; decoded images are its means.

    Raises:
        UserError: an image size that the network cannot halve as often as it has to.

    Example:
        >>> import functools
        >>> from genjax.methods.codes.vq_vae import vq_vae_codes
        >>> from genjax.models.codes.vq_vae import VQVAE
        >>> from genjax.nn.quantization import VectorQuantizer
        >>> quantizer = functools.partial(VectorQuantizer, num_codes=16, width=4)
        >>> codes = vq_vae_codes(VQVAE(1, quantizer, levels=2, downsamplings=1, channels=8), (8, 8, 1))
        >>> codes.shapes, codes.num_codes
        (((2, 2), (4, 4)), (16, 16))
    """

    def variables(state: TrainState) -> PyTree:
        return {"params": averaged(state), **state.mutable}

    def encode(state: TrainState, image: Array) -> tuple[Array, ...]:
        return tuple(level.codes for level in _apply(network, variables(state), image, method="quantize"))

    def decode(state: TrainState, codes: tuple[Array, ...]) -> Array:
        return likelihood.mean(_apply(network, variables(state), codes, method="decode"))

    sizes: Any = network
    return CodeModel(encode, decode, sizes.code_shapes(image_shape), sizes.num_codes)


def candidates(key: Key, model: CodeModel, batch_size: int) -> list[Array]:
    """int32[K] for each level: the places, in the global batch, of the vectors that would replace its K codes."""
    keys = jax.random.split(jax.random.fold_in(key, 0), len(model.shapes))
    return [
        choose(k, batch_size * math.prod(shape), n)
        for k, shape, n in zip(keys, model.shapes, model.num_codes, strict=True)
    ]


def share(
    levels: Sequence[Quantized], index: Array, chosen: Sequence[Array], batch_size: int
) -> list[Statistics]:
    """Statistics of a part of a global batch, such that the *mean* over equal parts is the sum over the batch.

    Args:
        levels: the part, quantised.
        index: int32[B], positions of its examples in the global batch.
        chosen: see `candidates`.
        batch_size: size of the global batch.
    """
    parts = batch_size / index.size
    whole = [collect(level.vectors, level.codes, index, c) for level, c in zip(levels, chosen, strict=True)]
    return jax.tree.map(lambda x: x * parts, whole)


def learn(
    network: nn.Module, params: PyTree, mutable: PyTree, statistics: Sequence[Statistics], first: Array
) -> tuple[PyTree, PyTree, dict[str, Array]]:
    """One update of the code books.

    Args:
        network: see `vq_vae`.
        params: its parameters; they change where a code in them is replaced.
        mutable: its other variables.
        statistics: statistics of each level, over the global batch.
        first: bool[], whether this is the first update.

    Returns:
        Parameters, other variables, and the metrics of the usage of the codes.
    """
    usage, new = _apply(
        network,
        {"params": params, **mutable},
        statistics,
        first,
        method="learn",
        mutable=["params", *mutable],
    )
    params = new.pop("params")
    if len(usage) == 1:
        return params, new, usage[0]
    return params, new, {f"{name}_{i}": x for i, level in enumerate(usage) for name, x in level.items()}


def learn_average(
    network: nn.Module, average: PyTree, mutable: PyTree, statistics: Sequence[Statistics], first: Array
) -> PyTree:
    """An average of the parameters, or several: learning from the same statistics replaces the same dead codes.

    Args:
        network: see `vq_vae`.
        average: as in ``TrainState.ema``.
        mutable: its other variables.
        statistics: statistics of each level, over the global batch.
        first: bool[], whether this is the first update.
    """

    def one(params: PyTree) -> PyTree:
        return learn(network, params, mutable, statistics, first)[0]

    if isinstance(average, Several):
        return Several(one(average.first), {name: one(other) for name, other in average.others.items()})
    return one(average)


def _apply(network: nn.Module, variables: PyTree, *args: Any, **options: Any) -> Any:
    return network.apply(variables, *args, **options)


@dataclasses.dataclass(frozen=True)
class VQVAEConfig:
    """The training methods: VQ-VAE, then a prior over its codes (genjax.methods.codes.vq_vae, code_prior, two_stages).

    Attributes:
        first_steps: Number of updates of the VQ-VAE. The remaining updates train the prior.
        commitment: Weight of the commitment loss.
        class_conditional: Condition the prior on labels if the data set has them.
        condition_dropout: Probability that training hides the label from the network. Classifier-free guidance needs it
            above 0.
        ema_decay: Decay of the moving averages of the parameters. Images are made with these averages.
    """

    first_steps: FirstSteps = 5000
    commitment: NonNegative = 0.25
    class_conditional: bool = True
    condition_dropout: Probability = 0.1
    ema_decay: Share = 0.999


def with_prior(context: Context, first: Method) -> Method:
    """A first stage, and then a prior over its codes."""
    options, conditions = context.config.method, context.conditions
    model = _codes(context)
    coarser = (None, *model.num_codes)
    priors = [
        context.network("code_prior", num_codes=k, coarser_codes=before, conditions=conditions)
        for k, before in zip(model.num_codes, coarser, strict=False)
    ]
    second = code_prior(
        priors,
        context.optimizer(context.config.fit.steps - options.first_steps),
        model,
        first_state=first.init,
        conditions=tuple(conditions),
        condition_dropout=options.condition_dropout,
        average=context.average,
        gradient=context.gradient,
    )
    return two_stages(first, second, options.first_steps)


def contradictions(config: Any) -> list[tuple[bool, str]]:
    """Contradictions between numbers of steps; see `MethodKind.contradictions`."""
    first, steps, warmup = config.method.first_steps, config.fit.steps, config.optimizer.warmup_steps
    shorter = min(first, steps - first)
    return [
        (
            first >= steps,
            f"method.first_steps={first} must be less than steps={steps}: the rest is for the prior",
        ),
        (
            0 < shorter <= warmup,
            f"optimizer.warmup_steps={warmup} must be less than {shorter}, the steps of the shorter stage",
        ),
    ]


def latent_space(context: Context) -> LatentSpace:
    """Reconstructions."""
    model, switch = _codes(context), context.config.method.first_steps

    def rebuild(key: Key, state: TrainState, batch: Batch) -> Array:
        return reconstruct(model, stages(state, switch)[0], batch["image"])

    return LatentSpace(rebuild)


def _codes(context: Context) -> CodeModel:
    """The first stage as the prior sees it."""
    return vq_vae_codes(context.network("codes", image_shape=context.image_shape), context.image_shape)


def _build(context: Context) -> Method:
    first = vq_vae(
        context.network("codes", image_shape=context.image_shape),
        context.optimizer(context.config.method.first_steps),
        image_shape=context.image_shape,
        commitment=context.config.method.commitment,
        average=context.average,
        gradient=context.gradient,
    )
    return with_prior(context, first)


METHOD = MethodKind(
    VQVAEConfig,
    "codes",
    _build,
    lambda context: context.network("codes", image_shape=context.image_shape),
    contradictions=contradictions,
    sampling=("temperature", "guidance"),
    latent_space=latent_space,
    small={"first_steps": 2},
)
