"""What a registration of a source would find, told without hashing; the sensor asks it every minute."""

import datetime as dt
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from curation_assets.raw_videos.listing import Entry
from curation_assets.settings import Shards
from curation_assets.shards import refuse_outage, stored_listing, stored_time
from curation_assets.tables import SOURCE_FILES
from resources.delta_store import DeltaStore

Row = dict[str, Any]
COMPARED = ["path", "source_uri", "size_bytes", "modified_at", "etag", "listing", "error", "error_kind"]


@dataclass(frozen=True)
class Difference:
    """The paths of a source that a registration would add, hash or note again, or mark as gone; sorted."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    fingerprint: str = ""

    @property
    def size(self) -> int:
        return len(self.added) + len(self.changed) + len(self.vanished)


def registered_files(store: DeltaStore, source: str) -> pl.DataFrame:
    """The files of a source that were there at its last registration."""
    handle = store.open(SOURCE_FILES.name, SOURCE_FILES.schema)
    there = (pl.col("source") == source) & ~pl.col("missing")
    return store.scan(handle).filter(there).select(COMPARED).collect()


def compare(entries: Iterable[Entry], registered: pl.DataFrame, limits: Shards, now: dt.datetime) -> Difference:
    """What a registration would find, told from paths, sizes and times alone; nothing is opened or hashed.

    A file written to within the last `limits.settle_s` is left out: it may not be whole yet. Raises SourceError where
    so many files are gone that a registration would refuse to believe it.
    """
    present = {row["path"]: row for row in registered.to_dicts()}
    fresh = now - dt.timedelta(seconds=limits.settle_s)
    added: list[tuple[Any, ...]] = []
    changed: list[tuple[Any, ...]] = []
    seen: list[Row] = []
    for entry in entries:
        row = present.get(entry.path)
        seen.append({"path": entry.path, "error": entry.error or (row and row["error"])})
        if row is not None and _is_noted(entry, row):
            continue
        modified = stored_time(entry.modified_ns)
        if modified is None or not fresh < modified <= now:  # a time in the future says nothing
            (added if row is None else changed).append(
                (entry.path, entry.size_bytes, entry.modified_ns, entry.etag, entry.error)
            )
    refuse_outage(present, seen, limits)
    vanished = sorted(present.keys() - {row["path"] for row in seen})
    if not (added or changed or vanished):
        return Difference()
    told = json.dumps([sorted(added, key=str), sorted(changed, key=str), vanished])
    return Difference(
        tuple(sorted(path for path, *_ in added)),
        tuple(sorted(path for path, *_ in changed)),
        tuple(vanished),
        hashlib.sha256(told.encode()).hexdigest()[:16],
    )


def _is_noted(entry: Entry, row: Row) -> bool:
    """Whether a registration would leave the row as it is; a file that it could not use is noted until it changes."""
    if row["error_kind"] == "transient":
        return False
    stamp = (entry.size_bytes, stored_time(entry.modified_ns), entry.etag)
    same_file = (row["size_bytes"], row["modified_at"], row["etag"]) == stamp and entry.error in (None, row["error"])
    return same_file and (row["source_uri"], row["listing"]) == (entry.source_uri, stored_listing(entry))
