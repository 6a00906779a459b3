"""The page in a real browser: headless Chromium, driven by its own driver."""

import json
import os
import re
import shutil

import numpy as np
import pytest

import nconvex as nc
from nconvex.commands import quad

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs chromium and chromedriver"),
    pytest.mark.filterwarnings("default::ResourceWarning"),  # selenium's sockets
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for switch in ("headless=new", "disable-gpu", "disable-quic", "no-first-run",
                   "disable-background-networking", "disable-component-update", "disable-sync",
                   "disable-dev-shm-usage",
                   f"user-data-dir={tmp_path_factory.mktemp('profile')}"):  # fmt: skip
        options.add_argument(f"--{switch}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "quad"
    assert quad.main(["--quiet", "--no-figure", "--out", str(path)], "quad") == 0
    return path


def screen(browser, width, scheme="light"):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})


def press(browser, slider, key, said):
    """Press a key on a slider; return the text of its state, once it says what it should."""
    slider.send_keys(key)
    state = browser.find_element("css selector", f"output[for={slider.get_attribute('id')}]")
    WebDriverWait(browser, 20).until(lambda _: said in state.text, f"{said} in {state.text}")
    return state.text


def test_sliders_move_by_keyboard_and_say_what_the_document_says(browser, folder):
    result = json.loads((folder / "result.json").read_text())
    string = nc.load_string(folder / "string.npz")
    browser.get_log("performance")
    browser.get((folder / "report.html").as_uri())
    recursion, place = (browser.find_element("id", name) for name in ("recursion", "place"))

    text = press(browser, recursion, Keys.HOME, "has 0 beads and normalized length 1;")
    highest = float(re.search(r"its highest loss is ([\d.e-]+),", text)[1])
    assert highest == pytest.approx(result["line_max_error"], rel=1e-3)
    assert "above L0" in text
    before = browser.find_element("css selector", "#grown-loss").get_attribute("innerHTML")
    text = press(browser, recursion, Keys.ARROW_RIGHT, "has 1 bead and")
    assert text.startswith("Recursion 1,")
    after = browser.find_element("css selector", "#grown-loss").get_attribute("innerHTML")
    assert after.count("<circle") == before.count("<circle") + 1
    text = press(browser, recursion, Keys.END, f"has {result['n_beads']} beads")
    length = float(re.search(r"normalized length ([\d.]+);", text)[1])
    assert length == pytest.approx(result["normalized_length"], rel=5e-4)
    assert "at most L0." in text
    assert recursion.get_attribute("aria-valuetext").startswith(f"recursion {len(string.trace)} of")

    drawn = set()
    for key, end, where in ((Keys.HOME, 0, "the first model"), (Keys.END, 1, "the last model")):
        text = press(browser, place, key, where)
        loss = float(re.search(r"loss ([\d.e-]+), at most L0", text)[1])
        assert loss == pytest.approx(result["endpoint_losses"][end], rel=1e-3)
        drawn.add(browser.find_element("id", "model").get_attribute("innerHTML"))
    press(browser, place, Keys.ARROW_LEFT, "on segment 5 of 5")
    drawn.add(browser.find_element("id", "model").get_attribute("innerHTML"))
    assert len(drawn) == 3  # other networks compute other curves

    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    page = (folder / "report.html").as_uri()
    asked = {
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
        and event["params"]["documentURL"] == page  # not the browser's own first page
    }
    assert page in asked
    assert asked <= {page, "data:,"}
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0


@pytest.mark.parametrize("width", [380, 1280, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_screen_and_all_text_has_contrast(browser, folder, width, scheme):
    screen(browser, width, scheme)
    browser.get((folder / "report.html").as_uri())
    root = "document.documentElement."
    wide, there = browser.execute_script(f"return [{root}scrollWidth, {root}clientWidth]")
    assert wide <= there
    outside = browser.execute_script(
        "return [...document.querySelectorAll('svg text')].filter(t => { const a = "
        "t.getBoundingClientRect(), b = t.ownerSVGElement.getBoundingClientRect(); "
        "return a.left < b.left - 1 || a.right > b.right + 1; }).map(t => t.textContent)"
    )
    assert outside == []
    colours = browser.execute_script(
        "return ['h1', 'p', '.key', 'svg text', '.badge'].map(s => { const c = getComputedStyle("
        "document.querySelector(s)); return s === 'svg text' ? c.fill : c.color; })"
        ".concat(getComputedStyle(document.querySelector('section')).backgroundColor)"
    )
    *texts, paper = (_luminance(colour) for colour in colours)
    assert (paper < 0.5) == (scheme == "dark")
    for text in texts:  # the ratio that WCAG 2 asks of text
        assert (max(text, paper) + 0.05) / (min(text, paper) + 0.05) >= 4.5


def _luminance(colour):
    channels = [int(c) / 255 for c in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_data_cannot_run_as_a_script(browser, tmp_path):
    problem = nc.quad.problem(samples=20)
    string = nc.run_pair(problem, L0=1e-2, seed=0).string
    text = "</script></pre><img src=x onerror=\"document.title='broken'\"><!--"
    page = tmp_path / "page.html"
    nc.report(string, problem, title=text, rows={text: text}, document=text).save(page)
    browser.get(page.as_uri())
    assert browser.title == text
    assert browser.find_elements("tag name", "img") == []
    assert browser.find_element("id", "grown").text


def test_losses_that_are_not_finite_are_neither_drawn_nor_hidden(browser, tmp_path):
    wall = nc.FunctionLandscape(
        lambda x: np.inf if 0.4 < x[0] < 0.6 else 1.0, lambda x: np.zeros(2)
    )
    string = nc.string_through(wall, [[0.0, 0.0], [1.0, 0.0]], L0=3.0)
    nc.report(string, wall).save(tmp_path / "page.html")
    browser.get((tmp_path / "page.html").as_uri())
    assert "highest drawn loss is not finite." in browser.find_element("id", "grown").text
    assert not browser.find_element("id", "models").is_displayed()
    assert "NaN" not in browser.find_element("tag name", "main").get_attribute("innerHTML")
    assert browser.get_log("browser") == []
