"""What configs of variational and plain autoencoders choose by name, and what of it does not go together."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import flax.linen as nn

from genjax.data import Field
from genjax.losses import likelihood, logistic_mixture
from genjax.losses.likelihood import Likelihood
from genjax.methods.kind import Context
from genjax.methods.vae import regularizers
from genjax.methods.vae.regularizers import Regularizer
from genjax.typing import UserError

LIKELIHOODS: dict[str, Callable[[Any], Likelihood]] = {
    "bernoulli": lambda c: likelihood.bernoulli(),
    "gaussian": lambda c: likelihood.gaussian(c.scale),
    "gaussian_shared": lambda c: likelihood.gaussian_learned(),
    "gaussian_learned": lambda c: likelihood.gaussian_learned(),
    "logistic_mixture": lambda c: logistic_mixture.logistic_mixture(c.mixtures),
}
"""By name, from the config of a method."""


def _known_size(options: Any) -> int:
    if options.dataset_size is None:
        raise UserError(
            "method.dataset_size=None: method.rate='tc' needs the number of training images (genjax.app.build.counted "
            "takes it from the data)"
        )
    return int(options.dataset_size)


REGULARIZERS: dict[str, Callable[[Any], Regularizer]] = {
    "kl": lambda c: regularizers.kl(
        c.beta, warmup_steps=c.warmup_steps, free_bits=c.free_bits, balance=c.balance
    ),
    "capacity": lambda c: regularizers.capacity(c.beta, c.capacity, c.capacity_steps),
    "tc": lambda c: regularizers.total_correlation(c.beta, dataset_size=_known_size(c)),
}
"""By name, from the config of a method."""

if TYPE_CHECKING:
    LikelihoodName = RegularizerName = str
else:
    LikelihoodName, RegularizerName = Literal[tuple(LIKELIHOODS)], Literal[tuple(REGULARIZERS)]


def asked_conditions(context: Context) -> dict[str, Field]:
    """What the networks are told.

    Raises:
        UserError: a conditional model of records without conditions.
    """
    conditions = context.conditions
    if context.config.method.class_conditional and not conditions:
        raise UserError(
            f"method.class_conditional=True: the data set {context.info.name!r} has no labels; valid is False"
        )
    return conditions


def likelihood_of(context: Context) -> Likelihood:
    """What the outputs of the network mean."""
    options = context.config.method
    return LIKELIHOODS[options.likelihood](options)


def network(context: Context) -> nn.Module:
    """The network of a variational autoencoder."""
    height, width, channels = context.image_shape
    shared = context.config.method.likelihood == "gaussian_shared"
    outputs = height, width, channels if shared else likelihood_of(context).outputs(channels)
    module: nn.Module = context.network(
        "vae", outputs=outputs, shared_scale=shared, conditions=asked_conditions(context)
    )
    return module


def settings(context: Context) -> dict[str, Any]:
    """What every method that trains a variational autoencoder is told by name."""
    options = context.config.method
    return {
        "image_shape": context.image_shape,
        "conditions": tuple(asked_conditions(context)),
        "regularizer": REGULARIZERS[options.rate](options),
        "draw_pixels": options.draw_pixels,
        "average": context.average,
        "gradient": context.gradient,
        "importance_samples": context.config.evaluation.importance_samples if context.scoring else 0,
    }


def contradictions(config: Any) -> list[tuple[bool, str]]:
    """Contradictions between fields; see `MethodKind.contradictions`."""
    options = config.method
    hierarchy = hasattr(config.model, "groups")  # the config of a network with several groups says how many
    kl_only = {name: getattr(options, name) for name in ("warmup_steps", "free_bits", "balance")}
    given = [name for name, value in kl_only.items() if value]
    valid = ", ".join(repr(name) for name in LIKELIHOODS if name != "gaussian_shared")
    return [
        (
            options.rate != "kl" and bool(given),
            f"method.{given[0] if given else ''}: is for method.rate='kl', and method.rate={options.rate!r}",
        ),
        (
            options.balance and not options.warmup_steps,
            "method.balance=True is for the warm-up, and method.warmup_steps=0",
        ),
        (
            hierarchy and options.rate == "tc",
            "method.rate='tc' needs a network with one group of latent variables, not a deep hierarchy",
        ),
        (
            hierarchy and options.likelihood == "gaussian_shared",
            "method.likelihood='gaussian_shared' is for perceptrons and convolutions; valid for a deep hierarchy are "
            + valid,
        ),
        (
            options.likelihood == "bernoulli" and options.draw_pixels and config.data.binarize == "no",
            "method.draw_pixels=True draws black and white pixels, and data.binarize='no' has grey ones",
        ),
    ]
