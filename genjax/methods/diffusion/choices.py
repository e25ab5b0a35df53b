"""What configs of diffusion models choose by name: schedules, samplers, times; and what of it does not go together."""

import inspect
from typing import TYPE_CHECKING, Any, Literal

from genjax.diffusion import PREDICTIONS, SAMPLERS, SCHEDULES, Sampler, Schedule
from genjax.diffusion.grids import GRIDS
from genjax.diffusion.schedules import DISCRETE
from genjax.diffusion.times import TIMES, Adaptive, DrawTimes
from genjax.diffusion.weighting import WEIGHTINGS
from genjax.typing import Array, UserError

if TYPE_CHECKING:
    ScheduleName = PredictionName = WeightingName = TimesName = str
else:  # what is registered is what can be chosen
    # A learned schedule would have to be trained.
    ScheduleName = Literal[tuple(name for name in SCHEDULES if name != "learned")]
    PredictionName, WeightingName = Literal[tuple(PREDICTIONS)], Literal[tuple(WEIGHTINGS)]
    TimesName = Literal[tuple(TIMES)]


def sampler(config: Any) -> Sampler:
    """The sampler, with the `eta` that is asked for where it has one."""
    options = {} if config.eta is None or not has_eta(config.sampler) else {"eta": config.eta}
    return SAMPLERS[config.sampler](**options)


def has_eta(sampler: str) -> bool:
    """Whether a sampler can be told how much noise to add."""
    return "eta" in inspect.signature(SAMPLERS[sampler].make).parameters


def schedule(config: Any) -> Schedule:
    """The noise schedule."""
    return SCHEDULES[config.schedule](*([config.timesteps] if config.schedule in DISCRETE else []))


def sampling_times(config: Any) -> Array:
    """float32[K+1]: the times at which images are made."""
    return GRIDS[config.sampling.grid](config.sampling.num_steps, schedule(config.method))


def training_times(config: Any) -> DrawTimes | Adaptive:
    """How the times to train at are drawn, float32[B] of a batch."""
    name = config.times or ("discrete" if config.schedule in DISCRETE else "uniform")
    return TIMES[name](*([config.timesteps] if name in ("discrete", "loss_aware") else []))


_WITH_ETA = [name for name in SAMPLERS if has_eta(name)]
_WITHOUT_SIGNAL = ("flow", "shifted_cosine")

# Their x0_hat is x_t at the least noise, whatever the network gives, so that the network has no target there.
_WITH_BOUNDARY = ("consistency_edm", "lcm")
# They divide by alpha.
_DIVIDES_BY_SIGNAL = ("eps", "score", "lcm")


def samplers_for(gives: str) -> list[str]:
    """The names of the samplers that networks of a kind can be sampled by; see `MethodKind.samplers`."""
    return [name for name, kind in SAMPLERS.items() if kind.needs == gives]


def check_sampler(config: Any, gives: str, method: str) -> None:
    """Checks that a method gives its sampler what that needs.

    Args:
        config: config of the experiment.
        gives: what the networks of the method are to samplers, see `genjax.methods.kind.MethodKind.samplers`.
        method: its name, for the message.

    Raises:
        UserError: ``config.sampling.sampler`` needs something else.
    """
    name = config.sampling.sampler
    if name not in SAMPLERS:
        raise UserError(f"sampling.sampler={name!r}: valid are {', '.join(SAMPLERS)}")
    if SAMPLERS[name].needs != gives:
        models = {"denoiser": "a denoiser", "consistency": "a consistency model"}
        valid = ", ".join(samplers_for(gives))
        raise UserError(
            f"sampling.sampler={name!r} needs {models[SAMPLERS[name].needs]}, and the method {method} trains "
            f"{models[gives]}; valid are {valid}"
        )


def contradictions(config: Any) -> list[tuple[bool, str]]:
    """Contradictions between fields of a method that trains by denoising; see `MethodKind.contradictions`."""
    predicts = config.method.prediction
    return [
        (
            predicts in _WITH_BOUNDARY,
            f"method.prediction={predicts!r} cannot be trained by denoising: near clean data the network has no "
            f"influence, and no target; valid are {_others(_WITH_BOUNDARY)}",
        ),
        *of_sampling(config),
    ]


def of_sampling(config: Any) -> list[tuple[bool, str]]:
    """Contradictions between sampling, schedule and prediction, for every way of training."""
    sampling, method = config.sampling, config.method
    return [
        (
            bool(sampling.eta) and sampling.sampler not in _WITH_ETA,
            f"sampling.eta={sampling.eta} is for {', '.join(_WITH_ETA)}, and sampling.sampler={sampling.sampler!r}",
        ),
        (
            sampling.grid in ("karras", "exponential") and method.schedule in _WITHOUT_SIGNAL,
            f"sampling.grid={sampling.grid!r}: method.schedule={method.schedule!r} ends in pure noise, where "
            "sigma / alpha is infinite; valid are 'linspace', 'quadratic'",
        ),
        (
            method.prediction in _DIVIDES_BY_SIGNAL and method.schedule in _WITHOUT_SIGNAL,
            f"method.prediction={method.prediction!r}: method.schedule={method.schedule!r} ends in pure noise, from "
            f"which it cannot tell the data; valid are {_others(_DIVIDES_BY_SIGNAL)}",
        ),
    ]


def _others(left_out: tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in PREDICTIONS if name not in left_out)
