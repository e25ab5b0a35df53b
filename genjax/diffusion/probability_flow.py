"""The probability-flow ODE of any schedule, by an adaptive solver.

It is solved for ``z = x_t / sqrt(alpha^2 + sigma^2)`` in ``l = log(sigma / alpha)``::

    dz / dl = c (c z - x0_hat),    c = alpha / sqrt(alpha^2 + sigma^2)

With tan(phi) = sigma / alpha, z is cos(phi) x_0 + sin(phi) noise, and ``dz / dphi`` is the velocity cos(phi) noise -
sin(phi) x_0. Here nothing is divided by sigma or alpha, no schedule is differentiated (a table has no smooth
derivative), and where alpha goes to 0 and l to infinity z comes to rest. The path of z is the same for all schedules.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from genjax.diffusion.prediction import Denoiser
from genjax.diffusion.samplers.base import half_log_snr
from genjax.diffusion.schedules import Schedule
from genjax.typing import Array, PyTree, UserError

_LARGEST = 16.0
_LONGEST_STEP = 1.0
"""The flow is at rest at both ends; a step from one to the other would see nothing of what is between."""

Velocity: TypeAlias = Callable[[Array, Array], Array]
"""``(l [], z [B, ...]) -> dz / dl [B, ...]``."""


class Tolerance(NamedTuple):
    """How accurately an ODE is solved.

    Attributes:
        relative: to the size of the state.
        absolute: added to that.
        max_steps: more of them are an error.
    """

    relative: float = 1e-5
    absolute: float = 1e-5
    max_steps: int = 4096


TOLERANCE = Tolerance()


def sample(
    x_T: Float[Array, "N *shape"],
    denoise: Denoiser,
    schedule: Schedule,
    t_min: Float[ArrayLike, ""] = 1e-3,
    tolerance: Tolerance = TOLERANCE,
) -> Float[Array, "N *shape"]:
    """Takes x_T along the flow from t = 1 to t_min, and returns x_t / alpha there: samples with so little noise left.

    Steps are chosen for the sample that needs the smallest, so that those made together move each other within the
    tolerance.

    Args:
        x_T: at t = 1, such as from `initial_noise`.
        denoise: called with all samples and a scalar time.
        t_min: in (0, 1).

    Raises:
        UserError: if diffrax is not installed.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import probability_flow, schedules
        >>> schedule, x_T = schedules.edm(), jnp.array([[80.0], [-40.0]])
        >>> denoise = lambda x_t, t: 4 * x_t / (4 + schedule.sigma(t) ** 2)  # of data with deviation 2
        >>> print(*(f"{x:.2f}" for x in probability_flow.sample(x_T, denoise, schedule)[:, 0]))
        2.00 -1.00

    References:
        Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (2021), equation 13.
    """
    start, end = ends(schedule, t_min)
    z = (x_T / norm(schedule, 1.0)).astype(x_T.dtype)
    z, _ = solve(velocity(denoise, schedule), z, end, start, tolerance)
    return (z / share_of_data(start)).astype(x_T.dtype)


def velocity(denoise: Denoiser, schedule: Schedule) -> Velocity:
    """dz / dl of the flow, ``(l float[], z float[B, ...]) -> float[B, ...]``.

    Args:
        denoise: called with all examples and a scalar time.
        schedule: schedule of x_t.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import probability_flow, schedules
        >>> velocity = probability_flow.velocity(lambda x_t, t: 0 * x_t, schedules.flow())  # the data is 0
        >>> print(f"{velocity(0.0, jnp.array([[1.0]])).item():.3f}")  # cos(phi)^2 z, phi = 45 degrees
        0.500
    """

    def derivative(l: Float[ArrayLike, ""], z: Float[Array, "B *shape"]) -> Float[Array, "B *shape"]:  # noqa: E741
        t, c = schedule.time(-2 * jnp.asarray(l)), share_of_data(l)
        return (c * (c * z - denoise((norm(schedule, t) * z).astype(z.dtype), t))).astype(z.dtype)

    return derivative


def ends(schedule: Schedule, t_min: Float[ArrayLike, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """l at t_min and at 1, but at most 16: from there on z moves by 1e-7 of x_0.

    Example:
        >>> from genjax.diffusion import probability_flow, schedules
        >>> start, end = probability_flow.ends(schedules.shifted_cosine(), 0.001)  # alpha(1) is 0
        >>> print(f"{start:.3f} {end:.1f}")
        -6.456 16.0
    """
    return -half_log_snr(schedule, t_min), jnp.minimum(-half_log_snr(schedule, 1.0), _LARGEST)


def norm(schedule: Schedule, t: Float[ArrayLike, ""]) -> Float[Array, ""]:
    """sqrt(alpha^2 + sigma^2): x_t / z.

    Example:
        >>> from genjax.diffusion import probability_flow, schedules
        >>> print(f"{probability_flow.norm(schedules.flow(), 0.5):.3f}")  # 1 where the variance is preserved
        0.707
    """
    return jnp.hypot(schedule.alpha(t), schedule.sigma(t))


def share_of_data(l: Float[ArrayLike, ""]) -> Float[Array, ""]:  # noqa: E741
    """cos(phi): alpha / sqrt(alpha^2 + sigma^2).

    Example:
        >>> import math
        >>> from genjax.diffusion import probability_flow
        >>> print(f"{probability_flow.share_of_data(math.log(3 / 4)):.3f}")  # sigma / alpha = 3 / 4
        0.800
    """
    return jnp.exp(0.5 * jax.nn.log_sigmoid(-2 * jnp.asarray(l)))


def share_of_noise(l: Float[ArrayLike, ""]) -> Float[Array, ""]:  # noqa: E741
    """sin(phi): sigma / sqrt(alpha^2 + sigma^2).

    Example:
        >>> import math
        >>> from genjax.diffusion import probability_flow
        >>> print(f"{probability_flow.share_of_noise(math.log(3 / 4)):.3f}")  # sigma / alpha = 3 / 4
        0.600
    """
    return jnp.exp(0.5 * jax.nn.log_sigmoid(2 * jnp.asarray(l)))


def solve(
    derivative: Callable[[Any, PyTree], PyTree],
    state: PyTree,
    start: Float[ArrayLike, ""],
    end: Float[ArrayLike, ""],
    tolerance: Tolerance,
) -> tuple[PyTree, Int[Array, ""]]:
    """Integrates ``d state / dl = derivative(l, state)`` from `start` to `end`.

    Args:
        state: arrays [B, ...]; the error is controlled for each example, and the worst one decides.

    Returns:
        The state at `end`, and the number of steps tried.

    Raises:
        UserError: if diffrax is not installed.

    Example:
        >>> import jax.numpy as jnp
        >>> from genjax.diffusion import probability_flow
        >>> state, tolerance = jnp.array([[1.0]]), probability_flow.Tolerance()
        >>> end, num_steps = probability_flow.solve(lambda l, x: -x, state, 0.0, 1.0, tolerance)
        >>> print(f"{end.item():.3f}")  # exp(-1)
        0.368

    References:
        Tsitouras, "Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption" (2011).
    """
    try:
        import diffrax
    except ImportError as error:
        raise UserError("the probability-flow ODE needs diffrax: pip install -e '.[ode]'") from error

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda l, state, _: derivative(l, state)),  # noqa: E741
        diffrax.Tsit5(),
        t0=start,
        t1=end,
        dt0=None,
        y0=state,
        stepsize_controller=diffrax.PIDController(
            tolerance.relative, tolerance.absolute, dtmax=_LONGEST_STEP, norm=_largest_rms
        ),
        max_steps=tolerance.max_steps,
    )
    return jax.tree.map(lambda x: x[0], solution.ys), solution.stats["num_steps"]


def _largest_rms(tree: PyTree) -> Array:
    """The largest root mean square over examples and parts of the state."""
    squares = [jnp.mean(jnp.square(x).reshape(x.shape[0], -1), 1) for x in jax.tree.leaves(tree)]
    # The floor is there because sqrt has no derivative at 0.
    return jnp.max(jnp.sqrt(jnp.maximum(jnp.stack(squares), jnp.finfo(squares[0].dtype).tiny)))
