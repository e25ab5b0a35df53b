"""The site in a browser, as `.ci/run` has built it: ``GENJAX_SITE=docs/site python -m pytest tests/test_site.py``."""

import functools
import html.parser
import http.server
import os
import pathlib
import threading
import urllib.parse

import pytest

SITE = pathlib.Path(os.environ.get("GENJAX_SITE") or "no-site").resolve()
if not (SITE / "index.html").exists():
    pytest.skip(
        "no site is built: python -m sphinx -W docs docs/site, and GENJAX_SITE", allow_module_level=True
    )
pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[browser]'")

from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

from tests.browser import emulate, find, forget, needs_axe, opened, requested, serious  # noqa: E402

PAGES = sorted(
    str(path.relative_to(SITE))
    for path in SITE.rglob("*.html")
    if "_modules" not in path.parts and "_static" not in path.parts
)
WRITTEN = [
    page for page in PAGES if not page.startswith("api/") and page not in ("genindex.html", "search.html")
]
"""Pages that somebody wrote. The pages of the reference look all alike: one of them is looked at."""
LOOKED_AT = [*WRITTEN, "api/genjax.diffusion.samplers.html"]


@pytest.fixture(scope="module")
def address():
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    with opened() as driver:
        yield driver


class Links(html.parser.HTMLParser):
    """Where a page leads to, and the places in it that can be led to."""

    def __init__(self, page):
        super().__init__()
        self.links, self.places = set(), set()
        self.feed((SITE / page).read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.places.add(attributes.get("id"))
        for name in ("href", "src"):
            if attributes.get(name):
                self.links.add(attributes[name])


def test_no_link_is_broken():
    known = functools.cache(Links)
    broken = []
    for page in PAGES:
        for link in known(page).links:
            target = urllib.parse.urlsplit(link)
            if target.scheme or target.netloc:
                continue
            path = (SITE / page).parent / urllib.parse.unquote(target.path) if target.path else SITE / page
            if not path.is_file():
                broken.append(f"{page}: {link}")
            elif target.fragment and path.suffix == ".html" and "_modules" not in path.parts:
                name = str(path.resolve().relative_to(SITE))
                if urllib.parse.unquote(target.fragment) not in known(name).places:
                    broken.append(f"{page}: {link}")
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("page", LOOKED_AT)
def test_a_page_is_quiet_fits_and_needs_no_other_site(browser, address, page):
    forget(browser)
    emulate(browser, "light", 375)
    browser.get(address + page)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 375
    broken = "return [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
    assert browser.execute_script(broken) == []
    assert browser.execute_script("return [...document.images].filter(i => !i.alt).map(i => i.src)") == []
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
    sent = requested(browser)
    assert sent and all(url.startswith((address, "data:")) for url in sent)


@needs_axe
@pytest.mark.parametrize("page", LOOKED_AT)
def test_axe_finds_nothing_serious(browser, address, page):
    """On a telephone in dark colours, and on a desk in light ones."""
    for scheme, width in (("dark", 375), ("light", 1280)):
        emulate(browser, scheme, width)
        browser.get(address + page)
        assert serious(browser) == []


@pytest.mark.parametrize(
    ("word", "page"),
    [("resume", "concepts/randomness"), ("FID", "concepts/metrics"), ("guidance", "concepts/guidance")],
)
def test_search_finds(browser, address, word, page):
    emulate(browser, "light", 1280)
    browser.get(f"{address}search.html?q={word}")
    links = "return [...document.querySelectorAll('#search-results li a')].map(a => a.getAttribute('href'))"
    WebDriverWait(browser, 20).until(
        lambda _: "found" in find(browser, "#search-results").text.lower() and browser.execute_script(links)
    )
    assert any(page in link for link in browser.execute_script(links)[:10])
