"""Rows of many units may come as one frame, alone or among answers for single units, and are counted as those are."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from curation_assets.incremental.committing import Report
from curation_assets.incremental.refresh import refresh
from curation_assets.incremental.work import Done
from curation_assets.tables import SCENES
from tests.toy_stages import SHARD, Home, put, scene_rows, scenes, some_videos

VIDEOS = some_videos(4)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    put(made.store, VIDEOS)
    return made


def in_columns(*units: str) -> pl.DataFrame:
    rows = [{"video_id": unit, **row} for unit in units for row in scene_rows(20, "content")]
    return pl.DataFrame(rows, schema={name: SCENES.schema[name] for name in rows[0]})


def alone(unit: str) -> Done:
    return Done(unit, scene_rows(20, "content"))


def answered(home: Home, answers: Sequence[Done | pl.DataFrame]) -> Report:
    (report,) = refresh([scenes()], SHARD, lambda pending: answers, home.context())
    return report


ALL = {
    "one frame": [in_columns("v2", "v0", "v3", "v1")],
    "two frames": [in_columns("v3", "v1"), in_columns("v0", "v2")],
    "a frame, then single units": [in_columns("v1", "v2"), alone("v3"), alone("v0")],
    "single units, then a frame": [alone("v3"), alone("v0"), in_columns("v1", "v2")],
}


@pytest.mark.parametrize("answers", ALL.values(), ids=ALL)
def test_rows_are_those_of_single_answers(home: Home, tmp_path: Path, answers: list[Done | pl.DataFrame]) -> None:
    other = Home(tmp_path / "other")
    put(other.store, VIDEOS)
    expected = answered(other, [alone(unit) for unit in VIDEOS])

    report = answered(home, answers)

    assert (report.inputs, report.computed, report.rows) == (4, 4, 8)
    assert report.data_version == expected.data_version
    assert home.results(SCENES).equals(other.results(SCENES))
    assert home.staged() == []


@pytest.mark.parametrize("answers", ALL.values(), ids=ALL)
def test_a_unit_left_out_is_a_failure_that_is_tried_again(home: Home, answers: list[Done | pl.DataFrame]) -> None:
    *others, last = answers
    kept = [last.filter(pl.col("video_id") != last["video_id"][0])] if isinstance(last, pl.DataFrame) else []

    report = answered(home, [*others, *kept])

    assert report.inputs == report.computed + report.failed
    assert report.failed == report.transient == 1
    assert home.table(SCENES).filter(pl.col("error").str.contains("without an answer")).height == 1


@pytest.mark.parametrize("wrong", ["v1", "stranger"], ids=["twice", "not asked for"])
@pytest.mark.parametrize("answers", ALL.values(), ids=ALL)
def test_what_was_not_awaited_is_refused(home: Home, answers: list[Done | pl.DataFrame], wrong: str) -> None:
    with pytest.raises(KeyError, match=wrong):
        answered(home, [*answers, in_columns(wrong)])

    assert home.version(SCENES) == 0
