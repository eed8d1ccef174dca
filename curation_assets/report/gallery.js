"use strict";
// The clips as cards. Only those in view are in the document, so that 20,000 scroll like 20.

const CARD = { width: 232, height: 308, gap: 12 }; // the height is also in page.css
const reasonOf = new Map([
  [EXCLUDED, "excluded, or not decided"],
  ...clipMeasures.map((measure, k) => [1 + k, measure.title]),
  [WORDLESS, "not captioned"],
  ...sampleMeasures.map((measure, k) => [WORDLESS + 1 + k, measure.title]),
  [LOST, "not encoded"],
]);
const fileOf = (i) => clips.videos[videoOf[i]][1];
const sourceOf = (i) => clips.videos[videoOf[i]][0];
const haystack = clips.ids.map((id, i) =>
  [id, sourceOf(i), fileOf(i), clips.texts[i], clips.originals[i], ...(clips.notes[i] ?? [])].join("\n").toLowerCase(),
);
const hasPicture = (i) => clips.pictures[i] !== undefined;
const isSample = (i) => stops[i] === NOWHERE;
const isSelected = (i) => stops[i] >= WORDLESS;
const wasSelected = (i) => Boolean(marks[i] & bit.selected);

const STATES = {
  all: ["all clips", () => true],
  samples: ["samples", isSample],
  selected: ["selected, but no sample", (i) => isSelected(i) && !isSample(i)],
  dropped: ["dropped", (i) => !isSelected(i)],
  entering: ["selected by the moved bounds", (i) => isSelected(i) && !wasSelected(i)],
  leaving: ["dropped by the moved bounds", (i) => !isSelected(i) && wasSelected(i)],
};

let listed = []; // positions of the clips that are shown, in order
let current = 0; // of them the one that the keyboard is on

// Every reason for which the clip isn't a sample, as the bounds are now.
function reasons(i) {
  const failing = measures
    .filter((measure) => measure.failed[i] && (measure.stage === "clip_selection" || marks[i] & bit.captioned))
    .filter(({ name }) => !clips.notes[i]?.some((note) => note.startsWith(`${name}: not scored`)))
    .map(({ name, scores, bounds }) => {
      if (Number.isNaN(scores[i])) return `${name}: not scored`;
      const isLow = bounds.min !== null && scores[i] < bounds.min;
      return `${name}: ${short(scores[i])} ${isLow ? `< ${bounds.min}` : `> ${bounds.max}`}`;
    });
  const others = clips.notes[i] ?? (marks[i] & bit.judged ? [] : ["not decided yet"]);
  if (!failing.length && stops[i] === WORDLESS && !others.length) return ["not captioned yet"];
  return [...others, ...failing, ...(stops[i] === LOST ? ["not encoded, or its source is gone"] : [])];
}

function fails(i, step) {
  if (stops[i] === step) return true;
  const measure = measures.find((each) => stepOf(each) === step);
  return Boolean(measure?.failed[i]) && (measure.stage === "clip_selection" || Boolean(marks[i] & bit.captioned));
}

// Distance to the nearest bound in the plot's width, small on both sides of a border.
function distance(measure, i) {
  const { low, high } = measure.histogram;
  const gaps = Object.values(measure.bounds).map((bound) => (bound === null ? Infinity : Math.abs(measure.scores[i] - bound)));
  return Math.min(...gaps) / (high - low);
}

function orderings() {
  const ranked = (value) => (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === y) return a - b;
    if (Number.isNaN(x)) return 1;
    if (Number.isNaN(y)) return -1;
    return x - y;
  };
  const found = new Map([
    ["pictured", ["with a picture first", ranked((i) => (hasPicture(i) ? 0 : 1))]],
    ["clip", ["by clip", (a, b) => a - b]],
    ["length", ["longest first", ranked((i) => -durations[i])]],
  ]);
  measures.forEach((measure, k) => {
    const score = (i) => (Number.isFinite(measure.scores[i]) ? measure.scores[i] : NaN);
    found.set(`low ${k}`, [`${measure.title}: lowest first`, ranked(score)]);
    found.set(`high ${k}`, [`${measure.title}: highest first`, ranked((i) => -score(i))]);
    found.set(`edge ${k}`, [`${measure.title}: nearest to a bound`, ranked((i) => distance(measure, i))]);
  });
  return found;
}
const orders = orderings();

function refill() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [, isShown] = STATES[byId("state").value];
  const step = byId("reason").value === "" ? null : Number(byId("reason").value);
  const source = byId("source").value;
  listed = [];
  for (let i = 0; i < count; i++) {
    if (!isShown(i) || (step !== null && !fails(i, step)) || (source && sourceOf(i) !== source)) continue;
    if (words.every((word) => haystack[i].includes(word))) listed.push(i);
  }
  listed.sort(orders.get(byId("order").value)[1]);
  byId("found").textContent = `${plural(listed.length, "clip")} shown`;
  current = Math.min(current, Math.max(0, listed.length - 1));
  drawCards();
}

const drawn = new Map(); // position in the list -> card
const spread = element("div", { className: "spread" });

function columns() {
  return Math.max(1, Math.floor((byId("cards").clientWidth - CARD.gap) / (CARD.width + CARD.gap)));
}

// Cards in view and a row on either side; what left the view leaves the document, but for what has the focus.
function drawCards(isMerelyScrolled = false) {
  const cards = byId("cards");
  const across = columns();
  const rowHeight = CARD.height + CARD.gap;
  spread.style.height = `${Math.ceil(listed.length / across) * rowHeight + CARD.gap}px`;
  const first = Math.max(0, Math.floor(cards.scrollTop / rowHeight) - 1) * across;
  const last = Math.min(listed.length, (Math.ceil((cards.scrollTop + cards.clientHeight) / rowHeight) + 1) * across);
  for (const [k, card] of drawn) {
    if (isMerelyScrolled && ((k >= first && k < last) || card === document.activeElement)) continue;
    card.remove();
    drawn.delete(k);
  }
  const width = (cards.clientWidth - CARD.gap) / across - CARD.gap;
  for (let k = first; k < last; k++) {
    if (drawn.has(k)) continue;
    const card = clipCard(listed[k], k);
    card.style.transform = `translate(${CARD.gap + (k % across) * (width + CARD.gap)}px, ${CARD.gap + Math.floor(k / across) * rowHeight}px)`;
    card.style.width = `${width}px`;
    drawn.set(k, card);
    spread.append(card);
  }
}

const chip = (i) => {
  const [name, kind] = isSample(i) ? ["sample", "good"] : isSelected(i) ? ["selected", "fair"] : ["dropped", "bad"];
  const moved = isSelected(i) === wasSelected(i) ? "" : isSelected(i) ? " · enters" : " · leaves";
  return element("span", { className: `chip ${kind}`, textContent: name + moved });
};

function picture(i) {
  const jpeg = clips.pictures[i];
  if (jpeg === undefined) return element("div", { className: "picture", textContent: "no picture in this file" });
  const image = element("img", { src: `data:image/jpeg;base64,${jpeg}`, alt: "", decoding: "async" });
  return element("div", { className: "picture" }, image);
}

const span = (i) => `${starts[i].toFixed(2)}–${(starts[i] + durations[i]).toFixed(2)} s`;

function clipCard(i, k) {
  const why = reasons(i);
  const scores = measures
    .filter((measure) => Number.isFinite(measure.scores[i]))
    .map((measure) => `${measure.name} ${short(measure.scores[i])}`);
  const card = element(
    "article",
    { className: "card", tabIndex: k === current ? 0 : -1, aria: { label: `${clips.ids[i]}, ${fileOf(i)}` } },
    picture(i),
    element("p", { className: "where" }, chip(i), " ", foreign(fileOf(i)), ` ${span(i)}`),
    clips.texts[i] === null ? null : foreign(clips.texts[i], { className: "caption" }),
    why.length ? element("p", { className: "why", dir: "auto", textContent: why.join("; ") }) : null,
    element("p", { className: "scores", textContent: scores.join(" · ") }),
  );
  card.setAttribute("aria-posinset", k + 1);
  card.setAttribute("aria-setsize", listed.length);
  card.addEventListener("click", () => {
    current = k;
    openClip();
  });
  return card;
}

function openClip() {
  const i = listed[current];
  if (i === undefined) return;
  const dialog = byId("clip");
  const rows = measures.map(({ title, unit, scores, bounds, failed, stage }) => {
    const isAsked = stage === "clip_selection" || marks[i] & bit.captioned;
    const isFor = scores[i] !== Infinity && isAsked;
    const score = Number.isNaN(scores[i]) ? "not scored" : String(scores[i]);
    return [
      title,
      isFor ? score : "–",
      `${bounds.min ?? "–"} to ${bounds.max ?? "–"}`,
      unit,
      isFor ? element("span", { className: `chip ${failed[i] ? "bad" : "good"}`, textContent: failed[i] ? "fails" : "passes" }) : "",
    ];
  });
  const text = (name, value) =>
    value === null ? null : element("div", {}, element("h4", { textContent: name }), foreign(value, { className: "whole" }));
  const step = (by, label) => {
    const button = element("button", { type: "button", textContent: label, disabled: listed[current + by] === undefined });
    button.addEventListener("click", () => {
      move(current + by);
      openClip();
    });
    return button;
  };
  const close = element("button", { type: "button", textContent: "Close" });
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(
    element("header", {}, element("h3", { id: "clip-title", textContent: clips.ids[i] }), step(-1, "Previous"), step(1, "Next"), close),
    element(
      "div",
      { className: "opened" },
      picture(i),
      element(
        "div",
        {},
        element("p", {}, chip(i), " ", foreign(fileOf(i)), ` ${span(i)}, source `, foreign(sourceOf(i))),
        ...reasons(i).map((reason) => element("p", { className: "why", dir: "auto", textContent: reason })),
        text("Caption", clips.texts[i]),
        text("Before rewriting", clips.originals[i]),
      ),
    ),
    element("div", { className: "scrolled" }, table("Scores", ["filter", "score", "bounds", "unit", ""], rows, { hidden: true })),
  );
  if (!dialog.open) dialog.showModal();
  close.focus();
}

function move(to) {
  if (!listed.length) return;
  const cards = byId("cards");
  current = Math.max(0, Math.min(listed.length - 1, to));
  const top = Math.floor(current / columns()) * (CARD.height + CARD.gap);
  if (top < cards.scrollTop) cards.scrollTop = top;
  const over = top + CARD.height + 2 * CARD.gap - cards.clientHeight;
  if (over > cards.scrollTop) cards.scrollTop = over;
  drawCards();
  focusCurrent();
}

const focusCurrent = () => drawn.get(current)?.focus({ preventScroll: true });

function showGallery() {
  const options = (id, pairs) => byId(id).replaceChildren(...pairs.map(([value, text]) => new Option(text, value)));
  options("state", Object.entries(STATES).map(([value, [text]]) => [value, text]));
  options("reason", [["", "any"], ...reasonOf]);
  options("source", [["", "all"], ...[...new Set(clips.videos.map(([source]) => source))].sort().map((name) => [name, name])]);
  options("order", [...orders].map(([value, [text]]) => [value, text]));
  const pictured = Object.keys(clips.pictures).length;
  byId("pictures").textContent =
    pictured < count ? `${plural(pictured, "clip")} of ${whole(count)} have a picture here: samples and others in turn, chosen at random.` : "";
  const cards = byId("cards");
  cards.append(spread);
  cards.addEventListener("scroll", () => drawCards(true), { passive: true });
  cards.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns(), Home: -Infinity, End: Infinity }[event.key];
    if (by !== undefined) move(by === -Infinity ? 0 : current + by);
    else if (event.key === "Enter") openClip();
    else return;
    event.preventDefault();
  });
  byId("clip").addEventListener("close", focusCurrent);
  byId("clip").addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by === undefined || listed[current + by] === undefined) return;
    move(current + by);
    openClip();
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("search").addEventListener("input", afterRest(refill, 80));
  for (const id of ["state", "reason", "source", "order"]) byId(id).addEventListener("change", refill);
  new ResizeObserver(() => drawCards()).observe(cards);
  followers.push(afterRest(refill, 150));
  refill();
}

function searchFor(text) {
  byId("search").value = text;
  refill();
  byId("gallery").scrollIntoView();
  byId("search").focus();
}
