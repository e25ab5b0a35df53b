"""What is added to the losses of a game to keep its networks well-behaved: slopes, logits and weights.

A `Penalty` of the discriminator ("critic" in most of the papers) is a pair of pure functions, as an optimizer is:
`init` makes its state, `apply` gives a value for each example and the next state. It sees the critic as a function of
images, and knows neither of the game nor of the network, so that any penalty goes with any game::

    penalty = combine(r1(10.0), lazy(gradient_penalty(), every=4))
    state = penalty.init()

    def loss(params, state):
        critic = lambda images: network.apply({"params": params, **statistics}, images)[0]
        real_logits, fake_logits = critic(real), critic(fake)
        values, state = penalty.apply(critic, keys, real, fake, real_logits, fake_logits, state)
        return (game.discriminator(real_logits, fake_logits) + values).mean(), state

* **One example, one value.** The slope at image i is read off the gradient of the sum of all logits, which is right
  only where the logit of an image does not depend on the images beside it: the critic must not normalise by the
  statistics of the batch (take fixed ones, or groups). Nothing can check this from outside.
* **Patches.** Where there are several logits of an image, its logit is their mean, as in the games.
* **Differentiable.** Values can be differentiated with respect to whatever the critic and the images are made of; a
  step of the discriminator takes the fakes as constants itself. States have no gradient.
* **Devices.** What is over the batch (moving averages, the spread of the data) is over the global one.
* **Labels** of a conditional critic are closed over. Interpolated and perturbed images get the label of their row, so
  row i of the real and of the fake images must have the same.

A `GeneratorPenalty` is the same of a generator. Functions of parameters alone (`orthogonal`, `clip_weights`) are plain
functions.
"""

from genjax.losses.penalties.consistency import balanced_consistency, consistency
from genjax.losses.penalties.gradient import dragan, gradient_penalty, r1, r2
from genjax.losses.penalties.lecam import LeCamState, lecam
from genjax.losses.penalties.parameters import clip_weights, off_diagonal_orthogonal, orthogonal
from genjax.losses.penalties.path_length import path_length
from genjax.losses.penalties.penalty import GeneratorPenalty, LazyState, Penalty, combine, lazy

__all__ = [
    "GeneratorPenalty",
    "LazyState",
    "LeCamState",
    "Penalty",
    "balanced_consistency",
    "clip_weights",
    "combine",
    "consistency",
    "dragan",
    "gradient_penalty",
    "lazy",
    "lecam",
    "off_diagonal_orthogonal",
    "orthogonal",
    "path_length",
    "r1",
    "r2",
]
