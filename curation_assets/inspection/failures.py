"""The rows that failed, in every table of a home."""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import polars as pl

from curation_assets.inspection.lookup import rows_of
from curation_assets.tables import TABLES, Table
from resources.delta_store import DeltaStore

KINDS = ("input", "transient")
BLOCKED = "blocked"


@dataclass(frozen=True)
class Failure:
    """A row without a result. `failed_at`: when it was last tried; `kind` and `error` as the row has them."""

    asset: str
    shard: str
    item: str
    engine: str | None
    kind: str
    error: str
    failed_at: dt.datetime
    run_id: str

    @property
    def key(self) -> tuple[str, str, str, str | None]:
        return self.asset, self.shard, self.item, self.engine

    @property
    def named(self) -> str:
        """The item, and the engine of an asset that has several."""
        return f"{self.item} ({self.engine})" if self.engine else self.item

    def __str__(self) -> str:
        return f"{self.asset}  {self.named}: {self.error}"


def find_failures(
    store: DeltaStore,
    assets: Iterable[str] = tuple(TABLES),
    shards: Collection[str] | None = None,
    kinds: Collection[str] = KINDS,
) -> list[Failure]:
    """Table by table, of all shards or of `shards`; what a failed parent blocks is left out, unless `kinds` has it."""
    return [failure for asset in assets for failure in _of_table(store, asset, shards, kinds)]


def has_failed(table: Table, kinds: Collection[str] = KINDS) -> pl.Expr:
    """Of a row; a file that is no longer in its source failed at nothing."""
    failed = pl.col("error_kind").is_in(kinds)
    return failed & ~pl.col("missing") if "missing" in table.schema else failed


def _of_table(
    store: DeltaStore, asset: str, shards: Collection[str] | None, kinds: Collection[str]
) -> Iterator[Failure]:
    table = TABLES[asset]
    if "error_kind" not in table.schema:
        return
    failed = has_failed(table, kinds)
    if shards is not None:
        failed &= pl.col("shard").is_in(shards)
    for row in rows_of(store, table, failed).sort("shard", *table.key, nulls_last=True).collect().to_dicts():
        item = row.get("path") or row.get("clip_id") or row.get("video_id") or row.get("prompt") or ""
        engine = row["engine"] if "engine" in table.key else None
        told = (row[name] for name in ("error_kind", "error", "computed_at", "run_id"))
        yield Failure(asset, row["shard"], item, engine, *told)
