"""Delta tables partitioned by shard: open, read from one snapshot, replace one shard, time travel."""

import random
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from arro3.core import Table
from deltalake import CommitProperties, DeltaTable, Schema, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from resources.errors import TransientError
from resources.object_store import is_url, unavailable

PARTITION = "shard"
_CREATE_ATTEMPTS = 12
_CHANGE_ATTEMPTS = 20
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
PROPERTIES = {
    "delta.enableExpiredLogCleanup": "false",  # else versions of a month ago become unreadable
    "delta.checkpointInterval": "10",  # to open a table is to read the commits since; two requests each from a store
    "delta.dataSkippingNumIndexedCols": "0",  # else each opening reads the smallest and largest texts of all shards
}
_COMMIT_RETRIES = 100  # of commits by writers of other shards, which delta-rs sees don't conflict
_OBJECT_STORE = {"retry_timeout": "30s", "connect_timeout": "5s"}  # else it tries an address for 3 minutes


class Conflict(Exception):
    """Another writer changed the shard since the handle was opened: read again, then write again."""


class IncompatibleTable(Exception):
    """A table of another version of the program; the message names the columns."""


@dataclass(frozen=True)
class Changed:
    """Rows before and after a change, and the version they are in."""

    before: pl.DataFrame
    after: pl.DataFrame
    version: int


class DeltaStore:
    """All tables under `root`, a local folder or an object store's URL.

    On an object store a commit is one conditional request, refused when its version is there. Errors of reaching it
    are TransientError; after one in a commit, the table is as before or, if only the answer was lost, as after it.
    """

    def __init__(self, root: str) -> None:
        self._is_remote = is_url(root)
        self.root = root.rstrip("/") if self._is_remote else str(Path(root).absolute())
        self._options = _OBJECT_STORE if self._is_remote else None

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
                return DeltaTable.create(
                    self.location(table),
                    schema=_delta_schema(schema),
                    partition_by=[PARTITION],
                    mode="error",
                    configuration=PROPERTIES,
                    storage_options=self._options,
                    commit_properties=CommitProperties(max_commit_retries=0),  # else the second to come changes it
                )
            except (TableNotFoundError, OSError) as failure:  # the first where its folder can't be made
                if self._is_remote:
                    raise unavailable(self.location(table), failure) from None
                raise OSError(f"table {table} can't be created: {_in_one_line(failure)}") from None
            except DeltaError:  # another writer was first
                time.sleep(random.uniform(0, 0.05 * 2 ** min(attempt, 5)))
        return self.snapshot(table)

    def snapshot(self, table: str, version: int | None = None) -> DeltaTable:
        """A handle on one version of an existing table. Raises TableNotFoundError."""
        with self._reaching(table):
            return DeltaTable(self.location(table), version=version, storage_options=self._options)

    def newest(self, table: str, handle: DeltaTable | None) -> DeltaTable:
        """A handle on the newest version, with as few requests as can be where there is an older one."""
        if handle is None:
            return self.snapshot(table)
        with self._reaching(table):
            handle.update_incremental()
        return handle

    def commits(self, table: str) -> list[dict[str, Any]]:
        """What the commits of an existing table say of themselves, newest first. Raises TableNotFoundError."""
        with self._reaching(table):
            return list(self.snapshot(table).history())

    def scan(self, handle: DeltaTable, shard: str | None = None) -> pl.LazyFrame:
        """The rows of the handle's version, of one shard or of all."""
        rows = pl.scan_delta(handle)
        return rows if shard is None else rows.filter(pl.col(PARTITION) == shard)

    def read(self, handle: DeltaTable, columns: Sequence[str], shard: str | None = None) -> pl.DataFrame:
        with self._reaching(handle.table_uri.rstrip("/").rpartition("/")[2]):
            return self.scan(handle, shard).select(columns).collect()

    def replace(
        self, handle: DeltaTable, rows: pl.DataFrame, shard: str | Collection[str], note: Mapping[str, str]
    ) -> int:
        """Put `rows` in the place of the rows of a shard, or of several, in one commit; returns the version.

        Nothing outside the shards can change: the predicate is part of every write, the first one too.
        Raises Conflict when another writer changed the shard since `handle` was opened (of several shards: anything
        in the table, since what goes where depends on all rows), OSError when the table can't be written; it is as
        before then.
        """
        shards = [shard] if isinstance(shard, str) else sorted(shard)
        if not rows.get_column(PARTITION).is_in(shards).all():
            raise ValueError(f"rows of another shard in a write of {shard!r}")
        quoted = ", ".join(f"'{name.replace(chr(39), chr(39) * 2)}'" for name in shards)
        try:
            write_deltalake(
                handle,
                rows,
                mode="overwrite",
                predicate=f"{PARTITION} IN ({quoted})",
                commit_properties=CommitProperties(
                    max_commit_retries=_COMMIT_RETRIES if isinstance(shard, str) else 0, custom_metadata=dict(note)
                ),
            )
        except CommitFailedError as failure:
            raise Conflict(str(failure).splitlines()[0]) from None
        except (DeltaError, OSError) as failure:
            if self._is_remote:
                raise unavailable(handle.table_uri.rstrip("/"), failure) from None
            raise OSError(f"table {handle.table_uri} can't be written: {_in_one_line(failure)}") from None
        return int(handle.version())

    def change(
        self,
        table: str,
        schema: pl.Schema,
        shard: str,
        edit: Callable[[pl.DataFrame], pl.DataFrame],
        note: Mapping[str, str],
    ) -> Changed:
        """Put what `edit` makes of the shard's rows in their place; no commit where it is the same.

        On a conflict the rows are read and edited again. Raises TransientError where others keep changing them, and
        OSError as `replace`.
        """
        for _ in range(_CHANGE_ATTEMPTS):
            handle = self.open(table, schema)
            before = self.read(handle, schema.names(), shard)
            after = edit(before)
            if after.equals(before):
                return Changed(before, before, int(handle.version()))
            try:
                return Changed(before, after, self.replace(handle, after, shard, note))
            except Conflict:
                continue
        raise TransientError(
            f"{table} {shard}: others changed its rows {_CHANGE_ATTEMPTS} times meanwhile; stop "
            "their runs and try again"
        )

    def upgrade(self, table: str, schema: pl.Schema) -> list[str]:
        """Add the columns of `schema` that an existing table lacks, null in its rows; returns their names.

        Several processes may do so at once. Raises IncompatibleTable where columns can't be added to agree with
        `schema`, TableNotFoundError, and OSError as `replace`.
        """
        added: list[str] = []
        for attempt in range(_CREATE_ATTEMPTS):
            handle = self.snapshot(table)
            there = {field.name: field for field in handle.schema().fields}
            wanted = {field.name: field for field in _delta_schema(schema).fields}
            if unknown := sorted(set(there) - set(wanted)):
                raise IncompatibleTable(f"table {table} has columns that this version doesn't know: {unknown}")
            for name in set(there) & set(wanted):
                if there[name].type != wanted[name].type:
                    raise IncompatibleTable(
                        f"column {name} of table {table} is {there[name].type}, this version needs {wanted[name].type}"
                    )
            missing = [field for name, field in wanted.items() if name not in there]
            try:
                with self._changing(table):
                    if missing:
                        handle.alter.add_columns(missing)
                        added += [field.name for field in missing]
                    if not PROPERTIES.items() <= handle.metadata().configuration.items():
                        handle.alter.set_table_properties(PROPERTIES)
                return added
            except Conflict:
                time.sleep(random.uniform(0, 0.05 * 2 ** min(attempt, 5)))
        raise OSError(f"table {table}: other writers kept changing it; stop them and try again")

    def compact(self, table: str) -> int:
        """Put the files of each shard together where it has several; returns how many went.

        Raises Conflict when another writer changed the table meanwhile, OSError as `replace`.
        """
        handle = self.snapshot(table)
        if len(handle.file_uris()) <= len(handle.partitions()):
            return 0
        with self._changing(table):
            return int(handle.optimize.compact()["numFilesRemoved"])

    def vacuum(self, table: str, older_than_h: int, keep_versions: Iterable[int], dry_run: bool) -> list[str]:
        """Delete data files that no version needs: neither the newest, nor one replaced less than `older_than_h` hours
        ago, nor one of `keep_versions`; those of writers that were killed before their commit, by the file's age.

        Returns their paths within the table's folder. Raises Conflict and OSError as `replace`.
        """
        handle = self.snapshot(table)
        with self._changing(table):
            return list(
                handle.vacuum(
                    older_than_h,
                    dry_run,
                    enforce_retention_duration=False,
                    full=True,
                    keep_versions=sorted(keep_versions) or None,
                )
            )

    @contextmanager
    def _changing(self, table: str) -> Iterator[None]:
        try:
            yield
        except CommitFailedError as failure:
            raise Conflict(str(failure).splitlines()[0]) from None
        except (DeltaError, OSError) as failure:
            if self._is_remote:
                raise unavailable(self.location(table), failure) from None
            raise OSError(f"table {self.location(table)} can't be written: {_in_one_line(failure)}") from None

    @contextmanager
    def _reaching(self, table: str) -> Iterator[None]:
        try:
            yield
        except TableNotFoundError:
            raise
        except (DeltaError, OSError) as failure:
            if self._is_remote:
                raise unavailable(self.location(table), failure) from None
            raise


def _delta_schema(schema: pl.Schema) -> Schema:
    return Schema.from_arrow(Table.from_arrow(pl.DataFrame(schema=schema)).schema)


def _in_one_line(failure: Exception) -> str:
    """Without the line breaks and colours that delta-rs puts between causes."""
    return " ".join(_COLOURS.sub("", str(failure)).split())
