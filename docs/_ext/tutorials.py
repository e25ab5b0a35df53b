"""Runs the tutorials before Sphinx reads them, two at a time: MyST-NB runs them one after the other, as it meets them.

What they print is kept in the cache where MyST-NB looks for it. A tutorial with an error is left to MyST-NB, which runs
it again and reports the error.
"""

import functools
import pathlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution
from sphinx.application import Sphinx

AT_A_TIME = 2
_FORMAT = {"type": "plugin", "name": "myst_nb_md"}


def run(app: Sphinx) -> None:
    """Runs what has changed since it was last run."""
    if app.config.nb_execution_mode != "cache":
        return
    cache = get_cache(app.config.nb_execution_cache_path)
    pages = sorted(pathlib.Path(app.srcdir, "tutorials").glob("*.md"))
    uris = [
        cache.add_nb_to_project(str(page), read_data=_FORMAT).uri
        for page in pages
        if "kernelspec:" in page.read_text(encoding="utf-8")
    ]
    # Of these alone: the cache still knows tutorials that have gone, and cannot read them.
    stale = cache.list_unexecuted(filter_uris=uris)
    notebooks = [(record.uri, cache.get_project_notebook(record.pk).nb) for record in stale]
    run_one = functools.partial(_run_one, timeout=app.config.nb_execution_timeout)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        results = list(pool.map(run_one, [notebook for _, notebook in notebooks]))
    for (uri, notebook), result in zip(notebooks, results, strict=True):
        if result.err is None:
            bundle = CacheBundleIn(notebook, uri, data={"execution_seconds": result.time})
            cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def _run_one(notebook: Any, timeout: int) -> Any:
    timeout = notebook.metadata.get("mystnb", {}).get("execution_timeout", timeout)
    with tempfile.TemporaryDirectory() as folder:
        return single_nb_execution(notebook, cwd=folder, timeout=timeout, allow_errors=False)


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("builder-inited", run)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
