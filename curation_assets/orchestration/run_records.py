"""What Dagster's records quote: in SQLite's files, or in the tables of a database server."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sql
from dagster._core.storage.event_log import SqlEventLogStorage, SqlEventLogStorageTable
from dagster._core.storage.runs import SqlRunStorage
from dagster_shared.serdes import serialize_value

SQLITE = "sqlite"


def runs_quoting(instance: dg.DagsterInstance, needles: Sequence[bytes]) -> tuple[list[str], list[str]]:
    """Ended runs whose records quote any of `needles`, texts as JSON has them; and those under way, which may."""
    ended, under_way = [], []
    runs = instance.get_runs()
    by_events = _runs_by_events(instance, runs, needles)
    for run in runs:
        text = json.dumps(dict(run.run_config), default=str) + json.dumps(dict(run.tags))
        if not run.is_finished:
            under_way.append(run.run_id)
        elif run.run_id in by_events or any(needle in text.encode() for needle in needles):
            ended.append(run.run_id)
    return ended, under_way


def still_quoting(instance: dg.DagsterInstance, needles: Sequence[bytes]) -> list[str]:
    """Says of each place that quotes any of `needles` which it is. SQLite is made to let go of deleted rows first."""
    if not instance.is_persistent:
        return []
    files = (path for path in sorted(Path(instance.root_directory).rglob("*")) if path.is_file())
    places = [f"Dagster's records in {path}" for path in files if _file_quotes(path, needles)]
    places += [f"Dagster's table {table}" for table in _tables_quoting(instance, needles)]
    return [f"{place} still quote it" for place in places]


def _runs_by_events(instance: dg.DagsterInstance, runs: Sequence[dg.DagsterRun], needles: Sequence[bytes]) -> set[str]:
    """A database server searches itself: to read the events of thousands of runs takes an hour."""
    assert isinstance(instance.event_log_storage, SqlEventLogStorage)
    with instance.event_log_storage.index_connection() as connection:
        if connection.dialect.name != SQLITE:
            logged = SqlEventLogStorageTable.columns
            quoting = sql.select(logged.run_id).distinct().where(_any_contains([logged.event], needles))
            return set(connection.execute(quoting).scalars())
    return {
        run.run_id
        for run in runs
        for event in map(serialize_value, instance.all_logs(run.run_id))
        if any(needle in event.encode() for needle in needles)
    }


def _tables_quoting(instance: dg.DagsterInstance, needles: Sequence[bytes]) -> list[str]:
    """Those of a database server; none of SQLite's, whose files are looked through.

    Dagster's storages are taken to share a database, as its chart has them.
    """
    assert isinstance(instance.run_storage, SqlRunStorage)
    with instance.run_storage.connect() as connection:
        names = [] if connection.dialect.name == SQLITE else sql.inspect(connection).get_table_names()
        tables = [sql.Table(name, sql.MetaData(), autoload_with=connection) for name in names]
        return [t.name for t in tables if connection.execute(_quoting_row(t, needles)).first()]


def _quoting_row(table: sql.Table, needles: Sequence[bytes]) -> "sql.Select[Any]":
    texts = [column for column in table.columns if isinstance(column.type, sql.String)]
    return sql.select(sql.literal(1)).select_from(table).where(_any_contains(texts, needles)).limit(1)


def _any_contains(columns: Iterable["sql.ColumnElement[str]"], needles: Sequence[bytes]) -> "sql.ColumnElement[bool]":
    found = (column.contains(needle.decode(), autoescape=True) for column in columns for needle in needles)
    return sql.or_(sql.false(), *found)


def _file_quotes(path: Path, needles: Sequence[bytes]) -> bool:
    if _contains(path, needles) and path.suffix in (".db", ".db-wal"):
        with suppress(sqlite3.Error), closing(sqlite3.connect(path.with_suffix(".db"), timeout=30)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            database.execute("VACUUM")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.exists() and _contains(path, needles)


def _contains(path: Path, needles: Sequence[bytes]) -> bool:
    data = path.read_bytes()
    return any(needle in data for needle in needles)
