"""Makes a release: reads one version of the manifest, writes the exports, then commits the release's row."""

import datetime as dt
import hashlib
import time
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from curation_assets.refresh import data_version
from curation_assets.tables import TABLES, TRAINING_MANIFEST, TRAINING_SET
from curation_assets.training_set.exports import EXPORTS, write_exports
from resources.delta_store import Conflict, DeltaStore
from resources.errors import TransientError
from resources.files import Files

MAX_CONFLICTS = 20
RELEASES = "releases"  # the one partition of the table


@dataclass(frozen=True)
class Release:
    name: str
    samples: int
    releases: int
    exports: list[str]
    version: int
    is_new: bool
    seconds: float


def make_release(
    store: DeltaStore, files: Files, settings: str, paths: Literal["relative", "absolute"], run_id: str
) -> Release:
    """Release all samples there are; the newest release is returned where it holds the same under the same settings."""
    started = time.monotonic()
    for _ in range(MAX_CONFLICTS):
        table = store.open(TRAINING_SET.name, TRAINING_SET.schema)
        before = store.read(table, list(TRAINING_SET.schema))
        manifest = store.open(TRAINING_MANIFEST.name, TRAINING_MANIFEST.schema)
        versions = _versions(store, manifest)
        samples = store.scan(manifest).filter(pl.col("error").is_null()).sort("clip_id").collect()
        digest = data_version(samples, TRAINING_MANIFEST)
        same = _newest_with(before, digest, settings)
        name = same["release"] if same else f"r{before.height + 1:04d}-{_digest(digest + settings)[:8]}"
        exports = [f"exports/{name}/{file}" for file in EXPORTS]
        if not same or any(files.size(path) is None for path in exports):
            listed = samples.select(list(TRAINING_MANIFEST.stage_columns))
            write_exports(listed, files.local_path(f"exports/{name}"), paths, str(files.root))
        if same:
            return Release(
                name, samples.height, before.height, exports, table.version(), False, time.monotonic() - started
            )
        row = _row(name, samples, digest, settings, versions, exports, run_id)
        after = pl.concat([before, pl.DataFrame([row], schema=TRAINING_SET.schema)])
        try:
            version = store.replace(table, after, RELEASES, {"run_id": run_id, "release": name})
        except Conflict:
            continue
        return Release(name, samples.height, after.height, exports, version, True, time.monotonic() - started)
    raise TransientError(f"other runs made {MAX_CONFLICTS} releases meanwhile; run this one again")


def _newest_with(releases: pl.DataFrame, samples_sha256: str, settings: str) -> dict[str, Any] | None:
    """The newest release, where it holds these samples under these settings."""
    newest = releases.sort("computed_at").tail(1)
    return next(newest.filter(samples_sha256=samples_sha256, settings_hash=settings).iter_rows(named=True), None)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _versions(store: DeltaStore, manifest: DeltaTable) -> list[dict[str, Any]]:
    """The version of every table that exists."""
    versions = []
    for name in TABLES:
        try:
            handle = manifest if name == TRAINING_MANIFEST.name else store.snapshot(name)
        except TableNotFoundError:
            continue
        if name != TRAINING_SET.name:
            versions.append({"table": name, "version": handle.version()})
    return versions


def _row(
    name: str,
    samples: pl.DataFrame,
    digest: str,
    settings: str,
    versions: list[dict[str, Any]],
    exports: list[str],
    run_id: str,
) -> dict[str, Any]:
    return {
        "release": name,
        "samples": samples.height,
        "samples_sha256": digest,
        "settings_hash": settings,
        "table_versions": versions,
        "warnings": samples.filter(pl.col("warnings").list.len() > 0).height,
        "exports": exports,
        "shard": RELEASES,
        "input_fingerprint": digest,
        "error": None,
        "error_kind": None,
        "run_id": run_id,
        "computed_at": dt.datetime.now(dt.UTC),
    }
