"use strict";
// Histograms by Vega-Lite. Beside each is its table, for who can't see it.

const PLOT = { height: 96, left: 44, right: 12, top: 6, bottom: 24 };
const COLOURS = { behind: "var(--behind)", before: "var(--accent)" };

function bins({ low, high, counts }) {
  const [first, second] = Object.values(counts);
  const width = (high - low) / first.length;
  return first.map((all, k) => ({ from: low + k * width, to: low + (k + 1) * width, all, kept: second?.[k] ?? 0 }));
}

function plotSpec(histogram, width) {
  const bar = (field, fill) => ({
    mark: { type: "bar", fill, binSpacing: 1 },
    encoding: {
      x: {
        field: "from",
        bin: { binned: true },
        scale: { domain: [histogram.low, histogram.high], nice: false, zero: false },
        axis: { title: null, grid: false, tickCount: 5, labelFlush: true },
      },
      x2: { field: "to" },
      y: {
        field,
        type: "quantitative",
        scale: { type: "sqrt" },
        axis: { title: null, tickCount: 3, tickMinStep: 1, format: "~s", domain: false, ticks: false },
      },
    },
  });
  const lines = { gridColor: "var(--rule)", domainColor: "var(--faint)", tickColor: "var(--faint)" };
  return {
    width,
    height: PLOT.height,
    autosize: "none",
    padding: { left: PLOT.left, right: PLOT.right, top: PLOT.top, bottom: PLOT.bottom },
    background: null,
    data: { name: "bins", values: bins(histogram) },
    layer: [bar("all", COLOURS.behind), bar("kept", COLOURS.before)],
    config: {
      aria: false,
      font: "system-ui, sans-serif",
      view: { stroke: null },
      axis: { ...lines, labelColor: "var(--quiet)", labelFontSize: 10 },
    },
  };
}

// Draws into `place`; returns what draws other counts over the first.
async function plot(place, histogram) {
  if (!Object.values(histogram.counts)[0].length) {
    place.replaceChildren(element("p", { className: "hint", textContent: "nothing has this figure" }));
    return () => {};
  }
  const room = () => Math.max(120, place.clientWidth - PLOT.left - PLOT.right);
  const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false, tooltip: false };
  const { view } = await vegaEmbed(place, plotSpec(histogram, room()), options);
  new ResizeObserver(afterRest(() => view.width(room()).runAsync(), 100)).observe(place);
  return (kept) => view.data("bins", bins({ ...histogram, counts: { ...histogram.counts, kept } })).runAsync();
}

function binTable(caption, heads, histogram) {
  const rows = bins(histogram).map(({ from, to, all, kept }) => [
    `${short(from)} to ${short(to)}`,
    all,
    ...(heads.length > 2 ? [kept] : []),
  ]);
  return element(
    "details",
    {},
    element("summary", { textContent: "As a table" }),
    element("div", { className: "scrolled" }, table(caption, heads, rows, { hidden: true })),
  );
}

// A histogram of one series or of two, one before the other.
function figure(title, names, histogram) {
  const place = element("div", { className: "plot", aria: { hidden: "true" } });
  const made = element(
    "figure",
    {},
    element("figcaption", { textContent: title }),
    place,
    binTable(title, ["from to", ...names], histogram),
  );
  return { made, draw: () => plot(place, histogram) };
}
