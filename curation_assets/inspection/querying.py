"""A home's tables as polars frames: now, at a version or a time, or as a release pinned them."""

import datetime as dt
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

import polars as pl
from deltalake.exceptions import TableNotFoundError

from curation_assets.tables import PROMPTS, SOURCE_FILES, TABLES, TIMESTAMP, TRAINING_SET, Table
from curation_assets.upkeep.releases import LATEST, TablesAt, find_release, versions_of
from resources.delta_store import DeltaStore
from resources.errors import InputError, Unknown
from resources.object_store import is_url, refusal
from resources.text import without_login

_VERSIONS = pl.Schema({"version": pl.Int64(), "time": TIMESTAMP, "shard": pl.String(), "run_id": pl.String()})

Version = int | dt.datetime
"""Of a table: its number, or a time of which it was the newest; a time without a zone is UTC."""


class Tables:
    """Every table there is, with the columns of `docs/tables.md`; one that nothing was written to has no rows."""

    def __init__(self, home: str, pinned: Mapping[str, int] | None = None) -> None:
        """`pinned`: the versions of a release. Raises InputError where there are no tables."""
        if is_url(home) and (refused := refusal(home)):
            raise Unknown(f"{without_login(home)}: {refused}")
        self._store = DeltaStore(home)
        self._pinned = pinned
        if pinned is None and not any(self._is_there(table) for table in (SOURCE_FILES, PROMPTS)):
            raise Unknown(f"{home}: there are no tables here; name the home of a run, such as .reelhouse")

    @property
    def names(self) -> list[str]:
        """The tables, in the order in which they are made.

        >>> open_tables(home).names[:4]
        ['source_files', 'raw_videos', 'scenes', 'clips']
        """
        return list(TABLES)

    def scan(
        self, table: str, shards: str | Iterable[str] | None = None, version: Version | None = None
    ) -> pl.LazyFrame:
        """The rows of a table, of one or several shards or of all; only the files of those shards are read.

        >>> scores = open_tables(home).scan("motion_scores")
        >>> scores.group_by("engine").len().collect().rows()
        [('dis', 8)]

        Raises InputError for a table there isn't, and for a version that is gone or never was; of one whose files alone
        are gone, `collect` raises FileNotFoundError.
        """
        schema = _known(table).schema
        handles = {}
        try:
            number = self._number(table, version)
            if number is None:
                handles[table] = self._store.snapshot(table)
                number = int(handles[table].version())
        except TableNotFoundError:
            return pl.LazyFrame(schema=schema)
        wanted = None if shards is None else [shards] if isinstance(shards, str) else list(shards)
        rows = TablesAt(self._store, {table: number}, handles, wanted).scan(table)
        there = rows.collect_schema()  # which of an older version of the program may lack a column
        return rows.select(
            pl.col(name) if name in there else pl.lit(None, dtype).alias(name) for name, dtype in schema.items()
        )

    def columns(self, table: str) -> pl.DataFrame:
        """Name, type and description of each column; two runs may differ in `bookkeeping` ones.

        >>> open_tables(home).columns("motion_scores").row(0)
        ('clip_id', 'String', 'clip', False)
        """
        rows = [
            (name, str(column.dtype), column.description, column.bookkeeping)
            for name, column in _known(table).columns.items()
        ]
        return pl.DataFrame(rows, schema=["name", "type", "description", "bookkeeping"], orient="row")

    def release(self, name: str = LATEST) -> "Tables":
        """The tables as a release pinned them; `name` may be the start of one. `training_set` stays as it is now.

        >>> open_tables(home).release("r0001").scan("training_manifest").collect().height
        7

        Raises InputError where there is no such release.
        """
        return Tables(self._store.root, versions_of(find_release(self._store, name)))

    def versions(self, table: str) -> pl.DataFrame:
        """The versions of a table, newest first: `version`, `time`, and the `shard` and `run_id` of who wrote it.

        >>> open_tables(home).versions("motion_scores").select("version", "shard").rows()
        [(1, 'films-0000'), (0, None)]

        Raises InputError for a table there isn't.
        """
        _known(table)
        try:
            commits = self._store.commits(table)
        except TableNotFoundError:
            commits = []
        rows = [
            (commit["version"], commit["timestamp"] * 1000, commit.get("shard"), commit.get("run_id"))
            for commit in commits  # whose time is in ms
        ]
        return pl.DataFrame(rows, schema=_VERSIONS, orient="row")

    def _number(self, table: str, version: Version | None) -> int | None:
        """None: the newest. Raises TableNotFoundError where the release had no such table yet."""
        if isinstance(version, dt.datetime):
            return self._newest_at(table, version if version.tzinfo else version.replace(tzinfo=dt.UTC))
        if version is not None or self._pinned is None or table == TRAINING_SET.name:
            return version
        if table not in self._pinned:
            raise TableNotFoundError(table)
        return self._pinned[table]

    def _newest_at(self, table: str, time: dt.datetime) -> int:
        versions = self.versions(table)
        as_old = versions.filter(pl.col("time") <= time)
        if as_old.is_empty():
            first = (
                f"its first version is of {_seconds(versions.item(-1, 'time'))}" if versions.height else "it is empty"
            )
            raise InputError(f"{table}: nothing of it is as old as {_seconds(time)}; {first}")
        return int(as_old.item(0, "version"))

    def _is_there(self, table: Table) -> bool:
        try:
            self._store.snapshot(table.name)
        except TableNotFoundError:
            return False
        return True


def _seconds(time: dt.datetime) -> str:
    return time.isoformat(" ", "seconds")


def _known(table: str) -> Table:
    if table in TABLES:
        return TABLES[table]
    close = get_close_matches(table, TABLES, 1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(TABLES)}"
    raise InputError(f"{table}: there is no such table; {hint}")
