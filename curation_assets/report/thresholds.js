"use strict";
// The funnel, and a card a filter whose bounds can be moved: by a line in the plot, a slider or a number.

const scale = data.all_clips / Math.max(1, count);
const isSampled = scale > 1;
const followers = []; // what else follows the bounds, such as the gallery
let present = null; // steps at the bounds in force

const stepNames = [
  "decided, not excluded by hand",
  ...clipMeasures.map((measure) => measure.title),
  "captioned",
  ...sampleMeasures.map((measure) => measure.title),
  "encoded: samples",
];

function figuresNow() {
  const computed = recompute();
  const waiting = computed.waiting * scale;
  if (isSampled && isAsReleased()) return { waiting, steps: data.funnel.slice(1), isExact: true };
  const scaled = computed.steps.map((step) =>
    Object.fromEntries(Object.entries(step).map(([name, value]) => [name, name === "stopped" ? value : value * scale])),
  );
  return { waiting, steps: scaled, isExact: !isSampled };
}

const estimated = (number) => (isSampled ? `≈ ${whole(Number(number.toPrecision(3)))}` : whole(number));
const about = (number) => (present.isExact ? whole(number) : estimated(number));

// Half the width of the 95 % interval of a count estimated from the sample.
function uncertainty(number) {
  const share = number / data.all_clips;
  return present.isExact ? "" : ` ± ${whole(1.96 * data.all_clips * Math.sqrt((share * (1 - share)) / count))}`;
}

function showFunnel() {
  const { facts } = data;
  const all = Math.max(facts.hours, 1e-9);
  const isTimed = facts.hours > 0;
  const row = (say, name, number, hours, alone = "", last = "", unscored = "") => [
    name,
    { share: Math.max(0, Math.min(1, isTimed ? hours / all : number / Math.max(1, data.all_clips))) },
    { figure: say(number) },
    { figure: time(hours) },
    { figure: isTimed ? percent(hours, all) : percent(number, data.all_clips) },
    ...[alone, last, unscored].map((figure) => ({ figure })),
  ];
  const asked = (value) => (value ? about(value) : "–");
  const unreadable = facts.unreadable ? `${whole(facts.unreadable)} unreadable` : "";
  const rules = facts.dropped_spans.map(([rule, spans]) => `${rule} ${whole(spans)}`).join(", ");
  const cutting = element("span", { title: rules, textContent: "clips after cutting" });
  const rows = [
    row(whole, "source videos", facts.videos - facts.unreadable, facts.hours, unreadable),
    row(whole, cutting, data.all_clips, data.funnel[0].hours, `${whole(facts.spans - data.all_clips)} spans`),
    ...present.steps.map((step, k) => {
      const isFilter = ![EXCLUDED, WORDLESS, LOST].includes(k);
      const wait = k === WORDLESS && present.waiting >= 0.5 ? ` (${estimated(present.waiting)} not yet)` : "";
      const name = isFilter ? stepNames[k] : element("em", { textContent: stepNames[k] + wait });
      const ofFilter = isFilter ? [asked(step.last), asked(step.unscored)] : [];
      return row(about, name, step.clips, step.hours, asked(step.alone), ...ofFilter);
    }),
  ];
  const heads = ["step", "share of source time", "left", "time", "share", "removes", "only it removes", "not scored"];
  const made = table("Clips and time left after each step and all before it", heads, rows, { hidden: true });
  made.id = "funnel-table";
  byId("funnel-table").replaceWith(made);
}

function showLive() {
  const selected = present.steps[WORDLESS - 1];
  const samples = present.steps[LOST];
  const parts = [
    `${about(selected.clips)}${uncertainty(selected.clips)} of ${plural(data.all_clips, "clip")} selected`,
    `${about(samples.clips)}${uncertainty(samples.clips)} samples, ${time(samples.hours)}`,
  ];
  if (present.waiting >= 0.5) parts.push(`${estimated(present.waiting)} not captioned yet`);
  byId("live").textContent = parts.join(" · ");
  byId("reset").hidden = isAsReleased();
  announce(byId("live").textContent);
}
const announce = afterRest((text) => (byId("status").textContent = text), 400);

function showDepartures() {
  const flags = measures.flatMap(({ setting, bounds, ...released }) =>
    ["min", "max"]
      .filter((end) => bounds[end] !== released[end])
      .map((end) => `--set ${setting}.${end}=${bounds[end] ?? "null"}`),
  );
  byId("departures").hidden = !flags.length;
  byId("command").textContent = ["reelhouse preview", ...flags].join(" ");
}

// Counts by bin of the clips that pass every filter of their kind.
function keptBins(measure) {
  const kept = new Float64Array(measure.histogram.counts.clips.length);
  const limit = measure.stage === "clip_selection" ? WORDLESS : LOST;
  for (let i = 0; i < count; i++) if (measure.bins[i] < kept.length && stops[i] >= limit) kept[measure.bins[i]] += scale;
  return Array.from(kept);
}

function binned({ scores, histogram: { low, high, counts } }) {
  const last = counts.clips.length - 1;
  return Uint8Array.from(scores, (score) =>
    Number.isFinite(score) ? Math.max(0, Math.min(last, Math.floor(((score - low) / (high - low)) * (last + 1)))) : 255,
  );
}

const drawKept = afterRest(() => measures.forEach((measure) => measure.drawOver?.(keptBins(measure))), 120);

let isAsked = false;
function boundsMoved() {
  if (isAsked) return; // one computation a frame, however many moves there were
  isAsked = true;
  requestAnimationFrame(() => {
    isAsked = false;
    showAll();
  });
}

function showAll() {
  present = figuresNow();
  showFunnel();
  showLive();
  showDepartures();
  measures.forEach((measure) => measure.showEffect());
  drawKept();
  followers.forEach((follow) => follow());
}

function setBound(measure, end, value) {
  measure.bounds = { ...measure.bounds, [end]: value };
  judge(measure);
  measure.showBounds();
  boundsMoved();
}

// To a tidy number, about a five-hundredth of the plot's width from its neighbour, and not past the other bound.
function slideBound(measure, end, value) {
  const { low, high } = measure.histogram;
  const digits = Math.max(0, Math.ceil(-Math.log10((high - low) / 500)));
  const tidy = Number(value.toFixed(Math.min(digits, 12)));
  const { min, max } = measure.bounds;
  setBound(measure, end, end === "min" ? Math.min(tidy, max ?? Infinity) : Math.max(tidy, min ?? -Infinity));
}

function boundControls(measure, end, lines) {
  const { low, high } = measure.histogram;
  const word = end === "min" ? "minimum" : "maximum";
  const number = element("input", { type: "number", step: "any", placeholder: "none" });
  const slider = element("input", { type: "range", step: "any", aria: { label: `${measure.title}: ${word}, slider` } });
  Object.assign(slider, { min: low, max: high });
  const line = element("div", { className: `line ${end}`, title: `${word}: drag` });
  const shade = element("div", { className: `shade ${end}` });
  lines.append(shade, line);
  number.addEventListener("input", () => {
    if (number.validity.badInput) return;
    setBound(measure, end, number.value === "" ? null : Number(number.value));
  });
  number.addEventListener("change", () => show());
  slider.addEventListener("input", () => slideBound(measure, end, Number(slider.value)));
  line.addEventListener("pointerdown", (event) => {
    line.setPointerCapture(event.pointerId);
    document.activeElement.blur(); // a field in use keeps what is typed
    event.preventDefault();
  });
  line.addEventListener("pointermove", (event) => {
    if (!line.hasPointerCapture(event.pointerId)) return;
    const box = lines.getBoundingClientRect();
    const share = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
    slideBound(measure, end, low + share * (high - low));
  });
  function show() {
    const { min, max, [end]: value } = measure.bounds;
    if (document.activeElement !== number) number.value = value ?? "";
    number.setCustomValidity(min !== null && max !== null && min > max ? "The minimum is above the maximum." : "");
    slider.value = value ?? (end === "min" ? low : high);
    slider.setAttribute("aria-valuetext", value === null ? "no bound" : String(value));
    const share = Math.max(0, Math.min(1, (value - low) / (high - low)));
    line.hidden = shade.hidden = value === null;
    line.style.left = `${100 * share}%`;
    shade.style.width = `${100 * (end === "min" ? share : 1 - share)}%`;
  }
  const label = element("label", {}, element("span", { textContent: end }), number);
  label.title = `${measure.title}: ${word}`;
  number.setAttribute("aria-label", `${measure.title}: ${word}`);
  return { row: element("div", { className: "bound" }, label, slider), show };
}

function measureCard(measure) {
  const lines = element("div", { className: "lines", aria: { hidden: "true" } });
  const place = element("div", { className: "plot", aria: { hidden: "true" } });
  const effect = element("p", { className: "effect" });
  const controls = ["min", "max"].map((end) => boundControls(measure, end, lines));
  measure.bins = binned(measure);
  measure.showBounds = () => controls.forEach((control) => control.show());
  measure.showEffect = () => {
    const { alone, last, unscored } = present.steps[stepOf(measure)];
    const parts = [`removes ${about(alone)}; ${about(last)} of them pass every other filter`];
    if (unscored) parts.push(`${about(unscored)} not scored`);
    effect.textContent = parts.join("; ");
  };
  const heading = element("h3", {}, measure.name, " ", element("small", { textContent: measure.engine }));
  const card = element(
    "section",
    { className: "measure", aria: { label: measure.title }, data: { measure: `${measure.name}/${measure.engine}` } },
    element("header", {}, heading, element("p", { className: "unit", textContent: measure.unit })),
    element("div", { className: "drawing" }, place, lines),
    ...controls.map((control) => control.row),
    effect,
    binTable(measure.title, ["from to", "clips"], measure.histogram),
  );
  const draw = async () => (measure.drawOver = await plot(place, measure.histogram));
  return { card, draw };
}

async function showThresholds() {
  const cards = measures.map(measureCard);
  byId("measures").replaceChildren(...cards.map(({ card }) => card));
  byId("reset").addEventListener("click", () => {
    for (const measure of measures) {
      measure.bounds = { min: measure.min, max: measure.max };
      judge(measure);
      measure.showBounds();
    }
    boundsMoved();
  });
  measures.forEach(judge);
  showAll();
  measures.forEach((measure) => measure.showBounds());
  for (const { draw } of cards) await draw();
  drawKept();
}
