"""A matplotlib figure as SVG inside a page: it takes the page's colours and font, and tells its name to a reader.

Equal figures give equal bytes.
"""

import io
import re
from typing import Any

from genjax.typing import UserError

SERIES = 8
"""Colours of series; further ones are dashed."""

_DASHES: list[Any] = ["solid", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 1.5, 1, 1.5))]

# Colours that stand for variables of the style sheet: a figure is drawn once, for light and dark.
_INK, _GRID = "#010203", "#010204"
_VARIABLES = {_INK: "var(--muted)", _GRID: "var(--line)"} | {
    f"#0102{16 + i:02x}": f"var(--series-{i})" for i in range(SERIES)
}


def colour(group: int) -> str:
    """Of the group's series."""
    return f"#0102{16 + group % SERIES:02x}"


def dashes(group: int) -> Any:
    """Of the group's lines: solid for the first `SERIES` groups."""
    return _DASHES[group // SERIES % len(_DASHES)]


def marker(group: int) -> str:
    """Of the group's points: round for the first `SERIES` groups."""
    return "osD^"[group // SERIES % 4]


def settings(name: str) -> dict[str, Any]:
    """What matplotlib is told, for ``rc_context``: text stays text, and ids depend on the name alone."""
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.size": 9,
        "axes.edgecolor": _GRID,
        "axes.labelcolor": _INK,
        "axes.titlecolor": _INK,
        "text.color": _INK,
        "xtick.color": _GRID,
        "ytick.color": _GRID,
        "xtick.labelcolor": _INK,
        "ytick.labelcolor": _INK,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": _GRID,
        "grid.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "lines.linewidth": 1.6,
        "path.simplify": True,
    }


def require_matplotlib() -> Any:
    """The package.

    Raises:
        UserError: it is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise missing() from error
    return matplotlib


def missing() -> UserError:
    """What to say where a package of the extra is not there."""
    return UserError("the report needs matplotlib and jinja2: pip install -e '.[report]'")


def render(figure: Any, name: str, title: str) -> str:
    """The figure as an ``<svg>`` element.

    Args:
        figure: a matplotlib Figure, drawn with `settings`; artists whose gid is "seriesN-..." get the class "seriesN".
        name: unique in the page; the ids in the element begin with it.
        title: what the figure shows, read in its place by a screen reader.
    """
    content = io.StringIO()
    figure.savefig(content, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = content.getvalue()
    text = text[text.index("<svg") :]
    # Rules for all elements and the figure's own size would reach beyond it.
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    head, rest = text.split(">", 1)
    match = re.search(r'viewBox="([^"]+)"', head)
    assert match is not None
    rest = re.sub(r' id="series(\d+)-[^"]*"', r' class="series series\1"', rest)
    rest = re.sub(r'(?<= id=")|(?<=href="#)|(?<=url\(#)', f"{name}-", rest)
    rest = re.sub(r"font: (\S+) [^;\"]*", r"font-size: \1", rest)  # matplotlib 3.10
    rest = re.sub(r" font-family: [^;\"]*;", "", rest)
    for stand_in, variable in _VARIABLES.items():
        rest = rest.replace(stand_in, variable)
    return (
        f'<svg class="chart" role="img" aria-labelledby="{name}-title" viewBox="{match[1]}">'
        f'<title id="{name}-title">{_escaped(title)}</title>{rest.strip()}'
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
