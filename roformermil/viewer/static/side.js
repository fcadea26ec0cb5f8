// The right side: what was predicted of a slide, facts, layers that are missing, and the tiles with extreme values.

import { element, find, number, probability } from "./page.js";

const isLost = (slide) => !["ok", "excluded"].includes(slide.status);
const TOPS = 8; // tiles at either end
const LAYERS = { attention: "Attention", contribution: "Contribution", tissue: "Tissue", grid: "Grid" };

export function showPrediction(slide, classes) {
  find("name").textContent = slide.id;
  find("verdict").className = "";
  find("verdict").replaceChildren(...verdict(slide));
  if (isLost(slide)) find("verdict").classList.add("is-wrong");
  else if (slide.label && slide.predicted) find("verdict").classList.add(slide.label === slide.predicted ? "is-right" : "is-wrong");
  find("probabilities").replaceChildren(...slide.probabilities.map((value, k) => {
    const isLabel = classes[k] === slide.label ? element("em", { textContent: " label" }) : null;
    const name = element("span", { title: classes[k] }, classes[k], isLabel);
    const row = element("div", { className: "probability" }, name, element("span", { textContent: probability(value) }), element("meter", { value, min: 0, max: 1 }));
    row.classList.toggle("is-predicted", classes[k] === slide.predicted);
    return row;
  }));
}

function verdict(slide) {
  const bold = (text) => element("b", { textContent: text });
  if (slide.status !== "ok") return [bold(slide.status === "excluded" ? "Excluded: " : "Not used: "), slide.message];
  if (!slide.predicted) return ["No prediction", ...(slide.label ? [", labelled ", bold(slide.label)] : [])];
  if (!slide.label) return ["Predicted ", bold(slide.predicted)];
  return slide.label === slide.predicted ? ["Predicted ", bold(slide.predicted), ", as labelled"] : ["Predicted ", bold(slide.predicted), ", labelled ", bold(slide.label)];
}

export function showFacts(slide, answer) {
  const { facts, image } = answer;
  const rows = [
    ["Patient", slide.patient],
    ["Predicted by", slide.fold === null ? "" : `the model of fold ${slide.fold}, which was not trained on it`],
    ["Spread", slide.spread === null ? "" : `${probability(slide.spread)} between the ensemble's members`],
    ["File", facts.file],
    ["Size", image ? `${number(image.width)} × ${number(image.height)} px${image.mpp ? `, ${number((image.width * image.mpp) / 1000)} × ${number((image.height * image.mpp) / 1000)} mm` : ""}` : ""],
    ["Resolution", image?.mpp ? `${number(image.mpp)} µm/px${facts.mpp_source ? ` (${facts.mpp_source})` : ""}` : image ? "not stated" : ""],
    ["Tissue", facts.tissue_mm2 === null ? "" : `${number(facts.tissue_mm2)} mm²`],
    ["Tiles", facts.tiles === null ? "" : `${number(facts.tiles)}${answer.tiles && image?.mpp ? `, ${number(Math.round(answer.tiles.side * image.mpp))} µm wide` : ""}`],
    ["Warnings", slide.warnings],
  ].filter(([, text]) => text);
  find("facts").replaceChildren(...rows.flatMap(([name, text]) => [element("dt", { textContent: name }), element("dd", { textContent: text })]));
  if (slide.status !== "ok") return; // the verdict says what to do
  const remedies = Map.groupBy(Object.entries(answer.missing), ([, remedy]) => remedy);
  find("missing").replaceChildren(...[...remedies].map(([remedy, layers]) => element("p", { textContent: `${join(layers.map(([layer]) => LAYERS[layer]))} not stored. ${remedy}.` })));
}

const join = (names) => names.map((name, k) => (k ? name.toLowerCase() : name)).join(" and ");

// The tiles with the highest values, and for values with a sign the lowest. fly: called with a tile's number.
export function showTops(tiles, name, scale, folder, fly) {
  find("tops").replaceChildren();
  if (!tiles || !name || scale.choosesNoTile) return;
  const values = tiles.values[name], order = values.map((_, k) => k).sort((a, b) => values[b] - values[a]);
  const count = Math.min(TOPS, order.length), what = scale.title[0].toLowerCase() + scale.title.slice(1);
  const groups = [[`Highest ${what}`, order.slice(0, count)]];
  if (name.startsWith("contribution")) groups.push([`Lowest ${what}`, order.slice(Math.max(count, order.length - count)).reverse()]);
  for (const [title, chosen] of groups.filter(([, chosen]) => chosen.length)) {
    const buttons = chosen.map((k) => {
      const text = scale.describe(values[k]), src = `${folder}/regions/${tiles.x[k]}_${tiles.y[k]}_${tiles.side}.jpg`;
      const picture = element("img", { src, alt: "", loading: "lazy" });
      const button = element("button", { title: `${text}: go to this tile` }, picture, element("span", { textContent: text.replace(/ (times|log-odds).*/, "") }));
      button.dataset.tile = k;
      button.addEventListener("click", () => fly(k));
      return button;
    });
    find("tops").append(element("h3", { textContent: title }), element("div", { className: "tops" }, ...buttons));
  }
}

export function markTop(number) {
  for (const button of document.querySelectorAll(".tops button")) button.toggleAttribute("aria-current", Number(button.dataset.tile) === number);
}
