"""A folder of real videos to a training set, by the command a user types."""

import csv
import json
import os
from pathlib import Path

import av
import polars as pl
import pytest
from dagster import AssetKey, DagsterEventType, DagsterInstance, DagsterRunStatus

from curation_assets.tables import TABLES, TRAINING_MANIFEST
from curation_assets.views.speed import LIMITS
from tests import videos
from tests.conftest import Command
from tests.pipeline.conftest import Finished
from tests.pipeline.jobs import (
    BARE_SETTINGS,
    SETTINGS,
    SHARD,
    SOURCE,
    Job,
    copy_videos,
    write_settings,
)

FRAMES = {"bikes.mp4": 250, "two_shots.mp4": 90, "grey.mp4": 30}
CUTS = {"bikes.mp4": [30, 76, 137, 187, 242], "two_shots.mp4": [40], "grey.mp4": []}
# Every cut but the last frame's trims 5 frames; bikes' last shot of 8 frames is too short.
KEPT = {
    "bikes.mp4": [(0, 25), (30, 71), (76, 132), (137, 182), (187, 237)],
    "two_shots.mp4": [(0, 35), (40, 90)],
    "grey.mp4": [(0, 30)],
}
BOUND_BY = {
    **dict.fromkeys(("scenes", "frames", "motion_scores", "technical_scores"), "decoding"),
    **dict.fromkeys(("semantic_scores", "text_scores", "captions", "alignment_scores"), "model"),
    "raw_videos": "reading",
    "clip_files": "encoding",
}
SAMPLES = 7  # all kept clips but the grey one


def by_file(job: Job, table: str) -> dict[str, pl.DataFrame]:
    """Rows of each video, which lie under its path."""
    paths = dict(job.table("raw_videos").select("video_id", "path").iter_rows())
    return {paths[key[0]]: rows for key, rows in job.table(table).group_by("video_id", maintain_order=True)}


def test_command_succeeds_and_says_what_it_did(finished: Finished) -> None:
    assert finished.command.returncode == 0, finished.command.stderr
    said = finished.command.stdout
    lines = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.split()}
    assert lines["scenes"][:6] == ["9", "3", "3", "0", "0", "0"], "rows, inputs, computed, reused, failed, blocked"
    assert lines["clip_selection"][:6] == ["8", "8", "8", "0", "0", "0"]
    assert lines["clip_files"][:6] == ["7", "7", "7", "0", "0", "0"]
    assert "7 clips are in the training manifest." in said
    assert "clips: trim" in said
    assert "failed:" not in said
    assert "tables/clip_selection" in said, "how to query it"
    assert "Traceback" not in said + finished.command.stderr


def test_every_asset_has_its_rows(job: Job) -> None:
    expected = {
        "source_files": 3, "raw_videos": 3, "scenes": 9, "clips": 15, "frames": 8, "motion_scores": 8,
        "semantic_scores": 8, "clip_embeddings": 0, "aesthetic_scores": 0, "text_scores": 8, "technical_scores": 8,
        "clip_selection": 8, "captions": 7, "rewritten_captions": 7, "alignment_scores": 7, "sample_selection": 7,
        "clip_files": 7, "training_manifest": 7, "training_set": 1, "exclusions": 0, "takedowns": 0,
    }  # fmt: skip
    tables = {name: job.table(name) for name in job.versions()}
    assert {name: rows.height for name, rows in tables.items()} == expected
    for name, rows in tables.items():
        assert rows.schema == TABLES[name].schema, name
        assert rows.get_column("error").null_count() == rows.height, name


def test_cuts_and_clips_are_the_known_ones(job: Job) -> None:
    scenes = {path: rows["start_frame"].to_list()[1:] for path, rows in by_file(job, "scenes").items()}
    assert scenes == CUTS
    clips = {
        path: rows.filter(pl.col("dropped").is_null()).select("start_frame", "end_frame").rows()
        for path, rows in by_file(job, "clips").items()
    }
    assert clips == KEPT


def test_spans_add_up_to_each_videos_duration(job: Job) -> None:
    videos_ = {row["path"]: row for row in job.table("raw_videos").to_dicts()}
    for path, spans in by_file(job, "clips").items():
        spans = spans.sort("start_frame")
        assert spans["frame_count"].sum() == FRAMES[path] == videos_[path]["frame_count"]
        assert spans["duration_s"].sum() == pytest.approx(videos_[path]["duration_s"], abs=1e-6)
        assert spans["start_frame"].to_list() == [0, *spans["end_frame"].to_list()[:-1]]


def test_manifest_holds_every_column_with_a_value(job: Job) -> None:
    rows = job.table("training_manifest")
    assert rows.height == SAMPLES
    empty = {name for name in TRAINING_MANIFEST.stage_columns if rows[name].null_count() == rows.height}
    off = {"aesthetic_score", "safety_score", "watermark_score"}
    assert empty == {*off, "crop_box", "listing"}, "no such engine is on, nor crop, and the folder has no listing"
    assert {name for name in TRAINING_MANIFEST.stage_columns if rows[name].null_count()} == empty
    for row in rows.to_dicts():
        assert row["type"] == "video"
        assert row["source"] == SOURCE
        assert Path(row["source_uri"]).parent == job.films
        assert row["end_s"] - row["start_s"] == pytest.approx(row["duration_s"], abs=1e-6)
        assert row["frame_count"] == round(25 * row["duration_s"])
        assert row["clip_id"] == f"{row['video_id']}-{1000 * row['start_s']:08.0f}-{1000 * row['end_s']:08.0f}"


def test_clip_files_decode_to_exactly_the_frames_of_their_spans(job: Job) -> None:
    sizes = {"bikes.mp4": (640, 272), "two_shots.mp4": (320, 180)}
    for row in job.table("training_manifest").to_dicts():
        with av.open(str(job.home / row["file_path"])) as container:
            pictures = [frame for packet in container.demux(video=0) for frame in packet.decode()]
        assert len(pictures) == row["frame_count"]
        shown = {(picture.width, picture.height) for picture in pictures}
        assert shown == {sizes[Path(row["source_uri"]).name]} == {(row["width"], row["height"])}


def test_sound_is_kept_where_the_source_has_it(job: Job) -> None:
    files = job.table("clip_files").join(job.table("training_manifest").select("clip_id", "source_uri"), on="clip_id")
    for row in files.to_dicts():
        assert row["audio_codec"] == ("aac" if row["source_uri"].endswith("two_shots.mp4") else None)


def test_dropped_clip_has_its_reason(job: Job) -> None:
    grey = by_file(job, "clip_selection")["grey.mp4"].row(0, named=True)
    assert not grey["selected"]
    (colour,) = [reason for reason in grey["reasons"] if reason.startswith("colour")]
    assert "is below the minimum 0.36 (opencv" in colour
    measured = {measure["filter"]: measure for measure in grey["measurements"]}
    assert measured["colour"]["passed"] is False
    assert measured["motion"]["passed"] is True


def test_exports_are_what_the_trainer_reads(job: Job) -> None:
    """EasyAnimate's dataset: a JSON array or a CSV with header; file_path joined to its data folder, text, type."""
    release = job.table("training_set").row(0, named=True)
    manifest = {row["file_path"]: row for row in job.table("training_manifest").to_dicts()}
    exports = {Path(path).suffix: job.home / path for path in release["exports"]}
    annotations = json.loads(exports[".json"].read_text(encoding="utf-8"))
    with exports[".csv"].open(encoding="utf-8", newline="") as file:
        from_csv = list(csv.DictReader(file))
    assert len(annotations) == len(from_csv) == len(manifest)
    for entry, same in zip(annotations, from_csv, strict=True):
        row = manifest[entry["file_path"]]
        assert entry["type"] == same["type"] == "video"
        assert entry["text"] == same["text"] == row["text"]
        assert (entry["width"], entry["height"]) == (row["width"], row["height"])
        with av.open(os.path.join(job.home, entry["file_path"])) as container:
            assert container.streams.video[0].frames == row["frame_count"]


def test_release_pins_the_versions_it_was_made_from(job: Job) -> None:
    release = job.table("training_set").row(0, named=True)
    pinned = {entry["table"]: entry["version"] for entry in release["table_versions"]}
    assert set(pinned) >= {"training_manifest", "clip_files", "captions", "clip_selection", "source_files"}
    assert job.table("training_manifest", pinned["training_manifest"]).height == release["samples"] == SAMPLES
    assert all(job.versions()[name] == version for name, version in pinned.items())


def test_dagster_instance_of_the_home_knows_the_runs(job: Job) -> None:
    with job.session(SETTINGS, DagsterInstance.from_config(str(job.home / "dagster"))) as session:
        instance, partitioned = session.runs.instance, session.partitioned()
        runs = instance.get_runs()
        assert [run.status for run in runs] == [DagsterRunStatus.SUCCESS] * 3, "registration, the shard, the release"
        assert instance.get_dynamic_partitions("video_shards") == [SHARD]
        for name in partitioned:
            assert instance.get_materialized_partitions(AssetKey(name)) == {SHARD}, name
        for name in ("source_files", "training_set"):
            assert instance.get_latest_materialization_event(AssetKey(name)) is not None
        event = instance.get_latest_materialization_event(AssetKey("captions"))
        assert event is not None
        assert event.asset_materialization is not None
        metadata = event.asset_materialization.metadata
        assert metadata["computed"].value == SAMPLES
        assert metadata["delta_version"].value == job.versions()["captions"]
        logs = [log for run in runs for log in instance.all_logs(run.run_id, DagsterEventType.ASSET_CHECK_EVALUATION)]
        checks = [log.get_dagster_event().asset_check_evaluation_data for log in logs]
        assert {check.asset_key.to_user_string() for check in checks} == set(session.runs.assets) - {"release_report"}
        assert all(check.passed for check in checks)


def test_materializations_show_what_bounds_them(job: Job) -> None:
    with DagsterInstance.from_config(str(job.home / "dagster")) as instance:
        events = {name: instance.get_latest_materialization_event(AssetKey(name)) for name in (*BOUND_BY, "clips")}
    shown = {name: event.asset_materialization.metadata for name, event in events.items()}
    for name, kind in BOUND_BY.items():
        assert shown[name]["limit_is"].value == LIMITS[kind], name
        assert 0 < shown[name]["limit_seconds"].value < shown[name]["seconds"].value, name
    assert "limit_seconds" not in shown["clips"]


def test_second_run_computes_nothing_and_writes_no_version(job: Job) -> None:
    before = job.versions()
    exports = sorted((job.home / "exports").rglob("*"))
    with job.session(SETTINGS, DagsterInstance.from_config(str(job.home / "dagster"))) as session:
        assert session.register()
        assert session.refresh()
        assert session.release()
        assert session.computed() == {}
        assert session.runs.instance.get_runs_count() == 6
    assert job.versions() == before
    assert sorted((job.home / "exports").rglob("*")) == exports
    assert not any(path.is_file() for path in (job.home / "staging").rglob("*"))


def test_columns_of_a_listing_reach_manifest_and_exports(new_job: Job) -> None:
    copy_videos(new_job.films, street=videos.street())
    listing = new_job.root / "films.csv"
    listing.write_text("video_path,licence,note\nfilms/street.mp4,CC-BY-4.0,\n", encoding="utf-8")
    run = new_job.run(BARE_SETTINGS, listing)
    assert run.outcome.step_failures == []
    (row,) = new_job.table("training_manifest").to_dicts()
    assert json.loads(row["listing"]) == {"licence": "CC-BY-4.0", "note": None}
    (release,) = new_job.table("training_set").to_dicts()
    exported = pl.read_parquet(new_job.home / next(path for path in release["exports"] if path.endswith(".parquet")))
    assert exported["listing.licence"].to_list() == ["CC-BY-4.0"]

    listing.write_text("video_path,licence,note\nfilms/street.mp4,CC0-1.0,seen\n", encoding="utf-8")
    again = new_job.run(BARE_SETTINGS, listing)
    assert again.computed() == {"training_manifest": 1, "training_set": 1}, "a licence is no reason to decode"
    (row,) = new_job.table("training_manifest").to_dicts()
    assert json.loads(row["listing"]) == {"licence": "CC0-1.0", "note": "seen"}


def test_corrupt_video_is_listed_and_the_command_says_so_by_its_status(new_job: Job, command: Command) -> None:
    copy_videos(new_job.films, good=videos.plain(), broken=videos.truncated())
    settings = write_settings(new_job.root / "settings.yaml", BARE_SETTINGS)
    where = ("--home", new_job.home, "--settings", settings)
    status, said, why = command("run", new_job.films, *where, "--until", "scenes")
    assert status == 1, why
    _, _, listed = said.partition("1 failed:")
    assert "raw_videos  broken.mp4: " in listed.splitlines()[1]
    assert "Traceback" not in said + why
    made = {name for name in new_job.versions() if new_job.table(name).height}
    assert made == {"source_files", "raw_videos", "scenes"}, "--until stops after that asset"
    assert new_job.table("scenes").filter(pl.col("error").is_null()).height == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "the following arguments are required: source"),
        (["run", "films", "--workers", "0"], "--workers"),
        (["run", "films", "--until", "shots"], "no such asset; choose one of source_files"),
        (["run", "films", "--settings", "no.yaml"], "no.yaml: settings file not found"),
        (["run", "films", "--settings", "unknown.yaml"], "clips.min_length_s: unknown key (value 3)"),
        (["run", "films", "--settings", "crossed.yaml"], "min 9.0 is above max 1.0"),
        (["run", "films", "--home", "a b"], "choose a name of ASCII letters"),
        (["run", "absent"], "absent: no such folder or listing; check the path and that it is mounted"),
    ],
)
def test_wrong_use_ends_with_status_2_before_any_work(
    tmp_path: Path, arguments: list[str], said: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films").mkdir()
    write_settings(tmp_path / "unknown.yaml", {"clips": {"min_length_s": 3}})
    write_settings(tmp_path / "crossed.yaml", {"selection": {"motion": {"dis": {"min": 9.0, "max": 1.0}}}})
    status, _, why = command(*arguments)
    assert status == 2
    assert said in why
    assert "Traceback" not in why
    assert not list(tmp_path.glob("**/tables"))
