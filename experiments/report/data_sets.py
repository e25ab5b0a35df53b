"""What a run was trained on, in words."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from genjax.data import fields

_NAMES_SHOWN = 40


def described(stored: Mapping[str, Any]) -> str:
    """The content of data.json, such as "folder:~/flowers; 594 training and 66 test images; 32x32x3; 6 classes:
    petunia, rose, ..."; "" where it says nothing of a data set."""
    try:
        info = fields.from_json(stored)
        size = "x".join(map(str, info.image_shape))
    except (KeyError, TypeError, AttributeError, ValueError):
        return ""
    counts = [
        f"{stored[f'{split}_records']:,} {name}"
        for split, name in (("train", "training"), ("test", "test"))
        if isinstance(stored.get(f"{split}_records"), int)
    ]
    parts = [at_home(info.name), *([f"{' and '.join(counts)} images"] if counts else []), size]
    if info.num_classes is not None:
        names = list(info.class_names)
        listed = f": {', '.join(_bounded(names))}" if names != [str(i) for i in range(len(names))] else ""
        parts.append(f"{info.num_classes:,} {'class' if info.num_classes == 1 else 'classes'}{listed}")
    return "; ".join(parts)


def at_home(name: str) -> str:
    """A name of a data set whose path may lie in the home folder, which becomes "~"."""
    try:
        home = str(pathlib.Path.home())
    except RuntimeError:
        return name
    prefix, colon, path = name.rpartition(":")
    inside = home != "/" and (path == home or path.startswith(f"{home}/"))
    return f"{prefix}{colon}~{path.removeprefix(home)}" if inside else name


def _bounded(names: Sequence[str]) -> list[str]:
    return [*names] if len(names) <= _NAMES_SHOWN else [*names[:_NAMES_SHOWN], "..."]
