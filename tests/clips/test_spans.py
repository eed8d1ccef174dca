"""Which frames of a video become clips, and why the others don't."""

import random
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from curation_assets.clips.spans import cut_spans
from curation_assets.settings import Clips
from curation_assets.tables import CLIPS
from resources.timestamps import Timeline, frame_timestamps, pack_timestamps

Row = dict[str, Any]


def video(time_base: Fraction = Fraction(1, 10), width: int = 640, height: int = 480) -> Row:
    return {"video_id": "00112233445566aa", "width": width, "height": height, "time_base": str(time_base)}


def scenes_of(boundaries: list[int], cuts: list[int], time_base: Fraction = Fraction(1, 10)) -> list[Row]:
    timeline = Timeline(boundaries, time_base)
    last = len(boundaries) - 1
    return [
        {"scene_index": i, **timeline.span(start, end), "ends_at_cut": end < last}
        for i, (start, end) in enumerate(pairwise([0, *cuts, last]))
    ]


def one_scene(frames: int, ticks: int = 1, time_base: Fraction = Fraction(1, 10)) -> list[Row]:
    return scenes_of(list(range(0, frames * ticks + 1, ticks)), [], time_base)


def kept(rows: list[Row]) -> list[tuple[float, float]]:
    return [(row["start_s"], row["end_s"]) for row in rows if row["dropped"] is None]


def test_easyanimates_worked_example_without_its_short_clips_and_untrimmed_rests() -> None:
    # EasyAnimate makes (0, 10), (10, 20), (20, 25.5), (25.5, 28) and (28.5, 31.1) of these scenes: two clips below
    # its own minimum of 3 s, and one that keeps the half second before a cut.
    rows = cut_spans(video(), scenes_of(list(range(317)), [255, 285]), Clips())
    assert [(row["start_s"], row["end_s"], row["dropped"]) for row in rows] == [
        (0, 10, None),
        (10, 20, None),
        (20, 25, None),
        (25, 25.5, "trim: the last 0.5 s before a cut"),
        (25.5, 28, "too short: 2.5 s is less than 3 s"),
        (28, 28.5, "trim: the last 0.5 s before a cut"),
        (28.5, 31.6, None),
    ]
    assert [(row["scene_index"], row["part_index"]) for row in rows] == [
        (0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (2, 0),
    ]  # fmt: skip
    assert rows[2]["clip_id"] == "00112233445566aa-00020000-00025000"
    assert list(rows[0]) == list(CLIPS.stage_columns)


def test_rest_of_a_long_scene_below_the_minimum_is_a_remainder() -> None:
    rows = cut_spans(video(), one_scene(216), Clips())
    assert kept(rows) == [(0, 10), (10, 20)]
    assert rows[-1]["dropped"] == "remainder: 1.6 s is less than 3 s"


@pytest.mark.parametrize(("frames", "clips"), [(30, [(0, 3)]), (29, []), (100, [(0, 10)]), (130, [(0, 10), (10, 13)])])
def test_bounds_of_the_length_are_inclusive(frames: int, clips: list[tuple[float, float]]) -> None:
    assert kept(cut_spans(video(), one_scene(frames), Clips())) == clips


def test_trim_comes_before_the_length_test() -> None:
    settings = Clips(min_duration_s=3, end_trim_s=0.5)
    assert kept(cut_spans(video(), scenes_of(list(range(101)), [34]), settings)) == [(3.4, 10)]
    assert kept(cut_spans(video(), scenes_of(list(range(101)), [35]), settings)) == [(0, 3), (3.5, 10)]


def test_no_trim_when_the_setting_is_zero() -> None:
    rows = cut_spans(video(), scenes_of(list(range(101)), [40]), Clips(end_trim_s=0))
    assert [row["dropped"] for row in rows] == [None, None]
    assert kept(rows) == [(0, 4), (4, 10)]


def test_scene_no_longer_than_the_trim_is_one_row() -> None:
    rows = cut_spans(video(), scenes_of(list(range(101)), [40, 45]), Clips(min_duration_s=0.1))
    assert [row["dropped"] for row in rows if row["scene_index"] == 1] == [
        "too short: 0.5 s is not more than the end trim of 0.5 s"
    ]


def test_small_source_drops_each_scene_whole() -> None:
    rows = cut_spans(video(width=320, height=240), scenes_of(list(range(301)), [150]), Clips())
    assert [(row["start_frame"], row["end_frame"]) for row in rows] == [(0, 150), (150, 300)]
    assert {row["dropped"] for row in rows} == {"source too small: 320x240 = 76800 px is less than 262144 px"}


def test_source_of_exactly_the_smallest_area_is_kept() -> None:
    assert kept(cut_spans(video(width=512, height=512), one_scene(50), Clips())) == [(0, 5)]


def test_ntsc_parts_stay_below_the_maximum() -> None:
    """10 s are 299.7 frames: 300 would be 10.01 s."""
    time_base = Fraction(1, 30000)
    rows = cut_spans(video(time_base), one_scene(700, 1001, time_base), Clips())
    assert [row["frame_count"] for row in rows] == [299, 299, 102]
    assert rows[0]["end_s"] == pytest.approx(299 * 1001 / 30000, abs=1e-12)
    assert rows[1]["clip_id"].endswith("-00009977-00019953")
    assert [row["frame_pts"] for row in rows] == [None, None, None]


def test_trim_boundary_is_the_first_frame_at_or_after_it() -> None:
    """At 3 frames a second half a second before the cut at 5 s is 4.5 s: the first frame from there on is 14."""
    time_base = Fraction(1, 3)
    rows = cut_spans(video(time_base), scenes_of(list(range(31)), [15], time_base), Clips())
    assert (rows[0]["start_frame"], rows[0]["end_frame"]) == (0, 14)
    assert rows[1]["dropped"] == "trim: the last 0.5 s before a cut"


def test_thousands_of_parts_stay_exact() -> None:
    """Timecodes rounded to milliseconds would lose a frame now and then."""
    time_base = Fraction(1001, 24000)
    rows = cut_spans(video(time_base), one_scene(24_000, 1, time_base), Clips(min_duration_s=0.1, max_duration_s=0.5))
    assert {row["frame_count"] for row in rows} == {11, 9}
    assert rows[-1]["end_s"] == 1001.0


def test_a_frame_longer_than_the_maximum_is_dropped_alone() -> None:
    rows = cut_spans(video(), scenes_of([*range(50), 200, *range(201, 251)], []), Clips())
    assert [(row["frame_count"], row["dropped"]) for row in rows] == [
        (49, None),
        (1, "too long: one frame lasts 15.1 s, more than 10 s"),
        (50, None),
    ]


def test_length_just_below_the_minimum_does_not_read_as_the_minimum() -> None:
    time_base = Fraction(1, 100_000)
    rows = cut_spans(video(time_base), one_scene(1, 299_999, time_base), Clips())
    assert rows[0]["dropped"] == "too short: 2.999 s is less than 3 s"


def test_milliseconds_of_ids_round_half_to_even() -> None:
    time_base = Fraction(1, 2000)
    rows = cut_spans(video(time_base), scenes_of([0, 8001, 16003], [1], time_base), Clips(end_trim_s=0))
    assert [row["clip_id"][17:] for row in rows] == ["00000000-00004000", "00004000-00008002"]


def test_ids_differ_where_spans_are_shorter_than_a_millisecond() -> None:
    time_base = Fraction(1, 10_000)
    rows = cut_spans(video(time_base), scenes_of(list(range(41)), list(range(1, 40)), time_base), Clips())
    assert len({row["clip_id"] for row in rows}) == len(rows) == 40


def test_order_of_the_scene_rows_does_not_matter() -> None:
    scenes = scenes_of(list(range(317)), [255, 285])
    assert cut_spans(video(), scenes[::-1], Clips()) == cut_spans(video(), scenes, Clips())


@pytest.mark.parametrize("seed", range(60))
def test_any_video_is_tiled_by_spans_within_the_bounds(seed: int) -> None:
    rng = random.Random(seed)
    time_base = Fraction(1, rng.choice([25, 600, 1000, 12800, 30000, 90000]))
    frames = rng.randint(1, 800)
    tick = max(1, round(Fraction(1, rng.choice([8, 24, 25, 30, 60])) / time_base))
    steps = [tick if seed % 2 else rng.randint(1, 3 * tick) for _ in range(frames)]
    if seed % 5 == 0:
        steps[rng.randrange(frames)] = round(rng.uniform(1, 15) / time_base)
    boundaries = [rng.randint(-5000, 50_000)]
    for step in steps:
        boundaries.append(boundaries[-1] + step)
    cuts = sorted(rng.sample(range(1, frames), min(frames - 1, rng.randint(0, 6))))
    shortest = rng.choice([0.1, 1.0, 3.0])
    settings = Clips(
        min_source_area_px=0, min_duration_s=shortest, max_duration_s=shortest * rng.choice([1, 2, 3.3]),
        end_trim_s=rng.choice([0, 0.04, 0.5, 2]),
    )  # fmt: skip
    scenes = scenes_of(boundaries, cuts, time_base)
    rows = cut_spans(video(time_base), scenes, settings)

    assert [row["start_frame"] for row in rows] == [0, *(row["end_frame"] for row in rows[:-1])]
    assert rows[-1]["end_frame"] == frames
    assert [pts for row in rows for pts in frame_timestamps(row)] == boundaries[:-1]
    assert [row["start_s"] for row in rows[1:]] == [row["end_s"] for row in rows[:-1]]
    whole = (boundaries[-1] - boundaries[0]) * time_base
    assert sum((row["end_pts"] - row["start_pts"]) * time_base for row in rows) == whole
    assert sum(row["duration_s"] for row in rows) == pytest.approx(float(whole), abs=1e-9)
    assert len({row["clip_id"] for row in rows}) == len(rows)
    assert all(row["frame_count"] == row["end_frame"] - row["start_frame"] > 0 for row in rows)

    for row in rows:
        length = (row["end_pts"] - row["start_pts"]) * time_base
        scene = scenes[row["scene_index"]]
        if row["dropped"] is None:
            assert Fraction(str(settings.min_duration_s)) <= length <= Fraction(str(settings.max_duration_s))
            if scene["ends_at_cut"]:
                last_pts = frame_timestamps(row)[-1]
                trim = Fraction(str(settings.end_trim_s))
                assert (scene["end_pts"] - last_pts) * time_base > trim
        elif row["dropped"].startswith(("too short", "remainder")):
            limit = max(settings.min_duration_s, settings.end_trim_s)
            assert length <= Fraction(str(limit))


@pytest.mark.parametrize(
    ("pts", "end", "packed"),
    [
        ([5], 9, None),
        ([0, 2, 4], 6, None),
        ([0, 2, 4], 7, [0, 2, 4]),
        ([0, 33, 67], 100, [0, 33, 67]),
        ([-4, -1, 2], 5, None),
    ],
)
def test_timestamps_survive_packing(pts: list[int], end: int, packed: list[int] | None) -> None:
    assert pack_timestamps(pts, end) == packed
    span = {"start_frame": 7, "end_frame": 7 + len(pts), "start_pts": pts[0], "end_pts": end, "frame_pts": packed}
    assert frame_timestamps(span) == pts


def test_an_image_is_one_clip_from_0_to_0_whatever_the_rules_on_time() -> None:
    (row,) = cut_spans(video(), scenes_of([0, 0], []), Clips(min_duration_s=3, end_trim_s=1))
    assert row["clip_id"] == "00112233445566aa-00000000-00000000"
    assert (row["frame_count"], row["duration_s"], row["dropped"]) == (1, 0.0, None)
    (row,) = cut_spans(video(width=100, height=100), scenes_of([0, 0], []), Clips())
    assert row["dropped"] == "source too small: 100x100 = 10000 px is less than 262144 px"


def test_no_span_of_a_video_is_named_as_an_image_is() -> None:
    (row,) = cut_spans(video(Fraction(1, 10_000)), scenes_of([0, 2], []), Clips(min_duration_s=0.0001))
    assert row["clip_id"] == "00112233445566aa-00000000-00000001"
