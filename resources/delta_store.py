"""Delta tables partitioned by shard: open, read from one snapshot, replace one shard, time travel."""

import random
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
from arro3.core import Table
from deltalake import CommitProperties, DeltaTable, Schema, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

PARTITION = "shard"
_CREATE_ATTEMPTS = 12
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_COMMIT_RETRIES = 100  # of commits by writers of other shards, which delta-rs sees don't conflict


class Conflict(Exception):
    """Another writer changed the shard since the handle was opened: read again, then write again."""


class DeltaStore:
    """All tables under `root`, a local folder or a URL that `storage_options` give access to."""

    def __init__(self, root: str, storage_options: Mapping[str, str] | None = None) -> None:
        self.root = root if "://" in root else str(Path(root).absolute())
        self.storage_options = dict(storage_options or {}) or None

    def location(self, table: str) -> str:
        return f"{self.root}/tables/{table}"

    def open(self, table: str, schema: pl.Schema) -> DeltaTable:
        """A handle on the newest version; the table is created with `schema` where there is none.

        Raises OSError when it can't be created.
        """
        for attempt in range(_CREATE_ATTEMPTS):
            try:
                return self.snapshot(table)
            except TableNotFoundError:
                pass
            try:
                DeltaTable.create(
                    self.location(table),
                    schema=Schema.from_arrow(Table.from_arrow(pl.DataFrame(schema=schema)).schema),
                    partition_by=[PARTITION],
                    mode="error",
                    storage_options=self.storage_options,
                    commit_properties=CommitProperties(max_commit_retries=0),  # else the second to come changes it
                )
            except (TableNotFoundError, OSError) as failure:  # the first where its folder can't be made
                raise OSError(f"table {table} can't be created: {_in_one_line(failure)}") from None
            except DeltaError:  # another writer was first
                time.sleep(random.uniform(0, 0.05 * 2 ** min(attempt, 5)))
        return self.snapshot(table)

    def snapshot(self, table: str, version: int | None = None) -> DeltaTable:
        """A handle on one version of an existing table. Raises TableNotFoundError."""
        return DeltaTable(self.location(table), version=version, storage_options=self.storage_options)

    def scan(self, handle: DeltaTable, shard: str | None = None) -> pl.LazyFrame:
        """The rows of the handle's version, of one shard or of all."""
        rows = pl.scan_delta(handle)
        return rows if shard is None else rows.filter(pl.col(PARTITION) == shard)

    def read(self, handle: DeltaTable, columns: Sequence[str], shard: str | None = None) -> pl.DataFrame:
        return self.scan(handle, shard).select(columns).collect()

    def replace(self, handle: DeltaTable, rows: pl.DataFrame, shard: str | None, note: Mapping[str, str]) -> int:
        """Put `rows` in the place of the shard's rows (None: of all rows), in one commit; returns the version.

        Nothing outside the shard can change: the predicate is part of every write, the first one too.
        Raises Conflict when another writer changed the same rows since `handle` was opened, OSError when the table
        can't be written; it is as before then.
        """
        if shard is not None and not rows.get_column(PARTITION).eq(shard).all():
            raise ValueError(f"rows of another shard in a write of {shard!r}")
        # "true", not none: delta-rs looks for conflicts only among rows that a predicate names
        predicate = "true" if shard is None else f"{PARTITION} = '{shard.replace(chr(39), chr(39) * 2)}'"
        try:
            write_deltalake(
                handle,
                rows,
                mode="overwrite",
                predicate=predicate,
                commit_properties=CommitProperties(max_commit_retries=_COMMIT_RETRIES, custom_metadata=dict(note)),
            )
        except CommitFailedError as failure:
            raise Conflict(str(failure).splitlines()[0]) from None
        except (DeltaError, OSError) as failure:
            raise OSError(f"table {handle.table_uri} can't be written: {_in_one_line(failure)}") from None
        return int(handle.version())


def _in_one_line(failure: Exception) -> str:
    """Without the line breaks and colours that delta-rs puts between causes."""
    return " ".join(_COLOURS.sub("", str(failure)).split())
