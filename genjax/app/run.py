"""A trained run as an object: ``genjax.load("runs/digits")``."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.typing import ArrayLike

from genjax import data
from genjax.app import build, checks, kinds, restore, run_data, scoring
from genjax.app.config import Config, SamplingOverrides
from genjax.app.labels import class_numbers
from genjax.conditions import select
from genjax.methods.averages import averaged
from genjax.methods.latent_space import LatentSpace
from genjax.train.finite import check_images
from genjax.train.generate import generator
from genjax.typing import Method, PyTree, UserError


def load(workdir: str | pathlib.Path | epath.Path, step: int | None = None) -> "TrainedRun":
    """A trained run, on the devices of this machine, whatever it was trained on.

    For instance::

        run = genjax.load("runs/digits")
        images = run.sample(16, seed=0, label="3", guidance=2.0)

    Args:
        workdir: the folder of the run; nothing in it is changed.
        step: step of the checkpoint; None: the latest.

    Raises:
        UserError: there is no run, or no such checkpoint.

    Example:
        >>> import genjax
        >>> genjax.load("runs/none")
        Traceback (most recent call last):
        genjax.typing.UserError: workdir='runs/none' holds no run: config.json is missing
    """
    directory = epath.Path(workdir).expanduser()
    return TrainedRun(directory, restore.restore(directory, SamplingOverrides(), step=step))


class TrainedRun:
    """What a trained model can do. Images are uint8[N,H,W,C], levels 0..255.

    For instance, with a variational autoencoder::

        run = genjax.load("runs/vae")
        images = run.sample(16, seed=0, temperature=0.8)
        codes = run.encode(images)  # float32[16, D]
        again = run.decode(codes)  # the expected images of these codes

    Attributes:
        workdir: the folder of the run.
        step: step of the checkpoint.
    """

    def __init__(self, workdir: epath.Path, run: restore.Run):
        self.workdir, self._run = workdir, run
        self.step = run.step
        self._made: dict[Hashable, Any] = {}

    def __repr__(self) -> str:
        model, method = (kinds.name(part, getattr(self.config, part)) for part in kinds.TABLES)
        return f"TrainedRun({str(self.workdir)!r}, step={self.step}, model={model!r}, method={method!r})"

    @property
    def config(self) -> Config:
        """The config of the experiment."""
        return self._run.config

    @property
    def method(self) -> Method:
        """The four functions, see `genjax.typing.Method`."""
        return self._run.method

    @property
    def state(self) -> Any:
        """The whole `genjax.typing.TrainState`."""
        return self._run.state

    @property
    def params(self) -> PyTree:
        """The averaged parameters, with which images are made."""
        return averaged(self._run.state)

    @functools.cached_property
    def network(self) -> Any:
        """What the config's network is to its method: a module, or several; see `genjax.models.kind.ROLES`."""
        context = self._run.context
        return kinds.method(self.config).network(context)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, by their numbers; empty where classes have none."""
        return self._run.info.class_names

    def sample(
        self,
        num: int = 1,
        seed: int = 0,
        *,
        first: int = 0,
        sampler: str | None = None,
        grid: str | None = None,
        num_steps: int | None = None,
        eta: float | None = None,
        guidance: float | None = None,
        temperature: float | None = None,
        **condition: Any,
    ) -> np.ndarray:
        """Makes images. Image i of a seed is the same, up to rounding, whatever else is made with it.

        Args:
            num: number of images.
            seed: seed of everything random.
            first: number of the first image.
            sampler, grid, num_steps, eta, guidance, temperature: as in ``config.sampling``; None: as there.
            condition: what the images are to be, by name: one value for all of them, or one for each. Classes are given
                by number or by name (``label="rose"``, ``label=[3, 5]``). Without a label, images of all classes are
                made in turn; ``label=None``: images of no class, by a model that has learned to do without.

        Returns:
            uint8[num,H,W,C].

        Raises:
            UserError: the model does not know such a condition or option, or a value is not valid.
        """
        overrides = SamplingOverrides(
            sampler=sampler,
            grid=grid,
            num_steps=num_steps,
            eta=eta,
            guidance=guidance,
            temperature=temperature,
        )
        run = self._with(overrides)
        numbers = np.arange(first, first + num)
        fields = run.context.conditions
        translated = {name: run.info.fields[name] for name in kinds.method(self.config).translates}
        unknown = sorted(condition.keys() - fields.keys() - translated.keys())
        if unknown:
            valid = ", ".join([*fields, *translated]) or "none"
            raise UserError(
                f"{unknown[0]}={condition[unknown[0]]!r}: the conditions of this model are {valid}"
            )
        given = {
            name: _each(value, {**fields, **translated}[name], num, name)
            for name, value in condition.items()
            if value is not None
        }
        label = fields.get("label")
        if label is not None and "label" not in condition:
            given["label"] = numbers.astype(np.int32) % (label.num_classes or 1)
        missing = sorted(fields.keys() - given.keys() - condition.keys())
        if translated and not given.keys() & translated.keys():
            missing += list(translated)[:1]
        if missing:
            raise UserError(f"{missing[0]} is missing: the model needs an array of it, one entry an image")
        told = build.condition(run.config, given.pop("label", None), num) | given
        size = min(run.config.sampling.batch_size, num)
        # Scales are arrays, and compile nothing.
        constants = dataclasses.replace(run.config.sampling, guidance=1.0, temperature=1.0)
        generate = self._once(
            ("sample", constants, frozenset(told), size), lambda: generator(run.method, run.mesh, size)
        )
        return scoring.whole(generate(run.state, jax.random.key(seed), told, range(first, first + num)))

    def evaluate(
        self,
        num: int = 1000,
        *,
        seed: int = 0,
        dataset: str | None = None,
        source: str | None = None,
        data_dir: str | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Scores the run on its data, as ``python -m experiments.evaluate`` does, without writing anything.

        Args:
            num: number of images to make and to compare.
            seed: seed of the images.
            dataset, source, data_dir: where the data lies, if elsewhere than at training time; see
                `genjax.app.run_data.Places`.
            options: see `genjax.app.scoring.results`, as ``metrics`` and ``extractor``.

        Returns:
            The results by name, as in ``metrics.json``.

        Raises:
            UserError: the data is not there, or it is other data than the run was trained on.
        """
        places = run_data.Places(dataset, source, data_dir)
        train, test = run_data.sources(self.workdir, self.config.data, places)
        return scoring.results(self._run, train, test, num=num, seed=seed, **options)

    def encode(self, images: ArrayLike, **condition: Any) -> np.ndarray:
        """The codes of uint8[N,H,W,C] images (or float in [-1, 1]): float32[N,D], or their means.

        Raises:
            UserError: the model has no encoder, or no single code for an image.
        """
        space = self._space("encode")
        array = jnp.asarray(images)
        batch = {"image": data.to_float(array) if array.dtype == jnp.uint8 else array}
        batch |= self._told(condition, len(array)) | {"_index": jnp.arange(len(array))}
        encode = self._once("encode", lambda: jax.jit(space.encode))  # type: ignore[arg-type]
        return np.asarray(encode(self._run.state, batch))

    def decode(self, codes: ArrayLike, **condition: Any) -> np.ndarray:
        """The images of codes float[N,D]: uint8[N,H,W,C].

        Raises:
            UserError: the model has no encoder, or no single code for an image.
        """
        space, z = self._space("decode"), jnp.asarray(codes)
        told = self._told(condition, len(z))
        decode = self._once("decode", lambda: jax.jit(space.decode))  # type: ignore[arg-type]
        images = decode(self._run.state, z, told)
        check_images(np.asarray(images))
        return np.asarray(data.to_uint8(images))

    def _once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` gave when it was first asked for under `key`: so nothing is built or compiled twice."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _with(self, overrides: SamplingOverrides) -> restore.Run:
        config = dataclasses.replace(self.config, sampling=overrides.apply(self.config.sampling))
        if config == self.config:
            return self._run
        checks.check(config)
        return self._once(config.sampling, lambda: self._run.with_config(config))

    def _space(self, function: str) -> LatentSpace:
        make = kinds.method(self.config).latent_space
        space = None if make is None else make(self._run.context)
        if space is None or getattr(space, function) is None:
            raise UserError(f"{function}: {self!r} has no code for an image")
        return space

    def _told(self, condition: Mapping[str, Any], num: int) -> dict[str, Any]:
        fields = self._run.context.conditions
        given = {
            name: jnp.asarray(_each(value, fields[name], num, name)) for name, value in condition.items()
        }
        return dict(select(given, fields))


def _each(value: Any, field: data.Field, num: int, name: str) -> np.ndarray:
    """A condition of `num` images, from one value for all of them or one for each."""
    if field.num_classes is not None and not field.shape:
        many = isinstance(value, list | tuple | np.ndarray | jax.Array) and np.ndim(value) == 1
        array = class_numbers(value if many else [value], field)
        array = array if many else np.repeat(array, num)
    else:
        array = np.asarray(value)
        array = np.asarray(data.to_float(jnp.asarray(array))) if array.dtype == np.uint8 else array
        array = np.broadcast_to(array, (num, *field.shape)) if array.shape == field.shape else array
    if len(array) != num or array.shape[1:] != field.shape:
        raise UserError(f"{name} has the shape {list(array.shape)}: valid is {[num, *field.shape]}")
    return array
