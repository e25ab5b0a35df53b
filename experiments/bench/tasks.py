"""Training steps in JAX: loss, gradients and Adam's update of the networks that `specs` describes."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.bench import networks, specs
from experiments.bench.workloads import Workload
from genjax.conditions import select
from genjax.nn import initialize
from genjax.train.program import Program
from genjax.typing import Array, Key, PyTree

Batch: TypeAlias = Mapping[str, Any]
Losses = dict[str, Array]


class State(NamedTuple):
    """What a step changes: "params" and "batch_stats" of the networks, and the optimizer's state."""

    params: PyTree
    stats: PyTree
    opt: PyTree


class Task(NamedTuple):
    """A training step.

    Attributes:
        init: ``(key, batch) -> variables``, as Linen initialises them.
        step: ``(state, batch) -> (state, losses)``, a pure function.
        opt_init: ``params -> state of the optimizer``.
    """

    init: Callable[[Key, Batch], PyTree]
    step: Callable[[State, Batch], tuple[State, Losses]]
    opt_init: Callable[[PyTree], PyTree]


def task(spec: specs.Spec) -> Task:
    """The step of a network."""
    return _KINDS[type(spec)](spec, optax.adam(**specs.ADAM[type(spec)]))


def start(spec: specs.Spec, variables: PyTree) -> State:
    """The state before the first step."""
    params = variables["params"]
    return State(params, variables.get("batch_stats", {}), task(spec).opt_init(params))


def random_variables(spec: specs.Spec, batch: Batch) -> dict[str, Any]:
    """Variables with the weights of `specs.weights`, as numpy arrays; running statistics are means and variances
    of 0 and 1."""
    shapes = jax.eval_shape(task(spec).init, jax.random.key(0), batch)
    stats = jax.tree_util.tree_map_with_path(
        lambda path, x: np.full(x.shape, path[-1].key == "var", np.float32), shapes.get("batch_stats", {})
    )
    return {"params": specs.weights(shapes["params"]), "batch_stats": stats}


def subject(
    spec: specs.Spec, variables: PyTree, batch: Batch, context: Callable[[Callable], Callable] = lambda f: f
) -> tuple[Workload, Callable[[], dict[str, float]]]:
    """Steps on one batch that is on the device.

    Args:
        spec: what is trained.
        variables: where it starts.
        batch: what it is trained on.
        context: what a baseline does to the step before it is compiled.

    Returns:
        The subject, and a function that does one step more and returns its losses (before the update).
    """
    program = Program(context(task(spec).step), "the training step", donate_argnums=0)
    # A copy: the first step may write its result where its argument was.
    state, given = jax.device_put((jax.tree.map(np.array, start(spec, variables)), dict(batch)))

    def run(count: int) -> Losses:
        nonlocal state
        losses: Losses = {}
        for _ in range(count):
            state, losses = program(state, given)
        return jax.block_until_ready((state, losses))[1]

    def losses() -> dict[str, float]:
        return {name: float(x) for name, x in run(1).items()}

    return Workload(run, len(batch["image"]), program), losses


def _unet(spec: specs.UNet, optimizer: optax.GradientTransformation) -> Task:
    network = networks.unet(spec)

    def inputs(batch: Batch) -> tuple:
        return batch["image"], batch["time"], select(batch, () if spec.num_classes is None else ("label",))

    def loss(params: PyTree, batch: Batch) -> Array:
        image, time, condition = inputs(batch)
        angle = jnp.pi / 2 * time[:, None, None, None]
        noisy = jnp.cos(angle) * image + jnp.sin(angle) * batch["noise"]
        predicted: Any = network.apply({"params": params}, noisy, time, condition)
        return jnp.square(predicted - batch["noise"]).mean()

    return _one_network(lambda key, batch: initialize(network, key, *inputs(batch)), loss, optimizer)


def _vae(spec: specs.VAE, optimizer: optax.GradientTransformation) -> Task:
    network = networks.VAE(spec)

    def loss(params: PyTree, batch: Batch) -> Array:
        result: Any = network.apply({"params": params}, batch["image"], batch["noise"])
        logits, mean, log_variance = result
        reconstruction = optax.sigmoid_binary_cross_entropy(logits, batch["image"]).sum((1, 2, 3))
        divergence = -0.5 * (1 + log_variance - jnp.square(mean) - jnp.exp(log_variance)).sum(1)
        return (reconstruction + divergence).mean()

    def init(key: Key, batch: Batch) -> PyTree:
        return initialize(network, key, batch["image"], batch["noise"])

    return _one_network(init, loss, optimizer)


def _one_network(
    init: Callable, loss: Callable[[PyTree, Batch], Array], optimizer: optax.GradientTransformation
) -> Task:
    def step(state: State, batch: Batch) -> tuple[State, Losses]:
        value, gradients = jax.value_and_grad(loss)(state.params, batch)
        updates, opt = optimizer.update(gradients, state.opt)
        return State(optax.apply_updates(state.params, updates), state.stats, opt), {"loss": value}

    return Task(init, step, optimizer.init)


def _dcgan(spec: specs.DCGAN, optimizer: optax.GradientTransformation) -> Task:
    generator, discriminator = networks.dcgan(spec)

    def init(key: Key, batch: Batch) -> PyTree:
        g = initialize(generator, key, batch["latent"])
        d = initialize(discriminator, key, batch["image"])
        return {kind: {"generator": g[kind], "discriminator": d[kind]} for kind in g}

    def opt_init(params: PyTree) -> PyTree:
        return {name: optimizer.init(params[name]) for name in params}

    def apply(network: nn.Module, params: PyTree, stats: PyTree, x: Array) -> tuple[Array, PyTree]:
        y, changed = network.apply({"params": params, "batch_stats": stats}, x, mutable=["batch_stats"])
        return y, changed["batch_stats"]

    def step(state: State, batch: Batch) -> tuple[State, Losses]:
        stats = dict(state.stats)

        def generate(params: PyTree) -> tuple[Array, PyTree]:
            return apply(generator, params, stats["generator"], batch["latent"])

        def discriminator_loss(params: PyTree) -> tuple[Array, PyTree]:
            real, changed = apply(discriminator, params, stats["discriminator"], batch["image"])
            fake, changed = apply(discriminator, params, changed, images)
            return (nn.softplus(-real) + nn.softplus(fake)).mean(), changed

        def generator_loss(images: Array) -> tuple[Array, PyTree]:
            fake, changed = apply(discriminator, params, stats["discriminator"], images)
            return nn.softplus(-fake).mean(), changed

        def update(name: str, gradients: PyTree) -> tuple[PyTree, PyTree]:
            updates, opt = optimizer.update(gradients, state.opt[name])
            return optax.apply_updates(state.params[name], updates), opt

        images, pull_back, stats["generator"] = jax.vjp(generate, state.params["generator"], has_aux=True)
        (d_loss, stats["discriminator"]), gradients = jax.value_and_grad(discriminator_loss, has_aux=True)(
            state.params["discriminator"]
        )
        params, d_opt = update("discriminator", gradients)
        (g_loss, stats["discriminator"]), gradient = jax.value_and_grad(generator_loss, has_aux=True)(images)
        g_params, g_opt = update("generator", *pull_back(gradient))
        new = State(
            {"generator": g_params, "discriminator": params},
            stats,
            {"generator": g_opt, "discriminator": d_opt},
        )
        return new, {"discriminator": d_loss, "generator": g_loss}

    return Task(init, step, opt_init)


_KINDS: dict[type, Callable[[Any, optax.GradientTransformation], Task]] = {
    specs.UNet: _unet,
    specs.VAE: _vae,
    specs.DCGAN: _dcgan,
}
"""Kind of spec -> its step."""


def num_parameters(variables: PyTree) -> int:
    """The number of trained numbers."""
    return sum(x.size for x in jax.tree.leaves(variables["params"]))
