"""Pages in a real browser: the report, and Snakemake's."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.workflow.running import run_workflow


def make_report(folder: Path, path: Path, *targets: str) -> Path:
    """Write the report of a finished run of `config.yaml` in `folder`; returns its path."""
    run_workflow(folder, *targets, "--report", str(path))
    return path


@contextmanager
def open_page(file: Path, width: int = 1500, javascript: bool = True) -> Iterator[Any]:
    """A page in Chromium, without a network; `page.requests` has the URLs it asked for, `page.errors` its errors."""
    from playwright.sync_api import sync_playwright

    if not (chromium := shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")):
        pytest.skip("needs a Chromium (Debian: chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        viewport = {"width": width, "height": 1000}
        page = browser.new_context(viewport=viewport, offline=True, java_script_enabled=javascript).new_page()
        page.requests, page.errors = [], []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(file.as_uri())
        yield page
        browser.close()


@contextmanager
def open_report(report: Path) -> Iterator[Any]:
    """Snakemake's report as `open_page` opens it."""
    with open_page(report) as page:
        page.get_by_text("1 Tables").first.wait_for()
        yield page


def open_category(page: Any, name: str) -> None:
    page.reload()
    page.locator("nav").get_by_text(name, exact=True).click()


def open_entry(page: Any, text: str | re.Pattern, link: str = "first") -> None:
    """Click a link of the entry with this text: the first opens the file, the last its caption."""
    getattr(page.locator("tr", has_text=text).first.locator("a"), link).click()


def image_size(page: Any) -> tuple[int, int]:
    """Width and height (pixels) of the image in the page's middle, as the browser decoded it."""
    image = page.locator("div.p-3 > img")
    image.wait_for()
    page.wait_for_function("document.querySelector('div.p-3 > img').complete")
    return tuple(image.evaluate("image => [image.naturalWidth, image.naturalHeight]"))
