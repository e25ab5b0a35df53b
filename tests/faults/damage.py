"""Damaged files of a run, which the commands then meet."""

import json
import os
import shutil

from tests.faults import families
from tests.faults.families import STEPS
from tests.faults.world import Kind, Wrong, check_message, check_words, content, last_line

_JSON = (
    "config.json",
    "manifest.json",
    "data.json",
    "metrics.json",
    "timing.json",
    "origins.json",
    "sweep.json",
)
_OF_REPORT = ("study.json", "claims.json")
_PICTURES = ("samples.png", f"samples/{STEPS:08d}.png", "sweep/00002.png")
_FOLDERS = ("samples", "tensorboard", "checkpoints", "sweep", f"checkpoints/{STEPS:08d}")
_OTHERS = ("metrics.jsonl", "parameters.txt", f"checkpoints/{STEPS:08d}/SHA256SUMS")
_VERBS = ("train", "evaluate", "sample", "report")

_TEXTS = {
    "empty": b"",
    "[]": b"[]",
    "{}": b"{}",
    "null": b"null",
    "NUL": b"\0" * 64,
    "[1]": b"[1]\n",
    "another object": b'{"step": "x", "num_steps": [], "runs": 3}\n',
    "a list of objects": b'[{"num_steps": {}}, {"num_steps": null}]',
    "deep": b"[" * 100_000,
    "UTF-16": '{"step": 40}'.encode("utf-16"),
    "Infinity": b'{"step": Infinity}\n',
}
"""What takes the place of the whole content."""
_VALUES = (None, "x", "", -1, 0, 2.5, 1e308, 10**30, True, [], {}, [None], {"x": None})
"""What takes the place of one value in a JSON file."""


def _damage(draw, path):
    """Damages a file, which may be missing; says how."""
    whole = path.read_bytes() if path.is_file() else b'{"a": [1, 2.5, "x"]}'
    path.parent.mkdir(exist_ok=True)
    name = draw.choice([*_TEXTS, *["truncated", "flipped", "BOM"] * 2, *["value"] * 10, *_SPECIAL])
    if path.suffix not in (".json", ".jsonl") and name in ("value", "BOM"):
        name = "flipped"
    if name in _SPECIAL:
        _remove(path)
        _SPECIAL[name](path, whole)
        return name
    place = draw.randrange(len(whole))
    if name == "value":
        content, name = _with_another_value(draw, whole)
    else:
        content = _TEXTS.get(name)
        if name == "truncated":
            content, name = whole[:place], f"truncated at {place} of {len(whole)}"
        elif name == "flipped":
            flipped = bytes([whole[place] ^ 1 << draw.randrange(8)])
            content, name = whole[:place] + flipped + whole[place + 1 :], f"a bit of byte {place} flipped"
        elif name == "BOM":
            content = b"\xef\xbb\xbf" + whole
    path.write_bytes(content)
    return name


def _with_another_value(draw, whole):
    """A JSON file, or the first line of one of lines, with another value at a random place."""
    first, newline, rest = whole.partition(b"\n") if whole.startswith(b'{"step"') else (whole, b"", b"")
    tree = json.loads(first)
    places = list(_places(tree))
    holder, key = draw.choice(places)
    before, holder[key] = holder[key], draw.choice(_VALUES)
    told = json.dumps(before)
    told = told if len(told) < 40 else f"{told[:36]} ..."
    return json.dumps(tree).encode() + newline + rest, f"{key}: {json.dumps(holder[key])} for {told}"


def _places(tree):
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _unreadable(path, whole):
    path.write_bytes(whole)
    path.chmod(0)


_SPECIAL = {
    "a folder": lambda path, whole: path.mkdir(),
    "a pipe": lambda path, whole: os.mkfifo(path),
    "unreadable": _unreadable,
    "input/output error": lambda path, whole: path.symlink_to("/proc/self/mem"),
    "a link to itself": lambda path, whole: path.symlink_to(path.name),
}
_FOR_FOLDERS = {
    "a file": lambda path, whole: path.write_bytes(b"x"),
    "empty": lambda path, whole: path.mkdir(),
    "a pipe": _SPECIAL["a pipe"],
    "unreadable": lambda path, whole: (path.mkdir(), path.chmod(0)),
    "a link to itself": _SPECIAL["a link to itself"],
}


def _foreign(draw, folder):
    """Puts a file or folder of somebody else into a folder; says which."""
    name = draw.choice(
        ["best.png", "notes.txt", ".DS_Store", "00000040 (copy).png", "x" * 200, "folder.png", "٣.png"]
    )
    if name == "folder.png":
        (folder / name).mkdir()
    else:
        (folder / name).write_bytes(b"mine")
    return f"{name[:20]!r} in it"


def _base(world, name):
    """A copy of a run that has the file; and more options of its training."""
    more = ()
    if name == "origins.json":
        more = ("--init-from", str(world.references.run(world.family)))
    shutil.copytree(world.references.run(world.family, *more), world.workdir)
    if name.startswith("sweep") and world.family == "diffusion":
        code, said = world.driver.run("evaluate", "--workdir", world.workdir, "--num", "20", "--sweep", "2")
        if code:
            raise Wrong(f"without a fault: {said}")
    return more


def _meets(world, name, damaged, verb, more, sure):
    """Runs a command on a damaged run, and checks what came of it.

    Args:
        name: of the damaged file or folder.
        damaged: how.
        verb: the command.
        more: options of its training.
        sure: whether the run is the same but for this file: numbers are compared.
    """
    before = content(world.workdir)
    out = world.folder / ("out.png" if verb == "sample" else "out.html")
    score = [
        "--workdir",
        world.workdir,
        "--num",
        "20",
        *(["--sweep", "2", "3"] if name.startswith("sweep") and world.family == "diffusion" else []),
    ]
    arguments = {
        "train": families.arguments(world.family, world.workdir, *more),
        "evaluate": score,
        "sample": ["--workdir", world.workdir, "--num", "4", "--out", out],
        "report": [world.workdir, "--out", out],
    }[verb]
    code, said = world.driver.run(verb, *arguments)
    check_words(said)
    if code:
        # A config that says something else is one of another run: the message names the folder.
        broad = verb == "train" or name in ("checkpoints", "config.json", "data.json")
        check_message(code, said, name, *([world.workdir] if broad else []))
    _check_others(world.workdir, before, name, verb, code)
    if not code and verb == "train" and sure:
        found = world.references.differences(world.driver, world.workdir, world.family, *more)
        found = [text for text in found if not text.startswith(name)]
        if found:
            raise Wrong(f"it goes on and ends elsewhere: {found}")
    return f"{name}: {damaged}; {verb}: code {code} {last_line(said) if code or 'WARNING' in said else ''}"


_WRITTEN = {
    "train": (
        *("metrics.json", "timing.json", "manifest.json", "tensorboard/", "samples.png", "parameters.txt"),
        *("metrics.jsonl", f"samples/{STEPS:08d}.png", "data.json", "origins.json"),
    ),
    "evaluate": ("metrics.json", "sweep.json", "sweep/"),
    "sample": (),
    "report": (),
}
_ALWAYS_WRITTEN = ("manifest.json", "tensorboard/", "parameters.txt", "timing.json")
"""By a training that then fails."""


def _check_others(workdir, before, name, verb, code):
    """Raises `Wrong` if a file that was intact is another one now."""
    after = content(workdir)
    # A checkpoint that is damaged anywhere is written again as a whole.
    whole = f"checkpoints/{STEPS:08d}" if name.startswith("checkpoints/") and verb == "train" else name
    may = _WRITTEN[verb] if not code else (_ALWAYS_WRITTEN if verb == "train" else ())
    changed = [
        path
        for path in before | after
        if before.get(path) != after.get(path)
        and not path.startswith((whole, *may))
        and ".unusable" not in path
        and not (verb == "train" and path.startswith("checkpoints/") and path not in before)
    ]
    if changed:
        raise Wrong(f"{verb} of a run of which {name} is damaged (code {code}) changed {changed}")


def _cut(workdir):
    """Takes the end of a run away, so that its training goes on."""
    for path in (workdir / "checkpoints" / f"{STEPS:08d}", workdir / "metrics.json"):
        _remove(path)


def _one(world, name, verb):
    more = _base(world, name)
    if verb == "train" and not name.startswith("checkpoints/") and world.draw.random() < 0.7:
        _cut(world.workdir)
    damaged = _damage(world.draw, world.workdir / name)
    return _meets(world, name, damaged, verb, more, "for" not in damaged)


def _json(world):
    return _one(world, world.draw.choice(_JSON), world.draw.choice(_VERBS))


def _report_json(world):
    return _one(world, world.draw.choice([*_OF_REPORT, *_JSON]), "report")


def _lines(world):
    return _one(world, "metrics.jsonl", world.draw.choice(["train", "report"]))


def _pictures(world):
    return _one(world, world.draw.choice(_PICTURES), world.draw.choice(["train", "report"]))


def _others(world):
    return _one(world, world.draw.choice(_OTHERS), world.draw.choice(_VERBS))


def _checkpoint(world):
    """One file of the newest checkpoint: older ones take its place."""
    folder = world.references.run(world.family) / "checkpoints" / f"{STEPS:08d}"
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    name = world.draw.choice(names)
    return _one(world, f"checkpoints/{STEPS:08d}/{name}", world.draw.choice(["train", "evaluate", "sample"]))


def _folders(world):
    name, verb = world.draw.choice(_FOLDERS), world.draw.choice(_VERBS)
    more, path = _base(world, name), world.workdir / name
    kinds = [*_FOR_FOLDERS, "foreign", "foreign"]
    damaged = world.draw.choice(kinds)
    if verb == "train" and name in ("samples", "tensorboard"):
        _cut(world.workdir)
    if damaged == "foreign":
        path.mkdir(exist_ok=True)
        damaged = _foreign(world.draw, path)
    else:
        if path.exists():
            shutil.rmtree(path)
        _FOR_FOLDERS[damaged](path, b"")
    return _meets(world, name, damaged, verb, more, name != "checkpoints")


KINDS = [
    Kind("damage", "JSON files", _json, 12),
    Kind("damage", "files of a report", _report_json, 4),
    Kind("damage", "metrics.jsonl", _lines, 3),
    Kind("damage", "pictures", _pictures, 3),
    Kind("damage", "other files", _others, 3),
    Kind("damage", "a checkpoint", _checkpoint, 5),
    Kind("damage", "folders", _folders, 6),
]
