"use strict";
// The clips' scores, and which clips the present bounds let through: what `decide` does, for all clips at once.

const data = JSON.parse(document.getElementById("data").textContent);

function unpacked(text, ArrayType) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return new ArrayType(bytes.buffer);
}

const clips = data.clips;
const count = clips.ids.length;
const marks = unpacked(clips.marks, Uint8Array);
const durations = unpacked(clips.duration_s, Float64Array);
const starts = unpacked(clips.start_s, Float64Array);
const videoOf = unpacked(clips.video, Uint32Array);
const bit = Object.fromEntries(data.marks.map((name, n) => [name, 1 << n]));

const measures = data.measures.map((measure) => ({
  ...measure,
  title: `${measure.name} (${measure.engine})`,
  scores: unpacked(measure.scores, Float64Array),
  bounds: { min: measure.min, max: measure.max },
  failed: new Uint8Array(count),
}));
const clipMeasures = measures.filter((measure) => measure.stage === "clip_selection");
const sampleMeasures = measures.filter((measure) => measure.stage === "sample_selection");

// A clip stops at one step: excluded, one of its filters, uncaptioned, a filter of the caption, not encoded; or nowhere.
const EXCLUDED = 0;
const WORDLESS = 1 + clipMeasures.length;
const LOST = WORDLESS + 1 + sampleMeasures.length;
const NOWHERE = LOST + 1;
const stepOf = (measure) =>
  measure.stage === "clip_selection"
    ? 1 + clipMeasures.indexOf(measure)
    : WORDLESS + 1 + sampleMeasures.indexOf(measure);
const stops = new Uint8Array(count);

// Infinity stands where the filter isn't for the clip's media type, NaN where there is no score.
function judge({ scores, bounds, failed }) {
  const low = bounds.min ?? -Infinity;
  const high = bounds.max ?? Infinity;
  for (let i = 0; i < count; i++) {
    const score = scores[i];
    failed[i] = score === Infinity || (score >= low && score <= high) ? 0 : 1;
  }
}

const isAsReleased = () => measures.every(({ bounds, min, max }) => bounds.min === min && bounds.max === max);

// At which step a clip stops that reaches the measures of `group`, whose first is the step `first`.
function through(i, group, first, steps) {
  let stop = NOWHERE;
  let failures = 0;
  for (let k = group.length - 1; k >= 0; k--) {
    if (!group[k].failed[i]) continue;
    failures++;
    stop = first + k;
    steps[stop].alone++;
    if (Number.isNaN(group[k].scores[i])) steps[stop].unscored++;
  }
  if (failures === 1) steps[stop].last++;
  return stop;
}

// Steps in order, each with the clips and hours left after it. `alone`: of the clips that reach its selection's filters
// those that it removes as the only one, `last`: those that it alone removes, `unscored`: of `alone`, for want of a
// score.
function recompute() {
  const steps = Array.from({ length: NOWHERE }, () => ({ stopped: 0, seconds: 0, alone: 0, last: 0, unscored: 0 }));
  let waiting = 0;
  for (let i = 0; i < count; i++) {
    const mark = marks[i];
    const isBarred = !(mark & bit.judged) || mark & bit.excluded;
    let stop = isBarred ? EXCLUDED : through(i, clipMeasures, 1, steps);
    if (stop === NOWHERE) {
      const isAsked = mark & bit.captioned;
      if (!isAsked) waiting++;
      stop = !isAsked || mark & bit.wordless ? WORDLESS : through(i, sampleMeasures, WORDLESS + 1, steps);
    }
    if (stop === NOWHERE && mark & bit.chosen && !(mark & bit.in_manifest)) stop = LOST;
    stops[i] = stop;
    if (stop !== NOWHERE) {
      steps[stop].stopped++;
      steps[stop].seconds += durations[i];
    }
  }
  let clipsLeft = count;
  let secondsLeft = durations.reduce((sum, seconds) => sum + seconds, 0);
  for (const step of steps) {
    step.clips = clipsLeft -= step.stopped;
    step.hours = (secondsLeft -= step.seconds) / 3600;
  }
  for (const step of [EXCLUDED, WORDLESS, LOST]) steps[step].alone = steps[step].stopped;
  return { steps, waiting };
}
