"""Dagster's SQLite storage with connections that stay open.

Dagster makes a connection for each statement, and SQLite copies its log of changes back into the database whenever the
last one closes. Here a process keeps an engine a database, which also compiles each statement once: a run of a shard
without work takes half the CPU time. A run's events have a database of their own, which Dagster makes by reading all
its migrations; here it is a copy of an empty one.
"""

import fcntl
import os
import tempfile
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml
from dagster import DagsterInstance, StringSource
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Connection, Engine

PRAGMAS = (
    "PRAGMA wal_autocheckpoint = 100",  # 0.4 MB a database, which nobody closes; SQLite's default is 4 MB
    "PRAGMA synchronous = NORMAL",  # a power cut may take the last events; with FULL a run waits 100 times for the disk
)
OPEN_RUNS = 4  # of whose events a process keeps the database open; each is a file of its own


def instance_in(folder: Path) -> DagsterInstance:
    """The Dagster instance of a folder with a `dagster.yaml`, on this storage unless that names one."""
    named = yaml.safe_load((folder / "dagster.yaml").read_text(encoding="utf-8"))
    is_chosen = not isinstance(named, dict) or any(str(section).endswith("storage") for section in named)
    of_folder = {"module": __name__, "class": LocalStorage.__name__, "config": {"base_dir": str(folder)}}
    over: Any = {} if is_chosen else {"storage": {"custom": of_folder}}
    return DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), overrides=over))


class LocalStorage(DagsterSqliteStorage):
    """Its databases are those of Dagster's own storage, which other processes may use at the same time."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        with _alone(Path(base_dir)):
            super().__init__(base_dir, inst_data)  # makes and upgrades the databases
        self._run_storage = _Runs(self._run_storage._conn_string)
        self._event_log_storage = _EventLog(self._event_log_storage._base_dir)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {"base_dir": StringSource}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "LocalStorage":
        return cls(inst_data=inst_data, **config_value)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time: two that make a database at once leave it with two versions, and nobody can open it."""
    with (folder / "making.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Runs(SqliteRunStorage):
    def __init__(self, conn_string: str) -> None:
        self._engine = _engine(conn_string)
        super().__init__(conn_string)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection

    def dispose(self) -> None:
        self._engine.dispose()


class _EventLog(SqliteEventLogStorage):
    def __init__(self, base_dir: str) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        super().__init__(base_dir)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine_of(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        path = Path(str(engine.url.database))
        if for_index_shard or path.exists() or not self._is_put(path):
            super()._initdb(engine, for_index_shard)

    def _is_put(self, path: Path) -> bool:
        """Whether an empty database lies at `path` now; not where another process was first."""
        written = path.with_suffix(f".{uuid.uuid4().hex}")
        try:
            written.write_bytes(self._empty_database)
            os.link(written, path)
        except OSError:  # also of a file system without links
            return False
        finally:
            written.unlink(missing_ok=True)
        return True

    @cached_property
    def _empty_database(self) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "empty.db")
            engine = _engine(f"sqlite:///{path}")
            super()._initdb(engine)
            engine.dispose()
            return path.read_bytes()

    def _engine_of(self, shard: str) -> Engine:
        """The shard's, and that of the index always among those that are kept."""
        if shard not in self._engines:
            self._engines[shard] = _engine(self.conn_string_for_shard(shard))
        for used in (shard, INDEX_SHARD_NAME):
            if used in self._engines:
                self._engines.move_to_end(used)
        if len(self._engines) > OPEN_RUNS + 1:
            self._engines.popitem(last=False)[1].dispose()
        return self._engines[shard]

    def wipe(self) -> None:
        self._close()
        super().wipe()

    def dispose(self) -> None:
        super().dispose()
        self._close()

    def _close(self) -> None:
        while self._engines:
            self._engines.popitem()[1].dispose()


def _engine(database: str) -> Engine:
    engine = sa.create_engine(database, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
    sa.event.listen(engine, "connect", lambda connection, _: connection.executescript(";".join(PRAGMAS)))
    return engine
