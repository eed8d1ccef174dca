"""`reelhouse trace`: a clip's or a video's whole story."""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console

from curation_assets.commands import OK
from curation_assets.commands.terminal import print_json, say, terminal
from curation_assets.home import existing_home
from curation_assets.inspection.lookup import find_item
from curation_assets.inspection.trace import DECISIONS, MANIFEST, TEXTS, Row, Story, trace
from curation_assets.settings import home_path

INDENT = "  "
RUN_CHARACTERS = 8  # as the UI shows runs


def run(options: argparse.Namespace) -> int:
    home = existing_home(home_path())
    item = find_item(home.store, options.item)
    story = trace(home, item)
    if options.json:
        print_json(story)
    else:
        _print(terminal(), story)
    return OK


def _print(console: Console, story: Story) -> None:
    for line in lines(story):
        say(console, line)


def lines(story: Story) -> list[str]:
    """The story from the source down to the releases, a fact a line."""
    of_clip = story.item.kind == "clip"
    body = [
        f"{story.item.kind} {story.item.id}  shard {story.item.shard}",
        f"{INDENT}{story.outcome}",
        *_section("exclusions", (_exclusion(row) for row in story.exclusions)),
        *_section("source files", (_source_file(row) for row in story.rows["source_files"])),
        *_section("video", (line for row in story.rows["raw_videos"] for line in _video(row))),
        *_section("scene" if of_clip else "scenes", (_scene(row) for row in story.rows["scenes"])),
    ]
    if of_clip:
        body += _section("span", (_span(row) for row in story.rows["clips"]))
        body += _of_clip(story)
    else:
        body += _section("spans", _spans(story))
    body += _section("releases", (_release(row) for row in story.releases))
    body += _section("in older versions", (_earlier(row) for row in story.earlier))
    body += _section("failures", (f"{f['table']} {f['item']} ({f['kind']}): {f['error']}" for f in story.failures))
    return body


def _section(title: str, facts: Iterable[str]) -> Sequence[str]:
    found = list(facts)
    return [title, *(f"{INDENT}{fact}" for fact in found)] if found else []


def _made(row: Row) -> str:
    """When and by which run."""
    when = f"{row['computed_at']:%Y-%m-%d %H:%M:%S}" if row.get("computed_at") else ""
    return ", ".join(part for part in (when, _run(row.get("run_id"))) if part)


def _run(run_id: str | None) -> str:
    return f"run {run_id[:RUN_CHARACTERS]}" if run_id else ""


def _or(value: Any, form: str = "", unit: str = "") -> str:
    return "unknown" if value is None else f"{value:{form}}{unit}"


def _exclusion(row: Row) -> str:
    by = f" by {row['excluded_by']}" if row["excluded_by"] else ""
    return f"{row['kind']} {row['excluded_id']} since {row['excluded_on']}{by}: {row['reason']}"


def _source_file(row: Row) -> str:
    state = f"missing since {row['missing_since']:%Y-%m-%d %H:%M:%S}" if row["missing"] else "there at the last scan"
    listing = f", listing {row['listing']}" if row["listing"] else ""
    error = f", ERROR {row['error']}" if row["error"] else ""
    return (
        f"{row['source_uri']}  {_or(row['size_bytes'], ',', ' bytes')}, source {row['source']}, {state}, first seen "
        f"{row['first_seen']:%Y-%m-%d %H:%M:%S}{listing}{error}"
    )


def _video(row: Row) -> list[str]:
    if row["error"]:
        return [f"ERROR ({row['error_kind']}) {row['error']}  [{_made(row)}]"]
    sound = f"sound {row['audio_codec']}" if row["audio_codec"] else "no sound"
    return [
        f"{row['width']}x{row['height']} px, {row['frames_per_s']:.3f} frames/s"
        f"{' (variable)' if row['is_variable_frame_rate'] else ''}, {row['frame_count']} frames, "
        f"{row['duration_s']:.3f} s",
        f"{row['container']}, {row['codec']} {row['pixel_format']}, rotation {row['rotation_deg']} degrees, "
        f"{row['colour_space']} {row['colour_range']}, {sound}  [{_made(row)}]",
    ]


def _scene(row: Row) -> str:
    if row["error"]:
        return f"ERROR ({row['error_kind']}) {row['error']}  [{_made(row)}]"
    end = "a cut" if row["ends_at_cut"] else "the end of the video"
    return (
        f"scene {row['scene_index']}: {row['start_s']:.3f}..{row['end_s']:.3f} s, frames {row['start_frame']}.."
        f"{row['end_frame'] - 1}, ends at {end}, by {row['detector']}  [{_made(row)}]"
    )


def _span(row: Row) -> str:
    if row["error"]:
        return f"ERROR ({row['error_kind']}) {row['error']}  [{_made(row)}]"
    dropped = f", DROPPED by rule {row['dropped']}" if row["dropped"] else ""
    return (
        f"part {row['part_index']} of scene {row['scene_index']}: {row['start_s']:.3f}..{row['end_s']:.3f} s "
        f"({row['duration_s']:.3f} s), frames {row['start_frame']}..{row['end_frame'] - 1} "
        f"({row['frame_count']}){dropped}  [{_made(row)}]"
    )


def _spans(story: Story) -> Iterable[str]:
    selected = {row["clip_id"]: row for row in story.rows["clip_selection"]}
    samples = {row["clip_id"] for row in story.rows[MANIFEST]}
    for row in story.rows["clips"]:
        if row["clip_id"] is None:
            continue
        decided = selected.get(row["clip_id"])
        if row["dropped"]:
            state = f"dropped: {row['dropped']}"
        elif row["clip_id"] in samples:
            state = "in the training manifest"
        elif decided and not decided["selected"]:
            state = "not selected: " + "; ".join(decided["reasons"] or [decided["error"] or ""])
        else:
            state = "selected, no sample" if decided else "not decided"
        yield f"{row['clip_id']}  {row['start_s']:.3f}..{row['end_s']:.3f} s  {state}"


def _of_clip(story: Story) -> Iterable[str]:
    yield from _section("frames", (_frames(row, story) for row in story.rows["frames"]))
    yield from _section("crop", (_crop(row) for row in story.rows["clip_crops"]))
    yield from _section("scores", (_score(score) for score in story.scores))
    selection, sample_selection = DECISIONS
    yield from _section(selection, (line for row in story.rows[selection] for line in _decision(row)))
    yield from _section("duplicates", (_compared(row) for row in story.rows["duplicates"]))
    for table in TEXTS:
        yield from _section(table, (line for row in story.rows[table] for line in _text(row)))
    yield from _section(sample_selection, (line for row in story.rows[sample_selection] for line in _decision(row)))
    yield from _section("clip file", (line for row in story.rows["clip_files"] for line in _clip_file(row, story)))
    yield from _section("training manifest", (line for row in story.rows[MANIFEST] for line in _sample(row)))


def _frames(row: Row, story: Story) -> str:
    if row["error"]:
        return f"ERROR ({row['error_kind']}) {row['error']}  [{_made(row)}]"
    indices = ", ".join(map(str, row["frame_indices"]))
    return f"{row['width']}x{row['height']} px, frames {indices}; {_file(row, 'frames', story)}  [{_made(row)}]"


def _crop(row: Row) -> str:
    if row["error"]:
        return f"ERROR ({row['error_kind']}) {row['error']}  [{_made(row)}]"
    if row["crop_box"] is None:
        return f"none: {row['reason']}  [{_made(row)}]"
    left, top, width, height = row["crop_box"]
    return f"{width}x{height} px from {left},{top} on, {row['area_share']:.3f} of it: {row['reason']}  [{_made(row)}]"


def _file(row: Row, kind: str, story: Story) -> str:
    path, size = row[f"{kind}_path"], row[f"{kind}_size_bytes"]
    found = story.files.get(path)
    state = "" if found == size else ", NOT THERE" if found is None else f", BUT {found:,} bytes LIE THERE"
    return f"{path}, {size:,} bytes{state}"


def _score(score: Row) -> str:
    name = score["filter"] or score["table"].removesuffix("_scores")
    by = f"{score['engine']}, {score['revision'] or 'no row'}"
    if score["filter"] and score["passed"] is None:
        verdict = "not applied to its media type"
    elif score["value"] is None:
        verdict = "FAILS: not scored" + (f" ({score['error']})" if score["error"] else "")
    elif score["filter"] is None:
        verdict = "no filter reads it"
    else:
        margin = "" if score["margin"] is None else f", margin {score['margin']:+.6g}"
        verdict = f"{'passes' if score['passed'] else 'FAILS'}{margin}"
    bounds = f"{_bound(score['min'])}..{_bound(score['max'])}"
    unit = f" {score['unit']}" if score["unit"] else ""
    return f"{name}: {_or(score['value'], '.6g')}{unit}, allowed {bounds}: {verdict}  ({by}) [{_made(score)}]"


def _bound(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"


def _decision(row: Row) -> list[str]:
    if row["error"]:
        return [f"ERROR ({row['error_kind']}) {row['error']}  [{_made(row)}]"]
    return [f"{'selected' if row['selected'] else 'NOT SELECTED'}  [{_made(row)}]", *(row["reasons"] or ())]


def _compared(row: Row) -> str:
    if row["duplicate_of"] is None:
        return f"gives way to no other clip  [{_made(row)}]"
    return f"DUPLICATE of {row['duplicate_of']} ({row['kind']}, {row['similarity']:g})  [{_made(row)}]"


def _text(row: Row) -> list[str]:
    if row["error"] and row["error_kind"] == "blocked":
        return [f"ERROR (blocked) {row['error']}  [{_made(row)}]"]
    effort = [
        f"{row[column]} {words}"
        for column, words in (
            ("attempts", "attempts"),
            ("prompt_tokens", "tokens sent"),
            ("completion_tokens", "tokens received"),
        )
        if row[column] is not None
    ]
    if row["seconds"] is not None:
        effort.append(f"{row['seconds']:.2f} s")
    said = [
        f"{row['status']}, by {', '.join(row[name] for name in ('engine', 'model', 'revision') if row[name])}"
        f"{': ' if effort else ''}{', '.join(effort)}  [{_made(row)}]"
    ]
    for label, column in (
        ("original", "original_caption"),
        ("text", "caption"),
        ("last answer", "last_answer"),
        ("similarity", "similarity"),
        ("ERROR", "error"),
    ):
        if row.get(column) is not None:
            value = row[column]
            said.append(f"{label}: {value:.4f}" if isinstance(value, float) else f"{label}: {value}")
    return said


def _clip_file(row: Row, story: Story) -> list[str]:
    if row["error"]:
        return [f"ERROR ({row['error_kind']}) {row['error']}  [{_made(row)}]"]
    return [
        _file(row, "file", story),
        f"{' + '.join(filter(None, (row['video_codec'], row['audio_codec'])))}, {row['width']}x{row['height']} px, "
        f"{row['frame_count']} frames, {row['duration_s']:.3f} s, PSNR first "
        f"{_or(row['first_frame_psnr_db'], '.1f', ' dB')}, last {_or(row['last_frame_psnr_db'], '.1f', ' dB')}  "
        f"[{_made(row)}]",
    ]


def _sample(row: Row) -> list[str]:
    if row["error"]:
        return [f"ERROR ({row['error_kind']}) {row['error']}  [{_made(row)}]"]
    return [f"text: {row['text']}  [{_made(row)}]", *(f"warning: {warning}" for warning in row["warnings"] or ())]


def _release(row: Row) -> str:
    if row["forgotten"]:
        state = "held it until it was taken down"
    else:
        state = "holds it" if row["holds"] else "may hold it: neither its manifest nor its exports can be read"
    retired = f", retired {row['retired_at']:%Y-%m-%d}" if row["retired_at"] else ""
    return f"{row['release']}  {row['made_at']:%Y-%m-%d %H:%M:%S}{retired}: {state}  [{_run(row['run_id'])}]"


def _earlier(row: Row) -> str:
    if row["table"] == "clips":
        told = f"{row['start_s']:.3f}..{row['end_s']:.3f} s, {row['dropped'] or 'kept'}"
    elif row["table"] == MANIFEST:
        told = f"text: {row['text']}"
    else:
        told = "selected" if row["selected"] else f"not selected: {'; '.join(row['reasons'] or ())}"
    return f"{row['table']} version {row['version']}: {told}  [{_made(row)}]"
