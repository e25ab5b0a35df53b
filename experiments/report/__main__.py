"""A study as one page: ``python -m experiments.report FOLDER [--out FILE]``.

Reads the files of finished runs, and writes ``report.html``, which needs no network, ``report.csv`` (one row a run) and
``report.md`` (one row a group). Equal files give equal reports.
"""

import dataclasses
import pathlib
from typing import Annotated

import tyro
from etils import epath

from experiments import cli
from experiments.report import boards, collect, frames, page, plain_text
from genjax.app import workdir
from genjax.typing import UserError


@dataclasses.dataclass(frozen=True)
class Report:
    """A report of a study, or of any folder with runs in it.

    Attributes:
        folder: Folder of a study (`python -m experiments.study`), or any folder with workdirs below it.
        out: The page (.html). A .csv and a .md file of the same name are written beside it. Without it: report.html in
            the folder.
        against: Name of the group, as in the tables, that the other groups are tested against. Without it: the best
            group.
        pictures_kb: Approximate size in kilobytes of the pictures in each of the page's two picture sections. If there
            are more, fewer steps are shown. The last picture of each group is always shown.
    """

    folder: Annotated[str, tyro.conf.Positional]
    out: str | None = None
    against: str | None = None
    pictures_kb: int = frames.LIMIT // 1000


def main() -> None:
    """Reads the command line and writes the report."""
    report(tyro.cli(Report, prog="python -m experiments.report"))


def report(options: Report) -> None:
    """Writes the three files, and says where the page is.

    Raises:
        UserError: see `experiments.report.collect.read`; ``out`` is no .html file, `pictures_kb` is negative, or
            nothing can be tested `against` that group.
    """
    default = pathlib.Path(options.folder) / "report.html"
    out = pathlib.Path(options.out or default).expanduser()
    if out.suffix != ".html":
        raise UserError(f"out={options.out!r}: the name of the page must end in .html")
    if options.pictures_kb < 0:
        raise UserError(f"pictures_kb={options.pictures_kb}: valid are [0, inf)")
    study = collect.read(options.folder)
    if options.against is not None:
        names = [group.name for group in study.groups]
        # One seed, or what is left of failed ones, says nothing of a difference.
        valid = [name for name in names if any(board.baseline for board in boards.boards(study.groups, name))]
        if options.against not in valid:
            raise UserError(
                f"against={options.against!r}: valid are groups with scores of several seeds of which none failed, "
                f"here {'; '.join(valid) or 'none'}"
            )
        study = study._replace(baseline=options.against)
    texts = {
        ".html": page.html(study, 1000 * options.pictures_kb),
        ".csv": plain_text.spreadsheet(study),
        ".md": plain_text.markdown(study, boards.boards(study.groups, study.baseline)),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    for suffix, content in texts.items():
        workdir.write_bytes(epath.Path(out.with_suffix(suffix)), content.encode())
    print(f"{len(texts['.html']) / 1e6:.1f} MB: {out}")


if __name__ == "__main__":
    cli.run(main)
