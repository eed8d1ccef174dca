"""Each rule finds the rows that break it, and says which."""

import io
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from curation_assets.definitions import stage_assets
from curation_assets.incremental.committing import Report
from curation_assets.incremental.stage import Stage
from curation_assets.rules import (
    CHOSEN_BY,
    PARENT,
    RANGES,
    SAME,
    Finding,
    Shard,
    broken_rules,
    losses,
    registration_rules,
    release_rules,
)
from curation_assets.settings import parse_settings
from curation_assets.tables import TABLES
from curation_assets.tools import Tools
from resources.files import Files
from tests.checks.conftest import SETTINGS
from tests.pipeline.jobs import SHARD, Job

PARSED = parse_settings(SETTINGS, "the test's settings")
STAGES: dict[str, Stage] = {stage.table.name: stage for asset in stage_assets(PARSED) for stage in asset.stages}
WITHOUT_ROWS = {
    *("semantic_scores", "clip_embeddings", "aesthetic_scores", "text_scores", "alignment_scores"),
    "beautified_prompts",
}
FROM_VIDEOS = sorted(set(STAGES) - WITHOUT_ROWS)
Change = Callable[[dict[str, Any]], dict[str, Any]]


def report_of(job: Job, table: str, **counts: Any) -> Report:
    handle = job.store.snapshot(table)
    inputs = job.store.read(handle, [STAGES[table].unit], SHARD).n_unique()
    return replace(Report(table, SHARD, inputs=inputs, reused=inputs, version=handle.version()), **counts)


def write(job: Job, table: str, rows: list[dict[str, Any]]) -> None:
    handle = job.store.snapshot(table)
    job.store.replace(handle, pl.DataFrame(rows, schema=TABLES[table].schema, orient="row"), SHARD, {})


def change_first(job: Job, table: str, **values: Any) -> dict[str, Any]:
    """Overwrite columns of the table's first row with a result; returns the row as it is then."""
    rows = job.table(table).to_dicts()
    first = next(row for row in rows if row["error"] is None)
    first.update(values)
    write(job, table, rows)
    return first


def broken(job: Job, table: str, report: Report | None = None) -> dict[str, Finding]:
    tools = Tools(PARSED, Files(str(job.home)))
    shard = Shard(report or report_of(job, table), job.store)
    return {f.rule: f for f in broken_rules(shard, STAGES[table], tools.files, tools.pool) if f.wrong}


def lost(job: Job, table: str, **counts: Any) -> list[str]:
    return list(losses(Shard(report_of(job, table, **counts), job.store), STAGES[table]))


def test_a_finished_job_breaks_no_rule(job: Job) -> None:
    for table in FROM_VIDEOS:
        report = report_of(job, table)
        report.computed, report.reused = report.reused, 0
        assert report.inputs, table
        assert broken(job, table, report) == {}, table


def test_every_table_has_a_parent_and_every_declared_column_exists() -> None:
    off = {"clip_crops", "safety_scores", "watermark_scores", "clip_hashes", "clip_neighbours"}
    assert set(PARENT) == {*STAGES, *off}, "what is off here has parents too"
    for table, ranges in RANGES.items():
        assert set(ranges) <= set(TABLES[table].columns), table
    for table, sames in SAME.items():
        for same in sames:
            assert same.column in TABLES[table].columns
            assert same.other in TABLES[same.table].columns


def test_all_number_columns_of_scores_have_a_range() -> None:
    for table in (name for name in STAGES if name.endswith("_scores")):
        kinds = (pl.Float64, pl.List(pl.Float64))
        numbers = {name for name, column in TABLES[table].stage_columns.items() if column.dtype in kinds}
        assert numbers == set(RANGES[table]), table


def test_inputs_must_add_up(job: Job) -> None:
    found = broken(job, "clips", report_of(job, "clips", reused=1))
    assert list(found) == ["inputs = computed + reused + failed + blocked"]
    assert found.popitem()[1].wrong == ["2 inputs, 1 ended"]


@pytest.mark.parametrize("table", ["raw_videos", "frames", "motion_scores", "clip_files"])
def test_an_input_without_a_row_is_noticed(job: Job, table: str) -> None:
    before = report_of(job, table)
    write(job, table, job.table(table).to_dicts()[1:])
    found = broken(job, table, replace(before, version=job.store.snapshot(table).version()))
    assert list(found) == ["every input has a row"]
    assert found.popitem()[1].wrong == [f"{before.inputs} inputs, rows of {before.inputs - 1}"]


@pytest.mark.parametrize("table", FROM_VIDEOS)
def test_a_key_that_stands_twice_is_named(job: Job, table: str) -> None:
    rows = job.table(table).to_dicts()
    write(job, table, [*rows, rows[0]])
    key = TABLES[table].key
    found = broken(job, table)[f"no two rows share {', '.join(key)}"]
    assert found.wrong == [" ".join(str(rows[0][name]) for name in key)]


@pytest.mark.parametrize("table", FROM_VIDEOS)
def test_a_row_without_parent_is_named(job: Job, table: str) -> None:
    column, parent = PARENT[table]
    change_first(job, table, **{column: "ffffffffffffffff"})
    assert broken(job, table)[f"every {column} is in {parent}"].wrong == ["ffffffffffffffff"]


@pytest.mark.parametrize("table", sorted(set(RANGES) & set(FROM_VIDEOS)))
@pytest.mark.parametrize("value", [math.nan, math.inf, -1e9])
def test_a_number_out_of_range_is_named(job: Job, table: str, value: float) -> None:
    unbounded = {name for name, allowed in RANGES[table].items() if value == -1e9 and allowed.min is None}
    dtypes = {name: TABLES[table].columns[name].dtype for name in RANGES[table] if name not in unbounded}
    numbers = [name for name, dtype in dtypes.items() if dtype == pl.Float64]
    lists = [name for name, dtype in dtypes.items() if dtype == pl.List(pl.Float64)]
    if not numbers + lists:
        pytest.skip("whole numbers only")
    row = change_first(job, table, **dict.fromkeys(numbers, value), **{name: [value] for name in lists})
    wrong = broken(job, table)["numbers are finite and in range"].wrong
    key = " ".join(str(row[name]) for name in TABLES[table].key)
    assert sorted(wrong) == sorted(f"{key} {name} {value}" for name in numbers + lists)


def test_a_score_that_is_missing_without_an_error_is_named(job: Job) -> None:
    row = change_first(job, "motion_scores", motion_score=None)
    wrong = broken(job, "motion_scores")["numbers are finite and in range"].wrong
    assert wrong == [f"{row['clip_id']} dis motion_score None"]


@pytest.mark.parametrize("table", [table for table in SAME if table in FROM_VIDEOS])
def test_what_belongs_to_another_clip_is_named(job: Job, table: str) -> None:
    for same in SAME[table]:
        row = change_first(job, table, **{same.column: 7 if same.column == "frame_count" else "another clip's"})
        assert broken(job, table)[f"{same.column} is that of {same.table} for the clip"].wrong == [row["clip_id"]]


def test_rows_kept_of_clips_that_are_not_selected_may_be_older(job: Job) -> None:
    row = change_first(job, "captions", frames_sha256="of frames in another quality")
    selection = job.table("clip_selection").to_dicts()
    write(job, "clip_selection", [{**s, "selected": s["clip_id"] != row["clip_id"]} for s in selection])
    assert broken(job, "captions") == {}


@pytest.mark.parametrize("table", [table for table in CHOSEN_BY if table in FROM_VIDEOS])
def test_a_row_of_a_clip_that_is_not_selected_is_named(job: Job, table: str) -> None:
    for decision in CHOSEN_BY[table]:
        clip = change_first(job, decision, selected=False)["clip_id"]
        assert broken(job, table)[f"{decision} selects the clip"].wrong == [clip]


def test_shots_that_overlap_or_leave_a_gap_are_named(job: Job) -> None:
    shots = job.table("scenes").to_dicts()
    second = next(shot for shot in shots if shot["scene_index"] == 1)
    second["start_frame"] += 1
    write(job, "scenes", shots)
    wrong = broken(job, "scenes")["a video's shots lie end to end"].wrong
    assert wrong == [f"{second['video_id']} 1"]


def test_a_span_that_got_lost_is_noticed_by_its_seconds(job: Job) -> None:
    spans = job.table("clips").to_dicts()
    lost_span = next(span for span in spans if span["scene_index"] == 1)
    write(job, "clips", [span for span in spans if span != lost_span])
    [wrong] = broken(job, "clips")["a video's spans add up to its shots"].wrong
    assert wrong.startswith(lost_span["video_id"])


def test_a_sample_of_an_unknown_or_missing_source_is_named(job: Job) -> None:
    clip = change_first(job, "training_manifest", source_uri="/elsewhere.mp4")["clip_id"]
    assert broken(job, "training_manifest")["the source is registered and there"].wrong == [clip]


@pytest.mark.parametrize(("table", "column"), [("frames", "frames_path"), ("clip_files", "file_path")])
def test_files_that_are_gone_or_of_another_size_are_named(job: Job, table: str, column: str) -> None:
    one, two = (row[column] for row in job.table(table).to_dicts()[:2])
    (job.home / one).unlink()
    with (job.home / two).open("ab") as file:
        file.write(b"more")
    wrong = broken(job, table)["files are there with the size of their row"].wrong
    assert len(wrong) == 2
    assert wrong[0].startswith(one)
    assert wrong[0].endswith("has none")
    assert wrong[1].startswith(two)


@pytest.mark.parametrize(("table", "column"), [("frames", "frames_path"), ("clip_files", "file_path")])
def test_a_file_of_the_right_size_that_does_not_decode_is_named(job: Job, table: str, column: str) -> None:
    rows = job.table(table).to_dicts()
    for row in rows:
        path = job.home / row[column]
        path.write_bytes(bytes(path.stat().st_size))
    found = broken(job, table, report_of(job, table, reused=0, computed=len(rows)))
    wrong = found["some files, decoded again, are as their rows say"].wrong
    assert len(wrong) == 2
    assert all(name.partition(":")[0] in {row["clip_id"] for row in rows} for name in wrong)


def test_a_file_of_another_clip_is_named(job: Job) -> None:
    rows = [row for row in job.table("clip_files").to_dicts() if row["error"] is None]
    shortest, longest = (f(rows, key=lambda row: row["frame_count"]) for f in (min, max))
    for row in rows:
        if row != longest:
            shutil.copy(job.home / longest["file_path"], job.home / row["file_path"])
    found = broken(job, "clip_files", report_of(job, "clip_files", reused=0, computed=len(rows)))
    wrong = " ".join(found["some files, decoded again, are as their rows say"].wrong)
    assert f"frame_count is {longest['frame_count']}, not" in wrong
    assert shortest["frame_count"] != longest["frame_count"]


def test_losses_are_counted_with_their_reasons(job: Job) -> None:
    assert all(lost(job, table) == [] for table in FROM_VIDEOS)
    assert lost(job, "frames", failed=2, blocked=1, inputs=4) == [
        "2 of 4 failed",
        "1 of 4 have no result because what they are made from failed",
    ]
    clips = job.table("clips").to_dicts()
    write(job, "clips", [{**clip, "dropped": "too short: 0.4 s is less than 3 s"} for clip in clips])
    assert lost(job, "clips") == [f"no span becomes a clip: {len(clips)} too short"]
    selection = job.table("clip_selection").to_dicts()
    write(job, "clip_selection", [{**s, "selected": False, "reasons": ["motion: 0 is below"]} for s in selection])
    assert lost(job, "clip_selection") == [f"no clip is selected: {len(selection)} motion"]
    samples = job.table("training_manifest").to_dicts()
    write(job, "training_manifest", samples[1:])
    assert lost(job, "training_manifest") == [
        f"1 of {len(samples)} selected samples have no clip file or no source any more"
    ]
    video = change_first(job, "raw_videos", duration_s=100.0)["video_id"]
    [seconds] = lost(job, "scenes")
    assert seconds.endswith(f"s of 1 videos can't be decoded: {video}")


def test_a_registration_gives_each_video_one_shard_that_dagster_knows(job: Job) -> None:
    rows = job.table("source_files").select("source", "path", "video_id", "shard")
    assert not any(finding.wrong for finding in registration_rules(rows, [SHARD]))
    video = rows["video_id"][0]
    moved = rows.with_columns(shard=pl.when(pl.col("video_id") == video).then(pl.lit("films-0001")).otherwise("shard"))
    found = {f.rule: list(f.wrong) for f in registration_rules(pl.concat([rows, moved]), [SHARD]) if f.wrong}
    assert found["a video has one shard"] == [f"{video} 2"]
    assert found["every shard is a partition"] == ["films-0001"]
    assert len(found["no two rows share source, path, video_id"]) == rows.height


def test_a_release_whose_exports_are_not_its_own_is_noticed(job: Job) -> None:
    [release] = job.table("training_set").to_dicts()
    clips = job.table("training_manifest")["file_path"]
    files = Files(str(job.home))

    def found(is_new: bool) -> dict[str, Sequence[str]]:
        return {f.rule: f.wrong for f in release_rules(release, is_new, clips, files) if f.wrong}

    assert found(True) == found(False) == {}
    for path in release["exports"]:
        whole = files.read(path)
        if path.endswith(".parquet"):
            buffer = io.BytesIO()
            pl.read_parquet(io.BytesIO(whole)).head(0).write_parquet(buffer)
            files.write(path, buffer.getvalue())
        elif path.endswith(".json"):
            files.write(path, b"[]")
        else:
            files.write(path, whole.splitlines(keepends=True)[0] * (2 if path.endswith(".jsonl") else 1))
        broken = found(True)
        assert broken["exports are those of the row"] == [path]
        [count] = broken[f"exports hold {release['samples']} samples"]
        assert count.startswith(f"{path} has ")
        files.delete(path)
        assert found(False) == {"exports are there": [path]}
        files.write(path, whole)
    (job.home / clips[0]).unlink()
    assert found(True) == {"the clip of every sample is there": [clips[0]]}
