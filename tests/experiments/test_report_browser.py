"""The report in a browser: quiet, offline, usable by keyboard, readable on a phone and by a screen reader."""

import base64

import pytest

from experiments.report import collect, page
from tests.experiments.fake_study import write_study

pytest.importorskip("selenium", reason="selenium is not installed: pip install -e '.[browser]'")

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser import emulate, find, forget, needs_axe, opened, requested, serious


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    write_study(folder)
    (folder / "report.html").write_text(page.html(collect.read(str(folder))), encoding="utf-8")
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def chromium():
    with opened() as browser:
        yield browser


@pytest.fixture
def browser(chromium, address):
    """The page, freshly loaded, on a desk and in light colours."""
    emulate(chromium, "light", 1280)
    chromium.get(address)
    chromium.execute_script("try { localStorage.clear() } catch {}")
    chromium.get(address)
    return chromium


def column(browser, number):
    """data-value of the cells of a column of the first table, from the top."""
    return browser.execute_script(
        "return [...document.querySelector('table').tBodies[0].rows].map(r => r.cells[arguments[0]].dataset.value)",
        number,
    )


def heading(browser, text):
    """The button that sorts the first table by a column, and the number of the column."""
    buttons = find(browser, "table").find_elements(By.CSS_SELECTOR, "th .sort")
    number = [button.text.strip() for button in buttons].index(text)
    return buttons[number], number


def test_loads_without_errors_and_without_network(chromium, address):
    forget(chromium)
    chromium.get(address)
    chromium.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    assert chromium.get_log("browser") == []
    requests = requested(chromium)
    assert requests and all(url.startswith(("file:", "data:")) for url in requests)
    broken = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert chromium.execute_script(broken) == 0
    assert chromium.title == "Three families on digits: report"


def test_sorting_by_click_and_by_keyboard(browser):
    button, number = heading(browser, "rho")
    before = column(browser, number)
    button.click()
    assert button.find_element(By.XPATH, "..").get_attribute("aria-sort") == "ascending"
    assert column(browser, number) == sorted(before, key=float)
    button.send_keys(Keys.ENTER)
    assert button.find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"
    # As text 9.0 would come before 18.2.
    assert column(browser, number) == sorted(before, key=float, reverse=True) != sorted(before, reverse=True)
    assert find(browser, "#said").text == "Sorted by rho, descending"
    names, _ = heading(browser, "runs")
    names.send_keys(Keys.SPACE)
    assert column(browser, 0) == sorted(column(browser, 0))
    assert len(browser.find_elements(By.CSS_SELECTOR, "#results [aria-sort]")) == 1


def test_cells_without_a_value_come_last(browser):
    script = """
        const table = document.querySelector('#cost table');
        const button = [...table.querySelectorAll('.sort')].find(b => b.textContent.startsWith('samples'));
        const shown = () => [...table.tBodies[0].rows].map(r => r.cells[button.parentElement.cellIndex].dataset.value);
        const found = [];
        for (let i = 0; i < 2; i++) { button.click(); found.push(shown()); }
        return found"""
    assert browser.execute_script(script) == [["20.0", "", "", ""]] * 2


@pytest.mark.parametrize(
    ("section", "first", "last"),
    [("#samples", "100 steps", "400 steps"), ("#sweep", "1 sampler steps", "50 sampler steps")],
)
def test_slider_by_keyboard(browser, section, first, last):
    slider, label = find(browser, f"{section} input"), find(browser, f"{section} output")
    shown = lambda: find(browser, f"{section} .strip img:not([hidden])").get_attribute("src")  # noqa: E731
    assert label.text == last
    at_the_end = shown()
    slider.send_keys(Keys.HOME)
    assert (
        label.text
        == slider.get_attribute("aria-valuetext")
        == find(browser, f"{section} .strip .at").text
        == first
    )
    at_the_start = shown()
    slider.send_keys(Keys.ARROW_RIGHT)
    assert len({at_the_end, at_the_start, shown()}) == 3
    slider.send_keys(Keys.END)
    assert shown() == at_the_end and label.text == last
    visible = f"{section} .strip img:not([hidden])"
    strips = browser.find_elements(By.CSS_SELECTOR, f"{section} .strip")
    assert len(browser.find_elements(By.CSS_SELECTOR, visible)) == len(strips)


def background(browser):
    return browser.execute_script("return getComputedStyle(document.body).backgroundColor")


def line(browser):
    return browser.execute_script("return getComputedStyle(document.querySelector('.series0 path')).stroke")


def test_theme(browser):
    light, drawn = background(browser), line(browser)
    button = find(browser, "#theme")
    assert button.text == "Dark"
    button.send_keys(Keys.ENTER)
    assert background(browser) != light and line(browser) != drawn and button.text == "Light"
    dark = background(browser)
    browser.refresh()
    assert background(browser) == dark  # is remembered
    find(browser, "#theme").click()
    assert (background(browser), line(browser)) == (light, drawn)
    browser.execute_script("localStorage.clear()")
    emulate(browser, "dark", 1280)
    browser.refresh()
    assert background(browser) == dark and find(browser, "#theme").text == "Light"


def test_groups_are_switched_off_in_all_figures(browser):
    toggle = find(browser, '#curves .toggle[data-series="0"]')
    seen = "return [...document.querySelectorAll('.series0')].filter(s => s.style.display !== 'none').length"
    assert browser.execute_script(seen) > 4
    toggle.send_keys(Keys.SPACE)
    assert browser.execute_script(seen) == 0
    both = browser.find_elements(By.CSS_SELECTOR, '.toggle[data-series="0"]')
    assert [button.get_attribute("aria-pressed") for button in both] == ["false", "false"]


@pytest.mark.parametrize("clipboard", [True, False])
def test_copy(browser, clipboard):
    """By the clipboard, and where the browser keeps that from the page, by the old command."""
    fake = "(text) => { window.copied = text; return Promise.resolve() }" if clipboard else "undefined"
    browser.execute_script(
        f"Object.defineProperty(navigator, 'clipboard', {{ value: {{ writeText: {fake} }} }});"
        "document.addEventListener('copy', () => { window.copied = document.activeElement.value })"
    )
    find(browser, "#runs .copy").send_keys(Keys.ENTER)
    said = browser.execute_async_script(
        "setTimeout(() => arguments[0](document.getElementById('said').textContent), 100)"
    )
    assert said == "Copied"
    command = find(browser, "#runs .command code").text
    assert browser.execute_script("return window.copied") == command and command.startswith(
        "python -m experiments.train"
    )


@pytest.mark.parametrize("width", [320, 375, 768])
def test_nothing_is_wider_than_the_screen(browser, width):
    emulate(browser, "light", width)
    browser.refresh()
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_axe_finds_nothing_serious(browser, scheme, width):
    emulate(browser, scheme, width)
    browser.refresh()
    assert serious(browser) == []


def test_print_has_no_controls(browser):
    content = base64.b64decode(browser.print_page())
    assert content.startswith(b"%PDF") and len(content) > 10_000
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        hidden = [find(browser, s).is_displayed() for s in ("nav", ".slider", ".copy", "#theme")]
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert hidden == [False] * 4
