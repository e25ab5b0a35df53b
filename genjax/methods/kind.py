"""How a method is chosen by name: its config, and how a config becomes four functions.

A method's file has the method, a function of networks and numbers; its config, a frozen dataclass whose docstring is
the help of the command line and whose fields say what is valid (`genjax.ranges`); and ``METHOD``, a `MethodKind`. A
line in `genjax.app.methods` gives it a name.
"""

import dataclasses
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import optax

from genjax.data import DataInfo, Field
from genjax.methods import averages, gradients
from genjax.methods.latent_space import LatentSpace
from genjax.methods.optimizers import optimizer
from genjax.models.kind import NetworkKind
from genjax.typing import Method, PyTree

Shape = tuple[int, int, int]


class Frozen(NamedTuple):
    """A trained run whose parameters stay as they are: a teacher, a first stage, a base model.

    Attributes:
        context: from which its own method was made.
        params: the averaged parameters.
        mutable: variables that are not parameters.
    """

    context: "Context"
    params: PyTree
    mutable: PyTree


@dataclasses.dataclass(frozen=True)
class Context:
    """What a method is made from.

    Attributes:
        config: config of the experiment, a `genjax.app.config.Config`.
        info: description of the data.
        network_kind: kind of ``config.model``.
        scoring: whether `Method.evaluate` may take long.
        frozen: trained runs that the method's config names, by the name of the field.
    """

    config: Any
    info: DataInfo
    network_kind: NetworkKind
    scoring: bool = False
    frozen: Mapping[str, Frozen] = dataclasses.field(default_factory=dict)

    @property
    def image_shape(self) -> Shape:
        """H, W, C of the images."""
        return self.info.image_shape

    @property
    def conditions(self) -> dict[str, Field]:
        """What the networks are told: the fields of the records that the network knows of and the method asks for."""
        if not self.config.method.class_conditional:
            return {}
        names = [name for name in self.network_kind.conditions if name in self.info.fields]
        return {name: self.info.fields[name] for name in names}

    def network(self, role: str, **options: Any) -> Any:
        """The network of ``config.model`` for a role, see `genjax.models.kind.ROLES`."""
        return self.network_kind.roles[role](self.config.model, **options)

    def optimizer(self, steps: int | None = None, rate: float = 1.0) -> optax.GradientTransformation:
        """The configured optimizer, for `steps` updates (None: all) and with `rate` times its learning rate."""
        options = self.config.optimizer
        scaled = dataclasses.replace(options, learning_rate=rate * options.learning_rate)
        return optimizer(scaled, steps or self.config.fit.steps)

    @property
    def average(self) -> averages.Average:
        """The moving average that the method's config asks for."""
        return averages.exponential(self.config.method.ema_decay)

    @property
    def gradient(self) -> gradients.Gradient:
        """How gradients are computed."""
        return gradients.mean_gradient(self.config.optimizer.accumulate)


class MethodKind(NamedTuple):
    """A training method that can be chosen by name.

    Attributes:
        config: the class of its configs, with at least ``class_conditional`` (whether networks are told conditions) and
            ``ema_decay``.
        role: what the network of a config must be able to be, see `genjax.models.kind.ROLES`.
        build: makes the method of a context.
        network: makes the network, or networks, of a context, as ``config.model`` says.
        contradictions: ``config of the experiment -> [(wrong, message)]``; `wrong` is true if fields contradict each
            other.
        check: ``(config of the experiment, image_shape) -> None``; raises UserError if the method does not fit the
            images.
        sampling: the fields of ``config.sampling`` that it uses, apart from the batch size. `Method.sample` gets
            "guidance" and "temperature" as arrays with an entry for each image.
        samplers: what its networks give to samplers, see `genjax.diffusion.samplers.SAMPLERS`; None: it has no sampler.
        condition: ``(config of the experiment, num) -> {name: array[num]}``, what else `Method.sample` is told, beside
            the conditions of the data and the options of sampling.
        translates: for translation models, the fields that `Method.sample` accepts.
        latent_space: makes the functions of a model with an encoder; None for models without an encoder.
        frozen: fields of the config that name a trained run, ``DIR`` or ``DIR@STEP``; see `Context.frozen`.
        small: fields of the config for tests, of few steps on images of 8x8 pixels.
    """

    config: type
    role: str
    build: Callable[[Context], Method]
    network: Callable[[Context], Any]
    contradictions: Callable[[Any], list[tuple[bool, str]]] = lambda config: []
    check: Callable[[Any, Shape], None] = lambda config, image_shape: None
    sampling: tuple[str, ...] = ()
    samplers: str | None = None
    condition: Callable[[Any, int], dict[str, np.ndarray]] = lambda config, num: {}
    translates: tuple[str, ...] = ()
    latent_space: Callable[[Context], LatentSpace] | None = None
    frozen: tuple[str, ...] = ()
    small: Mapping[str, Any] = types.MappingProxyType({})
