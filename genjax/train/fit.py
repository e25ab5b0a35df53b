"""The only training loop."""

import io
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
from etils import epath
from jax.sharding import Mesh

from genjax.train import backend as backends
from genjax.train import finite, logging, sharding, writers
from genjax.train.checkpoint import Checkpointer
from genjax.train.feed import Feed, stack
from genjax.train.options import FitOptions
from genjax.train.preemption import Preemption
from genjax.train.progress import progress as progress_of
from genjax.train.timing import Stopwatch, Times
from genjax.typing import PRESENT, Batch, Key, Method, NonFiniteError, TrainState, UserError

_DISPATCHES_AHEAD = 2
"""Dispatches that may be under way at once: enough to keep a device busy, few enough to stop early at a NaN."""


class Hook(NamedTuple):
    """Something to do every N steps, and after the last: evaluation, sampling.

    Attributes:
        every: in steps; 0 means after the last step only.
        run: ``(step, state, writer) -> None``.
    """

    every: int
    run: Callable[[int, TrainState, logging.Writer], None]


class Fitted(NamedTuple):
    """What `fit` returns.

    Attributes:
        state: at the end.
        step: of it.
        preempted: whether the run was stopped before its end, and saved.
        signal: the signal that stopped it; None: none, or another process got it.
        trained: number of steps that this call trained.
        times: how long the run took, with the starts before this one.
    """

    state: TrainState
    step: int
    preempted: bool
    trained: int
    times: Times
    signal: int | None = None


def fit(
    method: Method,
    feed: Feed,
    options: FitOptions,
    *,
    workdir: epath.PathLike,
    example: Batch,
    preprocess: Callable[[Key, Batch], Batch],
    hooks: Sequence[Hook] = (),
    mesh: Mesh | None = None,
    progress: bool | None = None,
    on_save: Callable[[Times], None] = lambda times: None,
    initial: Callable[[TrainState], TrainState] | None = None,
    log: writers.Log = writers.DEFAULT,
    hparams: Mapping[str, Any] = MappingProxyType({}),
) -> Fitted:
    """Trains until `options.steps`, going on from the latest checkpoint in `workdir` if there is one.

    A run that was stopped at any moment, and is started again with the same arguments on as many devices, ends bit
    for bit where the uninterrupted run ends. Everything random derives from ``fold_in(key(seed), step)``.

    Args:
        method: what is trained.
        feed: the batches.
        options: see there.
        workdir: gets ``checkpoints/``, ``metrics.jsonl`` and what the writers of `log` keep there.
        example: a batch of any size, from which shapes are taken.
        preprocess: ``(key, batch) -> batch``, inside the compiled step: uint8 images -> float32 in [-1, 1].
        hooks: run in order, before the checkpoint of a step, and after its metrics where `log_every` has them written.
        mesh: devices; None: all, with `options.fsdp`.
        progress: show a progress bar; None: where stderr is a terminal, else a line now and then.
        on_save: called before each checkpoint is written, which holds these times too.
        initial: what becomes of the state of `method.init` before the first step, as when parameters of another run
            take the place of random ones; None: it stays. A run that goes on from a checkpoint does not call it.
        log: names of writers besides ``metrics.jsonl`` (`genjax.train.writers.WRITERS`), and writers of your own, which
            are open. An error of yours ends the run, and an error of a tracker does not. () or ("none",): no others.
        hparams: the flat configuration of the run, for the writers.

    Returns:
        The state and how the run ended.

    Raises:
        UserError: for options that do not fit together, or a writer that cannot be opened.
        NonFiniteError: a metric or a parameter is not finite; the latest checkpoint stays as it was.
        KeyboardInterrupt: a second SIGINT came while the first was being obeyed.
        RecompileError: the compiled step was called with other shapes.
        CheckpointError: a checkpoint cannot be written, or none of those there can be read.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> from genjax.train import feed, fit, options
        >>> from genjax.typing import Method, TrainState
        >>> def step(key, state, batch):  # goes half of the way to the mean of the batch
        ...     error = batch["x"].mean() - state.params
        ...     return state.replace(step=state.step + 1, params=state.params + error / 2), {"loss": error**2}
        >>> start = TrainState(step=jnp.array(0), params=jnp.array(0.0), opt=())
        >>> method = Method(init=lambda key, batch: start, step=step, evaluate=None, sample=None)
        >>> data = feed.resident({"x": np.full(100, 8.0, np.float32)}, lambda step: np.arange(8))
        >>> example = {"x": np.zeros(1, np.float32), "_index": np.arange(1)}
        >>> for steps in (2, 3):  # the second call goes on where the first has ended
        ...     run = fit.fit(
        ...         method, data, options.FitOptions(steps, batch_size=8), workdir="runs/mean", example=example,
        ...         preprocess=lambda key, batch: batch, log=(), progress=False,
        ...     )
        ...     print(run.step, run.trained, run.state.params)
        2 2 6.0
        3 1 7.0
    """
    mesh = mesh or sharding.make_mesh(options.fsdp)
    _check(options, mesh)
    writers.check(log)
    workdir = epath.Path(workdir)
    base_key = jax.random.key(options.seed)
    init_key, train_key = jax.random.split(base_key)

    one_step = train_step(method, preprocess)
    abstract = jax.eval_shape(method.init, init_key, example)
    backend = backends.make(options.backend, one_step, train_key, feed, abstract, mesh, options.fsdp_min_size)
    target = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, backend.layout
    )

    with Checkpointer(workdir / "checkpoints", keep=options.keep_checkpoints) as checkpoints:
        restored = checkpoints.restore_latest(target)
        if restored is None:
            first = method.init(init_key, example)
            state, start = sharding.place(first if initial is None else initial(first), backend.layout), 0
            extra: dict[str, Any] = {}
        else:
            state, extra, start = restored
        with writers.open_writers(workdir, start, log, hparams) as writer, Preemption() as preemption:
            run = _Run(options, backend, checkpoints, writer, extra, start, progress, on_save)
            return run.loop(state, feed, hooks, preemption)


def train_step(method: Method, preprocess: Callable[[Key, Batch], Batch]) -> backends.Step:
    """What is compiled: an update from a batch as loaded, arrays of shape [B,...].

    Its randomness is a function of the key and the step.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from genjax.train import fit
        >>> from genjax.typing import Method, TrainState
        >>> def update(key, state, batch):
        ...     return state.replace(step=state.step + 1), {"loss": batch["image"].mean()}
        >>> method = Method(init=None, step=update, evaluate=None, sample=None)
        >>> step = fit.train_step(method, lambda key, batch: {"image": batch["image"] / 255})
        >>> state = TrainState(step=jnp.array(0), params={}, opt=())
        >>> state, metrics = step(jax.random.key(0), state, {"image": jnp.full((2, 4, 4, 1), 51)})
        >>> int(state.step), round(float(metrics["loss"]), 3)
        (1, 0.2)
    """

    def step(key: Key, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        data_key, step_key = jax.random.split(jax.random.fold_in(key, state.step))
        return method.step(step_key, state, preprocess(data_key, batch))

    return step


class _Run:
    """The mutable side of a run: what is under way, what is not yet logged."""

    def __init__(
        self,
        options: FitOptions,
        backend: backends.Backend,
        checkpoints: Checkpointer,
        writer: logging.Writer,
        extra: Mapping[str, Any],
        start: int,
        progress: bool | None,
        on_save: Callable[[Times], None],
    ):
        self.options, self.backend, self.checkpoints, self.writer = options, backend, checkpoints, writer
        self.on_save = on_save
        # Metrics of the steps since the last line of the log.
        self.pending: list[dict[str, float]] = extra.get("pending", [])
        self.watch = Stopwatch(start, extra.get("times"))  # which checkpoints of older versions don't have
        self.under_way: deque[tuple[int, dict[str, Any]]] = deque()
        self.start = start
        silent = None if jax.process_index() == 0 else io.StringIO()
        self.bar = progress_of(options.steps, start, options.batch_size, show=progress, stream=silent)

    def loop(self, state: TrainState, feed: Feed, hooks: Sequence[Hook], preemption: Preemption) -> Fitted:
        options, step, preempted = self.options, self.start, False
        due = [options.log_every, options.checkpoint_every, *(h.every for h in hooks), options.steps, step]
        stride = backends.steps_per_dispatch(due, options.steps_per_dispatch)
        running = self.backend.spread(state)

        with self.bar, feed.items(step) as items:
            while step < options.steps and not preempted:
                item = self.backend.put(stack([next(items) for _ in range(stride)]))
                if self.backend.advance.compiled is None:
                    self.compile(running, item)
                running, metrics = self.backend.advance(running, self.backend.constants, item)
                self.under_way.append((step, metrics))
                step += stride
                self.collect(_DISPATCHES_AHEAD)
                preempted = preemption.requested(step)
                last = step >= options.steps

                if step % options.log_every == 0 or last:
                    self.collect(0)
                    self.watch.lap(step)
                    self.log(step, self.watch.rate * options.batch_size)
                due_hooks = [h for h in hooks if last or (h.every and step % h.every == 0)]
                saves = last or preempted or step % options.checkpoint_every == 0
                if due_hooks or saves:
                    self.collect(0)
                    with self.watch.paused():
                        state = self.backend.portable(running)
                        self.check_parameters(step, state)
                        for hook in due_hooks:
                            hook.run(step, state, self.writer)
                if saves:
                    self.save(step, state)
        self.checkpoints.wait()
        signal = preemption.signal if preempted else None
        times = self.watch.times
        return Fitted(state, step, preempted, step - self.start, times, signal)

    def compile(self, running: TrainState, item: Any) -> None:
        """Compiles the train step ahead of its first call, so that no step's time has it in it."""
        with self.watch.paused(), self.bar.busy("compiling the train step"):
            self.backend.advance.compile(running, self.backend.constants, item)
        self.watch.compile_seconds += self.backend.advance.compile_seconds

    def collect(self, leave: int) -> None:
        """Fetches the metrics of all dispatches but the newest `leave`, and checks them."""
        while len(self.under_way) > leave:
            first, metrics = self.under_way.popleft()
            values = backends.as_float(metrics)
            names = sorted(values, key=lambda name: (name != "loss", name))
            count = len(values[names[0]])
            for i in range(count):
                row = _present({name: float(values[name][i]) for name in names})
                for name, value in row.items():
                    if not math.isfinite(value):
                        rest = ", ".join(f"{k}={v:.6g}" for k, v in row.items())
                        raise NonFiniteError(self.explain(first + i + 1, f"{name} is {value} ({rest})"))
                self.pending.append(row)
            self.bar.advance(count, **{name: self.pending[-1][name] for name in names[:1]})

    def check_parameters(self, step: int, state: TrainState) -> None:
        """Raises NonFiniteError for parameters that the last update spoilt: metrics are of before the update."""
        bad = finite.bad_parameters(state)
        if bad:
            verb = "is" if len(bad) == 1 else "are"
            raise NonFiniteError(self.explain(step, f"{finite.in_words(bad)} {verb} not finite"))

    def explain(self, step: int, what: str) -> str:
        self.checkpoints.wait()  # one may be under way, of a step that was still fine
        steps = self.checkpoints.steps()
        return (
            f"training stopped at step {step}: {what}. "
            + (
                f"The latest checkpoint is of step {steps[-1]}, untouched. "
                if steps
                else "There is no checkpoint yet. "
            )
            + "Usual remedies: a lower learning rate, gradient clipping, longer warm-up, float32 instead of bfloat16."
        )

    def log(self, step: int, images_per_second: float) -> None:
        """Writes the mean of each metric since the last line, over the steps that have a value of it."""
        values: dict[str, list[float]] = {}
        for row in self.pending:
            for name, value in row.items():
                values.setdefault(name, []).append(value)
        means = {f"train/{name}": math.fsum(found) / len(found) for name, found in values.items()}
        self.writer.write_scalars(step, means)
        self.writer.write_scalars(step, {logging.TIMING + "images_per_second": images_per_second})
        self.pending = []

    def save(self, step: int, state: TrainState) -> None:
        """Starts a checkpoint; every step up to it was checked to be finite, and its metrics are on disk."""
        self.watch.lap(step)
        with self.watch.paused():
            self.writer.flush()
            self.on_save(self.watch.times)
            extra = {"pending": self.pending, "times": self.watch.saved()}
            self.checkpoints.save(step, state, extra)


def _present(row: dict[str, float]) -> dict[str, float]:
    """The metrics of a step that have a value."""
    missing = {
        f"{name.removeprefix(PRESENT)}/" for name, x in row.items() if name.startswith(PRESENT) and not x
    }
    return {name: x for name, x in row.items() if not name.startswith((PRESENT, *missing))}


def _check(options: FitOptions, mesh: Mesh) -> None:
    for name in ("steps", "log_every", "checkpoint_every", "keep_checkpoints"):
        if getattr(options, name) < 1:
            raise UserError(f"{name}={getattr(options, name)} must be at least 1")
    sharding.check_batch_size(options.batch_size, mesh)
    if options.batch_size % jax.process_count():
        raise UserError(f"batch_size={options.batch_size} must be a multiple of the number of processes")
