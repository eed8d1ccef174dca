"""Makes a release: reads the tables at the versions of one moment, writes the exports, then commits its row."""

import datetime as dt
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from curation_assets.incremental.digests import rows_sha256
from curation_assets.incremental.stage import Stage
from curation_assets.settings import Settings, result_settings, settings_hash
from curation_assets.tables import TRAINING_MANIFEST, TRAINING_SET
from curation_assets.training_set.exports import exports
from curation_assets.training_set.gaps import Decision, Gap, find_gaps
from curation_assets.training_set.reasons import dropped_by
from curation_assets.upkeep.releases import PARTITION, TablesAt, tables_now
from resources.delta_store import Conflict, DeltaStore
from resources.errors import InputError, TransientError
from resources.files import Files
from resources.text import without_login

MAX_CONFLICTS = 20
LISTED_REASONS = 5


@dataclass(frozen=True)
class Release:
    """`gaps` are those of now, also where the release was there already."""

    name: str
    samples: int
    releases: int
    exports: list[str]
    gaps: list[Gap]
    version: int
    is_new: bool
    seconds: float


def make_release(
    store: DeltaStore,
    files: Files,
    settings: Settings,
    stages: Sequence[Stage],
    run_id: str,
    duplicates: Decision | None = None,
) -> Release:
    """Release all samples there are, whatever is missing beside them; `stages` and `duplicates` as of `find_gaps`.

    The newest release is returned where it holds the same under the same settings. Settings that change no sample
    do make a release: it says that these settings give these samples, and is compared with others by them. Raises
    InputError where there is no sample: a training set of nothing would look like a result.
    """
    started = time.monotonic()
    hashed = settings_hash(settings)
    for _ in range(MAX_CONFLICTS):
        table = store.open(TRAINING_SET.name, TRAINING_SET.schema)
        before = store.read(table, list(TRAINING_SET.schema))
        tables = tables_now(store)
        samples = released_samples(tables)
        gaps = find_gaps(stages, tables, duplicates)
        if samples.is_empty():
            raise InputError(_why_nothing(tables, gaps))
        digest = samples_sha256(samples)
        same = _newest_with(before, digest, hashed)
        name = same["release"] if same else f"r{before.height + 1:04d}-{_digest((digest + hashed).encode())[:8]}"
        paths_from = same["paths_from"] if same else _paths_from(settings, files)
        exported: dict[str, str] = {}  # path -> SHA-256
        for file, data in export_samples(samples, paths_from, settings.training_set.validation_share):
            path = f"exports/{name}/{file}"
            exported[path] = _digest(data)
            if not same or files.size(path) is None:
                files.write(path, data)
        after, version = before, int(table.version())
        if not same:
            pins = [{"table": table, "version": version} for table, version in tables.versions.items()]
            row = {
                "release": name,
                "samples": samples.height,
                "samples_sha256": digest,
                "settings_hash": hashed,
                "table_versions": pins,
                "warnings": samples.filter(pl.col("warnings").list.len() > 0).height,
                "exports": list(exported),
                "export_sha256": list(exported.values()),
                "paths_from": paths_from,
                "written_by": f"polars {pl.__version__}",
                "settings": settings_text(settings),
                "gaps": gaps,
                "shard": PARTITION,
                "input_fingerprint": digest,
                "run_id": run_id,
                "computed_at": dt.datetime.now(dt.UTC),
            }
            after = pl.concat([before, pl.DataFrame([row], schema=TRAINING_SET.schema)])
            try:
                version = store.replace(table, after, PARTITION, {"run_id": run_id, "release": name})
            except Conflict:
                continue
        seconds = time.monotonic() - started
        return Release(name, samples.height, after.height, list(exported), gaps, version, same is None, seconds)
    raise TransientError(f"other runs made {MAX_CONFLICTS} releases meanwhile; run this one again")


def released_samples(tables: TablesAt) -> pl.DataFrame:
    """The manifest's rows without error, in order of clip_id, every column."""
    return tables.read(TRAINING_MANIFEST.name, [pl.all()], pl.col("error").is_null()).sort("clip_id")


def export_samples(
    samples: pl.DataFrame, paths_from: str | None, validation_share: float = 0.0
) -> Iterator[tuple[str, bytes]]:
    """A release's exports with their file names. A manifest from before a column was added is exported without it."""
    return exports(samples.select(manifest_columns(samples)), paths_from, validation_share)


def manifest_columns(samples: pl.DataFrame) -> list[str]:
    """Those of a manifest without its bookkeeping."""
    return [name for name in TRAINING_MANIFEST.stage_columns if name in samples.columns]


def settings_text(settings: Settings) -> str:
    """The settings that can change a result, as JSON; no login, name of a key, or source is among them."""
    values = {name: value for name, value in result_settings(settings).items() if name not in ("sources", "shards")}
    return without_login(json.dumps(values, sort_keys=True, ensure_ascii=False))


def _paths_from(settings: Settings, files: Files) -> str | None:
    return str(files.root) if settings.training_set.paths == "absolute" else None


def samples_sha256(samples: pl.DataFrame) -> str:
    """16 hex digits naming rows of the manifest in any order, bookkeeping aside."""
    return rows_sha256(samples.select(TRAINING_MANIFEST.data_columns))[:16]


def _newest_with(releases: pl.DataFrame, samples_sha256: str, settings: str) -> dict[str, Any] | None:
    """The newest release, where it holds these samples under these settings and its versions are kept."""
    newest = releases.sort("computed_at").tail(1).filter(pl.col("retired_at").is_null())
    return next(newest.filter(samples_sha256=samples_sha256, settings_hash=settings).iter_rows(named=True), None)


def _why_nothing(tables: TablesAt, gaps: Sequence[Gap]) -> str:
    """What became of everything there is."""
    videos = tables.read("source_files", ["video_id"], ~pl.col("missing")).n_unique()
    reasons = [f"{reason} {count}" for reason, count in dropped_by(tables).most_common(LISTED_REASONS)]
    failed = [f"{gap['table']} {gap['kind']} {gap['count']}" for gap in gaps if gap["count"]]
    found = ", ".join([*reasons, *failed[:LISTED_REASONS]]) or "nothing was computed yet"
    return f"there is no sample to release, of {videos} videos ({found}); no release was made"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
