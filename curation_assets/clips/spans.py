"""Scenes to clips: which frames of each shot become a clip, and why the others don't.

The rules are EasyAnimate's stage 1 (area, 0.5 s trim, 3 to 10 s) with its two slips put right: the trim comes
before the length test and applies to long scenes too.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from math import floor
from typing import Any

from curation_assets.settings import Clips
from resources.timestamps import Timeline, frame_timestamps

Span = tuple[int, int, str | None]
"""First frame, first frame after, why it is dropped."""


def cut_spans(video: Mapping[str, Any], scenes: Sequence[Mapping[str, Any]], clips: Clips) -> list[dict[str, Any]]:
    """The spans of one video, kept and dropped, in order: every frame lies in exactly one.

    `video` has `video_id`, `width`, `height` (display, px) and `time_base`; `scenes` are the rows of `scenes`
    that tile it. Spans begin and end on frames, so a part can be up to a frame shorter than `max_duration_s`,
    never longer. Returns the own columns of `clips`.
    """
    if not scenes:
        return []
    scenes = sorted(scenes, key=lambda scene: int(scene["scene_index"]))
    boundaries = [pts for scene in scenes for pts in frame_timestamps(scene)] + [scenes[-1]["end_pts"]]
    timeline = Timeline(boundaries, Fraction(video["time_base"]))
    area_px = video["width"] * video["height"]
    rows: list[dict[str, Any]] = []
    taken: set[str] = set()
    for scene in scenes:
        spans: list[Span]
        if area_px < clips.min_source_area_px:
            size = f"{video['width']}x{video['height']} = {area_px} px"
            why = f"source too small: {size} is less than {clips.min_source_area_px} px"
            spans = [(scene["start_frame"], scene["end_frame"], why)]
        elif scene["start_pts"] == scene["end_pts"]:  # an image, which rules on time don't concern
            spans = [(scene["start_frame"], scene["end_frame"], None)]
        else:
            spans = list(_split(timeline, scene, clips))
        for part_index, (start, end, dropped) in enumerate(spans):
            clip_id = _clip_id(video["video_id"], timeline, start, end, taken)
            taken.add(clip_id)
            rows.append(
                {
                    "clip_id": clip_id,
                    "video_id": video["video_id"],
                    "scene_index": scene["scene_index"],
                    "part_index": part_index,
                    **timeline.span(start, end),
                    "frame_count": end - start,
                    "duration_s": float(timeline.seconds(end) - timeline.seconds(start)),
                    "dropped": dropped,
                }
            )
    return rows


def _split(timeline: Timeline, scene: Mapping[str, Any], clips: Clips) -> Iterator[Span]:
    """The spans of one scene: the parts of what stays after the trim, then what the trim took."""
    start, end = scene["start_frame"], scene["end_frame"]
    trim = _exact(clips.end_trim_s) if scene["ends_at_cut"] else Fraction(0)
    length = timeline.seconds(end) - timeline.seconds(start)
    if length <= trim:
        yield start, end, f"too short: {_show(length)} s is not more than the end trim of {_show(trim)} s"
        return
    kept_end = _first_frame_at(timeline, timeline.seconds(end) - trim, start, end)
    yield from _parts(timeline, start, kept_end, clips)
    if kept_end < end:
        yield kept_end, end, f"trim: the last {_show(trim)} s before a cut"


def _parts(timeline: Timeline, start: int, end: int, clips: Clips) -> Iterator[Span]:
    """Parts of at most `max_duration_s` from `start` on; a part outside the bounds is dropped."""
    shortest, longest = _exact(clips.min_duration_s), _exact(clips.max_duration_s)
    part_start = start
    while part_start < end:
        part_end = _last_boundary_by(timeline, timeline.seconds(part_start) + longest, part_start, end)
        length = timeline.seconds(part_end) - timeline.seconds(part_start)
        dropped = None
        if length > longest:
            dropped = f"too long: one frame lasts {_show(length)} s, more than {_show(longest)} s"
        elif length < shortest and part_end == end and part_start > start:
            dropped = f"remainder: {_show(length)} s is less than {_show(shortest)} s"
        elif length < shortest:
            dropped = f"too short: {_show(length)} s is less than {_show(shortest)} s"
        yield part_start, part_end, dropped
        part_start = part_end


def _first_frame_at(timeline: Timeline, time: Fraction, low: int, high: int) -> int:
    """The first boundary of low..high at or after `time`."""
    return bisect_left(timeline.boundaries, timeline.pts(time), low, high)


def _last_boundary_by(timeline: Timeline, time: Fraction, start: int, end: int) -> int:
    """The last boundary of start+1..end at or before `time`; start+1 where even that is later."""
    return max(start + 1, bisect_right(timeline.boundaries, timeline.pts(time), start, end + 1) - 1)


def _clip_id(video_id: str, timeline: Timeline, start: int, end: int, taken: set[str]) -> str:
    start_ms, end_ms = round(timeline.seconds(start) * 1000), round(timeline.seconds(end) * 1000)
    if end_ms == 0 and timeline.seconds(end):
        end_ms = 1  # from 0 to 0 is an image
    # Only neighbours that last less than a millisecond can round to the same pair.
    while (clip_id := f"{video_id}-{start_ms:08d}-{end_ms:08d}") in taken:
        end_ms += 1
    return clip_id


def _exact(seconds: float) -> Fraction:
    """The decimal number the settings file shows, not its binary neighbour."""
    return Fraction(str(seconds))


def _show(seconds: Fraction) -> str:
    """Rounded down to ms, so that what is less than a bound also reads as less."""
    return f"{floor(seconds * 1000) / 1000:.3f}".rstrip("0").rstrip(".")
