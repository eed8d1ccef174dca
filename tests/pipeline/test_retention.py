"""The page of benchmarks/retention.py says of a finished job what its tables hold."""

import polars as pl

from benchmarks.retention import filter_lines, retention, step_lines
from curation_assets import open_tables
from tests.pipeline.jobs import SHARD, Job


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_filter_is_said_to_keep_and_drop_the_clips_that_were_measured(job: Job) -> None:
    scan = open_tables(job.home).scan
    found = {tuple(line[:2]): line for line in map(cells, filter_lines(scan))}
    selection = job.table("clip_selection").join(job.table("clips").select("clip_id", "duration_s"), on="clip_id")
    judged = selection.explode("measurements").unnest("measurements").drop_nulls("passed")
    assert set(found) >= set(judged.select("filter", "engine").iter_rows())
    for (name, engine), clips in judged.group_by("filter", "engine"):
        kept = clips.filter("passed")
        alone = [line for line in clips["reasons"].to_list() if len(line) == 1 and line[0].startswith(f"{name}: ")]
        counts = [clips.height, kept.height, clips.height - kept.height, len(alone)]
        seconds = kept["duration_s"].sum(), kept["duration_s"].sum() / clips["duration_s"].sum()
        assert found[name, engine][3:] == [*map(str, counts), f"{seconds[0]:.1f}", f"{seconds[1]:.0%}"], name
    assert any(int(line[5]) for line in found.values()), "some filter dropped a clip"


def test_duplicates_are_counted_by_kind_and_leave_the_steps(job: Job) -> None:
    clips = job.table("clip_selection").filter("selected")["clip_id"].to_list()
    rows = pl.DataFrame(
        {
            "clip_id": clips,
            "shard": SHARD,
            "duplicate_of": [None, *clips[:1], *[None] * (len(clips) - 2)],
            "kind": [None, "perceptual", *[None] * (len(clips) - 2)],
        }
    )
    tables = open_tables(job.home)

    def scan(table: str) -> pl.LazyFrame:
        return rows.lazy() if table == "duplicates" else tables.scan(table)

    found = {line[0]: line for line in map(cells, filter_lines(scan))}
    assert found["duplicates"][1:7] == ["perceptual 1", "", str(len(clips)), str(len(clips) - 1), "1", "1"]
    steps = {line[0]: line for line in map(cells, step_lines(scan))}
    assert steps["not duplicates"][1] == str(len(clips) - 1)


def test_the_steps_lead_from_all_videos_to_the_samples(job: Job) -> None:
    tables = open_tables(job.home)
    steps = {line[0]: line[1:] for line in map(cells, step_lines(tables.scan))}
    counts = {
        "videos": job.table("raw_videos").filter(pl.col("error").is_null()).height,
        "spans": job.table("clips").height,
        "clips": job.table("clips").filter(pl.col("dropped").is_null()).height,
        "selected": job.table("clip_selection")["selected"].sum(),
        "samples": job.table("training_manifest").height,
    }
    assert {name: int(steps[name][0]) for name in counts} == counts
    assert steps["spans"][1:] == [*steps["scenes"][1:-1], "100%"], "spans take up all of the scenes"
    assert "trim " in retention(tables.scan)
