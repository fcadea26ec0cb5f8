// The list of slides: filtered, sorted, one of them current.

import { element, find, probability } from "./page.js";

const isUnused = (slide) => slide.status !== "ok";
const isWrong = (slide) => Boolean(slide.label && slide.predicted && slide.label !== slide.predicted);
const confidence = (slide) => (slide.probabilities.length ? Math.max(...slide.probabilities) : -1);
const ORDERS = {
  surprise: null, // as the server sorts them
  confident: (a, b) => isUnused(a) - isUnused(b) || confidence(b) - confidence(a),
  name: (a, b) => a.id.localeCompare(b.id, "en", { numeric: true }),
};

export class SlideList {
  constructor(open) {
    this.open = open;
    this.current = null;
    this.slides = this.shown = [];
    for (const id of ["filter", "order", "wrong"]) find(id).addEventListener("input", () => this.render());
  }

  load(slides, folder) {
    this.slides = slides;
    this.folder = folder;
    find("wrong").closest("label").hidden = !slides.some((slide) => slide.label && slide.predicted);
    const surprising = find("order").querySelector("[value=surprise]");
    surprising.hidden = !slides.some((slide) => slide.predicted);
    if (surprising.hidden && surprising.selected) find("order").value = "name";
    this.render();
  }

  render() {
    const words = find("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = (slide) => `${slide.id} ${slide.patient} ${slide.label} ${slide.predicted} ${slide.status}`.toLowerCase();
    this.shown = this.slides.filter((slide) => words.every((word) => text(slide).includes(word)));
    if (find("wrong").checked) this.shown = this.shown.filter(isWrong);
    const order = ORDERS[find("order").value];
    if (order) this.shown = [...this.shown].sort(order);
    find("count").textContent = this.shown.length === this.slides.length ? `${this.slides.length} slides` : `${this.shown.length} of ${this.slides.length}`;
    find("list").replaceChildren(...this.shown.map((slide) => this.item(slide)));
    this.mark(this.current);
  }

  item(slide) {
    const picture = element("span", { className: "picture" });
    if (slide.thumbnail) picture.append(element("img", { loading: "lazy", alt: "", src: `${this.folder}/${encodeURIComponent(slide.id)}/thumbnail.jpg` }));
    const chance = slide.probabilities.length ? probability(confidence(slide)) : "";
    const item = element("li", {}, picture, element("strong", { textContent: slide.id, title: slide.id }), element("span", { className: "p", textContent: chance }), element("small", { textContent: describe(slide) }));
    item.dataset.slide = slide.id;
    item.classList.toggle("is-wrong", isWrong(slide));
    item.classList.toggle("is-lost", isUnused(slide));
    item.addEventListener("click", () => this.open(slide.id));
    return item;
  }

  // id: of the slide that is now open
  mark(id) {
    this.current = id;
    for (const item of find("list").children) {
      const isCurrent = item.dataset.slide === id;
      item.toggleAttribute("aria-current", isCurrent);
      if (isCurrent) item.scrollIntoView({ block: "nearest" });
    }
  }

  // the slide so many places further, or null at the end
  beside(step) {
    const place = this.shown.findIndex((slide) => slide.id === this.current);
    return this.shown[place + step]?.id ?? null;
  }
}

function describe(slide) {
  if (isUnused(slide)) return slide.status === "excluded" ? "excluded by the slide sheet" : `not used: ${slide.status.replaceAll("_", " ")}`;
  if (!slide.predicted) return slide.label || "no prediction";
  if (isWrong(slide)) return `${slide.predicted}, labelled ${slide.label}`;
  return slide.label ? `${slide.predicted}, as labelled` : slide.predicted;
}
