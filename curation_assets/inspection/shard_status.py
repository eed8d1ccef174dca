"""How far each shard is: what its tables hold, what failed, what is missing or out of date, and its last run."""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import polars as pl
from dagster import DagsterInstance

from curation_assets.incremental.stage import Stage
from curation_assets.inspection.failures import BLOCKED, KINDS, has_failed
from curation_assets.tables import TABLES
from curation_assets.training_set.gaps import MISSING, OUT_OF_DATE, Decision, find_gaps
from curation_assets.upkeep.releases import TablesAt

PARTITION_TAG = "dagster/partition"
RUNS_AT_ONCE = 500


@dataclass(frozen=True)
class LastRun:
    """`started_at` is null of a run that only waits, `ended_at` of one that goes on."""

    run_id: str
    status: str
    started_at: dt.datetime | None
    ended_at: dt.datetime | None


@dataclass
class ShardStatus:
    """Counts of rows. `videos` are there at the last scan; `clips` weren't dropped by rules of cutting.

    `missing`: by asset, how many inputs it hasn't had. `out_of_date`: assets that other settings or code made.
    """

    shard: str
    videos: int = 0
    clips: int = 0
    selected: int = 0
    samples: int = 0
    failed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    blocked: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    out_of_date: list[str] = field(default_factory=list)
    last_run: LastRun | None = None


def shard_statuses(stages: Sequence[Stage], tables: TablesAt, duplicates: Decision | None = None) -> list[ShardStatus]:
    """Every shard, by name; without its last run. `stages` and `duplicates` as of `find_gaps`."""
    found: dict[str, ShardStatus] = {}

    def of(shard: str) -> ShardStatus:
        return found.setdefault(shard, ShardStatus(shard))

    is_clip = pl.col("clip_id").is_not_null() & pl.col("dropped").is_null()
    for shard, count in _count(tables, "source_files", ~pl.col("missing"), pl.col("video_id").n_unique()).items():
        of(shard).videos = count
    for name, table, which in (
        ("clips", "clips", is_clip),
        ("selected", "clip_selection", pl.col("selected")),
        ("samples", "training_manifest", pl.col("error").is_null()),
    ):
        for shard, count in _count(tables, table, which).items():
            setattr(of(shard), name, count)
    for table in ("source_files", *(stage.table.name for stage in stages)):
        failed = has_failed(TABLES[table], (*KINDS, BLOCKED))
        rows = tables.scan(table).filter(failed).group_by("shard", "error_kind").len().collect()
        for shard, kind, count in rows.iter_rows():
            if kind == BLOCKED:
                of(shard).blocked += count
            else:
                of(shard).failed[kind] += count
    for gap in find_gaps(stages, tables, duplicates, all_rows=False):
        if gap["kind"] == MISSING:
            of(gap["shard"]).missing[gap["table"]] = gap["count"]
        elif gap["kind"] == OUT_OF_DATE:
            of(gap["shard"]).out_of_date.append(gap["table"])
    return sorted(found.values(), key=lambda status: status.shard)


def _count(tables: TablesAt, table: str, which: pl.Expr, what: pl.Expr | None = None) -> dict[str, int]:
    rows = tables.scan(table).filter(which).group_by("shard").agg(pl.len() if what is None else what)
    return dict(rows.collect().iter_rows())


def last_runs(instance: DagsterInstance, shards: Collection[str]) -> dict[str, LastRun]:
    """The newest run of each shard, of those that have one."""
    found: dict[str, LastRun] = {}
    cursor = None
    while len(found) < len(shards):
        records = instance.get_run_records(limit=RUNS_AT_ONCE, cursor=cursor)
        for record in records:
            run = record.dagster_run
            shard = run.tags.get(PARTITION_TAG)
            if shard is not None and shard in shards and shard not in found:
                found[shard] = LastRun(run.run_id, run.status.value, _time(record.start_time), _time(record.end_time))
        if len(records) < RUNS_AT_ONCE:
            break
        cursor = records[-1].dagster_run.run_id
    return found


def _time(timestamp: float | None) -> dt.datetime | None:
    return None if timestamp is None else dt.datetime.fromtimestamp(timestamp, dt.UTC)
