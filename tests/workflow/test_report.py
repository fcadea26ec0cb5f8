"""The report in a real browser: offline, every category opened, every figure there."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.workflow.running import environment

CATEGORIES = ["Figures", "Heat maps", "Models compared", "Overview", "Slides", "Tables"]
FIGURES = ["calibration", "confusion matrices", "ROC and precision-recall curves", "training curves"]
MOST = 15e6  # bytes


@pytest.fixture(scope="module")
def report(done, tmp_path_factory):
    """The report of the demo's run: (its file, the run's folder)."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        environment()["PYTHONPATH"] + "/Snakefile",
        "--directory",
        done,
    ]
    command += ["--cores", "2", "--report", path, "--configfile", done / "config.yaml"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=done)
    assert result.returncode == 0, result.stderr[-3000:]
    return path


@pytest.fixture
def page(report):
    """The report open in Chromium, without a network; what it asked one for is in `page.asked`, errors in `page.errors`."""
    from playwright.sync_api import sync_playwright

    if not (chromium := shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")):
        pytest.skip("needs a Chromium (Debian: chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1500, "height": 1000}, offline=True)
        page = context.new_page()
        page.asked, page.errors = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(report.as_uri())
        page.get_by_text("Models compared").first.wait_for()
        yield page
        browser.close()


def open_category(page, name):
    page.reload()
    page.locator("nav").get_by_text(name, exact=True).click()


def shown_image(page) -> tuple[int, int]:
    """Pixels of the image in the page's middle, as the browser decoded it."""
    image = page.locator("div.p-3 > img")
    image.wait_for()
    page.wait_for_function("document.querySelector('div.p-3 > img').complete")
    return tuple(image.evaluate("image => [image.naturalWidth, image.naturalHeight]"))


def test_it_is_small_and_opens_with_the_table_and_its_cautions(report, page):
    assert report.stat().st_size < MOST
    text = page.inner_text("body")
    assert "Read these numbers with care" in text and "random encoder weights" in text
    assert "5 of 29 slides are lost" in text and "ro-abmil" in text
    top = page.get_by_text("Read these numbers with care").bounding_box()
    assert top is not None and 0 <= top["y"] < 200, "seen without scrolling"
    assert [name for name in CATEGORIES if name not in text] == []


def test_every_figure_renders(page):
    for figure in FIGURES:
        open_category(page, "Figures")
        page.locator("tr", has_text=figure).locator("a").first.click()
        width, height = shown_image(page)
        assert width > 400 and height > 200, figure
    open_category(page, "Slides")
    page.locator("tr", has_text="demo").locator("a").first.click()
    assert min(shown_image(page)) > 500
    open_category(page, "Models compared")
    page.locator("tr", has_text="differences").locator("a").first.click()
    assert min(shown_image(page)) > 150


def test_heat_maps_are_there_and_say_whose_they_are(page):
    open_category(page, "Heat maps")
    page.locator("tr", has_text=re.compile("demo_.*, by ro-abmil")).first.locator("a").first.click()
    assert min(shown_image(page)) > 500


def test_captions_open(page):
    open_category(page, "Tables")
    page.locator("tr", has_text="comparisons").locator("a").last.click()
    page.get_by_text("Every pair of models on the same folds").wait_for()


def test_nothing_is_asked_of_a_network_and_nothing_fails(page):
    for name in CATEGORIES:
        open_category(page, name)
    assert [url for url in page.asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.errors == []
