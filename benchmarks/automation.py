"""What watching costs: the sensor's comparison of 100,000 files, the policy's tick over many shards.

Ticks are those of Dagster's own asset daemon on an instance on disk, whose event log holds a materialization of every
asset and shard. They end with the requests; runs are not part of them.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import polars as pl
import yaml

from benchmarks.measure import seconds_of
from benchmarks.report import Section
from curation_assets.orchestration.headless import INSTANCE_SETTINGS
from curation_assets.orchestration.lineage import SHARD_FILES
from curation_assets.orchestration.stage_asset import DATA_VERSION_TAG, SHARDS, report_shards
from curation_assets.raw_videos.listing import list_source
from curation_assets.settings import Shards, Source
from curation_assets.shards import stored_time
from curation_assets.watching import compare
from tests.automation.daemon import open_daemon

FILES, FILES_A_FOLDER = 100_000, 1_000
SHARD_COUNTS = (1_000, 10_000)
FIRST = "films-0000"


def automation_section(folder: Path) -> Section:
    section = Section("Automation")
    comparison_lines(section, folder / "files")
    for count in SHARD_COUNTS:
        tick_lines(section, folder / f"{count}-shards", count)
    section.remarks.append(
        "A tick comes every 30 s. The first after a restart of the daemon reads more than the others."
    )
    return section


def comparison_lines(section: Section, folder: Path) -> None:
    for number in range(FILES):
        path = folder / str(number // FILES_A_FOLDER) / f"{number}.mp4"
        if number % FILES_A_FOLDER == 0:
            path.parent.mkdir(parents=True)
        path.touch()
    source = Source(path=str(folder))
    entries = list_source(source)
    registered = pl.DataFrame(
        {
            "path": [entry.path for entry in entries],
            "source_uri": [entry.source_uri for entry in entries],
            "size_bytes": [entry.size_bytes for entry in entries],
            "modified_at": [stored_time(entry.modified_ns) for entry in entries],
        }
    ).with_columns(pl.lit(None, pl.String).alias(name) for name in ("etag", "listing", "error", "error_kind"))
    now = stored_time(2**62)
    assert now is not None
    listing_s = seconds_of(lambda: list_source(source))
    comparing_s = seconds_of(lambda: compare(entries, registered, Shards(), now))

    def walk() -> None:
        for current, _, names in os.walk(folder):
            for name in names:
                os.stat(f"{current}/{name}")

    what = f"{FILES:,} files compared with their registration"
    section.add(what, f"{comparing_s:.2f} s", f"{seconds_of(registered.to_dicts):.2f} s", "their registration as rows")
    section.add(f"{FILES:,} files listed", f"{listing_s:.2f} s", f"{seconds_of(walk):.2f} s", "os.walk and a stat each")


def tick_lines(section: Section, folder: Path, count: int) -> None:
    shards = [f"films-{number:04d}" for number in range(count)]
    with settled_instance(folder, shards) as instance:
        with open_daemon(instance) as daemon:
            daemon.switch_on()
            daemon.tick(execute=False)
            assert daemon.tick(execute=False) == {}
            report_shards(instance, SHARD_FILES, {FIRST: "another"})
            assert daemon.tick(execute=False) == {"raw_videos": (FIRST,)}
        write_settings(folder, {"selection": {"semantic": {"efficientnet_lite0": {"min": 0.5}}}})
        with open_daemon(instance) as reloaded:
            reloaded.now_s = daemon.now_s
            requested = reloaded.tick(execute=False)
            assert {asset: len(keys) for asset, keys in requested.items()} == {"clip_selection": count}, requested
    first, quiet, one = daemon.seconds
    section.add(f"{count:,} shards: a tick that requests nothing", f"{quiet:.2f} s")
    section.add(f"{count:,} shards: a tick after one shard's files changed", f"{one:.2f} s")
    section.add(
        f"{count:,} shards: a tick after a threshold changed, which requests all", f"{reloaded.seconds[0]:.2f} s"
    )
    section.add(f"{count:,} shards: the first tick ever", f"{first:.2f} s")


def write_settings(folder: Path, settings: dict[str, object]) -> None:
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


@contextmanager
def settled_instance(folder: Path, shards: list[str]) -> Iterator[dg.DagsterInstance]:
    """An instance on disk in which every shard of every asset is up to date, its settings in the environment."""
    folder.mkdir(parents=True)
    (folder / "dagster.yaml").write_text(INSTANCE_SETTINGS.read_text())
    write_settings(folder, {})
    before = {name: os.environ.get(name) for name in ("CURATION_HOME", "CURATION_SETTINGS")}
    os.environ |= {"CURATION_HOME": str(folder / "home"), "CURATION_SETTINGS": str(folder / "settings.yaml")}
    try:
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            instance.add_dynamic_partitions(str(SHARDS.name), shards)
            with open_daemon(instance) as daemon:
                nodes = [node for node in daemon.repository.asset_graph.asset_nodes if node.partitions_def == SHARDS]
            for node in nodes:
                report(instance, node.key, FIRST, node.code_version)
            copy_events(folder / "history" / "runs" / "index.db", shards[1:])
            for node in nodes:  # so that what Dagster keeps beside the log names the newest event
                report(instance, node.key, FIRST, node.code_version)
            yield instance
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def report(instance: dg.DagsterInstance, key: dg.AssetKey, shard: str, code_version: str | None) -> None:
    tags = {DATA_VERSION_TAG: "1"} | ({"dagster/code_version": code_version} if code_version else {})
    instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=shard, tags=tags))


def copy_events(database: Path, shards: list[str]) -> None:
    """Log the first shard's materializations for the others too, by SQL: one by one they would take an hour."""
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TEMP TABLE others (shard TEXT)")
        connection.executemany("INSERT INTO others VALUES (?)", [(shard,) for shard in shards])
        newest = connection.execute("SELECT max(id) FROM event_logs").fetchone()[0]
        names = [row[1] for row in connection.execute("PRAGMA table_info(event_logs)") if row[1] != "id"]
        values = {"event": f"replace(event, '{FIRST}', shard)", "partition": "shard"}
        connection.execute(
            f"INSERT INTO event_logs ({', '.join(names)}) SELECT {', '.join(values.get(name, name) for name in names)} "
            f"FROM event_logs, others WHERE partition = '{FIRST}'"
        )
        connection.execute(
            "INSERT INTO asset_event_tags (event_id, asset_key, key, value, event_timestamp) "
            "SELECT id, asset_key, ?, '1', timestamp FROM event_logs WHERE id > ?",
            (DATA_VERSION_TAG, newest),
        )
