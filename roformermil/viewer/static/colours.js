// Values of tiles as colours, as in the heat maps (report/heatmaps), and the words of their scale. A colour is [red, green,
// blue, opacity], so that tissue remains visible where a tile counts little.

const GREEN = [0, 105, 60], BLUE = [30, 70, 200], RED = [200, 30, 40], GREY = [150, 150, 150, 160];
let limits = null; // what decides how values are drawn and described: report/heatmaps states it, run.json has it
export const setLimits = (given) => { limits = given; };
export const SHUFFLED = ", positions shuffled"; // ends the name of contributions of a prediction with shuffled positions

// The least and the largest value: Math.min and Math.max take only some ten thousand arguments.
export const extremes = (values) => [values.reduce((a, b) => Math.min(a, b), Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity)];
const short = (value) => (value === 0 ? "0" : Number(value.toPrecision(2)).toLocaleString("en", { maximumSignificantDigits: 2, minimumSignificantDigits: Math.abs(value) < 10 ? 2 : 1 }));
const signed = (value) => (value > 0 ? "+" : "") + short(value).replace("-", "−");

// What a layer is called, `colour` of a value, `at` a place on the scale (0 to 1), `ticks` on it, `note`, and `describe` a value.
// values: of all tiles by name; view: with the classes and the unit of contributions.
export function scaleOf(name, values, view) {
  return name.startsWith("attention") ? attentionScale(values[name]) : contributionScale(name, values, view);
}

function attentionScale(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const [least, most] = extremes(values).map((value) => value / mean);
  const describe = (value) => `${short(value / mean)} times the mean`;
  if (most <= limits.even && least * limits.even >= 1) {
    const note = `The model singles out no place: no tile is a factor of ${limits.even} from the mean of all.`;
    return { title: "Attention is even", colour: () => GREY, at: () => GREY, ticks: [[0.5, "even"]], note, describe, choosesNoTile: true };
  }
  const low = Math.min(Math.max(least, limits.leastAttention), most / limits.leastRange), place = (value) => Math.log(Math.max(value, low) / low) / Math.log(most / low);
  const at = (part) => [...GREEN, Math.round(255 * part)];
  const ticks = [[0, (least < low ? "< " : "") + short(low)], [place(1), "mean"], [1, `${short(most)} times`]];
  const note = `This slide: ${short(least)} to ${short(most)} times the mean of its tiles. The scale is logarithmic.`;
  return { title: "Attention", colour: (value) => at(place(value / mean)), at, ticks, note, describe };
}

function contributionScale(name, values, { classes, unit }) {
  const own = values[name.replace(SHUFFLED, "")] ?? values[name]; // both are drawn in the same colours
  const areOdds = unit === "log-odds";
  const sizes = own.map(Math.abs).sort((a, b) => a - b);
  const limit = Math.max(sizes[Math.ceil(limits.quantile * (sizes.length - 1))], areOdds ? 1 / own.length : Number.MIN_VALUE);
  const [least, most] = extremes(values[name]);
  const at = (part) => [...(part < 0.5 ? BLUE : RED), Math.round(255 * Math.min(1, Math.abs(2 * part - 1)))];
  const ticks = [[0, `${least < -limit ? "< " : ""}${signed(-limit)}`], [0.5, "0"], [1, `${most > limit ? "> " : ""}${signed(limit)}`]];
  const of = name.replace("contribution to ", "").replace(SHUFFLED, ""), other = classes.length === 2 ? classes.find((one) => one !== of) : null;
  const note = classes.length === 1
    ? `${unit[0].toUpperCase()}${unit.slice(1)} per tile: red raises the ${of}, blue lowers it. ${areOdds ? oddsSentence(values[name], "the event in an interval", null) : sumSentence(values[name])}`
    : `Log-odds per tile: red for ${of}, blue ${other ? `for ${other}` : "against it"}. ${oddsSentence(values[name], of, other)}`;
  const choosesNoTile = areOdds && Math.max(...extremes(values[name]).map(Math.abs)) * own.length < limits.negligible; // noise would
  const title = `Contribution to ${of}${name.endsWith(SHUFFLED) ? SHUFFLED : ""}`;
  return { title, colour: (value) => at(value / limit / 2 + 0.5), at, ticks, note, describe: (value) => `${signed(value)} ${unit}`, choosesNoTile };
}

const sumSentence = (values) => `Together, the tiles add ${signed(values.reduce((total, value) => total + value, 0))} to the model's baseline.`;

function oddsSentence(values, of, other) {
  const sum = values.reduce((total, value) => total + value, 0), times = Math.exp(Math.min(Math.abs(sum), Math.log(limits.mostTimes)));
  const odds = `the odds of ${other && sum < 0 ? other : of}`;
  if (times < limits.leastTimes) return `Together, the tiles hardly change ${odds}.`;
  const factor = times < 0.99 * limits.mostTimes ? short(times) : "more than a million";
  const [verb, place] = other || sum > 0 ? ["raise", "over"] : ["lower", "below"];
  return `Together, the tiles ${verb} ${odds} ${factor} times ${place} the model's baseline.`;
}
