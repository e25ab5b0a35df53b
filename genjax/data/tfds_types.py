"""Which Python types a TFDS data set may name: TFDS's own features, and nothing else.

``features.json`` of a prepared data set names a class for every feature, and TFDS imports whatever module it names.
Data that somebody sent could run code in this way, from a file beside it or from any installed package. Here, names
are looked up among the classes that TFDS itself brings, and nothing is imported.
"""

import contextlib
import re
import threading
from collections.abc import Iterator
from typing import Any

from genjax.typing import UserError

_OWN = "tensorflow_datasets."
_NAME = re.compile(r"[^:/=,\s]+(/[\w+\-.]+)?(:[\d.*]+)?")
_lock = threading.RLock()


def check_name(name: str) -> None:
    """Checks that a name is of a data set, and says nothing else: no community whose code would be run, no arguments.

    Raises:
        UserError: it is another name.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise UserError(
            f"dataset={name!r}: valid are NAME, NAME/CONFIG and NAME:VERSION of TFDS. Arguments in a name are not "
            "taken, nor data sets of a community (NAMESPACE:NAME), which run code that TFDS downloads"
        )


@contextlib.contextmanager
def own_types(name: str) -> Iterator[None]:
    """While a data set is opened, TFDS finds its own feature types and imports no module for others.

    Args:
        name: name of the data set, for the message.

    Raises:
        UserError: the data set names another type.
    """
    import tensorflow_datasets as tfds

    base: Any = tfds.features.FeatureConnector
    # By its key: a TFDS that has no such function would import behind our back.
    original = base.__dict__["cls_from_name"]

    def cls_from_name(cls: Any, python_class_name: str) -> Any:
        known = base._registered_features
        found = known.get(python_class_name) if str(python_class_name).startswith(_OWN) else None
        # A class of somebody else may call itself so, by its module or by an alias.
        if found is None or not found.__module__.startswith(_OWN):
            raise ForeignTypeError(
                f"dataset={name!r}: its features.json names the type {python_class_name!r}, which is none of TFDS's "
                "own; its module is not imported. Valid are the types of tensorflow_datasets.core.features"
            )
        return found

    with _lock:
        base.cls_from_name = classmethod(cls_from_name)
        try:
            yield
        finally:
            base.cls_from_name = original


class ForeignTypeError(UserError):
    """A data set names a type that is none of TFDS's own."""
