"""Pages in Chromium: a browser without a window, sizes and colour schemes, what axe-core says.

Needs selenium (``pip install -e '.[browser]'``), Chromium and its driver; the check by axe-core also a copy of that,
whose path is in GENJAX_AXE or which ``npm install axe-core`` put into the repository.
"""

import contextlib
import json
import os
import pathlib
import shutil

import pytest

pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[browser]'")
CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
if CHROMIUM is None or DRIVER is None:
    pytest.skip("Chromium or chromedriver is not installed", allow_module_level=True)

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402

_ROOT = pathlib.Path(__file__).resolve().parents[1]
AXE = pathlib.Path(os.environ.get("GENJAX_AXE") or _ROOT / "node_modules" / "axe-core" / "axe.min.js")
needs_axe = pytest.mark.skipif(
    not AXE.exists(), reason="axe-core is not there: GENJAX_AXE=PATH, or npm install axe-core"
)


@contextlib.contextmanager
def opened():
    """A browser that keeps a log of its console and of what it asks the network for."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def emulate(browser, scheme, width):
    """A colour scheme, and the width of a screen."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def forget(browser):
    """Empties the logs of console and network, so that earlier tests are not in them."""
    for kind in ("browser", "performance"):
        browser.get_log(kind)


def requested(browser):
    """The addresses that the browser has asked for since the log was emptied."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]


def find(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector)


def serious(browser):
    """What axe-core finds serious or worse: rules, and the elements that break them."""
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    found = browser.execute_async_script("axe.run().then(arguments[0])")
    assert len(found["passes"]) > 20
    return [
        (violation["id"], [node["html"][:200] for node in violation["nodes"][:3]])
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
