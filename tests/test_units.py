"""Clips that lie close together in a video are one worker's; how, no other clip of the shard has a say in."""

from typing import Any

import pytest

from curation_assets.incremental.work import Work
from curation_assets.units import in_runs


def work(*clips: tuple[str, float, float], **columns: Any) -> list[Work]:
    """Units named by number, of a video and from second to second."""
    about = {"time_base": "1/1000", "width": 1920, "height": 1080, **columns}
    return [
        Work(str(n), "s-0000", {**about, **span(start, end), "video_id": video}, {}, {})
        for n, (video, start, end) in enumerate(clips)
    ]


def span(start_s: float, end_s: float) -> dict[str, Any]:
    return {"start_pts": start_s * 1000, "end_pts": end_s * 1000, "frame_count": 25 * (end_s - start_s)}


def names(runs: list[list[Work]]) -> list[str]:
    return ["".join(unit.unit for unit in run) for run in runs]


@pytest.mark.parametrize(
    ("clips", "runs"),
    [
        ([("a", 0, 5), ("a", 5, 10), ("a", 10.5, 15)], ["012"]),
        ([("a", 0, 5), ("a", 6.5, 10)], ["0", "1"]),
        ([("a", 0, 5), ("b", 5, 10)], ["0", "1"]),
        ([("a", 5, 10), ("b", 0, 5), ("a", 0, 5)], ["20", "1"]),
        ([("a", 10.0 * n, 10.0 * n + 10) for n in range(7)], ["012", "345", "6"]),
        ([("a", 0, 40), ("a", 40, 80)], ["0", "1"]),
        ([], []),
    ],
)
def test_clips_next_to_each_other_go_together(clips: list[tuple[str, float, float]], runs: list[str]) -> None:
    assert names(in_runs(work(*clips))) == runs


def test_those_with_most_pixels_are_begun_first() -> None:
    small = work(("a", 0, 5), ("b", 0, 20), width=640)
    large = work(("c", 0, 5), ("d", 0, 4))
    runs = in_runs([*small, *large])
    assert [unit.values["video_id"] for run in runs for unit in run] == ["b", "c", "d", "a"]


@pytest.mark.parametrize(("at_once", "runs"), [(1, ["0", "1", "2"]), (1.99, ["0", "1", "2"]), (2, ["01", "2"])])
def test_no_more_pixels_at_once_than_asked_for(at_once: float, runs: list[str]) -> None:
    clips = work(("a", 0, 5), ("a", 5, 10), ("a", 10, 15))
    assert names(in_runs(clips, at_once * 1920 * 1080)) == runs
