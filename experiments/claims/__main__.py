"""Quantitative claims of surveys, with our numbers beside them: ``python -m experiments.claims [--only NAME]...``.

Prints a table and, as its last line, the findings as JSON, which ``--out`` writes to a file as well. Everything runs on
bundled digits and drawn shapes; what takes long is read from finished runs, and is "not tested" without them.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro
from etils import epath

from experiments import cli
from experiments.claims import claim
from experiments.claims.claim import Finding, Place
from experiments.claims.registry import CLAIMS
from genjax.app import workdir
from genjax.typing import UserError


@dataclasses.dataclass(frozen=True)
class Claims:
    """Test what surveys claim.

    Attributes:
        out: A JSON file for the findings. Without it, the findings are only printed.
        only: Names of the claims to test. Without it: all claims. Valid are {CLAIMS}.
        runs: A folder of workdirs. Finished runs in it are read. Missing runs that are cheap are trained there.
        data_dir: Folder of TFDS data sets. Without it: the folder of each run's training.
    """

    out: str | None = None
    only: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    runs: str = "runs/claims"
    data_dir: str | None = None


assert Claims.__doc__ is not None
Claims.__doc__ = Claims.__doc__.replace("{CLAIMS}", ", ".join(CLAIMS))


def main() -> None:
    """Reads the command line, tests and prints; exit code 1 if an error kept a claim from being tested."""
    # Claims train in processes of their own: nobody is to take all memory of an accelerator at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if not test(tyro.cli(Claims, prog="python -m experiments.claims", description=__doc__)):
        sys.exit(1)


def test(options: Claims) -> bool:
    """Tests claims one after the other; the file is written after each. Whether all went without an error.

    Raises:
        UserError: there is no such claim, or `runs` is a file.
    """
    if unknown := [name for name in options.only if name not in CLAIMS]:
        raise UserError(f"only={unknown[0]!r}: valid are {', '.join(CLAIMS)}")
    place = Place(epath.Path(options.runs).expanduser(), options.data_dir)
    if place.runs.exists() and not place.runs.is_dir():
        raise UserError(f"runs={options.runs!r} is a file; it must be a folder, which may be missing")
    findings: list[Finding] = []
    failed = []
    for name in options.only or CLAIMS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        finding, error = claim.audit(CLAIMS[name], place)
        findings.append(finding)
        failed += [name] * error
        if options.out is not None:
            path = epath.Path(options.out).expanduser()
            path.parent.mkdir(parents=True, exist_ok=True)
            workdir.write_json(path, [f._asdict() for f in findings])
    print(markdown(findings))
    print(json.dumps([f._asdict() for f in findings]))
    if failed:
        print(f"error: not tested because of errors: {', '.join(failed)}", file=sys.stderr)
    return not failed


def markdown(findings: Sequence[Finding]) -> str:
    """One claim a row, and how it was measured."""
    lines = ["| claim | claimed | measured | status | how, or why not |", "|---|---|---|---|---|"]
    for f in findings:
        ends = "" if f.interval is None else f" [{', '.join(map(claim.number, f.interval))}]"
        # An error may span lines, and a table cannot.
        why = " ".join(f.why.replace("|", "/").split())
        lines.append(f"| {f.claim} | {f.claimed} | {f.measured or ''}{ends} | {f.status} | {why} |")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main)
