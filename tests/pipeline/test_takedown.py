"""`reelhouse forget`: nothing is left of a video that was taken down, nothing else changes, and it stays gone."""

import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from dagster import DagsterInstance

from curation_assets.home import open_home
from curation_assets.inspection.lookup import find_item
from curation_assets.tables import SOURCE_FILES
from curation_assets.upkeep.takedown import forget, holdings
from tests.pipeline.jobs import SETTINGS, SHARD, Job, changed, quoting, reelhouse

NAME = "bikes.mp4"
ROOT = Path(__file__).parents[2]

KILLED = """
import sys
from dagster import DagsterInstance
from curation_assets.home import open_home
from curation_assets.inspection.lookup import find_item
from curation_assets.upkeep.takedown import forget
from resources.delta_store import DeltaStore
from resources.files import Files
from tests.toy_stages import KillPoint

home, name, nth = sys.argv[1:]
reach = KillPoint("change", int(nth))
for kind, method in ((Files, "write"), (Files, "delete"), (DeltaStore, "replace"), (DagsterInstance, "delete_run")):
    def changed(*arguments, original=getattr(kind, method), **options):
        reach("change")
        return original(*arguments, **options)
    setattr(kind, method, changed)
opened = open_home(home)
with DagsterInstance.from_config(home + "/dagster") as instance:
    forget(opened, find_item(opened.store, name), None, instance)
"""


def texts_of(job: Job, video_id: str) -> list[str]:
    """The video's captions that no neighbour has."""
    mine = pl.col("clip_id").str.starts_with(video_id)
    captions = job.table("captions")
    others = set(captions.filter(~mine).get_column("caption"))
    return [text for text in captions.filter(mine).get_column("caption") if text not in others]


def neighbours(job: Job, video_id: str, version: dict[str, int] | None = None) -> dict[str, pl.DataFrame]:
    found = {}
    for name in version or job.versions():
        rows = job.table(name, version[name] if version else None)
        for column in ("video_id", "clip_id"):
            if column in rows.columns:
                rows = rows.filter(~pl.col(column).str.starts_with(video_id).fill_null(False))
        if name not in ("takedowns", "training_set"):
            found[name] = rows
    return found


def take_down(job: Job) -> str:
    home = open_home(str(job.home))
    video = find_item(home.store, NAME)
    with DagsterInstance.from_config(str(job.home / "dagster")) as instance:
        done = forget(home, video, None, instance)
    assert done.left == []
    return video.id


@pytest.fixture
def job_with_history(job: Job) -> Job:
    """Two versions of several tables, and logs that quote the video, as those of older homes do."""
    for name in job.versions():
        job.store.snapshot(name).alter.set_table_properties({"delta.dataSkippingNumIndexedCols": "32"})
    files = job.store.open("source_files", SOURCE_FILES.schema)  # has a column short enough to be quoted whole
    job.store.replace(files, job.table("source_files").select(list(SOURCE_FILES.schema)), SHARD, {})
    with job.session(changed(SETTINGS, training_set__trainer__frame_count=50)) as session:
        assert session.register()
        session.refresh(["training_manifest"])
    for name in ("captions", "training_manifest"):
        job.store.snapshot(name).create_checkpoint()
    return job


def test_no_byte_of_it_is_left_and_nothing_else_changed(job_with_history: Job) -> None:
    job = job_with_history
    video = find_item(job.store, NAME)
    texts = texts_of(job, video.id)
    assert texts
    before = quoting(job.home, NAME, *texts)
    assert any("_delta_log" in path for path in before)
    assert any(path.startswith("dagster") for path in before)
    assert any(path.startswith("exports") for path in before)
    rows, versions = neighbours(job, video.id), job.versions()
    (release,) = job.table("training_set").to_dicts()
    exported = pl.read_parquet(job.home / "exports" / release["release"] / "train.parquet")

    take_down(job)

    assert quoting(job.home, NAME, *texts) == {}
    places = {path.split("/shard=")[0].split("/_delta_log")[0] for path in quoting(job.home, video.id)}
    assert places == {"tables/takedowns", "tables/training_set"}
    after = neighbours(job, video.id)
    for name, table in rows.items():
        assert after[name].equals(table), name
    then = neighbours(job, video.id, {name: version for name, version in versions.items() if name != "takedowns"})
    for name, table in rows.items():
        if name != "takedowns":
            assert then[name].equals(table), f"{name}, as it was before"
    (marked,) = job.table("training_set").to_dicts()
    assert marked["forgotten"] == [video.id]
    folder = job.home / "exports" / release["release"]
    kept = exported.filter(pl.col("video_id") != video.id)
    assert 0 < kept.height < exported.height
    assert pl.read_parquet(folder / "train.parquet").equals(kept)
    for file in ("train.csv", "train.jsonl", "train.json"):
        read = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "json": pl.read_json}[file.rpartition(".")[2]]
        left = read(folder / file)
        assert left.get_column("file_path").to_list() == kept.get_column("file_path").to_list(), file
        assert left.get_column("text").to_list() == kept.get_column("text").to_list(), file


def test_it_stays_gone_and_nothing_else_is_computed(job: Job) -> None:
    video_id = take_down(job)
    with job.session(SETTINGS) as session:
        assert session.register()
        assert session.refresh()
        assert session.release()
    assert session.computed().keys() <= {"source_files", "training_set"}
    (row,) = job.table("source_files").filter(video_id=video_id).to_dicts()
    assert "taken down on" in row["error"]
    assert "remove it from the source" in row["error"]
    for name in set(job.versions()) - {"source_files", "takedowns", "training_set"}:
        rows = job.table(name)
        for column in {"video_id", "clip_id"} & set(rows.columns):
            assert not rows.get_column(column).drop_nulls().str.starts_with(video_id).any(), name
    (job.films / NAME).unlink()
    with job.session(SETTINGS) as session:
        assert session.register()
    assert job.table("source_files").filter(~pl.col("missing"), video_id=video_id).is_empty()


def test_a_killed_takedown_is_finished_by_the_next(job: Job) -> None:
    video = find_item(job.store, NAME)
    texts = texts_of(job, video.id)
    rows = neighbours(job, video.id)
    for nth in (4, 30):
        child = subprocess.run(
            [sys.executable, "-c", KILLED, str(job.home), video.id, str(nth)], cwd=ROOT, timeout=120, check=False
        )
        assert child.returncode == -signal.SIGKILL
    take_down(job)
    assert quoting(job.home, NAME, *texts) == {}
    after = neighbours(job, video.id)
    for name, table in rows.items():
        assert after[name].equals(table), name
    with job.session(SETTINGS) as session:
        assert session.register()
        assert session.refresh()
    assert session.computed().keys() <= {"source_files"}


def test_the_command_says_what_it_removes_and_asks(job: Job) -> None:
    asked = reelhouse("forget", NAME, "--home", job.home, input="")
    assert asked.returncode == 1
    assert "--yes" in asked.stderr
    assert "5 in captions" in asked.stdout
    assert not job.table("captions").filter(pl.col("clip_id").str.starts_with(find_item(job.store, NAME).id)).is_empty()


def test_what_it_would_remove_is_what_there_is(job: Job) -> None:
    home = open_home(str(job.home))
    video = find_item(home.store, NAME)
    found = holdings(home, video, None)
    assert found.rows["clips"] == job.table("clips").filter(video_id=video.id).height
    assert found.releases == job.table("training_set").get_column("release").to_list()
    assert len(found.media_files) == found.rows["frames"] + found.rows["clip_files"]
    assert len(found.exports) == 5, "four formats and the report"
