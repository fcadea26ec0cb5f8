// The page: a view (data set and model), its list of slides, the open slide, and its layers.

import { setLimits } from "./colours.js";
import { Layers } from "./layers.js";
import { SlideList } from "./list.js";
import { ask, element, fillSelect, find } from "./page.js";
import { markTop, showFacts, showPrediction, showTops } from "./side.js";

const AROUND = 3; // times a tile's side: what is shown around a tile that is flown to
const SHOWN_CLASS_OF_TWO = 1; // red means the second class, as in the heat maps
const NEAR = 0.2; // of the legend's width: words so near to an end's are left out
const state = { run: null, view: null, number: 0, slide: null, answer: null, layer: "contribution", of: null };

const viewer = OpenSeadragon({
  element: find("slide"), drawer: "canvas", showNavigationControl: false, showNavigator: true, navigatorAutoFade: false, navigatorPosition: "TOP_RIGHT",
  navigatorSizeRatio: 0.16, maxZoomPixelRatio: 4, minZoomImageRatio: 0.6, visibilityRatio: 0.3, animationTime: 0.5, imageSmoothingEnabled: true,
  maxImageCacheCount: 400, gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true }, immediateRender: true,
});
const layers = new Layers(viewer);
const list = new SlideList(openSlide);
window.roformermil = { viewer, layers, list, state }; // for the browser's console, and tests

async function start() {
  state.run = await ask("run.json");
  setLimits(state.run.limits);
  find("run").textContent = state.run.name;
  document.title = `${state.run.name}: slides`;
  const datasets = [...new Set(state.run.views.map((view) => view.dataset))];
  const [wanted, slide] = fromAddress();
  fillSelect(find("dataset"), datasets.map((name) => [name, name]), state.run.views[wanted].dataset);
  find("dataset").addEventListener("change", () => openView(viewsOf(find("dataset").value)[0][0]));
  find("model").addEventListener("change", () => openView(Number(find("model").value), state.slide?.id));
  await openView(wanted, slide);
}

const viewsOf = (dataset) => state.run.views.map((view, k) => [k, view]).filter(([, view]) => view.dataset === dataset);

// The view and slide that the address names behind #; by default the first view with heat maps.
function fromAddress() {
  const [dataset, encoder, model, slide] = location.hash.slice(1).split("|").map(decodeURIComponent), { views } = state.run;
  const named = views.findIndex((view) => view.dataset === dataset && view.encoder === encoder && view.model === model);
  return [named >= 0 ? named : Math.max(views.findIndex((view) => view.heatmaps), 0), slide];
}

// A model's name, with its encoder where there are several.
function nameOfModel(view) {
  const encoders = new Set(viewsOf(view.dataset).map(([, one]) => one.encoder));
  const name = encoders.size > 1 ? `${view.encoder}, ${view.model}` : view.model;
  return (name || "not trained yet") + (view.model && !view.heatmaps ? " (no heat maps)" : "");
}

async function openView(number, slide) {
  state.view = await ask(`views/${number}.json`);
  state.number = number;
  const models = viewsOf(state.view.dataset).map(([k, view]) => [k, nameOfModel(view)]);
  fillSelect(find("model"), models, number);
  showStanding();
  if (!state.view.model) layers.shown.outline = true; // nothing else to look at yet
  list.load(state.view.slides, `views/${number}/slides`);
  const known = state.view.slides.some((one) => one.id === slide);
  if (state.view.slides.length) await openSlide(known ? slide : state.view.slides[0].id);
}

// AUROC, or the main metric of another task, with its interval, and the cautions about it
function showStanding() {
  const [mean, low, high] = state.view.auroc ?? [];
  find("auroc").replaceChildren();
  if (state.view.auroc) {
    const interval = low === null ? "" : ` (95% interval ${low.toFixed(2)} to ${high.toFixed(2)})`;
    find("auroc").append(`${state.view.metric} `, element("b", { textContent: mean.toFixed(2) }), interval);
    if (state.view.chance) find("auroc").append(element("span", { className: "chance", textContent: "not better than chance", title: state.view.chance }));
  }
  const { cautions } = state.view;
  find("cautions").hidden = !cautions.length;
  find("cautions").querySelector("summary").textContent = cautions.length === 1 ? "1 warning" : `${cautions.length} warnings`;
  find("cautions").querySelector("ul").replaceChildren(...cautions.map((text) => element("li", { textContent: text })));
}

async function openSlide(id) {
  const slide = state.view.slides.find((one) => one.id === id), number = state.number;
  Object.assign(state, { slide, answer: null });
  list.mark(id);
  history.replaceState(null, "", `#${[state.view.dataset, state.view.encoder, state.view.model, id].map(encodeURIComponent).join("|")}`);
  showPrediction(slide, state.view.classes);
  for (const place of ["facts", "missing", "tops"]) find(place).replaceChildren();
  find("previous").disabled = list.beside(-1) === null;
  find("next").disabled = list.beside(1) === null;
  viewer.close();
  layers.clear();
  hideProblem();
  const folder = `views/${number}/slides/${encodeURIComponent(id)}`;
  const answer = await ask(`${folder}.json`);
  if (state.slide !== slide || state.number !== number) return; // another was opened since
  state.answer = answer;
  showFacts(slide, answer);
  layers.load(answer.tiles, answer.outline);
  chooseClass();
  showLayers();
  if (answer.problem) return showProblem(answer.problem);
  const { width, height, tile, overlap } = answer.image;
  const size = { Width: width, Height: height };
  viewer.open({ Image: { xmlns: "http://schemas.microsoft.com/deepzoom/2008", Url: `${folder}/`, Format: "jpg", Overlap: overlap, TileSize: tile, Size: size } });
}

// Names of values of the open slide that belong to a layer.
const valuesOf = (layer) => Object.keys(state.answer?.tiles?.values ?? {}).filter((name) => name.startsWith(layer));

// Which contributions can be chosen, and are chosen at first: of two classes those to the second, of more those to the predicted;
// of another task, which has one value in place of classes, those to that.
function chooseClass() {
  const { classes } = state.view, of = classes.length === 2 ? classes[SHOWN_CLASS_OF_TWO] : classes.length === 1 ? classes[0] : state.slide.predicted;
  const names = valuesOf("contribution").filter((name) => classes.length > 2 || name.startsWith(`contribution to ${of}`));
  if (!names.includes(state.of)) state.of = names.find((name) => name === `contribution to ${of}`) ?? names[0];
  fillSelect(find("class"), names.map((name) => [name, name.replace(/^contribution /, "")]), state.of);
}

const shownValues = () => (state.layer === "contribution" && state.of ? state.of : state.layer ? valuesOf(state.layer)[0] : null) ?? null;

function showLayers() {
  const missing = state.answer?.missing ?? {};
  if (state.layer === "contribution" && missing.contribution && !missing.attention) state.layer = "attention";
  layers.colour(shownValues(), state.view);
  const shown = { ...layers.shown, attention: state.layer === "attention", contribution: state.layer === "contribution" };
  for (const button of find("layers").querySelectorAll("button")) {
    const remedy = missing[button.dataset.layer === "outline" ? "tissue" : button.dataset.layer];
    button.disabled = Boolean(remedy);
    button.title = remedy ?? "";
    button.ariaPressed = String(Boolean(shown[button.dataset.layer]) && !remedy && !layers.hidden);
  }
  find("class").hidden = state.layer !== "contribution" || find("class").options.length < 2;
  showLegend();
  const folder = `views/${state.number}/slides/${encodeURIComponent(state.slide.id)}`;
  showTops(state.answer?.tiles, layers.shown.values, layers.scale, folder, fly);
}

function showLegend() {
  const { scale } = layers;
  find("legend").hidden = !scale || layers.hidden;
  if (!scale) return;
  const [title, note, chance] = find("legend").querySelectorAll("p"), ticks = find("legend").querySelector(".ticks");
  [title.textContent, note.textContent] = [scale.title, scale.note];
  chance.hidden = !state.view.chance;
  chance.textContent = `${state.view.chance}. Do not read its colours as findings.`;
  ticks.replaceChildren(...scale.ticks.filter(([at]) => at === 0 || at === 1 || (at > NEAR && at < 1 - NEAR)).map(([at, text]) => {
    const tick = element("span", { textContent: text, className: at === 0 ? "first" : at === 1 ? "last" : "" });
    tick.style.left = `${100 * at}%`;
    return tick;
  }));
  const context = find("legend").querySelector("canvas").getContext("2d");
  context.clearRect(0, 0, 256, 1);
  for (let k = 0; k < 256; k++) {
    const [red, green, blue, opacity] = scale.at(k / 255);
    context.fillStyle = `rgba(${red}, ${green}, ${blue}, ${opacity / 255})`;
    context.fillRect(k, 0, 1, 1);
  }
}

function toggle(layer) {
  if (find("layers").querySelector(`[data-layer="${layer}"]`).disabled) return;
  if (layers.hidden) layers.hidden = false;
  else if (layer in layers.shown) layers.shown[layer] = !layers.shown[layer];
  else state.layer = state.layer === layer ? null : layer;
  showLayers();
}

function hideAll() {
  layers.hidden = !layers.hidden;
  showLayers();
  layers.draw();
}

function fly(tile) {
  const { x, y, side } = state.answer.tiles, image = viewer.world.getItemAt(0);
  if (!image) return;
  layers.marked = tile;
  markTop(tile);
  const margin = (side * (AROUND - 1)) / 2;
  viewer.viewport.fitBounds(image.imageToViewportRectangle(x[tile] - margin, y[tile] - margin, side * AROUND, side * AROUND));
  layers.draw();
}

function step(by) {
  const id = list.beside(by);
  if (id !== null) openSlide(id);
}

function showProblem(text) {
  find("problem").textContent = text;
  find("problem").hidden = false;
}

function hideProblem() { find("problem").hidden = true; }

// A bar of a round length, and how much of the slide a pixel of the screen shows.
function drawRuler() {
  const image = viewer.world.getItemAt(0), mpp = state.answer?.image?.mpp;
  find("ruler").hidden = !image || !mpp;
  if (!image || !mpp) return;
  const perPixel = mpp / image.viewportToImageZoom(viewer.viewport.getZoom(true)); // um per screen pixel
  const wanted = 120 * perPixel, power = 10 ** Math.floor(Math.log10(wanted));
  const length = [5, 2, 1].find((one) => one * power <= wanted) * power;
  find("ruler").querySelector("span").textContent = length >= 1000 ? `${length / 1000} mm` : `${length} µm`;
  find("ruler").querySelector("i").style.width = `${length / perPixel}px`;
}

function showHover(event) {
  const image = viewer.world.getItemAt(0), box = find("stage").getBoundingClientRect();
  const point = new OpenSeadragon.Point(event.clientX - box.left, event.clientY - box.top);
  const place = image && layers.tiles ? image.viewerElementToImageCoordinates(point) : null;
  const tile = place ? layers.tileAt(place.x, place.y) : undefined;
  find("hover").hidden = tile === undefined || layers.hidden || !layers.scale;
  if (find("hover").hidden) return;
  find("hover").textContent = `${layers.scale.title}: ${layers.scale.describe(layers.tiles.values[layers.shown.values][tile])}`;
  find("hover").style.left = `${Math.min(point.x + 14, box.width - find("hover").offsetWidth - 8)}px`;
  find("hover").style.top = `${point.y + 16}px`;
}

const KEYS = {
  ArrowDown: () => step(1), ArrowUp: () => step(-1), j: () => step(1), k: () => step(-1), " ": hideAll, 0: () => viewer.viewport.goHome(),
  "+": () => viewer.viewport.zoomBy(1.5), "=": () => viewer.viewport.zoomBy(1.5), "-": () => viewer.viewport.zoomBy(1 / 1.5),
  1: () => toggle("attention"), 2: () => toggle("contribution"), 3: () => toggle("outline"), 4: () => toggle("grid"),
};

window.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input[type=search], select, textarea") || (event.target.matches("button") && event.key === " ");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  event.preventDefault();
  event.stopPropagation(); // OpenSeadragon has meanings of its own for these
  KEYS[event.key]();
}, true);
window.addEventListener("click", (event) => { if (event.detail) event.target.closest("button")?.blur(); }); // after the mouse, keys are the page's
find("layers").addEventListener("click", (event) => { const button = event.target.closest("button"); if (button) toggle(button.dataset.layer); });
find("zoom").addEventListener("click", (event) => {
  const { zoom } = event.target.dataset;
  if (zoom === "home") viewer.viewport.goHome();
  else if (zoom) viewer.viewport.zoomBy(zoom === "in" ? 1.5 : 1 / 1.5);
});
find("opacity").addEventListener("input", (event) => { layers.opacity = Number(event.target.value); layers.draw(); });
find("class").addEventListener("change", (event) => { state.of = event.target.value; showLayers(); });
find("previous").addEventListener("click", () => step(-1));
find("next").addEventListener("click", () => step(1));
find("stage").addEventListener("pointermove", showHover);
find("stage").addEventListener("pointerleave", () => { find("hover").hidden = true; });
for (const event of ["update-viewport", "open", "close"]) viewer.addHandler(event, drawRuler);
viewer.addHandler("tile-load-failed", async ({ tile }) => {
  const answer = await fetch(tile.getUrl()).catch(() => null);
  showProblem(answer && !answer.ok ? `A part of this slide cannot be read. ${await answer.text()}` : "The viewer has ended. Start it again: roformermil view");
});
viewer.addHandler("tile-loaded", hideProblem);
start().catch((error) => showProblem(error.message));
