"""The classes of `diffusers` that step in sigma / alpha or in its logarithm."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np

from genjax.diffusion import prediction, samplers, schedules
from genjax.diffusion.interop import spacing
from genjax.diffusion.interop.described import (
    PREDICTIONS,
    Describe,
    Described,
    bound_of,
    discrete,
    schedule_of,
    unbounded,
)
from genjax.diffusion.interop.options import Options
from genjax.diffusion.samplers import Sampler
from genjax.diffusion.samplers.base import count_steps
from genjax.diffusion.samplers.exponential import DATA, NOISE, Variable
from genjax.diffusion.samplers.multistep import dpm_weights, multistep
from genjax.diffusion.samplers.singlestep import singlestep
from genjax.typing import Array, PyTree

_ORDERS = {1: 1, 2: 2, 3: 3}
# A solver type of another class stands for one of these, as there.
_SOLVERS = {
    "midpoint": "midpoint",
    "heun": "heun",
    "bh1": "midpoint",
    "bh2": "midpoint",
    "logrho": "midpoint",
}
_LEARNED = "take a method of genjax with a learned variance"


def k_diffusion(make: Callable[[], Sampler]) -> Describe:
    """The samplers of k-diffusion."""

    def describe(options: Options) -> Described:
        table = schedule_of(options)
        schedule, times, _ = spacing.sigma_times(options, table, intervals=False)
        has_ramp = any(options.flag(name) for name in spacing.RAMPS)
        if not has_ramp:  # a ramp takes its place
            options.choose("interpolation_type", {"linear": None}, "linear")
        described = discrete(options, table.table.size, schedule, make(), times)
        continuous = options.choose("timestep_type", {"discrete": False, "continuous": True}, "discrete")
        if not continuous or described.prediction is not prediction.v:
            return described
        # The network is told log(sigma / alpha) / 4, so there is no table that could end.
        wide = schedules.shifted_cosine()

        def on_wide(num_steps: int) -> Array:
            return wide.time(schedule.log_snr(times(num_steps)))

        return described._replace(
            schedule=wide, times=on_wide, timestep=lambda c_noise: -wide.log_snr(c_noise) / 8
        )

    return describe


def lms(options: Options) -> Described:
    """LMS of k-diffusion, whose Karras ramp has no bounds of its own."""
    if options.flag("use_karras_sigmas"):
        options = options.without("sigma_min", "sigma_max")
    return k_diffusion(samplers.lms)(options)


def _solver(
    options: Options,
    *,
    final: str = "zero",
    ramp_ends_twice: bool = False,
    from_one: bool = False,
    bound: Callable | None = None,
) -> Callable[[Sampler], Described]:
    """A solver in log(sigma / alpha), on the schedule of the betas or, with use_flow_sigmas, of rectified flow.

    Args:
        options: options of the file.
        final: final_sigmas_type of a class that has no such field.
        ramp_ends_twice: see `spacing.sigma_times`.
        from_one: see `spacing.flow_sigmas`; in such a class the last sigma comes twice, too.
        bound: `bound_of` the options if left out.
    """
    if options.flag("use_flow_sigmas"):
        return _flow_solver(options, final, ramp_ends_twice, from_one, bound or bound_of(options))
    options.refuse(
        use_dynamic_shifting="only with use_flow_sigmas", shift_terminal="only with use_flow_sigmas"
    )
    table = schedule_of(options)
    schedule, times, ends_twice = spacing.sigma_times(
        options, table, intervals=True, final=final, ramp_ends_twice=ramp_ends_twice
    )
    return lambda sampler: discrete(
        options, table.table.size, schedule, told_of_all(sampler, ends_twice), times, bound
    )


def told_of_all(sampler: Sampler, ends_twice: bool) -> Sampler:
    """The sampler, for a grid whose last two times may be the same.

    Their order falls at the end of the grid. They count a last step of length 0, so that the order has not yet fallen
    to 1 in the step before; here repeated times are not counted. So the sampler is told of one more time.
    """

    def init(x_T: Array, times: Array) -> PyTree:
        beyond = jnp.arange(times.size) > count_steps(times)
        return sampler.init(x_T, jnp.where(beyond, 0.5 * times[-1], times))

    return Sampler(init, sampler.step) if ends_twice else sampler


def _flow_solver(
    options: Options, final: str, ends_twice: bool, from_one: bool, bound: Callable
) -> Callable[[Sampler], Described]:
    num_train = options.number("num_train_timesteps", "[1, inf)")
    for name in spacing.RAMPS:
        options.refuse(**{name: "not with use_flow_sigmas"})
    shift = (
        dynamic_shift(options)
        if options.flag("use_dynamic_shifting")
        else options.number("flow_shift", "(0, inf)")
    )
    ends_at_zero = options.choose("final_sigmas_type", {"zero": True, "sigma_min": False}, final)
    if not ends_at_zero and not ends_twice:
        raise options.error("final_sigmas_type", "with use_flow_sigmas, betas would say where it ends")
    predictions = {"flow_prediction": prediction.flow} | {
        name: PREDICTIONS[name] for name in ("epsilon", "sample")
    }
    sigmas = spacing.flow_sigmas(options, shift, from_one=from_one, num_train=num_train)

    def times(num_steps: int) -> Array:
        values = sigmas(num_steps)
        return jnp.asarray(np.append(values, 0.0 if ends_at_zero else values[-1]))

    return lambda sampler: Described(
        schedules.flow(),
        options.choose("prediction_type", predictions),
        told_of_all(sampler, not ends_at_zero),
        spacing.checked(times, num_train),
        bound,
        lambda c_noise: c_noise * num_train,
    )


def dynamic_shift(options: Options) -> float:
    """The shift of a schedule that depends on the size of the image, from `mu`."""
    if options.mu is None:
        raise options.error(
            "use_dynamic_shifting", "say how far for your images: from_diffusers_config(config, mu=...)"
        )
    kinds: Mapping[str, Callable[[float], float]] = {
        "exponential": lambda mu: float(np.exp(mu)),
        "linear": float,
    }
    return options.choose("time_shift_type", kinds)(options.mu)


def multistep_sampler(options: Options) -> Sampler:
    """DPM-Solver of `DPMSolverMultistepScheduler` and its EDM variant."""
    order, weights = (
        options.choose("solver_order", _ORDERS),
        dpm_weights(options.choose("solver_type", _SOLVERS)),
    )
    low, euler_at_final = options.flag("lower_order_final"), options.flag("euler_at_final")
    variable, eta = options.choose("algorithm_type", _ALGORITHMS)
    return multistep(order, variable, weights, low, eta, euler_at_final)


_ALGORITHMS: dict[str, tuple[Variable, float | None]] = {
    "dpmsolver++": (DATA, None),
    "dpmsolver": (NOISE, None),
    "sde-dpmsolver++": (DATA, 1.0),
    "deis": (DATA, None),  # of another class: stands for dpmsolver++, as there
}


def dpm_multistep(options: Options) -> Described:
    """DPM-Solver and DPM-Solver++, multistep."""
    _refuse_learned(options)
    if options.flag("use_lu_lambdas"):  # a ramp that has no bounds of its own
        options = options.without("sigma_min", "sigma_max")
    return _solver(options)(multistep_sampler(options))


def dpm_singlestep(options: Options) -> Described:
    """DPM-Solver and DPM-Solver++, singlestep."""
    _refuse_learned(options)
    # They switch it on themselves where the last sigma is 0.
    low = options.flag("lower_order_final") or options.get("final_sigmas_type") == "zero"
    variable, eta = options.choose("algorithm_type", _ALGORITHMS)
    sampler = singlestep(
        options.choose("solver_order", _ORDERS), variable, options.choose("solver_type", _SOLVERS), low, eta
    )
    return _solver(options)(sampler)


def _refuse_learned(options: Options) -> None:
    if options.get("variance_type") in ("learned", "learned_range"):
        raise options.error("variance_type", _LEARNED)


def deis(options: Options) -> Described:
    """DEIS in log(sigma / alpha)."""
    options.choose("algorithm_type", {"deis": 0, "dpmsolver": 0, "dpmsolver++": 0})
    options.choose("solver_type", {"logrho": 0, "midpoint": 0, "heun": 0, "bh1": 0, "bh2": 0})
    sampler = samplers.deis(options.choose("solver_order", _ORDERS), options.flag("lower_order_final"))
    return _solver(options, final="sigma_min", ramp_ends_twice=True)(sampler)


def unipc(options: Options) -> Described:
    """UniPC. It bounds x0_hat only where it predicts the data."""
    options.refuse(
        solver_p="another solver inside of UniPC", disable_corrector="a corrector for some steps only"
    )
    variants = {"bh1": "bh1", "bh2": "bh2", "midpoint": "bh2", "heun": "bh2", "logrho": "bh2"}
    of_data = options.flag("predict_x0")
    sampler = samplers.unipc(
        options.choose("solver_order", _ORDERS),
        options.choose("solver_type", variants),
        "data" if of_data else "noise",
        lower_order_final=options.flag("lower_order_final"),
    )
    bound = None if of_data else unbounded
    return _solver(options, ramp_ends_twice=True, from_one=True, bound=bound)(sampler)
