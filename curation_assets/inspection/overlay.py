"""A home as a plan sees it: tables and files are read from the home, and written to memory or nowhere."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from resources.delta_store import PARTITION, DeltaStore
from resources.files import Files

NOTED_COMMITS = 100


class Before:
    """The home's tables, each as of its first use here. One that isn't there has no rows and no commits."""

    def __init__(self, store: DeltaStore) -> None:
        self.store = store
        self._handle = cache(self._open)
        self.notes = cache(self._notes)
        self._kept: dict[tuple[str, str | None], pl.DataFrame] = {}

    def rows(self, table: str, schema: pl.Schema, shard: str | None = None) -> pl.DataFrame:
        """Every column of `schema`, null where the table lacks it; kept until `let_go`."""
        if (table, shard) not in self._kept:
            self._kept[table, shard] = self._read(table, schema, shard)
        return self._kept[table, shard]

    def let_go(self) -> None:
        """Free the rows read so far."""
        self._kept.clear()

    def _read(self, table: str, schema: pl.Schema, shard: str | None) -> pl.DataFrame:
        handle = self._handle(table)
        if handle is None:
            return pl.DataFrame(schema=schema)
        there = {column.name for column in handle.schema().fields}
        rows = self.store.read(handle, [name for name in schema if name in there], shard)
        missing = {name: pl.lit(None, dtype) for name, dtype in schema.items() if name not in there}
        return rows.with_columns(**missing).select(list(schema))

    def _open(self, table: str) -> DeltaTable | None:
        try:
            return self.store.snapshot(table)
        except TableNotFoundError:
            return None

    def _notes(self, table: str) -> list[dict[str, Any]]:
        """What the last commits said of themselves, newest first."""
        handle = self._handle(table)
        return [] if handle is None else handle.history(NOTED_COMMITS)


@dataclass(frozen=True)
class _Handle:
    table: str
    schema: pl.Schema

    def version(self) -> int:
        """Of no meaning: nothing is committed."""
        return -1


class Overlay(DeltaStore):
    """Tables that start as those of `before`; what is written to them stays here."""

    def __init__(self, before: Before) -> None:
        super().__init__(before.store.root)
        self._before = before
        self._written: dict[tuple[str, str], pl.DataFrame] = {}

    def open(self, table: str, schema: pl.Schema) -> Any:
        return _Handle(table, schema)

    def scan(self, handle: Any, shard: str | None = None) -> pl.LazyFrame:
        return self._rows(handle, shard).lazy()

    def read(self, handle: Any, columns: Sequence[str], shard: str | None = None) -> pl.DataFrame:
        return self._rows(handle, shard).select(columns)

    def replace(self, handle: Any, rows: pl.DataFrame, shard: str | Collection[str], note: Mapping[str, str]) -> int:
        for name in [shard] if isinstance(shard, str) else shard:
            self._written[handle.table, name] = rows.filter(pl.col(PARTITION) == name)
        return int(handle.version())

    def _rows(self, handle: _Handle, shard: str | None) -> pl.DataFrame:
        if shard is None:
            rows = self._before.rows(handle.table, handle.schema)
            changed = {name: rows for (table, name), rows in self._written.items() if table == handle.table}
            return pl.concat([rows.filter(~pl.col(PARTITION).is_in(list(changed))), *changed.values()])
        if (handle.table, shard) in self._written:
            return self._written[handle.table, shard]
        return self._before.rows(handle.table, handle.schema, shard)


class ReadOnlyFiles(Files):
    """A home's files, where writing and deleting do nothing."""

    def write(self, relative: str, data: bytes) -> None:
        pass

    def delete(self, relative: str) -> None:
        pass

    def delete_abandoned(self, folder: str) -> None:
        pass
