"""Generative adversarial networks: a generator and a discriminator, in whatever game and under whatever rules."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from genjax.augmentation import Augmentation, check_differentiable
from genjax.conditions import select
from genjax.losses import adversarial as games
from genjax.losses.adversarial import AdversarialLoss
from genjax.losses.attacks import Attack
from genjax.losses.penalties import GeneratorPenalty, Penalty, combine
from genjax.methods import averages, update
from genjax.methods.averages import Average, exponential
from genjax.methods.gan import generating, latent_prior
from genjax.methods.gan.auxiliary import AuxiliaryTask, Referee
from genjax.methods.gan.latent_prior import LatentPrior
from genjax.methods.gradients import Gradient, mean_gradient
from genjax.methods.variables import after, averaged, run
from genjax.nn import initialize
from genjax.random import example_keys, fold_in
from genjax.typing import Array, Batch, Condition, Key, Method, PyTree, TrainState, UserError

_GAME = games.non_saturating()
_AVERAGE, _GRADIENT = exponential(), mean_gradient()
_SIDES = ("generator", "discriminator")


def gan(
    generator: nn.Module,
    discriminator: nn.Module,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    *,
    image_shape: tuple[int, int, int],
    latent: LatentPrior,
    conditions: Sequence[str] = (),
    game: AdversarialLoss = _GAME,
    penalty: Penalty | None = None,
    generator_penalty: GeneratorPenalty | None = None,
    weight_penalties: Mapping[str, Callable[[PyTree], Array]] | None = None,
    auxiliary: AuxiliaryTask | None = None,
    augmentation: Augmentation | None = None,
    attack: Attack | None = None,
    top_k: Callable[[Array], Array] | None = None,
    constrain: Callable[[PyTree], PyTree] | None = None,
    discriminator_steps: int = 1,
    average: Average = _AVERAGE,
    gradient: Gradient = _GRADIENT,
) -> Method:
    """Two networks that play a game, as a method.

    A step updates the discriminator on the images of the batch and as many fakes, and then the generator, on the same
    latent variables, against the discriminator as it is now. With ``discriminator_steps=n`` the generator is updated
    on every n-th step only; all steps are one compiled program. Two time scales are two learning rates.

    Fakes get the conditions of the real images beside them.

    Args:
        generator: ``network.apply(variables, z, condition, train=...) -> images`` in [-1, 1], see `genjax.models.gan`.
            One with a latent space of its own, as StyleGAN's, has two more methods: ``mapping(z, condition, *, train)
            -> w`` and ``synthesis(w, keys, *, train) -> images``, which is given a key for the noise of each image; see
            `genjax.methods.gan.generating`.
        discriminator: ``network.apply(variables, images, condition, train=...) -> (logits, features)``. Both may have
            variables beside parameters, as the statistics of a batch normalisation.
        generator_optimizer: optimizer of the generator's parameters.
        discriminator_optimizer: optimizer of the discriminator's parameters, including the head of `auxiliary`.
        image_shape: H, W, C of the images.
        latent: what the generator starts from.
        conditions: names of the arrays of a batch that both networks are told, see `genjax.conditions`. A batch must
            have all of them; masks may say which examples have them.
        game: see `genjax.losses.adversarial`.
        penalty: penalty of the discriminator, see `genjax.losses.penalties`. It sees the discriminator behind the
            augmentation.
        generator_penalty: penalty of the generator, as `genjax.losses.penalties.path_length`. Its latent is w, which is
            z for a plain generator.
        weight_penalties: functions of the parameters of "generator" or "discriminator" that are added to the losses,
            as `genjax.losses.penalties.orthogonal` times a weight.
        auxiliary: what else is predicted from the discriminator's features, see `genjax.methods.gan.auxiliary`.
        augmentation: what happens to all images that the discriminator sees, see `genjax.augmentation`.
        attack: real images are changed, within its bounds, to those that the discriminator errs most about, see
            `genjax.losses.attacks`; adversarial training of the discriminator.
        top_k: ``int32[] step -> float[]``, the share of fakes that the generator learns from, see
            `genjax.losses.adversarial.top_k`.
        constrain: ``params -> params`` of the discriminator after each update, as
            `genjax.losses.penalties.clip_weights`.
        discriminator_steps: updates of the discriminator for one of the generator.
        average: moving average of the generator's parameters and batch statistics, with which images are made, see
            `genjax.methods.averages`. It counts the generator's updates.
        gradient: how gradients are computed, see `genjax.methods.gradients`. A batch normalisation normalises each
            micro-batch alone.

    Returns:
        The method. ``TrainState.params`` is ``{"generator": ..., "discriminator": ...}``. Metrics of a step: "loss",
        the discriminator's with all that is added to it, "discriminator" and "generator", the losses in the game,
        "penalty", "question" (the auxiliary task's), "real_logit" and "fake_logit", all of them before the updates;
        "grad_norm", the discriminator's, and, where all steps update the generator, "generator_grad_norm". `evaluate`
        gives "loss", the discriminator's loss in the game, and "real_logit" and "fake_logit", for each example. If the
        real logits of test images are far below the real logits of training images, the discriminator remembers the
        training images. `sample` takes the `conditions`, all of which are required, and "temperature" float32[N], a
        factor of the latent noise, 1 without it, and "code" int32[N], the value of the first categorical code, drawn
        without it.

    Raises:
        UserError: ``discriminator_steps`` below 1, weight penalties of another network, an augmentation through which
            no gradient passes; from `init`, an
            `image_shape` that the generator does not make.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from genjax import methods
        >>> from genjax.losses import adversarial
        >>> from genjax.methods.gan import latent_prior
        >>> from genjax.models.gan.mlp import MLPDiscriminator, MLPGenerator
        >>> method = methods.gan(
        ...     MLPGenerator((8, 8, 1), hidden=(16,)), MLPDiscriminator(hidden=(8,)), optax.adam(1e-3),
        ...     optax.adam(1e-3), image_shape=(8, 8, 1), latent=latent_prior.normal(4), game=adversarial.hinge(),
        ... )
        >>> batch = {"image": jnp.zeros((4, 8, 8, 1)), "_index": jnp.arange(4)}
        >>> state = jax.eval_shape(method.init, jax.random.key(0), batch)
        >>> sorted(state.params), sorted(jax.eval_shape(method.evaluate, jax.random.key(0), state, batch))
        (['discriminator', 'generator'], ['fake_logit', 'loss', 'real_logit'])

    References:
        Goodfellow et al., "Generative Adversarial Nets" (2014), algorithm 1.
    """
    if discriminator_steps < 1:
        raise UserError(f"discriminator_steps={discriminator_steps}: valid are whole numbers of 1 and more")
    weight_penalties = weight_penalties or {}
    if not set(weight_penalties) <= set(_SIDES):
        raise UserError(f"weight_penalties={sorted(weight_penalties)}: valid are {', '.join(_SIDES)}")
    if augmentation is not None:
        check_differentiable(augmentation, image_shape)
    penalty = combine() if penalty is None else penalty
    referee = Referee(discriminator, None if auxiliary is None else auxiliary.head)

    names = tuple(conditions)

    def told(batch: Batch) -> Condition:
        """What both networks are told."""
        return select(batch, names, required=True)

    def init(key: Key, batch: Batch) -> TrainState:
        one = {name: array[:1] for name, array in told(batch).items()}
        image, z = jnp.zeros((1, *image_shape)), jnp.zeros((1, latent.width))
        made = generating.initial(generator, key, z, one)
        shape = jax.eval_shape(
            lambda v: generating.generate(generator, v, z, jax.random.split(key, 1), one)[0], made
        ).shape
        if shape != image.shape:
            raise UserError(f"image_shape={image_shape}: the generator makes images of {shape[1:]}")
        judged = initialize(referee, jax.random.fold_in(key, 1), image, one, train=False)
        params = {"generator": made.pop("params"), "discriminator": judged.pop("params")}
        mutable = {
            "generator": made,
            "discriminator": judged,
            "penalty": penalty.init(),
            "generator_penalty": () if generator_penalty is None else generator_penalty.init(),
            "augmentation": () if augmentation is None else augmentation.init(),
        }
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt={
                "generator": generator_optimizer.init(params["generator"]),
                "discriminator": discriminator_optimizer.init(params["discriminator"]),
            },
            ema=average.init(averaged({"params": params["generator"], **made})),
            mutable=mutable,
        )

    def show(keys: Key, images: Array, state: TrainState) -> Array:
        """Images as the discriminator sees them."""
        if augmentation is None:
            return images
        return augmentation.apply(keys, images, state.mutable["augmentation"])

    def discriminator_loss(
        params: PyTree, key: Key, batch: Batch, state: TrainState
    ) -> tuple[Array, dict[str, Any]]:
        x, condition, keys = batch["image"], told(batch), example_keys(key, batch["_index"])
        variables = {"params": params, **state.mutable["discriminator"]}
        made = {"params": state.params["generator"], **state.mutable["generator"]}
        z = latent_prior.draw(latent, fold_in(keys, 0))
        fake, _, _ = generating.generate(
            generator, made, z, generating.noise_keys(keys), condition, train=True
        )
        fake = jax.lax.stop_gradient(fake)

        def look(variables: PyTree, images: Array, salt: int) -> tuple[tuple[Array, Any], PyTree]:
            return run(referee, variables, show(fold_in(keys, salt), images, state), condition)

        if attack is not None:
            fixed = jax.lax.stop_gradient(variables)
            (against, _), _ = look(fixed, fake, 2)

            def error(images: Array) -> Array:
                return game.discriminator(look(fixed, images, 1)[0][0], against)

            x = jax.lax.stop_gradient(attack(error, fold_in(keys, 4), x))
        (real_logits, real_answer), changed = look(variables, x, 1)
        (fake_logits, fake_answer), changed = look(after(variables, changed), fake, 2)

        def critic(images: Array) -> Array:
            return look(variables, images, 1)[0][0]

        played = game.discriminator(real_logits, fake_logits)
        values, penalty_state = penalty.apply(
            critic, fold_in(keys, 3), x, fake, real_logits, fake_logits, state.mutable["penalty"]
        )
        total = played.mean() + values.mean()
        metrics: dict[str, Any] = {
            "discriminator": played.mean(),
            "generator": game.generator(real_logits, fake_logits).mean(),
            "real_logit": real_logits.mean(),
            "fake_logit": fake_logits.mean(),
            "penalty": values.mean(),
        }
        if auxiliary is not None:
            asked = auxiliary.discriminator(real_answer, fake_answer, condition, z).mean()
            metrics["question"] = asked
            total += asked
        if "discriminator" in weight_penalties:
            total += weight_penalties["discriminator"](params)
        metrics["_state"] = {"discriminator": changed, "penalty": penalty_state}
        metrics["_signs"] = jnp.sign(real_logits).mean()
        return total, metrics

    def generator_loss(
        params: PyTree, key: Key, batch: Batch, state: TrainState
    ) -> tuple[Array, dict[str, Any]]:
        """The discriminator's update has the same forward pass, and XLA merges the two."""
        condition, keys = told(batch), example_keys(key, batch["_index"])
        variables = {"params": params, **state.mutable["generator"]}
        judging = {"params": state.params["discriminator"], **state.mutable["discriminator"]}
        z = latent_prior.draw(latent, fold_in(keys, 0))
        noise = generating.noise_keys(keys)
        fake, w, changed = generating.generate(generator, variables, z, noise, condition, train=True)
        (fake_logits, answer), _ = run(referee, judging, show(fold_in(keys, 5), fake, state), condition)
        # Not computed for games that do not look at it.
        (real_logits, _), _ = run(referee, judging, show(fold_in(keys, 6), batch["image"], state), condition)
        playing = game if top_k is None else games.top_k(game, top_k(state.step))
        total = playing.generator(jax.lax.stop_gradient(real_logits), fake_logits).mean()
        states = {"generator": changed}
        if auxiliary is not None:
            total += auxiliary.generator(answer, condition, z).mean()
        if generator_penalty is not None:
            values, states["generator_penalty"] = generator_penalty.apply(
                lambda w: generating.image(generator, variables, w, noise, condition, train=True)[0],
                fold_in(keys, 7),
                w,
                state.mutable["generator_penalty"],
            )
            total += values.mean()
        if "generator" in weight_penalties:
            total += weight_penalties["generator"](params)
        return total, {"_state": states}

    def descend(
        side: str,
        optimizer: optax.GradientTransformation,
        loss: Callable[..., Any],
        key: Key,
        state: TrainState,
        batch: Batch,
    ) -> tuple[TrainState, dict[str, Any]]:
        """One update of one side."""

        def of_side(params: PyTree, key: Key, batch: Batch) -> tuple[Array, dict[str, Any]]:
            return loss(params, key, batch, state)  # type: ignore[no-any-return]

        metrics, grads = gradient(of_side, state.params[side], key, batch)
        states: Any = metrics.pop("_state")
        changes, opt = optimizer.update(grads, state.opt[side], state.params[side])
        params = optax.apply_updates(state.params[side], changes)
        new = dataclasses.replace(
            state,
            params={**state.params, side: params},
            opt={**state.opt, side: opt},
            mutable={**state.mutable, **states},
        )
        return new, metrics

    def update_generator(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, Array]:
        new, metrics = descend("generator", generator_optimizer, generator_loss, key, state, batch)
        made = averaged({"params": new.params["generator"], **new.mutable["generator"]})
        number = state.step // discriminator_steps + 1
        return dataclasses.replace(new, ema=average.update(new.ema, made, number)), metrics["grad_norm"]

    def step(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, Array]]:
        new, metrics = descend(
            "discriminator", discriminator_optimizer, discriminator_loss, key, state, batch
        )
        signs = metrics.pop("_signs")
        if constrain is not None:
            new.params["discriminator"] = constrain(new.params["discriminator"])
        if augmentation is not None:
            new.mutable["augmentation"] = augmentation.update(
                state.mutable["augmentation"], signs, update.global_batch_size(batch)
            )
        if discriminator_steps == 1:
            new, metrics["generator_grad_norm"] = update_generator(key, new, batch)
        else:
            new = jax.lax.cond(
                state.step % discriminator_steps == discriminator_steps - 1,
                lambda new: update_generator(key, new, batch)[0],
                lambda new: new,
                new,
            )
        return dataclasses.replace(new, step=state.step + 1), metrics

    def evaluate(key: Key, state: TrainState, batch: Batch) -> dict[str, Array]:
        condition, keys = told(batch), example_keys(key, batch["_index"])
        variables = {"params": state.params["discriminator"], **state.mutable["discriminator"]}
        fake = make(state, latent_prior.draw(latent, keys), keys, condition)
        real_logits, fake_logits = (
            referee.apply(variables, images, condition, train=False)[0] for images in (batch["image"], fake)
        )
        return {
            "loss": game.discriminator(real_logits, fake_logits),
            "real_logit": real_logits.reshape(len(keys), -1).mean(1),
            "fake_logit": fake_logits.reshape(len(keys), -1).mean(1),
        }

    def make(state: TrainState, z: Array, keys: Key, condition: Condition) -> Array:
        """Images by the averaged generator; `keys` are of the images."""
        variables = {**state.mutable["generator"], **averages.averaged(state)}
        return generating.generate(generator, variables, z, generating.noise_keys(keys), condition)[0]

    def sample(keys: Key, state: TrainState, condition: Condition) -> Array:
        z = latent_prior.draw(latent, keys, condition.get("temperature"), condition.get("code"))
        return make(state, z, keys, told(condition))

    return Method(init, step, evaluate, sample)


def recognise(
    discriminator: nn.Module,
    auxiliary: AuxiliaryTask,
    state: TrainState,
    images: Array,
    condition: Condition | None = None,
) -> Any:
    """What the head of an auxiliary task answers to images float[B,H,W,C], after training by `gan`."""
    variables = {"params": state.params["discriminator"], **state.mutable["discriminator"]}
    return Referee(discriminator, auxiliary.head).apply(variables, images, condition, train=False)[1]
