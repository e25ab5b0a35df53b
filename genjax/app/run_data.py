"""The data of a trained run, where it lies now: it is read again if it is the data that the run was trained on."""

import dataclasses
import logging
import os
from collections.abc import Sequence
from typing import NamedTuple

from etils import epath

from genjax import data
from genjax.app import build, data_facts, workdir
from genjax.app.config import DataConfig
from genjax.data import confirmed, fields, names
from genjax.typing import UserError

_log = logging.getLogger(__name__)


class Places(NamedTuple):
    """Where the data of a run lies, if elsewhere than at training time.

    Attributes:
        dataset: name of the data set, as for training; None: as the config of the run says.
        source: the same of the images to translate.
        data_dir: folder of TFDS data sets. It is remembered as a folder that the user has given, see
            `genjax.data.confirmed`.
    """

    dataset: str | None = None
    source: str | None = None
    data_dir: str | None = None


TRAINED = Places()
"""Where it was at training time."""


def sources(
    directory: epath.Path,
    config: DataConfig,
    places: Places = TRAINED,
    roles: Sequence[str] = data_facts.ROLES,
) -> list[data.Source]:
    """The splits of a run, checked against what its data.json says of them.

    Args:
        directory: the workdir of the run.
        config: ``config.data`` of the run.
        places: where the data lies now.
        roles: of "train" and "test", those that are read.

    Raises:
        UserError: there is no such data, or it is other data than the run's; a source for a run that translates
            nothing.
    """
    confirmed.confirm(places.data_dir)
    where = _where(config, places)
    splits = data_facts.splits(config, roles)
    try:
        opened = {role: build.source(where, split) for role, split in splits.items()}
    except UserError as error:
        gone = _gone(where)
        if gone is None:
            raise
        raise UserError(f"{error}. If the data of the run has moved, {gone} says where it is") from error
    before = workdir.load_facts(directory)
    now = {name: value for role, source in opened.items() for name, value in _facts(role, source).items()}
    known = data_facts.has_digests(before, roles)
    names_of = ["fields", *([] if known else [f"{role}_records" for role in roles])]
    lines = [*data_facts.of_contents(before, now, splits), *data_facts.of_numbers(before, now, names_of)]
    if lines:
        raise UserError(
            f"workdir={str(directory)!r}: the run was trained on other data than {where.dataset!r}:\n"
            + "".join(f"  {line}\n" for line in lines)
            + "Give the place of its own data by --dataset, --source and --data-dir (in Python: dataset=...). "
            "experiments.evaluate --reference FOLDER scores the run against other images."
        )
    if not known and names.parse(where.dataset).kind != "bundled":
        _log.warning(
            "%s was trained by an older version, which wrote no digest of its data: only the number of records, "
            "classes and shapes are compared",
            directory,
        )
    return list(opened.values())


def _facts(role: str, source: data.Source) -> dict[str, object]:
    return {**fields.to_json(source.info), **data_facts.of_split(role, source)}


def _where(config: DataConfig, places: Places) -> DataConfig:
    if places.source is not None and config.source is None:
        raise UserError(f"source={places.source!r}: the run translates no images")
    given = {name: value for name, value in places._asdict().items() if value is not None}
    own = f":{config.dataset}"
    if places.source is None and places.dataset and config.source and config.source.endswith(own):
        # As in "edges:mnist": made from the data set itself.
        given["source"] = f"{config.source.removesuffix(own)}:{places.dataset}"
    return dataclasses.replace(config, **given)


def _gone(where: DataConfig) -> str | None:
    """The option that says where data is, of which there is nothing where it should be."""
    for name, option in ((where.dataset, "--dataset"), (where.source, "--source")):
        found = names.parse(name or "")
        if found.is_path and not os.path.exists(os.path.expanduser(found.rest)):
            return option
    return None
