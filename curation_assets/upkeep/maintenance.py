"""Takes away what nobody needs any more: rows of vanished videos, files that nothing names, old table versions.

Whatever else runs may go on meanwhile, and an interrupted maintenance is taken up by the next one:

- A file goes only where nothing names it: no current row, no release, no batch in staging. Names are read after the
  files are listed, staging before the tables, so that a row on its way from one to the other is seen.
- A file goes only when it is older than a grace period, which is longer than a refresh takes: what a running refresh
  made is younger. It must also have been there at the maintenance before: a clock that jumps forward makes files look
  old, but not that maintenance.
- Table versions that a release pins stay readable, however old.
"""

import datetime as dt
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

import polars as pl
from deltalake.exceptions import DeltaError, TableNotFoundError

from curation_assets.settings import Maintenance
from curation_assets.tables import (
    CLIP_FILES,
    EXCLUSIONS,
    FRAMES,
    SOURCE_FILES,
    TABLES,
    TAKEDOWNS,
    TRAINING_MANIFEST,
    Table,
)
from curation_assets.upkeep.releases import TIERS, all_releases, pinned_versions, report_path
from resources.delta_store import Conflict, DeltaStore
from resources.errors import TransientError
from resources.files import Files, Found

RECORD = "maintenance.json"
STAGING = "staging"
KEPT_IN = ("frames", "clips", "exports")
NAMED_IN = {FRAMES.name: "frames_path", CLIP_FILES.name: "file_path", TRAINING_MANIFEST.name: "file_path"}
DECISIONS = (EXCLUSIONS, TAKEDOWNS)  # outlive the video, which may come back
LOG_KEPT = dt.timedelta(days=30)  # delta-rs's own default; commits say who wrote what

_NEVER = dt.datetime.min.replace(tzinfo=dt.UTC)
_ALWAYS = dt.datetime.max.replace(tzinfo=dt.UTC)
_NAMES_OF_VIDEO = {"video_id", "clip_id"}
_VIDEO_OF_CLIP = r"^(.+)-\d+-\d+$"
_LEFT_BY_KILLED = re.compile(r"#\d+$|\.tmp$")  # names under which delta-rs writes what it then renames
_LOG_ENTRY = re.compile(r"/_delta_log/(\d{20})\.")


@dataclass
class TableUpkeep:
    """A table before and after; `files` and `bytes` are those on the disk, `versions` the commits in its log."""

    table: str
    rows_removed: int = 0
    versions: tuple[int, int] = (0, 0)
    files: tuple[int, int] = (0, 0)
    bytes: tuple[int, int] = (0, 0)


@dataclass
class MaintenanceReport:
    """What was taken away (would be, in a dry run), and what was left and why.

    `deleted` and `freed_bytes` count by kind: frames, clips, exports, staging, unfinished, table files, log.
    """

    dry_run: bool
    vanished_videos: list[str] = field(default_factory=list)
    tables: dict[str, TableUpkeep] = field(default_factory=dict)
    deleted: Counter[str] = field(default_factory=Counter)
    freed_bytes: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)


def maintain(
    store: DeltaStore, files: Files, settings: Maintenance, now: dt.datetime, dry_run: bool = False
) -> MaintenanceReport:
    """Bring a home in order; `now` (with a time zone) is the time by which ages are judged. A dry run changes nothing.

    Raises OSError or TransientError when the home can't be read or written; what was not done yet is done by the
    next maintenance.
    """
    return _Maintenance(store, files, settings, now, dry_run).run()


class _Maintenance:
    def __init__(self, store: DeltaStore, files: Files, settings: Maintenance, now: dt.datetime, dry_run: bool) -> None:
        self._store = store
        self._files = files
        self._now = now
        self._report = MaintenanceReport(dry_run)
        self._previous = self._last_maintenance()
        grace = dt.timedelta(hours=settings.unreferenced_grace_hours)
        retention = dt.timedelta(days=settings.version_retention_days)
        self._unnamed_before = self._before(grace)
        self._vanished_before = self._before(dt.timedelta(days=settings.vanished_grace_days))
        self._replaced_before = self._before(max(retention, grace))  # what is being written now is named by no version
        self._logged_before = self._before(max(retention, grace, LOG_KEPT))
        self._pins = pinned_versions(store)

    def run(self) -> MaintenanceReport:
        if self._unnamed_before == _NEVER:
            self._leave("this is the first maintenance: what is old enough now goes with the next one")
        vanished = self._remove_rows_of_vanished_videos()
        self._delete_unnamed_files(vanished)
        for table in TABLES:
            self._maintain_table(table)
        if not self._report.dry_run:
            self._files.write(RECORD, (json.dumps({"at": self._now.isoformat()}) + "\n").encode())
        return self._report

    def _before(self, grace: dt.timedelta) -> dt.datetime:
        """What is older than this is older than `grace`, and was there at the maintenance before."""
        if not grace:
            return _ALWAYS
        return _NEVER if self._previous is None else min(self._now - grace, self._previous)

    def _last_maintenance(self) -> dt.datetime | None:
        try:
            return dt.datetime.fromisoformat(json.loads(self._files.read(RECORD))["at"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            self._leave(f"{RECORD} is damaged: this counts as the first maintenance")
            return None

    def _remove_rows_of_vanished_videos(self) -> list[str]:
        """The videos all of whose files have been missing for long; their rows leave every table but people's
        decisions, in the order of the tables, so that no refresh finds a parent and makes them again.

        `source_files` comes last: it says who vanished. Of a video that a decision names it keeps the row, which
        leads back to the shard that the decision lies in.
        """
        sources = self._rows(SOURCE_FILES, ["video_id", "shard", "missing", "missing_since"])
        gone = (
            sources.group_by("video_id")
            .agg(pl.col("shard").first(), pl.col("missing").all(), pl.col("missing_since").max())
            .filter(pl.col("missing") & (pl.col("missing_since") < self._vanished_before))
        )
        if gone.is_empty():
            return []
        decided = pl.concat([self._rows(table, ["video_id"]) for table in DECISIONS]).get_column("video_id")
        forgettable = gone.filter(~pl.col("video_id").is_in(decided.implode()))
        removed: set[str] = set()
        for table in TABLES.values():
            if table in (*DECISIONS, SOURCE_FILES) or not _NAMES_OF_VIDEO & set(table.stage_columns):
                continue
            removed |= self._remove_rows(table, gone)
        removed |= self._remove_rows(SOURCE_FILES, forgettable)
        self._report.vanished_videos = sorted(removed)
        return gone.get_column("video_id").to_list()

    def _remove_rows(self, table: Table, gone: pl.DataFrame) -> set[str]:
        """The videos of which rows were removed."""
        of_gone = _video_of(table).is_in(gone.get_column("video_id").implode())
        in_shards = pl.col("shard").is_in(gone.get_column("shard").unique().implode())
        found = self._rows(table, ["shard", _video_of(table).alias("video")], in_shards & of_gone)
        removed: set[str] = set()
        for (shard,), rows in found.group_by("shard", maintain_order=True):
            if not self._report.dry_run and not self._replace(table, str(shard), ~of_gone):
                continue
            removed |= set(rows.get_column("video"))
            self._upkeep(table.name).rows_removed += rows.height
        return removed

    def _replace(self, table: Table, shard: str, keep: pl.Expr) -> bool:
        note = {"shard": shard, "removed": "rows of vanished videos"}
        kept = keep.fill_null(True)
        try:
            self._store.change(table.name, table.schema, shard, lambda rows: rows.filter(kept), note)
        except TransientError as failure:
            self._leave(f"rows of vanished videos: {failure}")
            return False
        return True

    def _rows(self, table: Table, columns: list[str | pl.Expr], keep: pl.Expr | None = None) -> pl.DataFrame:
        try:
            rows = self._store.scan(self._store.snapshot(table.name))
        except TableNotFoundError:
            rows = pl.LazyFrame(schema=table.schema)
        return (rows if keep is None else rows.filter(keep)).select(columns).collect()

    def _delete_unnamed_files(self, vanished: Iterable[str]) -> None:
        listed = {folder: self._files.found(folder) for folder in (STAGING, *KEPT_IN)}
        for folder, found in listed.items():
            self._delete("unfinished", [file for file in found if _is_unfinished(file)], self._unnamed_before)
            listed[folder] = [file for file in found if not _is_unfinished(file)]
        named = self._named_in_staging(listed[STAGING])
        self._delete("staging", listed[STAGING], self._unnamed_before)
        try:
            named |= self._named_in_tables(list(vanished))
        except (DeltaError, FileNotFoundError) as failure:
            self._leave(
                f"files in {', '.join(KEPT_IN)}, since a version that a release pins can't be read "
                f"({str(failure).splitlines()[0]}); retire the release"
            )
            return
        for folder in KEPT_IN:
            unnamed = [file for file in listed[folder] if file.path not in named and not _is_of_tiers(file)]
            self._delete(folder, unnamed, self._unnamed_before)

    def _named_in_staging(self, batches: Iterable[Found]) -> set[str]:
        """Files of rows that a running or interrupted refresh finished."""
        named: set[str] = set()
        for batch in batches:
            column = NAMED_IN.get(batch.path.split("/")[1])
            if column and batch.modified_at >= self._unnamed_before:
                try:
                    data = self._files.read(batch.path)
                    named |= set(pl.read_parquet(io.BytesIO(data), columns=[column]).get_column(column).drop_nulls())
                except (FileNotFoundError, pl.exceptions.PolarsError):
                    continue  # committed meanwhile, or of another version: then nobody takes it over
        return named

    def _named_in_tables(self, vanished: list[str]) -> set[str]:
        named: set[str] = set()
        for name, column in NAMED_IN.items():
            stays = ~_video_of(TABLES[name]).is_in(vanished)
            named |= set(self._rows(TABLES[name], [column], stays.fill_null(True)).get_column(column))
            for version in self._pins.get(name, ()):
                pinned = self._store.scan(self._store.snapshot(name, version))
                named |= set(pinned.select(column).collect().get_column(column))
        for release in all_releases(self._store):
            named |= {*release["exports"], report_path(release["release"])}
        return named - {None}

    def _delete(self, kind: str, files: Iterable[Found], before: dt.datetime) -> None:
        """Delete those that are old enough and weren't written again since they were listed."""
        young = 0
        for file in files:
            if file.modified_at >= before:
                young += 1
            elif self._report.dry_run or self._files.find(file.path) == file:
                if not self._report.dry_run:
                    self._files.delete(file.path)
                self._count(kind, [file])
        if young:
            self._leave(f"{young} {kind} {'file' if young == 1 else 'files'}: not old enough")

    def _maintain_table(self, name: str) -> None:
        folder = f"tables/{name}"
        before = self._files.found(folder)
        try:
            version = self._store.snapshot(name).version()
        except TableNotFoundError:
            return
        left_by_killed = [file for file in before if _LEFT_BY_KILLED.search(file.path)]
        self._delete("unfinished", left_by_killed, self._unnamed_before)
        pins = self._pins.get(name, set())
        try:
            if not self._report.dry_run:
                self._store.compact(name)
            if self._are_readable(name, pins):
                self._vacuum(name, pins, {file.path: file for file in before})
        except Conflict:
            self._leave(f"{name}: old versions, since another writer changed the table meanwhile")
        self._trim_log(before, {*pins, version})
        upkeep = self._upkeep(name)
        after = self._files.found(folder)
        upkeep.versions = _commits(before), _commits(after)
        upkeep.files = len(before), len(after)
        upkeep.bytes = sum(file.size_bytes for file in before), sum(file.size_bytes for file in after)

    def _are_readable(self, table: str, versions: Set[int]) -> bool:
        """delta-rs can't keep what it can't read."""
        for version in versions:
            try:
                self._store.snapshot(table, version)
            except DeltaError:
                self._leave(f"{table}: old versions, since version {version}, which a release pins, can't be read")
                return False
        return True

    def _vacuum(self, name: str, pins: Set[int], files: Mapping[str, Found]) -> None:
        """delta-rs counts whole hours back from its own clock. A vacuum is two commits, so none for nothing."""
        if self._replaced_before == _NEVER:
            return
        age = dt.datetime.now(dt.UTC) - self._replaced_before
        hours = max(0, math.ceil(age / dt.timedelta(hours=1)))
        named = self._store.vacuum(name, hours, pins, dry_run=True)  # also what the vacuum before deleted
        unneeded = [file for path in named if (file := files.get(f"tables/{name}/{path}"))]
        if unneeded and not self._report.dry_run:
            self._store.vacuum(name, hours, pins, dry_run=False)
        self._count("table files", unneeded)

    def _trim_log(self, files: Iterable[Found], needed: Set[int]) -> None:
        """Delete the commits before the checkpoint that the oldest version to be read starts from.

        In ascending order, so that what is left after a kill is a log without a gap.
        """
        in_order = sorted(files, key=lambda file: file.path)
        log = [(int(match[1]), file) for file in in_order if (match := _LOG_ENTRY.search(file.path))]
        needed = {*needed, *(version for version, file in log if file.modified_at >= self._logged_before)}
        start = max((version for version, file in log if _is_checkpoint(file) and version <= min(needed)), default=0)
        self._delete("log", [file for version, file in log if version < start], _ALWAYS)

    def _upkeep(self, name: str) -> TableUpkeep:
        return self._report.tables.setdefault(name, TableUpkeep(name))

    def _count(self, kind: str, files: Iterable[Found]) -> None:
        for file in files:
            self._report.deleted[kind] += 1
            self._report.freed_bytes[kind] += file.size_bytes

    def _leave(self, what: str) -> None:
        self._report.left.append(what)


def _is_of_tiers(file: Found) -> bool:
    """Which stay as long as their release, whose row is never deleted."""
    return file.path.startswith(f"{TIERS}/")


def _video_of(table: Table) -> pl.Expr:
    """The video that a row is of; a failed row may hold no more than its key."""
    named = {"video_id": pl.col("video_id"), "clip_id": pl.col("clip_id").str.extract(_VIDEO_OF_CLIP)}
    return pl.coalesce(named[column] for column in named if column in table.stage_columns)


def _is_unfinished(file: Found) -> bool:
    return file.path.rpartition("/")[2].startswith(".")


def _is_checkpoint(file: Found) -> bool:
    return file.path.endswith(".checkpoint.parquet")


def _commits(files: Iterable[Found]) -> int:
    return sum(1 for file in files if _LOG_ENTRY.search(file.path) and file.path.endswith(".json"))
