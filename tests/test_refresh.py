"""A refresh computes what changed and nothing else, keeps what it must, and its counts add up."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curation_assets.incremental.committing import Report
from curation_assets.incremental.digests import data_version
from curation_assets.incremental.refresh import refresh
from curation_assets.incremental.stage import Stage, blocked_by
from curation_assets.incremental.work import Done, Work
from curation_assets.tables import CAPTIONS, CLIPS, FRAMES, MOTION_SCORES, RAW_VIDEOS, SCENES, SOURCE_FILES, Row
from resources.errors import EngineUnavailable, InputError, TransientError
from tests.toy_stages import SHARD, Computer, Home, frames, motion, put, scene_rows, scenes, some_videos, video


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def run(home: Home, *stages: Stage, retry_failed: bool = False, **outcomes: Exception | None) -> tuple[Computer, Any]:
    """Refresh; gives what was asked for, and the report (a list of them for several stages)."""
    computer = home.computer(*stages, **outcomes)
    reports = home.refresh(computer, retry_failed=retry_failed)
    for report in reports:
        assert report.inputs == report.computed + report.reused + report.failed + report.blocked
        assert report.rows == home.table(next(s.table for s in stages if s.table.name == report.table)).height
    return computer, reports[0] if len(stages) == 1 else reports


def asked(computer: Computer) -> list[str]:
    return [unit for _, unit, _ in computer.asked]


def counts(report: Report) -> dict[str, int]:
    names = ("inputs", "computed", "reused", "failed", "blocked", "kept", "removed")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


def test_the_first_refresh_computes_every_unit(home: Home) -> None:
    put(home.store, {"a": video(20), "b": video(30)})

    computer, report = run(home, scenes())

    assert asked(computer) == ["a", "b"]
    assert counts(report) == {"inputs": 2, "computed": 2}
    rows = home.table(SCENES)
    assert rows.select("video_id", "scene_index").rows() == [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2)]
    assert set(rows["shard"]) == {SHARD}
    assert rows["run_id"].n_unique() == 1
    assert rows.select("run_id", "computed_at", "input_fingerprint").null_count().row(0) == (0, 0, 0)
    assert home.staged() == []


def test_nothing_changed_computes_nothing_and_writes_no_version(home: Home) -> None:
    put(home.store, some_videos(4))
    _, first = run(home, scenes())
    before = home.table(SCENES)

    computer, second = run(home, scenes())

    assert computer.asked == []
    assert counts(second) == {"inputs": 4, "reused": 4}
    assert (second.version, second.data_version) == (first.version, first.data_version)
    assert home.version(SCENES) == first.version
    assert home.table(SCENES).equals(before)


def test_compute_is_not_even_called_without_work(home: Home) -> None:
    put(home.store, some_videos(2))
    run(home, scenes())

    def compute(work: list[Work]) -> list[Done]:
        raise AssertionError("an engine would be started for nothing")

    assert refresh([scenes()], SHARD, compute, home.context())[0].reused == 2


def test_a_changed_unit_is_the_only_one_computed(home: Home) -> None:
    put(home.store, {"a": video(20), "b": video(20), "c": video(20)})
    run(home, scenes())
    before = home.table(SCENES)

    put(home.store, {"a": video(20), "b": video(30), "c": video(20)})
    computer, report = run(home, scenes())

    assert asked(computer) == ["b"]
    assert counts(report) == {"inputs": 3, "computed": 1, "reused": 2}
    after = home.table(SCENES)
    assert after.filter(video_id="b").height == 3
    assert after.filter(pl.col("video_id") != "b").equals(before.filter(pl.col("video_id") != "b"))


def test_an_added_unit_is_the_only_one_computed(home: Home) -> None:
    put(home.store, {"a": video()})
    run(home, scenes())

    put(home.store, {"a": video(), "b": video()})
    computer, report = run(home, scenes())

    assert asked(computer) == ["b"]
    assert counts(report) == {"inputs": 2, "computed": 1, "reused": 1}


def test_rows_of_a_removed_unit_go(home: Home) -> None:
    put(home.store, {"a": video(20), "b": video(30)})
    run(home, scenes())

    put(home.store, {"a": video(20)})
    computer, report = run(home, scenes())

    assert computer.asked == []
    assert counts(report) == {"inputs": 1, "reused": 1, "removed": 3}
    assert set(home.table(SCENES)["video_id"]) == {"a"}


def test_a_unit_that_has_fewer_rows_now_leaves_none_behind(home: Home) -> None:
    put(home.store, {"a": video(50)})
    run(home, scenes())

    put(home.store, {"a": video(20)})
    _, report = run(home, scenes())

    assert home.table(SCENES)["scene_index"].to_list() == [0, 1]
    assert counts(report) == {"inputs": 1, "computed": 1, "removed": 3}


@pytest.mark.parametrize(
    "changes", [{"settings": {"detector": "adaptive"}}, {"version": "2"}], ids=["settings", "version"]
)
def test_other_settings_or_logic_compute_everything_again(home: Home, changes: dict[str, Any]) -> None:
    put(home.store, some_videos(3))
    run(home, scenes())

    computer, report = run(home, scenes(**changes))

    assert asked(computer) == ["v0", "v1", "v2"]
    assert counts(report) == {"inputs": 3, "computed": 3}
    assert scenes(**changes).code_version != scenes().code_version


def test_another_revision_of_an_engine_computes_its_rows_again(home: Home) -> None:
    put(home.store, {"a": video()})
    run(home, motion("dis", "farneback"))

    computer, report = run(home, motion(engines={"dis": {"side": 320}, "farneback": {"side": 640}}))

    assert computer.asked == [("motion_scores", "a", "farneback")]
    assert counts(report) == {"inputs": 2, "computed": 1, "reused": 1}


def test_shards_do_not_touch_each_other(home: Home) -> None:
    put(home.store, {"a": video()})
    put(home.store, {"b": video()}, "films-0001")
    run(home, scenes())
    before = home.table(SCENES)

    (report,) = home.refresh(home.computer(scenes()), "films-0001")

    assert counts(report) == {"inputs": 1, "computed": 1}
    assert home.table(SCENES).equals(before)
    assert set(home.table(SCENES, "films-0001")["video_id"]) == {"b"}


def test_an_empty_shard_is_no_error(home: Home) -> None:
    _, report = run(home, scenes())

    assert counts(report) == {}
    assert report.rows == 0


def test_a_moved_file_recomputes_nothing(home: Home) -> None:
    put(home.store, {"a": video(source_uri="/old/a.mp4")})
    _, first = run(home, scenes())

    put(home.store, {"a": video(source_uri="/new/a.mp4")})
    computer, report = run(home, scenes())

    assert computer.asked == []
    assert report.version == first.version


CARRIED = ("path", "source_uri", "missing")


def probed() -> Stage:
    def units(reads: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        return reads["source_files"].select(
            "video_id", "size_bytes", *CARRIED, wanted=~pl.col("missing"), blocked=pl.col("error")
        )

    return Stage(
        RAW_VIDEOS,
        unit="video_id",
        reads={"source_files": ["video_id", "size_bytes", *CARRIED]},
        units=units,
        version="1",
        carried=CARRIED,
    )


def probe(work: list[Work]) -> list[Done]:
    return [Done(unit.unit, [{"frame_count": unit.values["size_bytes"]}]) for unit in work]


def found(path: str, missing: bool = False, **columns: Any) -> Row:
    return {"source": "films", "path": path, "source_uri": f"/{path}", "missing": missing, "size_bytes": 9, **columns}


def carried_rows(home: Home) -> list[tuple[Any, ...]]:
    return home.table(RAW_VIDEOS).select("video_id", *CARRIED, "frame_count", "error").rows()


def test_carried_columns_follow_without_computing(home: Home) -> None:
    put(home.store, {"a": found("a.mp4"), "b": found("b.mp4")}, table=SOURCE_FILES)
    refresh([probed()], SHARD, probe, home.context())
    before = home.table(RAW_VIDEOS)

    put(home.store, {"a": found("x/renamed.mp4"), "b": found("b.mp4")}, table=SOURCE_FILES)
    (report,) = refresh([probed()], SHARD, probe, home.context())

    assert counts(report) == {"inputs": 2, "reused": 2}
    assert carried_rows(home) == [
        ("a", "x/renamed.mp4", "/x/renamed.mp4", False, 9, None),
        ("b", "b.mp4", "/b.mp4", False, 9, None),
    ]
    assert home.table(RAW_VIDEOS)["computed_at"].equals(before["computed_at"])
    assert report.data_version != data_version(before, RAW_VIDEOS)  # steps that read the path must hear of it


def test_carried_columns_follow_in_rows_that_are_kept_or_blocked(home: Home) -> None:
    unreadable: Row = {"error": "is a link", "error_kind": "input"}
    put(home.store, {"a": found("a.mp4"), "b": found("b.mp4", **unreadable)}, table=SOURCE_FILES)
    refresh([probed()], SHARD, probe, home.context())

    for gone in (True, False):
        put(
            home.store,
            {"a": found("a2.mp4", gone), "b": found("b2.mp4", gone, **unreadable)},
            table=SOURCE_FILES,
        )
        refresh([probed()], SHARD, probe, home.context())

        assert carried_rows(home) == [
            ("a", "a2.mp4", "/a2.mp4", gone, 9, None),
            ("b", "b2.mp4", "/b2.mp4", gone, None, "is a link"),
        ]


def test_carried_columns_are_those_of_today_in_rows_taken_from_staging(home: Home) -> None:
    def probe_then_fail(work: list[Work]) -> Any:
        yield from probe(work)
        raise EngineUnavailable("gone")

    put(home.store, {"a": found("old.mp4")}, table=SOURCE_FILES)
    with pytest.raises(EngineUnavailable):
        refresh([probed()], SHARD, probe_then_fail, home.context())

    put(home.store, {"a": found("new.mp4")}, table=SOURCE_FILES)
    (report,) = refresh([probed()], SHARD, probe, home.context())

    assert report.recovered == 1
    assert carried_rows(home) == [("a", "new.mp4", "/new.mp4", False, 9, None)]


def test_rows_of_an_unwanted_unit_stay_and_nothing_is_computed(home: Home) -> None:
    put(home.store, {"a": video(20), "b": video(20)})
    run(home, scenes())
    before = home.table(SCENES)

    put(home.store, {"a": video(20), "b": video(50, missing=True), "c": video(20, missing=True)})
    computer, report = run(home, scenes(settings={"detector": "adaptive"}))

    assert asked(computer) == ["a"]
    assert counts(report) == {"inputs": 1, "computed": 1, "kept": 2}
    assert home.table(SCENES).filter(video_id="b").equals(before.filter(video_id="b"))
    assert "c" not in set(home.table(SCENES)["video_id"])


def test_a_unit_that_is_wanted_again_reuses_its_rows(home: Home) -> None:
    put(home.store, {"a": video()})
    run(home, scenes())
    put(home.store, {"a": video(missing=True)})
    run(home, scenes())

    put(home.store, {"a": video()})
    computer, report = run(home, scenes())

    assert computer.asked == []
    assert counts(report) == {"inputs": 1, "reused": 1}


def broken(why: str = "no moov atom", kind: str = "input", **columns: Any) -> Row:
    return video(error=why, error_kind=kind, **columns)


def test_a_unit_whose_parent_failed_is_blocked_with_the_first_cause(home: Home) -> None:
    put(home.store, {"a": video(), "b": broken()})

    computer, report = run(home, scenes())

    assert asked(computer) == ["a"]
    assert counts(report) == {"inputs": 2, "computed": 1, "blocked": 1}
    (row,) = home.table(SCENES).filter(video_id="b").to_dicts()
    assert (row["error"], row["error_kind"], row["scene_index"]) == ("raw_videos: no moov atom", "blocked", None)

    def units(reads: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        return reads["scenes"].unique("video_id").select("video_id", blocked_by("scenes"))

    clips = Stage(CLIPS, unit="video_id", reads={"scenes": ["video_id"]}, units=units, version="1")
    refresh([clips], SHARD, lambda work: [Done(unit.unit, [{"clip_id": unit.unit}]) for unit in work], home.context())
    assert home.table(CLIPS).filter(video_id="b")["error"].to_list() == ["raw_videos: no moov atom"]


def test_a_paid_result_outlives_a_failure_of_its_parent(home: Home) -> None:
    put(home.store, {"a": video()})
    run(home, scenes(paid=True))

    put(home.store, {"a": broken(), "b": broken()})
    computer, report = run(home, scenes(paid=True))

    assert asked(computer) == []
    assert counts(report) == {"inputs": 1, "blocked": 1, "kept": 2}
    assert home.table(SCENES).filter(video_id="a")["error"].to_list() == [None] * 2


def test_a_blocked_unit_is_left_as_it_is_until_its_parent_has_a_result(home: Home) -> None:
    put(home.store, {"a": broken()})
    _, first = run(home, scenes())

    _, second = run(home, scenes())
    assert second.version == first.version

    put(home.store, {"a": broken("truncated")})
    run(home, scenes())
    assert home.table(SCENES)["error"].to_list() == ["raw_videos: truncated"]

    put(home.store, {"a": video(30)})
    computer, report = run(home, scenes())
    assert asked(computer) == ["a"]
    assert counts(report) == {"inputs": 1, "computed": 1}
    assert home.table(SCENES)["error"].to_list() == [None] * 3


def test_a_failure_is_a_row_and_the_neighbours_have_results(home: Home) -> None:
    put(home.store, some_videos(3))

    _, report = run(home, scenes(), v1=InputError("no video stream; remove the file"))

    assert counts(report) == {"inputs": 3, "computed": 2, "failed": 1}
    assert report.failures == [("v1", "no video stream; remove the file")]
    (row,) = home.table(SCENES).filter(video_id="v1").to_dicts()
    assert (row["error"], row["error_kind"]) == ("no video stream; remove the file", "input")


def test_a_failed_input_is_tried_again_only_on_request_or_when_it_changed(home: Home) -> None:
    put(home.store, {"a": video(20), "b": video(20)})
    _, first = run(home, scenes(), a=InputError("corrupt"))

    computer, second = run(home, scenes())
    assert computer.asked == []
    assert counts(second) == {"inputs": 2, "reused": 1, "failed": 1}
    assert second.failures == [("a", "corrupt")]
    assert second.version == first.version

    computer, third = run(home, scenes(), retry_failed=True)
    assert asked(computer) == ["a"]
    assert counts(third) == {"inputs": 2, "computed": 1, "reused": 1}

    run(home, scenes(version="2"), a=InputError("corrupt"))
    put(home.store, {"a": video(30), "b": video(20)})
    computer, _ = run(home, scenes(version="2"))
    assert asked(computer) == ["a"]


@pytest.mark.parametrize(
    "failure", [TransientError("server away"), OSError(28, "No space left on device"), ValueError()]
)
def test_a_failure_of_the_machine_is_tried_again(home: Home, failure: Exception) -> None:
    put(home.store, {"a": video(), "b": video()})
    _, first = run(home, scenes(), a=failure)

    assert first.transient == 1
    (row,) = home.table(SCENES).filter(video_id="a").to_dicts()
    assert (row["error"], row["error_kind"]) == (str(failure) or "ValueError", "transient")

    computer, second = run(home, scenes())

    assert asked(computer) == ["a"]
    assert counts(second) == {"inputs": 2, "computed": 1, "reused": 1}


def test_a_unit_without_an_answer_is_a_failure_that_is_tried_again(home: Home) -> None:
    put(home.store, {"a": video(), "b": video()})

    _, first = run(home, scenes(), a=None)
    assert counts(first) == {"inputs": 2, "computed": 1, "failed": 1}
    assert first.transient == 1
    assert "without an answer" in home.table(SCENES).filter(video_id="a")["error"][0]

    computer, _ = run(home, scenes())
    assert asked(computer) == ["a"]


def test_an_answer_without_rows_is_one_row_with_the_reason(home: Home) -> None:
    put(home.store, {"a": video(0)})

    _, report = run(home, scenes())

    assert counts(report) == {"inputs": 1, "failed": 1}
    assert home.table(SCENES)["error"].to_list() == ["nothing came out of it, and nothing was said to be wrong with it"]


def test_a_row_may_hold_what_is_known_beside_its_error(home: Home) -> None:
    put(home.store, {"a": video()})
    stage = scenes()
    row = {"detector": "content", "error": "too dark", "error_kind": "input"}

    (report,) = refresh([stage], SHARD, lambda work: [Done("a", [row])], home.context())

    assert counts(report) == {"inputs": 1, "failed": 1}
    assert home.table(SCENES).select("detector", "error", "error_kind").rows() == [("content", "too dark", "input")]


def test_a_column_that_the_table_lacks_is_refused(home: Home) -> None:
    put(home.store, {"a": video()})

    with pytest.raises(ValueError, match=r"scenes: a row has columns that the table lacks: \['motion_score'\]"):
        refresh([scenes()], SHARD, lambda work: [Done("a", [{"motion_score": 1.0}])], home.context())

    assert home.version(SCENES) == 0


def _frames_file(home: Home, unit: str) -> Path:
    (path,) = home.table(FRAMES).filter(clip_id=unit)["frames_path"]
    return home.files.local_path(path)


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"shorter")], ids=["gone", "other size"])
def test_a_row_whose_file_is_not_as_it_was_is_computed_again(home: Home, harm: Any) -> None:
    put(home.store, some_videos(3))
    run(home, frames())
    before = home.results(FRAMES)

    harm(_frames_file(home, "v1"))
    computer, report = run(home, frames())

    assert asked(computer) == ["v1"]
    assert counts(report) == {"inputs": 3, "computed": 1, "reused": 2}
    assert home.results(FRAMES).equals(before)
    assert _frames_file(home, "v1").stat().st_size == home.table(FRAMES).filter(clip_id="v1")["frames_size_bytes"][0]


def test_files_of_other_settings_have_other_names(home: Home) -> None:
    put(home.store, {"a": video()})
    run(home, frames())
    old = _frames_file(home, "a")

    run(home, frames(settings={"jpeg_quality": 50}))

    assert _frames_file(home, "a") != old
    assert old.exists()


def test_adding_an_engine_computes_only_it_and_removing_one_drops_its_rows(home: Home) -> None:
    put(home.store, some_videos(2))
    run(home, motion("dis"))
    before = home.table(MOTION_SCORES)

    computer, report = run(home, motion("dis", "farneback"))
    assert computer.asked == [("motion_scores", "v0", "farneback"), ("motion_scores", "v1", "farneback")]
    assert counts(report) == {"inputs": 4, "computed": 2, "reused": 2}

    computer, report = run(home, motion("dis"))
    assert computer.asked == []
    assert counts(report) == {"inputs": 2, "reused": 2, "removed": 2}
    assert home.table(MOTION_SCORES).equals(before)


def test_with_every_engine_off_the_table_is_empty(home: Home) -> None:
    put(home.store, some_videos(2))
    run(home, motion("dis"))

    computer, report = run(home, motion(engines={}))

    assert computer.asked == []
    assert counts(report) == {"removed": 2}
    assert home.table(MOTION_SCORES).is_empty()


def test_one_engine_may_fail_where_another_succeeds(home: Home) -> None:
    put(home.store, {"a": video()})

    def compute(work: list[Work]) -> list[Done]:
        return [Done("a", [{"motion_score": 1.0}], "dis"), Done("a", InputError("too few frames"), "farneback")]

    (report,) = refresh([motion("dis", "farneback")], SHARD, compute, home.context())

    assert counts(report) == {"inputs": 2, "computed": 1, "failed": 1}
    assert report.failures == [("a (farneback)", "too few frames")]
    rows = home.table(MOTION_SCORES).select("engine", "motion_score", "error").rows()
    assert rows == [("dis", 1.0, None), ("farneback", None, "too few frames")]


def test_a_column_named_engine_is_no_engine_where_a_unit_has_one_row(home: Home) -> None:
    def units(reads: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        return reads["raw_videos"].select(clip_id="video_id")

    def compute(work: list[Work]) -> list[Done]:
        return [Done(unit.unit, [{"caption": "a cat", "engine": "facts"}]) for unit in work]

    stage = Stage(CAPTIONS, unit="clip_id", reads={"raw_videos": ["video_id"]}, units=units, version="1")
    put(home.store, {"a": video()})
    refresh([stage], SHARD, compute, home.context())

    (report,) = refresh([stage], SHARD, compute, home.context())

    assert counts(report) == {"inputs": 1, "reused": 1}


def test_stages_that_share_a_computation_ask_only_for_what_each_lacks(home: Home) -> None:
    put(home.store, some_videos(3))
    computer, (first, second) = run(home, frames(), motion())
    assert len(computer.asked) == 6
    assert (counts(first), counts(second)) == ({"inputs": 3, "computed": 3}, {"inputs": 3, "computed": 3})
    frames_before = home.table(FRAMES)

    computer, (first, second) = run(home, frames(), motion(version="2"))

    assert computer.asked == [("motion_scores", unit, "dis") for unit in ("v0", "v1", "v2")]
    assert (counts(first), counts(second)) == ({"inputs": 3, "reused": 3}, {"inputs": 3, "computed": 3})
    assert home.table(FRAMES).equals(frames_before)
    assert home.version(FRAMES) == 1

    computer, _ = run(home, frames(settings={"jpeg_quality": 10}), motion(version="2"))

    assert computer.asked == [("frames", unit, "") for unit in ("v0", "v1", "v2")]


def test_equal_results_have_equal_data_versions_whatever_the_order_run_and_time(tmp_path: Path) -> None:
    videos = {**some_videos(4), "x": broken(), "y": broken("truncated")}
    there, here = Home(tmp_path / "there"), Home(tmp_path / "here")
    put(there.store, videos)
    put(here.store, dict(reversed(videos.items())))

    def backwards(work: list[Work]) -> list[Done]:
        return [Done(unit.unit, scene_rows(unit.values["frame_count"], "content")[::-1]) for unit in reversed(work)]

    _, first = run(there, scenes())
    (second,) = refresh([scenes()], SHARD, backwards, replace(here.context(), batch_units=1))

    assert first.data_version == second.data_version
    assert first.data_version == data_version(there.table(SCENES).sample(fraction=1, shuffle=True, seed=3), SCENES)


def test_a_data_version_names_the_results(home: Home) -> None:
    put(home.store, some_videos(2))
    _, first = run(home, motion())
    rows = home.table(MOTION_SCORES)

    bookkeeping = rows.with_columns(run_id=pl.lit("other"), input_fingerprint=pl.lit("other"))
    assert data_version(bookkeeping, MOTION_SCORES) == first.data_version
    assert data_version(rows.with_columns(motion_score=pl.lit(1.0)), MOTION_SCORES) != first.data_version
    assert data_version(rows.head(1), MOTION_SCORES) != first.data_version

    _, again = run(home, motion(version="2"))  # same result under another version of the logic: revision differs
    assert again.data_version != first.data_version


def test_the_order_in_which_a_table_is_read_changes_no_fingerprint(home: Home) -> None:
    videos = some_videos(5)
    put(home.store, videos)
    run(home, scenes())

    put(home.store, dict(reversed(videos.items())))
    computer, _ = run(home, scenes())

    assert computer.asked == []


def test_keyless_error_rows_do_not_make_new_versions(home: Home) -> None:
    """Rows that failed have no clip_id to be sorted by."""

    def units(reads: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        return reads["raw_videos"].select("video_id", wanted=~pl.col("missing"))

    def compute(work: list[Work]) -> list[Done]:
        return [Done(unit.unit, InputError(f"{unit.unit} is corrupt")) for unit in reversed(work)]

    clips = Stage(CLIPS, unit="video_id", reads={"raw_videos": ["video_id", "missing"]}, units=units, version="1")
    videos = some_videos(5)
    put(home.store, videos)
    (first,) = refresh([clips], SHARD, compute, home.context())

    put(home.store, {**videos, "v3": video(missing=True)})
    (second,) = refresh([clips], SHARD, compute, home.context())

    assert (second.reused, second.failed, second.kept) == (0, 4, 1)
    assert (second.version, second.data_version) == (first.version, first.data_version)


def test_an_engine_that_goes_away_raises_and_what_was_finished_is_taken_up(home: Home) -> None:
    put(home.store, some_videos(5))

    with pytest.raises(EngineUnavailable, match="server down"):
        home.refresh(home.computer(scenes(), v3=EngineUnavailable("server down; start it")))
    assert home.version(SCENES) == 0
    assert home.staged()

    computer, report = run(home, scenes())

    assert asked(computer) == ["v3", "v4"]
    assert counts(report) == {"inputs": 5, "computed": 5}
    assert report.recovered == 3
    assert home.staged() == []


def test_rows_from_staging_are_used_only_for_the_input_they_were_made_from(home: Home) -> None:
    put(home.store, some_videos(3))
    with pytest.raises(EngineUnavailable):
        home.refresh(home.computer(scenes(), v2=EngineUnavailable("server down")))

    computer, report = run(home, scenes(settings={"detector": "adaptive"}))

    assert asked(computer) == ["v0", "v1", "v2"]
    assert report.recovered == 0
    assert set(home.table(SCENES)["detector"]) == {"adaptive"}
    assert home.staged() == []


def test_staged_rows_whose_file_is_gone_are_computed_again(home: Home) -> None:
    put(home.store, some_videos(3))
    with pytest.raises(EngineUnavailable):
        home.refresh(home.computer(frames(), v2=EngineUnavailable("server down")))
    for path in (home.folder / "frames" / SHARD).glob("v0-*.zip"):
        path.unlink()

    computer, _ = run(home, frames())

    assert asked(computer) == ["v0", "v2"]
    assert all(_frames_file(home, unit).exists() for unit in ("v0", "v1", "v2"))


def test_staging_of_an_older_schema_is_cleared_away(home: Home) -> None:
    put(home.store, some_videos(1))
    old = home.files.local_path(f"staging/scenes/{SHARD}/0123.parquet")
    old.parent.mkdir(parents=True)
    pl.DataFrame({"video_id": ["v0"], "scene": [1]}).write_parquet(old)

    computer, _ = run(home, scenes())

    assert asked(computer) == ["v0"]
    assert home.staged() == []


@pytest.mark.parametrize("stages", [(frames(), motion("dis", "farneback")), (frames(),)])
def test_progress_is_told_in_units(home: Home, stages: tuple[Stage, ...]) -> None:
    put(home.store, some_videos(3))
    told: list[tuple[int, int]] = []
    context = replace(home.context(), progress=lambda done, total: told.append((done, total)))
    computer = home.computer(*stages)

    refresh(computer.stages, SHARD, computer, context)

    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
