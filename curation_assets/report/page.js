"use strict";
// The parts that stand still, and the start of those that move.

function showHeadline() {
  const { facts, captions } = data;
  byId("release").textContent = data.release;
  byId("made").textContent = `made ${data.made}, settings ${data.settings_hash}`;
  const [, , median] = captions.words;
  const repeated = percent(captions.repeated, captions.count);
  const failed = [...captions.captioning, ...captions.rewriting].filter(([status]) => status === "failed");
  const worst = data.reasons.filter(([name]) => name.startsWith("clip_selection: ")).slice(0, 3);
  const [first, ...others] = worst.map(([name, n]) => `${name.replace("clip_selection: ", "")} ${whole(n)}`);
  const name = first ? first.split(" ")[0] : "nothing";
  figures(byId("headline"), [
    ["Samples", whole(facts.samples), facts.warned ? `${whole(facts.warned)} with a warning` : "none with a warning"],
    ["Their length", time(facts.sample_hours), `${percent(facts.sample_hours, facts.hours)} of ${time(facts.hours)} of video`],
    ["Clips selected", percent(selectedThen(), data.all_clips), `${whole(selectedThen())} of ${plural(data.all_clips, "clip")}`],
    ["Most clips dropped by", name, first && [first.slice(name.length + 1), ...others].join(", ")],
    ["Words a caption", median === null ? "–" : whole(median), `${repeated} say what another says`],
    ["Captions failed", whole(failed.reduce((sum, [, n]) => sum + n, 0)), `${whole(captions.over_limit)} longer than the trainer reads`],
  ]);
}

const selectedThen = () => data.funnel[WORDLESS].clips;

function showSampled() {
  if (!isSampled) return;
  byId("sampled").hidden = false;
  byId("sampled").textContent =
    `The data set has ${whole(data.all_clips)} clips. Histograms, tables and the funnel at the released bounds are of all ` +
    `of them. The clips one by one, and figures at other bounds (≈), are of ${whole(count)} clips chosen at random.`;
}

function showFunnelNote() {
  const [released, now] = [data.facts.samples, data.funnel[data.funnel.length - 1].clips];
  if (released === now) return;
  byId("funnel-note").hidden = false;
  byId("funnel-note").textContent =
    `The release has ${plural(released, "sample")}, these bounds give ${whole(now)}: some clips were judged by other ` +
    "bounds than most were. The gaps below name their shards.";
}

async function showCaptions() {
  const { captions } = data;
  const [, low, median, high, most] = captions.words;
  const statuses = (list) => list.map(([status, n]) => `${status} ${whole(n)}`).join(", ") || "none";
  figures(byId("caption-figures"), [
    ["Words", `${short(median)}`, `5 to 95 %: ${short(low)} to ${short(high)}; longest ${short(most)}`],
    ["Words before rewriting", short(captions.words_before[2]), `${percent(captions.changed, captions.count)} were changed`],
    ["Tokens", short(captions.tokens[2]), `longest ${short(captions.tokens[4])}; ${whole(captions.over_limit)} over the trainer's limit`],
    ["Likeness to the original", short(captions.similarity[2]), "median cosine of a caption and its rewrite"],
    ["Distinct captions", whole(captions.distinct), `${plural(captions.repeated, "sample")} share theirs word for word`],
    ["Captioning", statuses(captions.captioning), `rewriting: ${statuses(captions.rewriting)}`],
  ]);
  const plots = [figure("Words a caption: before rewriting (grey), after (coloured)", ["before", "after"], captions.word_histogram)];
  if (captions.similarity_histogram)
    plots.push(figure("Likeness of caption and rewrite, cosine", ["captions"], captions.similarity_histogram));
  byId("caption-plots").replaceChildren(...plots.map(({ made }) => made));
  const search = (text) => {
    const button = element("button", { type: "button", className: "link", title: "Search the clips for it" }, foreign(text));
    button.addEventListener("click", () => searchFor(text));
    return button;
  };
  const kinds = { words: "Words", pairs: "Phrases of two", triples: "Phrases of three", openings: "How captions begin" };
  const tables = Object.entries(kinds).map(([kind, title]) => {
    const rows = captions.common[kind].map(([words, n]) => [words, n, { figure: percent(n, captions.read) }]);
    return counted(title, [kind === "words" ? "word" : "words", "captions", ""], rows, { name: search });
  });
  if (captions.most_repeated.length) {
    const rows = captions.most_repeated.map(([text, n, clip]) => [text, n, element("code", { textContent: clip })]);
    tables.push(counted("Captions that several samples share", ["caption", "samples", "one of them"], rows, { isWide: true, name: search }));
  }
  if (captions.read < captions.count)
    tables.push(element("p", { className: "hint", textContent: `Words and phrases are of ${whole(captions.read)} captions chosen at random.` }));
  byId("caption-tables").replaceChildren(...tables);
  for (const { draw } of plots) await draw();
}

function showFacts() {
  const { facts } = data;
  const sources = facts.sources.map(([name, videos, hours, samples, sampleHours]) => [
    name,
    videos,
    { figure: time(hours) },
    samples,
    { figure: time(sampleHours) },
    { figure: percent(sampleHours, hours) },
  ]);
  const heads = ["source", "videos", "time", "samples", "time", "kept"];
  const rules = facts.dropped_spans.map(([rule, spans, hours]) => [rule, spans, { figure: time(hours) }]);
  const shapes = Object.entries(facts.shapes).flatMap(([what, kinds]) =>
    Object.entries(kinds).map(([kind, rows]) =>
      counted(`${what} by ${kind}`, [kind, what === "Samples" ? "samples" : "videos", "time"], rows.map(([name, n, hours]) => [name, n, { figure: time(hours) }])),
    ),
  );
  const stored = `${plural(facts.videos, "video")} in ${plural(facts.files, "file")}, ${bytes(facts.bytes)}`;
  byId("facts").replaceChildren(
    counted(`Sources: ${stored}`, heads, sources, { isWide: true }),
    counted("Spans dropped when videos were cut", ["rule", "spans", "time"], rules),
    counted("Everything that dropped a span or clip; one counts for each of its reasons", ["reason", "dropped"], data.reasons),
    ...shapes,
  );
}

const settingTable = (caption, rows) =>
  rows === null
    ? element("p", { className: "hint", textContent: "A release from before settings were kept with it." })
    : rows.length
      ? element("div", { className: "scrolled" }, table(caption[0], caption[1], rows.map(([key, ...values]) => [element("code", { textContent: key }), ...values])))
      : element("p", { className: "hint", textContent: `${caption[0]}: none.` });

function showChanges() {
  const { changes } = data;
  const place = byId("changes");
  if (!changes) return place.append(element("p", { className: "hint", textContent: "This is the first release." }));
  const [was, is] = changes.samples;
  byId("changes-title").textContent = `Since ${changes.before}`;
  const counts = changes.counts
    ? Object.entries(changes.counts).map(([how, n]) => `${whole(n)} ${how}`).join(", ")
    : changes.unknown ?? `${whole(was)} samples then, ${whole(is)} now; reelhouse release diff lists them with the reasons`;
  place.append(element("p", { textContent: counts }));
  for (const [release, n] of Object.entries(changes.gone ?? {}))
    place.append(element("p", { className: "hint", textContent: `${release}: ${plural(n, "sample")} gone with videos that were taken down` }));
  const grid = element("div", { className: "grid" });
  if (changes.settings !== undefined) grid.append(settingTable(["Settings that changed", ["setting", "before", "now"]], changes.settings));
  if (changes.causes?.length) grid.append(counted("Why samples entered, left or changed", ["why", "samples"], changes.causes.map(([how, what, n]) => [`${how}: ${what}`, n])));
  if (changes.listed?.length) {
    const rows = changes.listed.map(([how, clip, causes]) => [how, element("code", { textContent: clip }), foreign(causes.join("; "))]);
    const caption = changes.of > rows.length ? `The first ${rows.length} of ${whole(changes.of)} samples that differ` : "Samples that differ";
    grid.append(element("div", { className: "scrolled wide" }, table(caption, ["how", "clip", "why"], rows)));
  }
  place.append(grid);
}

function showSettings() {
  const gaps = data.gaps.length
    ? element("div", { className: "scrolled" }, table("What the release lacks", ["table", "what", "shards", "inputs"], data.gaps))
    : element("p", { className: "hint", textContent: "No gaps: every shard had all its inputs." });
  byId("setting-tables").replaceChildren(settingTable(["Settings that differ from the defaults", ["setting", "default", "here"]], data.settings), gaps);
}

showHeadline();
showSampled();
showFunnelNote();
showFacts();
showChanges();
showSettings();
const drawing = showThresholds();
showGallery();
drawing.then(showCaptions).then(() => (document.documentElement.dataset.drawn = "yes"));
