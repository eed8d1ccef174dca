"""`maintain`: what nothing names goes when it is old enough, and nothing else does."""

import datetime as dt
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake

from curation_assets.settings import Maintenance
from curation_assets.tables import (
    CLIP_FILES,
    EXCLUSIONS,
    FRAMES,
    MOTION_SCORES,
    RAW_VIDEOS,
    SOURCE_FILES,
    TRAINING_SET,
    Row,
    Table,
)
from curation_assets.upkeep.maintenance import MaintenanceReport, maintain
from curation_assets.upkeep.releases import PARTITION, retire
from tests import toy_stages as toy

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)
AT_ONCE = Maintenance(unreferenced_grace_hours=0, vanished_grace_days=0, version_retention_days=0)
FILES_AT_ONCE = Maintenance(unreferenced_grace_hours=0)
BY_DEFAULT = Maintenance()


@pytest.fixture
def home(tmp_path: Path) -> toy.Home:
    """Four clips with frames and motion scores."""
    made = toy.Home(tmp_path)
    toy.put(made.store, toy.some_videos(4))
    made.refresh(made.computer(toy.frames(), toy.motion()))
    return made


def maintained(
    home: toy.Home, settings: Maintenance = AT_ONCE, now: dt.datetime = NOW, dry_run: bool = False
) -> MaintenanceReport:
    return maintain(home.store, home.files, settings, now, dry_run)


def put_file(home: toy.Home, path: str, age: dt.timedelta = dt.timedelta(0)) -> str:
    home.files.write(path, b"0123456789")
    make_older(home, path, age)
    return path


def make_older(home: toy.Home, path: str, age: dt.timedelta) -> None:
    then = (NOW - age).timestamp()
    os.utime(home.folder / path, (then, then))


def files_of(home: toy.Home, *folders: str) -> set[str]:
    return {
        str(path.relative_to(home.folder)) for f in folders for path in (home.folder / f).rglob("*") if path.is_file()
    }


def tree(home: toy.Home) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in home.folder.rglob("*") if path.is_file()}


def frames_named(home: toy.Home) -> set[str]:
    return set(home.table(FRAMES).get_column("frames_path"))


def put_rows(home: toy.Home, table: Table, rows: list[Row], shard: str = toy.SHARD) -> None:
    made = pl.DataFrame(
        [{**dict.fromkeys(table.schema), **row, "shard": shard} for row in rows], schema=table.schema, orient="row"
    )
    home.store.replace(home.store.open(table.name, table.schema), made, shard, {})


def release(home: toy.Home, name: str, exports: tuple[str, ...] = (), **versions: int) -> None:
    pins = [{"table": table, "version": version} for table, version in versions.items()]
    row = {"release": name, "table_versions": pins, "exports": list(exports), "computed_at": NOW}
    put_rows(home, TRAINING_SET, [row], PARTITION)


def test_files_that_nothing_names_are_deleted_and_named_ones_stay(home: toy.Home) -> None:
    put_rows(home, CLIP_FILES, [{"clip_id": "v0-0-1", "file_path": put_file(home, "clips/films-0000/a.mp4")}])
    release(home, "r0001", (put_file(home, "exports/r0001/train.json"),))
    named = files_of(home, "frames", "clips", "exports")
    for path in (
        "frames/films-0000/b.zip",
        "clips/other/c.mp4",
        "exports/r0002/train.csv",
        "staging/frames/x/d.parquet",
    ):
        put_file(home, path)
    for path in ("frames/films-0000/.e.zip.9.0f.partial", "clips/other/.f.mp4.0f.source", "exports/.g.partial"):
        put_file(home, path)

    report = maintained(home)

    assert files_of(home, "frames", "clips", "exports", "staging") == named
    assert report.deleted == {"frames": 1, "clips": 1, "exports": 1, "staging": 1, "unfinished": 3}
    assert report.freed_bytes["unfinished"] == 30
    assert report.left == []


def test_a_dry_run_tells_the_same_and_changes_nothing(home: toy.Home) -> None:
    home.refresh(home.computer(toy.frames(settings={"jpeg_quality": 50})))
    put_file(home, "frames/films-0000/b.zip")
    before = tree(home)

    said = maintained(home, dry_run=True)

    assert tree(home) == before
    assert said.deleted["table files"]
    done = maintained(home)
    assert (done.deleted, done.freed_bytes) == (said.deleted, said.freed_bytes)


def test_a_second_maintenance_has_nothing_to_do(home: toy.Home) -> None:
    home.refresh(home.computer(toy.frames(settings={"jpeg_quality": 50})))
    maintained(home)
    versions = {table.name: home.version(table) for table in (FRAMES, MOTION_SCORES)}

    assert maintained(home).deleted == {}
    assert versions == {table.name: home.version(table) for table in (FRAMES, MOTION_SCORES)}


def test_a_file_goes_when_its_grace_is_over_and_it_was_there_at_the_maintenance_before(home: toy.Home) -> None:
    old = put_file(home, "frames/films-0000/old.zip", 2 * DAY)
    young = put_file(home, "frames/films-0000/young.zip", DAY / 2)

    first = maintained(home, BY_DEFAULT)
    assert {old, young} <= files_of(home, "frames")
    assert "first maintenance" in first.left[0]
    second = maintained(home, BY_DEFAULT)

    assert old not in files_of(home, "frames")
    assert young in files_of(home, "frames")
    assert second.left == ["1 frames file: not old enough"]


def test_a_clock_that_jumps_forward_deletes_nothing_made_since_the_maintenance_before(home: toy.Home) -> None:
    maintained(home, BY_DEFAULT, NOW - DAY)
    running = put_file(home, "frames/films-0000/of_a_running_refresh.zip")
    uncommitted = _uncommitted(home)

    maintained(home, BY_DEFAULT, NOW + 3650 * DAY)

    assert running in files_of(home, "frames")
    assert uncommitted.exists()


def test_a_clock_that_went_back_deletes_nothing(home: toy.Home) -> None:
    maintained(home, BY_DEFAULT, NOW)
    made = put_file(home, "frames/films-0000/b.zip", 2 * DAY)

    maintained(home, BY_DEFAULT, NOW - 365 * DAY)

    assert made in files_of(home, "frames")


def test_a_running_refresh_keeps_what_it_has_made(home: toy.Home) -> None:
    computer = home.computer(toy.frames(settings={"jpeg_quality": 50}))
    computer.before_unit = lambda unit: [maintained(home, BY_DEFAULT) for _ in range(2)] and None

    (report,) = home.refresh(computer)

    assert report.computed == 4
    assert all((home.folder / path).exists() for path in frames_named(home))


def test_a_refresh_that_takes_over_an_old_interrupted_one_keeps_its_files(tmp_path: Path) -> None:
    home = toy.Home(tmp_path)
    toy.put(home.store, toy.some_videos(6))
    _run(f"from tests.toy_stages import refresh_until_killed as go; go({str(tmp_path)!r}, 'computing', 5)", killed=True)
    for path in files_of(home, "frames", "staging"):
        make_older(home, path, 2 * DAY)
    computer = home.computer(toy.frames(), toy.motion("dis", "farneback"))
    computer.before_unit = lambda unit: [maintained(home, BY_DEFAULT) for _ in range(2)] and None

    frames, _ = home.refresh(computer)

    assert frames.recovered == 4
    assert len(frames_named(home)) == 6
    assert all((home.folder / path).exists() for path in frames_named(home))


def test_staging_of_an_interrupted_refresh_goes_with_its_files_when_nobody_takes_it_over(tmp_path: Path) -> None:
    home = toy.Home(tmp_path)
    toy.put(home.store, toy.some_videos(6))
    _run(f"from tests.toy_stages import refresh_until_killed as go; go({str(tmp_path)!r}, 'computing', 5)", killed=True)
    left = files_of(home, "frames", "staging")

    for now in (NOW, NOW + DAY / 2):
        maintained(home, BY_DEFAULT, now)
    assert files_of(home, "frames", "staging") == left
    for now in (NOW + 2 * DAY, NOW + 3 * DAY):
        maintained(home, BY_DEFAULT, now)
    assert files_of(home, "frames", "staging") == set()


def test_two_maintenances_at_once_end_as_one(home: toy.Home) -> None:
    home.refresh(home.computer(toy.frames(settings={"jpeg_quality": 50})))
    for number in range(50):
        put_file(home, f"frames/films-0000/{number}.zip")
    before = home.results(FRAMES)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda _: maintained(home, FILES_AT_ONCE), range(3)))

    assert files_of(home, "frames") == frames_named(home)
    assert home.results(FRAMES).equals(before)


@pytest.mark.parametrize("deletions", [1, 4, 9])
def test_a_killed_maintenance_is_finished_by_the_next(home: toy.Home, deletions: int) -> None:
    home.refresh(home.computer(toy.frames(settings={"jpeg_quality": 50})))
    for number in range(8):
        put_file(home, f"frames/films-0000/{number}.zip")
    before = home.results(FRAMES)

    _run(
        f"""
import datetime as dt
from curation_assets.upkeep.maintenance import maintain
from resources.delta_store import DeltaStore
from resources.files import Files
from tests.maintenance.test_maintenance import AT_ONCE
from tests.toy_stages import KillPoint
reach = KillPoint("delete", {deletions})
class KilledFiles(Files):
    def delete(self, relative):
        reach("delete")
        super().delete(relative)
maintain(DeltaStore({str(home.folder)!r}), KilledFiles({str(home.folder)!r}), AT_ONCE, dt.datetime.now(dt.UTC))
""",
        killed=True,
    )
    maintained(home)

    assert files_of(home, "frames") == frames_named(home)
    assert home.results(FRAMES).equals(before)
    assert maintained(home).deleted == {}


def _run(code: str, killed: bool) -> None:
    ended = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False)
    assert ended.returncode == (-9 if killed else 0)


def _uncommitted(home: toy.Home) -> Path:
    """What a writer leaves that was killed between its data and its commit."""
    (committed,) = (home.folder / "tables" / "frames").glob("*/*.parquet")
    left = committed.with_name("part-00000-killed-c000.snappy.parquet")
    shutil.copyfile(committed, left)
    return left


def test_what_killed_writers_of_tables_left_is_deleted(home: toy.Home) -> None:
    table = home.folder / "tables" / "frames"
    left = [_uncommitted(home), next(table.glob("shard=*")) / "part-0.parquet#1", table / "_delta_log/0001.json.tmp"]
    for path in left[1:]:
        path.write_bytes(b"half")
    before = home.results(FRAMES)

    maintained(home)

    assert not any(path.exists() for path in left)
    assert home.results(FRAMES).equals(before)


def test_versions_of_a_release_stay_readable_however_old_and_others_go(home: toy.Home) -> None:
    def change(number: int) -> int:
        home.refresh(home.computer(toy.frames(settings={"jpeg_quality": number})))
        return home.version(FRAMES)

    versions = [change(number) for number in range(6)]
    pinned = versions[2]
    release(home, "r0001", frames=pinned)
    rows = home.store.scan(home.store.snapshot("frames", pinned)).collect()
    clips = set(rows.get_column("frames_path"))
    _make_log_older(home, 400 * DAY)
    for number in range(6, 106):  # past a checkpoint, where delta-rs would cut the log
        put_rows(home, FRAMES, [{"clip_id": "x", "frames_size_bytes": number}], "other-0000")

    report = maintained(home)

    assert home.store.scan(home.store.snapshot("frames", pinned)).collect().equals(rows)
    assert all((home.folder / path).exists() for path in clips)
    assert not _is_readable(home, versions[3])
    assert report.left == []


def test_a_retired_release_lets_versions_files_and_log_go(home: toy.Home) -> None:
    pinned = home.version(FRAMES)
    release(home, "r0001", frames=pinned)
    clips = frames_named(home)
    home.refresh(home.computer(toy.frames(settings={"jpeg_quality": 50})))
    for number in range(120):
        put_rows(home, FRAMES, [{"clip_id": "x", "frames_size_bytes": number}], "other-0000")
    _make_log_older(home, 400 * DAY)
    before = home.results(FRAMES)
    retire(home.store, "r0001")

    maintained(home)
    report = maintained(home)

    assert not any((home.folder / path).exists() for path in clips)
    assert not _is_readable(home, pinned)
    assert report.tables["frames"].versions[1] < 30 < 120 < report.tables["frames"].versions[0]
    assert home.results(FRAMES).equals(before)
    home.refresh(home.computer(toy.frames(settings={"jpeg_quality": 51})))
    assert home.table(FRAMES).height == 4


def test_versions_younger_than_their_retention_stay_readable(home: toy.Home) -> None:
    before = home.version(FRAMES)
    home.refresh(home.computer(toy.frames(settings={"jpeg_quality": 50})))

    for _ in range(2):
        maintained(home, FILES_AT_ONCE)

    assert _is_readable(home, before)


def test_a_release_whose_versions_are_lost_costs_no_file(home: toy.Home) -> None:
    pinned = home.version(FRAMES)
    home.refresh(home.computer(toy.frames(settings={"jpeg_quality": 50})))
    maintained(home)
    release(home, "r0001", frames=pinned)
    unnamed = put_file(home, "frames/films-0000/b.zip")

    report = maintained(home)

    assert unnamed in files_of(home, "frames")
    assert "retire the release" in report.left[0]


def test_small_files_of_a_shard_are_put_together(home: toy.Home) -> None:
    rows = home.results(FRAMES)
    handle = home.store.snapshot("frames")
    for path in list(rows.get_column("frames_path"))[:2]:
        extra = home.table(FRAMES).filter(frames_path=path).with_columns(clip_id=pl.lit(f"copy of {path}"))
        write_deltalake(handle, extra, mode="append")
    before = home.results(FRAMES)
    assert len(home.store.snapshot("frames").file_uris()) == 3

    maintained(home)

    assert len(home.store.snapshot("frames").file_uris()) == 1
    assert home.results(FRAMES).equals(before)


def _make_log_older(home: toy.Home, age: dt.timedelta) -> None:
    for path in files_of(home, "tables"):
        if "_delta_log" in path:
            make_older(home, path, age)


def _is_readable(home: toy.Home, version: int) -> bool:
    try:
        home.store.scan(home.store.snapshot("frames", version)).collect()
    except Exception:
        return False
    return True


def _sources(home: toy.Home, missing_for: Mapping[str, dt.timedelta], **more: Row) -> None:
    """A file each for v0 to v3; missing for so long."""
    rows = [
        {
            "source": "films",
            "path": f"{name}.mp4",
            "video_id": name,
            "missing": name in missing_for,
            "missing_since": NOW - missing_for[name] if name in missing_for else None,
        }
        for name in ("v0", "v1", "v2", "v3")
    ]
    put_rows(home, SOURCE_FILES, [*rows, *more.values()])


def _clips(home: toy.Home) -> Callable[[Table], list[str]]:
    """Rows of clips of each video in tables with and without a column for the video, one of them failed."""
    put_rows(home, FRAMES, [{"clip_id": f"v{n}-0-1", "error": "x" if n == 1 else None} for n in range(4)])
    put_rows(home, MOTION_SCORES, [{"clip_id": f"v{n}-0-1"} for n in range(4)])
    return lambda table: home.table(table).get_column(table.key[0]).to_list()


def test_rows_of_a_video_leave_every_table_when_all_its_files_were_missing_for_long(home: toy.Home) -> None:
    other_path = {"source": "films", "path": "again.mp4", "video_id": "v2", "missing": False}
    _sources(home, {"v1": 31 * DAY, "v2": 31 * DAY, "v3": 29 * DAY}, other=other_path)
    clips = _clips(home)

    maintained(home, BY_DEFAULT)
    assert clips(MOTION_SCORES) == ["v0-0-1", "v1-0-1", "v2-0-1", "v3-0-1"]
    report = maintained(home, BY_DEFAULT)

    assert clips(MOTION_SCORES) == clips(FRAMES) == ["v0-0-1", "v2-0-1", "v3-0-1"]
    assert clips(RAW_VIDEOS) == ["v0", "v2", "v3"]
    assert set(home.table(SOURCE_FILES).get_column("video_id")) == {"v0", "v2", "v3"}
    assert report.vanished_videos == ["v1"]
    assert report.tables["motion_scores"].rows_removed == 1
    assert maintained(home, BY_DEFAULT).vanished_videos == []


def test_files_of_a_vanished_video_go_with_its_rows(home: toy.Home) -> None:
    lost = home.table(FRAMES).filter(clip_id="v1").item(0, "frames_path")
    path, size = pl.col("frames_path"), pl.col("frames_size_bytes")
    rows = home.table(FRAMES).select(pl.col("clip_id") + "-0-1", path, size).to_dicts()
    put_rows(home, FRAMES, rows)
    _sources(home, {"v1": 31 * DAY})

    maintained(home, AT_ONCE)

    assert lost not in files_of(home, "frames")
    assert len(files_of(home, "frames")) == 3


def test_a_decision_outlives_its_video_with_the_row_that_leads_to_its_shard(home: toy.Home) -> None:
    _sources(home, {"v1": 31 * DAY})
    clips = _clips(home)
    put_rows(home, EXCLUSIONS, [{"excluded_id": "v1-0-1", "kind": "clip", "video_id": "v1", "reason": "logo"}])

    maintained(home, AT_ONCE)

    assert clips(MOTION_SCORES) == ["v0-0-1", "v2-0-1", "v3-0-1"]
    assert clips(EXCLUSIONS) == ["v1-0-1"]
    assert "v1" in set(home.table(SOURCE_FILES).get_column("video_id"))
    assert maintained(home, AT_ONCE).vanished_videos == []


def test_a_refresh_after_it_computes_nothing(home: toy.Home) -> None:
    _sources(home, {"v1": 31 * DAY})
    maintained(home, AT_ONCE)

    reports = home.refresh(home.computer(toy.frames(), toy.motion()))

    assert [report.computed for report in reports] == [0, 0]
