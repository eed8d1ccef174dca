"""`forget`: takes a video down. Whatever a home keeps of it is removed, and it can't come back.

In this order, so that an interruption at any moment leaves what the next attempt needs to finish: the takedown is
noted; releases that held it are marked and their exports rewritten; rows, old versions, staging and files go, table
by table; Dagster's records go; `source_files`, which knows the video's names, is last.
"""

import io
import json
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import unquote

import dagster as dg
import polars as pl
from deltalake.exceptions import TableNotFoundError

from curation_assets.home import OpenHome
from curation_assets.incremental.digests import data_version
from curation_assets.inspection.lookup import Item, rows_of
from curation_assets.inspection.trace import holds
from curation_assets.orchestration.run_records import runs_quoting, still_quoting
from curation_assets.orchestration.stage_asset import DATA_VERSION_TAG, last_materialization
from curation_assets.raw_videos.takedowns import take_down
from curation_assets.tables import CLIP_NEIGHBOURS, DUPLICATES, SOURCE_FILES, TABLES, TRAINING_SET, Table
from curation_assets.upkeep.named import NAMING, names, without_names
from curation_assets.upkeep.releases import PARTITION as RELEASES
from curation_assets.upkeep.releases import all_releases
from resources.delta_redaction import Without, held_in, redact, redact_files

_NOT_OF_VIDEOS = ("training_set", "takedowns", "prompts", "beautified_prompts")
OF_VIDEO = tuple(table for name, table in TABLES.items() if name not in (*_NOT_OF_VIDEOS, SOURCE_FILES.name))
MEDIA = ("frames", "clips")
_VERSION_TAGS = ("dagster/code_version", "dagster/input_data_version/")


@dataclass
class Holdings:
    """What a home keeps of a video. `names` are its paths in the sources, by which Dagster's records quote it.

    `rows` are its own; of `named_by`, those of other clips that name its clips, what names them goes.
    """

    names: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    named_by: int = 0
    media_files: list[str] = field(default_factory=list)
    old_data_files: int = 0
    exports: list[str] = field(default_factory=list)
    releases: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    runs_under_way: list[str] = field(default_factory=list)


@dataclass
class Takedown:
    """What was removed, and what still quotes the video and why."""

    rows: dict[str, int] = field(default_factory=dict)
    media_files: int = 0
    data_files: int = 0
    commits: int = 0
    exports: int = 0
    releases: list[str] = field(default_factory=list)
    runs: int = 0
    shortened: dict[str, int] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


def holdings(home: OpenHome, video: Item, instance: dg.DagsterInstance | None) -> Holdings:
    """What `forget` would remove. `instance` keeps Dagster's records of the home, None where there are none."""
    found = Holdings(_names(home, video))
    which, rid_of = _of(video.id), _rid_of(video.id)
    for table in (*OF_VIDEO, SOURCE_FILES):
        rows = rows_of(home.store, table, (pl.col("shard") == video.shard) & which(table.schema.names()))
        found.rows[table.name] = rows.select(pl.len()).collect().item()
        found.old_data_files += len(held_in(home.files, f"tables/{table.name}/shard={video.shard}", rid_of))
    for table in NAMING:
        columns = table.schema.names()
        others = rows_of(home.store, table, names(video.id, columns) & ~which(columns).fill_null(False))
        found.named_by += others.select(pl.len()).collect().item()
    found.old_data_files += len(_naming_files(home, video))
    found.media_files = _media_files(home, video)
    found.exports = [path for path in _exports(home) if _quotes(home, path, video.id)]
    found.releases = [release["release"] for release in all_releases(home.store) if holds(home, release, video)]
    if instance is not None:
        found.runs, found.runs_under_way = runs_quoting(instance, _needles(video, found.names))
    return found


def forget(home: OpenHome, video: Item, reason: str | None, instance: dg.DagsterInstance | None) -> Takedown:
    """Remove everything that is kept of the video. Can be interrupted anywhere and done again.

    Its source file is not touched. Nothing may refresh the video's shard meanwhile: what a run under way commits
    later is removed by forgetting again.
    """
    assert video.shard is not None
    done = Takedown()
    names = _names(home, video)
    take_down(home.store, video.id, video.shard, reason)
    done.releases = _mark_releases(home, video)
    done.exports = _rewrite_exports(home, video.id)
    tables = [(table, video.shard) for table in OF_VIDEO]
    tables += [(TABLES[name], shard) for name, shard in sorted({*_naming_files(home, video).values()})]
    for table, shard in tables:
        _forget_table(home, table, shard, video.id, done)
    for table in NAMING:
        done.data_files += redact_files(home.files, f"staging/{table.name}", _rid_of(video.id))
    for path in _media_files(home, video):
        home.files.delete(path)
        done.media_files += 1
    if instance is not None:
        for table, shard in tables:
            _tell(instance, home, table, None if table is DUPLICATES else shard)
        done.runs = _delete_runs(instance, _needles(video, names), done)
    _forget_table(home, SOURCE_FILES, video.shard, video.id, done)
    if instance is not None:
        _tell(instance, home, SOURCE_FILES, None)
        done.left += still_quoting(instance, _needles(video, names))
    return done


def _of(video_id: str) -> Callable[[Collection[str]], pl.Expr]:
    """Which rows are of the video, by the columns that a file has."""

    def which(columns: Collection[str]) -> pl.Expr:
        ids = [name for name in ("video_id", "clip_id") if name in columns]
        return pl.any_horizontal(pl.lit(False), *(pl.col(name).str.starts_with(video_id) for name in ids))

    return which


def _rid_of(video_id: str) -> Without:
    """Without the video's rows, and without its clips in the rows of others."""

    def without(rows: pl.DataFrame) -> pl.DataFrame:
        others = rows.filter(~_of(video_id)(rows.columns).fill_null(False))
        return without_names(video_id, others)

    return without


def _naming_files(home: OpenHome, video: Item) -> dict[str, tuple[str, str]]:
    """Data files of other shards, of whatever version, that name clips of the video; their tables and shards."""
    found: dict[str, tuple[str, str]] = {}
    if not home.files.found(f"tables/{CLIP_NEIGHBOURS.name}"):
        return found
    for table in NAMING:
        for path in held_in(home.files, f"tables/{table.name}", _rid_of(video.id)):
            shard = unquote(path.split("/")[2].partition("=")[2])
            if shard != video.shard:
                found[path] = (table.name, shard)
    return found


def _names(home: OpenHome, video: Item) -> list[str]:
    rows = rows_of(home.store, SOURCE_FILES, pl.col("video_id") == video.id).select("path", "source_uri").collect()
    return sorted({name for row in rows.iter_rows() for name in row if name})


def _needles(video: Item, names: Sequence[str]) -> list[bytes]:
    """What quotes the video: its id, and each of its names as JSON writes them."""
    quoted = [json.dumps(name) for name in names]
    return [video.id.encode(), *(text.strip('"').encode() for text in quoted if len(text) > len('"a.mp4"'))]


def _forget_table(home: OpenHome, table: Table, shard: str, video_id: str, done: Takedown) -> None:
    with suppress(TableNotFoundError):
        without = _rid_of(video_id)
        done.rows[table.name] = done.rows.get(table.name, 0) + _remove_rows(home, table, shard, without)
        redaction = redact(home.store, home.files, table.name, shard, without)
        staged = redact_files(home.files, f"staging/{table.name}/{shard}", without)
        done.data_files += redaction.data_files + staged
        done.commits += redaction.commits
        if redaction.oldest:
            done.shortened[table.name] = redaction.oldest


def _remove_rows(home: OpenHome, table: Table, shard: str, without: Without) -> int:
    home.store.snapshot(table.name)  # a table that isn't there has no rows, and need not be made
    done = home.store.change(table.name, table.schema, shard, without, {"shard": shard})
    return done.before.height - done.after.height


def _media_files(home: OpenHome, video: Item) -> list[str]:
    """Frames and clips of the video, also those that were never finished."""
    return [
        found.path
        for kind in MEDIA
        for found in home.files.found(f"{kind}/{video.shard}")
        if found.path.rpartition("/")[2].lstrip(".").startswith(video.id)
    ]


def _mark_releases(home: OpenHome, video: Item) -> list[str]:
    """Note in each release that held the video that it is gone; returns those releases."""
    held = [release["release"] for release in all_releases(home.store) if holds(home, release, video)]
    if held:
        marked = pl.col("forgotten").fill_null([]).list.set_union([video.id])
        forgotten = pl.when(pl.col("release").is_in(held)).then(marked).otherwise("forgotten")
        home.store.change(
            TRAINING_SET.name,
            TRAINING_SET.schema,
            RELEASES,
            lambda rows: rows.with_columns(forgotten=forgotten),
            {"forgotten": video.id},
        )
    return held


def _exports(home: OpenHome) -> list[str]:
    return [found.path for found in home.files.found("exports")]


def _quotes(home: OpenHome, path: str, video_id: str) -> bool:
    try:
        data = home.files.read(path)
    except FileNotFoundError:
        return False
    if path.endswith(".parquet"):
        rows = pl.read_parquet(io.BytesIO(data))
        return bool(rows.select(_of(video_id)(rows.columns).any()).item())
    return video_id.encode() in data


def _rewrite_exports(home: OpenHome, video_id: str) -> int:
    """Exports without the video's samples; a file of another kind that quotes it is deleted."""
    count = 0
    for path in _exports(home):
        if path.endswith(".partial"):
            home.files.delete(path)
        elif _quotes(home, path, video_id):
            kept = _without(path, home.files.read(path), video_id)
            if kept is None:
                home.files.delete(path)
            else:
                home.files.write(path, kept)
            count += 1
    return count


def _without(path: str, data: bytes, video_id: str) -> bytes | None:
    """The export in its own format without the samples that quote the video; None where the format is unknown."""
    if path.endswith(".parquet"):
        rows, out = pl.read_parquet(io.BytesIO(data)), io.BytesIO()
        rows.filter(~_of(video_id)(rows.columns).fill_null(False)).write_parquet(out)
        return out.getvalue()
    if path.endswith(".csv"):
        table = pl.read_csv(io.BytesIO(data), infer_schema=False)
        quotes = pl.any_horizontal(pl.all().str.contains(video_id, literal=True).fill_null(False))
        return table.filter(~quotes).write_csv().encode()
    if path.endswith(".jsonl"):
        return b"".join(line for line in data.splitlines(keepends=True) if video_id.encode() not in line)
    samples = json.loads(data) if path.endswith(".json") else None
    if not isinstance(samples, list):
        return None
    kept = [sample for sample in samples if video_id not in json.dumps(sample)]
    return (json.dumps(kept, indent=2, ensure_ascii=False) + "\n").encode()


def _delete_runs(instance: dg.DagsterInstance, needles: Sequence[bytes], done: Takedown) -> int:
    quoting, under_way = runs_quoting(instance, needles)
    for run_id in quoting:
        instance.compute_log_manager.delete_logs(prefix=[run_id, "compute_logs"])
        instance.delete_run(run_id)
    if under_way:
        done.left.append(
            f"{len(under_way)} runs are under way, or were killed ({', '.join(under_way)}): when they have ended, or "
            "after deleting them in the UI, give the command again"
        )
    return len(quoting)


def _tell(instance: dg.DagsterInstance, home: OpenHome, table: Table, shard: str | None) -> None:
    """Report the table as it is now, so that Dagster's newest record of it is one without rows of the video."""
    key = dg.AssetKey(table.name)
    if instance.get_latest_materialization_event(key) is None:
        return
    try:
        handle = home.store.snapshot(table.name)
    except TableNotFoundError:
        return
    rows = home.store.read(handle, table.schema.names(), shard)
    made = last_materialization(instance, table.name, shard)
    tags = dict((made.tags or {}) if made else {})
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            key,
            partition=shard,
            metadata={"rows": rows.height, "delta_version": int(handle.version())},
            tags={
                **{name: value for name, value in tags.items() if name.startswith(_VERSION_TAGS)},
                DATA_VERSION_TAG: data_version(rows, table),
            },
        )
    )
