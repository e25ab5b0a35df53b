"""What data a training found, in one line: records, classes, sizes, and what was left out."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from genjax.data import DataInfo, Ignored, Source, ignored
from genjax.data.source import labels_of

_NAMES_SHOWN = 2


def data_found(train: Source, test: Source) -> str:
    """Such as "594 training and 66 test images, 6 classes (petunia, rose, ...), 32x32x3; 5 files ignored (3 .heic, 2
    .txt)"."""
    parts = [f"{len(train):,} training and {len(test):,} test images", *_described(train.info)]
    skipped = len(train.skipped) + len(test.skipped)
    bad = f"{skipped:,} bad {'record' if skipped == 1 else 'records'} skipped" if skipped else ""
    left = str(_left_out(ignored(train), ignored(test)))
    return "; ".join(part for part in (", ".join(parts), _never_seen(train), left, bad) if part)


def _never_seen(train: Source) -> str:
    """Classes without a training image, as class 0 is where labels begin at 1: what a model makes of them is noise."""
    labels, count = labels_of(train), train.info.num_classes
    if labels is None or count is None:
        return ""
    names = train.info.class_names or [str(i) for i in range(count)]
    missing = [names[i] for i in np.setdiff1d(np.arange(count), labels)]
    if len(missing) == 1:
        return f"no training image of class {missing[0]}"
    shown = ", ".join([*missing[:_NAMES_SHOWN], *["..."] * (len(missing) > _NAMES_SHOWN)])
    return f"no training image of {len(missing):,} classes ({shown})" if missing else ""


def _left_out(train: Ignored, test: Ignored) -> Ignored:
    """What both splits left out. Each split of a folder counts all that is ignored in the folder."""
    once = dataclasses.replace(train, animated=train.animated + test.animated)
    alike = once == dataclasses.replace(test, animated=once.animated)
    return once if alike else train | test


def _described(info: DataInfo) -> list[str]:
    classes = []
    if info.num_classes is not None:
        classes = [class_list(info.num_classes, info.class_names)]
    source = info.fields.get("source")
    translated = [f"made from {_size(source.shape)}"] if source is not None else []
    return [*classes, _size(info.image_shape), *translated]


def class_list(num_classes: int, names: Sequence[str]) -> str:
    """Such as "6 classes (petunia, rose, ...)"; names that are the numbers of the classes are left out."""
    count = f"{num_classes:,} {'class' if num_classes == 1 else 'classes'}"
    if not names or list(names) == [str(i) for i in range(num_classes)]:
        return count
    all_of_them = len(names) <= _NAMES_SHOWN + 1
    shown = [*names] if all_of_them else [*names[:_NAMES_SHOWN], "..."]
    return f"{count} ({', '.join(shown)})"


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
