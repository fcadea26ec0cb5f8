"""Snakemake's report, made and opened in a real browser."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.workflow.running import snakemake


def make_report(folder: Path, path: Path, *targets: str) -> Path:
    """The report of a finished run of `config.yaml` in `folder`."""
    result = snakemake(folder, folder / "config.yaml", *targets, "--report", str(path))
    assert result.returncode == 0, result.stderr[-3000:]
    return path


@contextmanager
def opened(report: Path) -> Iterator[Any]:
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
        page.get_by_text("4 Models compared").first.wait_for()
        yield page
        browser.close()


def open_category(page: Any, name: str) -> None:
    page.reload()
    page.locator("nav").get_by_text(name, exact=True).click()


def shown_image(page: Any) -> tuple[int, int]:
    """Pixels of the image in the page's middle, as the browser decoded it."""
    image = page.locator("div.p-3 > img")
    image.wait_for()
    page.wait_for_function("document.querySelector('div.p-3 > img').complete")
    return tuple(image.evaluate("image => [image.naturalWidth, image.naturalHeight]"))
