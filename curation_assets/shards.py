"""Shards: which video belongs to which. Registration lists sources, hashes what is new and assigns shards for good."""

import datetime as dt
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from curation_assets.incremental.digests import data_version
from curation_assets.raw_videos.listing import Entry, SourceError, content_id, list_source, media_type_of, path_id
from curation_assets.raw_videos.takedowns import taken_down
from curation_assets.settings import Shards, Source
from curation_assets.tables import SOURCE_FILES
from resources.delta_store import Conflict, DeltaStore
from resources.errors import TransientError
from resources.spent import Spent, count, spent
from resources.workers import available_cores

Row = dict[str, Any]
MAX_CONFLICTS = 20
ALWAYS_ALLOWED_LOSS = 1  # one file gone is no outage, however small the source


@dataclass
class Registration:
    """What a registration found; `unreadable` files are among the hashed, `shards` are all that exist afterwards.

    `shard_versions`: the data version of each shard's part of `source_files`.
    """

    files: int = 0
    hashed: int = 0
    hashed_bytes: int = 0
    unreadable: int = 0
    added: int = 0
    vanished: int = 0
    rows: int = 0
    version: int = 0
    seconds: float = 0.0
    spent: Spent = field(default_factory=Spent)
    data_version: str = ""
    shard_versions: dict[str, str] = field(default_factory=dict)
    shards: list[str] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    source_errors: list[str] = field(default_factory=list)


def hash_of(entry: Entry) -> str:
    """The file's content id. Raises OSError, TransientError."""
    return content_id(entry.source_uri)


def register(
    sources: Mapping[str, Source],
    limits: Shards,
    store: DeltaStore,
    run_id: str,
    identify: Callable[[Entry], str] = hash_of,
) -> Registration:
    """Bring `source_files` up to date with the sources' files, in one commit.

    A file is hashed when its path is new or its size or time changed. A known content keeps its shard; a new one
    goes to its source's newest shard until that is full. A source that can't be read, or that lost too many files
    at once, is reported in `source_errors` and none of its rows change. `identify` hashes; a plan guesses instead.
    """
    started = time.monotonic()
    hashes: dict[tuple[str, int | None, int | None], str | Exception] = {}
    for _ in range(MAX_CONFLICTS):
        handle = store.open(SOURCE_FILES.name, SOURCE_FILES.schema)
        before = store.read(handle, list(SOURCE_FILES.schema))
        report = Registration()
        rows = before.to_dicts()
        for name, source in sources.items():
            try:
                entries = list_source(source)
                rows = _scan(name, entries, rows, limits, hashes, run_id, report, taken_down(store), identify)
            except SourceError as failure:
                report.source_errors.append(f"source {name}: {failure}")
        _assign_shards(rows, limits, report)
        after = pl.DataFrame(rows, schema=SOURCE_FILES.schema, orient="row").sort(*SOURCE_FILES.key)
        report.rows = after.height
        report.data_version = data_version(after, SOURCE_FILES)
        parts = _by_shard(after)
        report.shard_versions = {shard: data_version(part, SOURCE_FILES) for shard, part in parts.items()}
        report.shards = sorted(report.shard_versions)
        try:
            changed = _changed_shards(before.sort(*SOURCE_FILES.key), parts)
            note = {
                "run_id": run_id,
                "hashed_bytes": str(report.hashed_bytes),
                "seconds": f"{time.monotonic() - started:.3f}",
            }
            rows_of_changed = after.filter(pl.col("shard").is_in(changed))
            report.version = store.replace(handle, rows_of_changed, changed, note) if changed else handle.version()
        except Conflict:
            continue
        report.seconds = time.monotonic() - started
        return report
    raise SourceError(f"source_files was changed {MAX_CONFLICTS} times by others meanwhile; run the registration again")


def _by_shard(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    return {str(shard): part for (shard,), part in rows.partition_by("shard", as_dict=True).items()}


def _changed_shards(before: pl.DataFrame, after: Mapping[str, pl.DataFrame]) -> list[str]:
    was, none = _by_shard(before), before.clear()
    return [shard for shard in {**was, **after} if not after.get(shard, none).equals(was.get(shard, none))]


def _scan(
    source: str,
    entries: list[Entry],
    rows: list[Row],
    limits: Shards,
    hashes: dict[tuple[str, int | None, int | None], str | Exception],
    run_id: str,
    report: Registration,
    gone: Mapping[str, Row],
    identify: Callable[[Entry], str],
) -> list[Row]:
    """The rows of all sources after a scan of one of them; `gone` are the videos taken down."""
    now = dt.datetime.now(dt.UTC)
    others = [row for row in rows if row["source"] != source]
    known = {(row["path"], row["video_id"]): row for row in rows if row["source"] == source}
    present = {row["path"]: row for row in known.values() if not row["missing"]}
    _hash_new(entries, present, hashes, report, identify)
    scanned = [_row(source, entry, present, known, hashes, run_id, now) for entry in entries]
    refuse_outage(present, scanned, limits)
    scanned = [_refused(row, gone) for row in scanned]
    found: set[tuple[str, str]] = set()
    for row in scanned:
        key = (row["path"], row["video_id"])
        report.added += key not in known
        found.add(key)
        if row["error_kind"] == "transient" and row["path"] in present:
            found.add((row["path"], present[row["path"]]["video_id"]))  # stands until the new content can be read
        known[key] = row
        if row["error"]:
            report.failures.append((row["path"], row["error"]))
    for key, row in known.items():
        if key not in found and not row["missing"]:
            known[key] = {**row, "missing": True, "missing_since": now}
            report.vanished += 1
    report.files += len(entries)
    return others + list(known.values())


def _refused(row: Row, gone: Mapping[str, Row]) -> Row:
    """The row; of a video that was taken down, with an error that says so, in the shard that keeps it out."""
    if row["error"] or row["video_id"] not in gone:
        return row
    takedown = gone[row["video_id"]]
    error = f"taken down on {takedown['taken_down_on']} by `reelhouse forget`; remove it from the source"
    return {**row, "error": error, "error_kind": "input", "shard": takedown["shard"]}


def refuse_outage(present: Mapping[str, Row], scanned: Iterable[Row], limits: Shards) -> None:
    """Raise SourceError where too many files are gone, or can't be read any more, to believe it."""
    had = [path for path, row in present.items() if not row["error"]]
    readable = {row["path"] for row in scanned if not row["error"]}
    lost = [path for path in had if path not in readable]
    if len(lost) > max(limits.max_lost_share * len(had), ALWAYS_ALLOWED_LOSS):
        enough = math.ceil(100 * len(lost) / len(had)) / 100
        raise SourceError(
            f"{len(lost)} of {len(had)} files are gone or unreadable, for example {lost[0]!r}; nothing was marked. If "
            f"they were removed on purpose, set shards.max_lost_share to {enough} for one run"
        )


def _is_known(entry: Entry, present: Mapping[str, Row]) -> bool:
    row = present.get(entry.path)
    return (
        row is not None
        and row["error"] is None
        and entry.error is None
        and (row["size_bytes"], row["modified_at"], row["etag"])
        == (entry.size_bytes, stored_time(entry.modified_ns), entry.etag)
    )


def _hash_new(
    entries: Iterable[Entry],
    present: Mapping[str, Row],
    hashes: dict[tuple[str, int | None, int | None], str | Exception],
    report: Registration,
    identify: Callable[[Entry], str],
) -> None:
    def hash_one(entry: Entry) -> str | Exception:
        try:
            return identify(entry)
        except (OSError, TransientError) as failure:
            return failure

    new = [e for e in entries if not e.error and not _is_known(e, present) and _stamp(e) not in hashes]
    new_bytes = sum(entry.size_bytes or 0 for entry in new)
    with report.spent.collected(), spent("reading"):
        count("bytes", new_bytes)
        with ThreadPoolExecutor(available_cores()) as threads:  # hashing releases the interpreter's lock
            for entry, result in zip(new, threads.map(hash_one, new), strict=True):
                hashes[_stamp(entry)] = result
                report.unreadable += not isinstance(result, str)
    report.hashed += len(new)
    report.hashed_bytes += new_bytes


def _stamp(entry: Entry) -> tuple[str, int | None, int | None]:
    return entry.source_uri, entry.size_bytes, entry.modified_ns


def _row(
    source: str,
    entry: Entry,
    present: Mapping[str, Row],
    known: Mapping[tuple[str, str], Row],
    hashes: Mapping[tuple[str, int | None, int | None], str | Exception],
    run_id: str,
    now: dt.datetime,
) -> Row:
    as_listed = {
        "source_uri": entry.source_uri,
        "media_type": media_type_of(entry.path) or "video",
        "listing": stored_listing(entry),
    }
    if _is_known(entry, present):
        return {**present[entry.path], **as_listed}
    error = entry.error
    error_kind = "input" if error else None
    video_id = path_id(source, entry.path)
    if error is None:
        hashed = hashes[_stamp(entry)]
        if isinstance(hashed, str):
            video_id = hashed
        else:
            error = f"{hashed.strerror}; make the file readable" if isinstance(hashed, OSError) else str(hashed)
            error_kind = "input" if isinstance(hashed, OSError) else "transient"
    old = known.get((entry.path, video_id), {})
    return {
        "source": source,
        "path": entry.path,
        **as_listed,
        "size_bytes": entry.size_bytes,
        "modified_at": stored_time(entry.modified_ns),
        "video_id": video_id,
        "first_seen": old.get("first_seen", now),
        "missing_since": None,
        "missing": False,
        "etag": entry.etag,
        "shard": old.get("shard"),
        "input_fingerprint": video_id,
        "error": error,
        "error_kind": error_kind,
        "run_id": old.get("run_id", run_id),
        "computed_at": old.get("computed_at", now),
    }


def stored_listing(entry: Entry) -> str | None:
    """The listing's other columns as the table keeps them."""
    return None if entry.listing is None else json.dumps(entry.listing, sort_keys=True, ensure_ascii=False, default=str)


def stored_time(modified_ns: int | None) -> dt.datetime | None:
    """Microseconds, as the table keeps them."""
    if modified_ns is None:
        return None
    return dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=modified_ns // 1000)


def _assign_shards(rows: list[Row], limits: Shards, report: Registration) -> None:
    shard_of = {row["video_id"]: row["shard"] for row in rows if row["shard"]}
    size = Counter(shard_of.values())
    newest: dict[str, int] = {}
    for shard in size:
        source, _, number = shard.rpartition("-")
        newest[source] = max(newest.get(source, 0), int(number))
    for row in rows:
        if not row["shard"]:
            if row["video_id"] not in shard_of:
                number = newest.setdefault(row["source"], 0)
                if size[shard_name(row["source"], number)] >= limits.videos_per_shard:
                    number = newest[row["source"]] = number + 1
                shard_of[row["video_id"]] = shard_name(row["source"], number)
                size[shard_of[row["video_id"]]] += 1
            row["shard"] = shard_of[row["video_id"]]
            if row["shard"] not in report.touched:
                report.touched.append(row["shard"])


def shard_name(source: str, number: int) -> str:
    return f"{source}-{number:04d}"
