"""The viewer in a real browser: slides are drawn, layers switch, keys and tiles lead where they should."""

import shutil
import time
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.viewer.runs import make_run, serving

pytestmark = pytest.mark.slow
BLANK = 3.0  # grey levels: standard deviation of a picture that shows nothing
WAIT = 30.0  # seconds


class Viewer:
    """A page of the viewer, and what went wrong on it."""

    def __init__(self, browser, server, width=1366, height=768):
        self.page = browser.new_page(viewport={"width": width, "height": height})
        self.errors, self.hosts = [], set()
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.page.goto(f"{server.url}#mine|net|abmil|s0")
        self.settle()

    def ask(self, expression):
        """A value of the page's state; `wait_for_function` of playwright needs `eval`, which the page forbids."""
        return self.page.evaluate(
            f"() => {{ const {{ viewer, layers, list, state }} = window.roformermil ?? {{}}; return viewer && ({expression}); }}"
        )

    def wait_for(self, expression):
        end = time.monotonic() + WAIT
        while not (value := self.ask(expression)):
            assert time.monotonic() < end, f"{expression}: {self.errors}"
            time.sleep(0.05)
        return value

    def settle(self):
        """Wait until the view rests where it was sent, and its tiles are there."""
        bounds = "['x', 'y', 'width'].every((k) => Math.abs(viewer.viewport.getBounds(true)[k] - viewer.viewport.getBounds()[k]) < 1e-4)"
        self.wait_for(f"viewer.world.getItemAt(0)?.getFullyLoaded() && {bounds}")

    def pixels(self, canvas):
        """RGBA of a canvas."""
        content = self.ask(f"{canvas}.toDataURL('image/png')").partition(",")[2]
        return np.asarray(Image.open(BytesIO(b64decode(content))).convert("RGBA"))

    def slide_pixels(self):
        return self.pixels("viewer.drawer.canvas")

    def layer_pixels(self):
        return self.pixels("layers.canvas")

    def layer(self, name):
        return self.page.locator(f'[data-layer="{name}"]')

    @property
    def current(self):
        return self.page.locator("#name").inner_text()


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    if not (chromium := shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")):
        pytest.skip("needs a Chromium (Debian: chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(run):
    with serving(run) as server:
        yield server


@pytest.fixture
def viewer(browser, server):
    viewer = Viewer(browser, server)
    yield viewer
    viewer.page.close()


def test_a_slide_is_drawn_without_an_error(browser, server, viewer):
    assert viewer.slide_pixels()[..., :3].std() > BLANK
    assert viewer.page.locator("#list li").count() == 12
    assert viewer.page.locator("#auroc").inner_text() == "AUROC 0.55 (95% interval 0.31 to 0.79)not better than chance"
    assert viewer.page.locator("#ruler").is_visible()
    assert viewer.errors == [] and viewer.hosts == {f"127.0.0.1:{server.server_port}"}


def test_layers_switch(viewer):
    assert viewer.layer("contribution").get_attribute("aria-pressed") == "true"
    contribution = viewer.layer_pixels()
    assert contribution[..., 3].any()
    viewer.layer("attention").click()
    attention = viewer.layer_pixels()
    assert attention[..., 3].any() and (attention != contribution).any()
    assert "times the mean" in viewer.page.locator("#legend").inner_text()
    viewer.layer("attention").click()
    assert not viewer.layer_pixels()[..., 3].any() and viewer.page.locator("#legend").is_hidden()
    viewer.page.keyboard.press("3")
    outline = viewer.layer_pixels()[..., 3] > 0
    assert outline.any() and viewer.layer("outline").get_attribute("aria-pressed") == "true"
    viewer.page.keyboard.press("4")
    assert (viewer.layer_pixels()[..., 3] > 0).sum() > outline.sum()
    viewer.page.keyboard.press(" ")
    assert not viewer.layer_pixels()[..., 3].any()
    viewer.page.keyboard.press(" ")
    assert viewer.layer_pixels()[..., 3].any()
    assert viewer.errors == []


def test_the_red_tile_lies_where_the_slide_has_it(viewer):
    """The tile with the largest contribution is drawn over its place on the slide."""
    values = "state.answer.tiles.values['contribution to malignant']"
    peak = viewer.ask(f"{values}.indexOf(Math.max(...{values}))")
    side = viewer.ask("state.answer.tiles.side")
    place = f"state.answer.tiles.x[{peak}] + {side} / 2, state.answer.tiles.y[{peak}] + {side} / 2"
    at = viewer.ask(f"viewer.world.getItemAt(0).imageToViewerElementCoordinates(new OpenSeadragon.Point({place}))")
    red, green, blue, opacity = viewer.layer_pixels()[round(at["y"]), round(at["x"])].tolist()
    assert red > 180 and green < 60 and blue < 70 and opacity > 130


def test_a_click_on_a_tile_flies_to_it(viewer):
    before = viewer.ask("viewer.viewport.getBounds(true).width")
    button = viewer.page.locator(".tops button").first
    tile = int(button.get_attribute("data-tile"))
    assert tile == 1  # that of the largest contribution
    assert button.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 160
    button.click()
    viewer.settle()
    assert viewer.ask("viewer.viewport.getBounds(true).width") < before / 1.3
    centre = viewer.ask("viewer.world.getItemAt(0).viewportToImageCoordinates(viewer.viewport.getCenter(true))")
    corner = viewer.ask(f"[state.answer.tiles.x[{tile}], state.answer.tiles.y[{tile}]]")
    half = viewer.ask("state.answer.tiles.side") / 2
    assert [centre["x"], centre["y"]] == pytest.approx([corner[0] + half, corner[1] + half], abs=2)
    assert viewer.slide_pixels()[..., :3].std() > BLANK
    viewer.page.keyboard.press("0")
    viewer.settle()
    assert viewer.ask("viewer.viewport.getBounds(true).width") == pytest.approx(before, rel=0.01)


def test_keys_lead_to_the_next_slide_and_back(viewer):
    names = viewer.page.locator("#list li").evaluate_all("items => items.map(item => item.dataset.slide)")
    place = names.index("s0")
    step, back = ("ArrowDown", "ArrowUp") if place + 1 < len(names) else ("ArrowUp", "ArrowDown")
    viewer.page.keyboard.press(step)
    viewer.wait_for(f"state.slide.id === '{names[place + 1]}' && state.answer")
    assert viewer.current == names[place + 1] and names[place + 1] in viewer.page.url
    viewer.page.keyboard.press(back)
    viewer.wait_for("state.slide.id === 's0' && state.answer")
    viewer.page.reload()
    viewer.wait_for("state.slide?.id === 's0' && state.answer")  # from the address


def test_the_list_is_searched_and_sorted(viewer):
    viewer.page.locator("#filter").fill("s11")
    assert viewer.page.locator("#list li").count() == 1
    viewer.page.locator("#filter").fill("")
    viewer.page.locator("#order").select_option("name")
    names = viewer.page.locator("#list li").evaluate_all("items => items.map(item => item.dataset.slide)")
    assert names == [f"s{k}" for k in range(12)]
    viewer.page.locator("#wrong").check()
    assert 0 < viewer.page.locator("#list li").count() < 12


def test_another_model_says_which_layers_are_missing(viewer):
    viewer.page.locator("#model").select_option(label="dsmil (no heat maps)")
    viewer.wait_for("state.view.model === 'dsmil' && state.slide.id === 's0' && state.answer")
    viewer.settle()
    assert "Add dsmil to heatmaps.models" in viewer.page.locator("#missing").inner_text()
    assert viewer.layer("attention").is_disabled() and viewer.layer("grid").is_enabled()
    assert viewer.slide_pixels()[..., :3].std() > BLANK


def test_a_lost_slide_has_its_message(viewer):
    viewer.page.locator('li[data-slide="s11"]').click()
    viewer.page.locator("#problem").wait_for()
    assert "no tissue found" in viewer.page.locator("#verdict").inner_text()
    assert "s11.svs: no such file" in viewer.page.locator("#problem").inner_text()


@pytest.mark.shared
def test_real_slides(browser, tmp_path, shared):
    slides = [
        shared / "slides/CMU-1-Small-Region.svs",
        shared / "slides/pathology_atlas/signet-ring-cell-carcinoma.svs",
    ]
    with serving(make_run(tmp_path, slides)) as server:
        viewer = Viewer(browser, server, 1920, 1080)
        for name in ("s0", "s1"):
            viewer.page.locator(f'li[data-slide="{name}"]').click()
            viewer.wait_for(f"state.slide.id === '{name}' && state.answer")
            viewer.settle()
            assert viewer.slide_pixels()[..., :3].std() > 5 * BLANK and viewer.layer_pixels()[..., 3].any()
            viewer.page.locator(".tops button").first.click()
            viewer.settle()
            assert viewer.slide_pixels()[..., :3].std() > BLANK
        assert viewer.errors == []
