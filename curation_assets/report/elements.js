"use strict";
// Elements and figures. Text from the data set goes in as text, never as markup.

const byId = (id) => document.getElementById(id);

function element(tag, properties = {}, ...children) {
  const { data: dataset, aria, ...plain } = properties;
  const made = Object.assign(document.createElement(tag), plain);
  Object.assign(made.dataset, dataset);
  for (const [name, value] of Object.entries(aria ?? {})) made.setAttribute(`aria-${name}`, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// What was written by people or models may run from right to left, and must not turn its neighbours around.
const foreign = (text, properties = {}) => element("bdi", { dir: "auto", textContent: text, ...properties });

const wholes = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const whole = (number) => wholes.format(number);
const short = (number) => (number === null ? "–" : String(Number(number.toPrecision(4))));
const percent = (part, all) => (all ? `${short(Number(((100 * part) / all).toPrecision(3)))} %` : "–");
const plural = (number, one, many = `${one}s`) => `${whole(number)} ${number === 1 ? one : many}`;

function time(hours) {
  const seconds = Math.max(0, hours * 3600);
  if (seconds < 120) return `${short(Number(seconds.toFixed(1)))} s`;
  if (seconds < 7200) return `${short(Number((seconds / 60).toFixed(1)))} min`;
  return `${hours < 100 ? hours.toFixed(1) : whole(hours)} h`;
}

function bytes(size) {
  const step = Math.min(4, Math.floor(Math.log10(Math.max(1, size)) / 3));
  return `${short(Number((size / 1000 ** step).toPrecision(3)))} ${["B", "kB", "MB", "GB", "TB"][step]}`;
}

// A table. A cell is text, an element, a number or {figure}, which go to the right, or {share}, a bar of that share.
const isFigure = (content) => typeof content === "number" || content?.figure !== undefined;

function table(caption, heads, rows, { hidden = false } = {}) {
  const cell = (tag, content) => {
    const made = element(tag);
    if (tag === "th") made.scope = "col";
    if (content?.share !== undefined) {
      const bar = element("span", { className: "meter", aria: { hidden: "true" } });
      bar.style.width = `${100 * content.share}%`;
      made.append(bar);
      made.className = "bar-cell";
    } else if (isFigure(content)) {
      made.textContent = content.figure ?? whole(content);
      made.className = "number";
    } else made.append(content ?? "");
    return made;
  };
  const body = rows.map((row) => element("tr", {}, ...row.map((content) => cell("td", content))));
  const head = element("tr", {}, ...heads.map((name) => cell("th", name)));
  heads.forEach((_, k) => {
    if (rows.length && isFigure(rows[0][k])) head.children[k].className = "number";
  });
  return element(
    "table",
    {},
    element("caption", { className: hidden ? "unseen" : "", textContent: caption }),
    element("thead", {}, head),
    element("tbody", {}, ...body),
  );
}

// A counted list: name, bar, count and what else each row holds.
function counted(caption, heads, rows, { name = foreign, isWide = false } = {}) {
  const most = Math.max(1, ...rows.map((row) => row[1]));
  const listed = rows.map(([label, number, ...rest]) => [name(label), { share: number / most }, number, ...rest]);
  return element("div", { className: isWide ? "scrolled wide" : "scrolled" }, table(caption, [heads[0], "", ...heads.slice(1)], listed));
}

const figures = (list, items) =>
  list.replaceChildren(
    ...items.map(([name, value, hint]) =>
      element(
        "div",
        {},
        element("dt", { textContent: name }),
        element("dd", { textContent: value }),
        hint ? element("dd", { className: "hint", textContent: hint }) : null,
      ),
    ),
  );

function afterRest(action, milliseconds) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...values), milliseconds);
  };
}
