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

const NO_BOUND = { min: -Infinity, max: Infinity };
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
  const low = bounds.min ?? NO_BOUND.min;
  const high = bounds.max ?? NO_BOUND.max;
  for (let i = 0; i < count; i++) {
    const score = scores[i];
    failed[i] = score === Infinity || (score >= low && score <= high) ? 0 : 1;
  }
}

const isAsReleased = () => measures.every(({ bounds, min, max }) => bounds.min === min && bounds.max === max);

// Steps in order, each with the clips and hours left after it. `alone`: what it removes as the only step, `last`: after
// all others of its selection, `unscored`: of `alone`, for want of a score.
function recompute() {
  const steps = Array.from({ length: NOWHERE }, () => ({ stopped: 0, seconds: 0, alone: 0, last: 0, unscored: 0 }));
  let waiting = 0;
  for (let i = 0; i < count; i++) {
    const mark = marks[i];
    let stop = NOWHERE;
    const through = (group, first, barred) => {
      let failures = barred ? 1 : 0;
      let failing = -1;
      for (let k = 0; k < group.length; k++) {
        if (!group[k].failed[i]) continue;
        failures++;
        failing = first + k;
        steps[failing].alone++;
        if (Number.isNaN(group[k].scores[i])) steps[failing].unscored++;
        if (stop === NOWHERE) stop = failing;
      }
      if (failures === 1 && failing >= 0) steps[failing].last++;
    };
    if (!(mark & bit.judged)) stop = EXCLUDED;
    else {
      if (mark & bit.excluded) stop = EXCLUDED;
      through(clipMeasures, 1, mark & bit.excluded);
    }
    const isClip = stop === NOWHERE;
    if (!(mark & bit.captioned)) {
      if (isClip) {
        stop = WORDLESS;
        waiting++;
      }
    } else {
      if (isClip && mark & bit.wordless) stop = WORDLESS;
      through(sampleMeasures, WORDLESS + 1, mark & bit.wordless);
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
