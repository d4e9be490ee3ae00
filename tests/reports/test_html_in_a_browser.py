"""A page as Chromium shows it: no error, nothing asked of a network, figures drawn, sorting and filtering, at three widths."""

from __future__ import annotations

from pathlib import Path
from shutil import which

import pytest
from pages import TAG, page
from reported_runs import written

from absint.cli.main import main

CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")
DRIVER = which("chromedriver")
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage")
CELLS = """return [...document.querySelectorAll('#table tbody')].filter(one => !one.hidden)
           .map(one => one.rows[0].cells[arguments[0]].textContent)"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One Chromium with the page in it; skipped where selenium or a browser is not installed."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("chromium and chromedriver are not installed")
    folder = tmp_path_factory.mktemp("page")
    file = Path(folder) / "report.html"
    file.write_text(page(), encoding="utf-8", errors="backslashreplace")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in (*QUIET, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.get(file.as_uri())
    yield driver
    driver.quit()


@pytest.fixture
def ask(browser):
    """A fresh page, and what a script returns there."""
    browser.refresh()
    return browser.execute_script


@pytest.fixture(scope="module")
def journal_page(tmp_path_factory):
    """The page of the journal of a run of `verify`."""
    folder = tmp_path_factory.mktemp("run")
    assert main(["report", str(written(folder / "j.jsonl")), "--out", str(folder / "r.html")]) == 1
    return folder / "r.html"


def head(ask, word: str) -> None:
    ask("[...document.querySelectorAll('#table thead button')].find(one => one.textContent === arguments[0]).click()", word)


@pytest.mark.parametrize("width", [390, 900, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_width(browser, ask, width, scheme) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    assert ask("return document.documentElement.scrollWidth") <= width
    paper, ink = ask("const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]")
    light = [sum(map(int, colour[4:-1].split(","))) for colour in (paper, ink)]
    assert (light[0] > light[1]) == (scheme == "light")


def test_nothing_goes_wrong_and_nothing_is_loaded(browser, ask) -> None:
    assert browser.get_log("browser") == []
    assert ask("return performance.getEntriesByType('resource').filter(one => !one.name.startsWith('data:')).length") == 0
    assert ask("return window.hacked === undefined")
    assert TAG.split("{{", maxsplit=1)[0] in ask("return document.querySelector('h1').textContent")


def test_figures_and_pictures_are_there(ask) -> None:
    boxes = ask("return [...document.querySelectorAll('svg')].map(one => [one.getBoundingClientRect().width, one.textContent.length])")
    assert len(boxes) == 3
    assert all(width > 100 and letters > 10 for width, letters in boxes)
    assert ask("return [...document.images].map(one => [one.naturalWidth, one.naturalHeight])") == [[5, 4], [3, 2]]


def test_a_click_sorts_numbers_as_numbers(ask) -> None:
    head(ask, "margin")
    assert ask(CELLS, 4) == ["-10.0", "0.001", "2.5", "7.0", "11.0"]
    head(ask, "margin")
    assert ask(CELLS, 4) == ["11.0", "7.0", "2.5", "0.001", "-10.0"]
    assert ask("return document.querySelector('[aria-sort]').ariaSort") == "descending"
    head(ask, "verdict")
    assert ask(CELLS, 3) == ["falsified", "misclassified", "unknown", "verified", "verified"]


def test_words_filter_rows(ask) -> None:
    ask("const one = document.getElementById('find'); one.value = 'PLAIN'; one.dispatchEvent(new Event('input'))")
    assert ask(CELLS, 1) == ["3"]
    assert ask("return document.getElementById('count').textContent") == "1 of 5 rows"


def test_choices_filter_rows(ask) -> None:
    ask("""const one = [...document.querySelectorAll('select')].find(each => [...each.options].some(word => word.value === 'verified'));
           one.value = 'verified'; one.dispatchEvent(new Event('change'))""")
    assert ask(CELLS, 1) == ["2", "4"]


def test_columns_that_are_not_shown_can_be(ask) -> None:
    display = "return getComputedStyle(document.querySelector('#table td.more')).display"
    assert ask(display) == "none"
    ask("document.getElementById('more').click()")
    assert ask(display) == "table-cell"


def test_paper_cuts_no_table(browser, ask) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 717, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        ask("dispatchEvent(new Event('beforeprint'))")
        edge = ask("return document.documentElement.clientWidth") + 1
        ends = ask("return [...document.querySelectorAll('table')].map(one => one.getBoundingClientRect().right)")
        assert all(end <= edge for end in ends)
        assert ask("return [...document.querySelectorAll('details.dump')].map(one => one.open)") == [False, False]
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize("width", [390, 900, 1600])
def test_a_page_of_a_run_fits_and_shows_widths_by_layer(browser, journal_page, width) -> None:
    before = browser.current_url
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    try:
        browser.get(journal_page.as_uri())
        assert browser.get_log("browser") == []
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        drawn = browser.execute_script("""return [...document.querySelectorAll('h2')].filter(one => one.textContent.startsWith('Widths by'))
            .map(one => one.parentElement.querySelector('svg').getBoundingClientRect().width)""")
        assert len(drawn) == 1
        assert drawn[0] > 100
    finally:
        browser.get(before)
