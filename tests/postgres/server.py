"""Debian's PostgreSQL as a server of the tests' own: on a free port of 127.0.0.1, behind a password."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGINT
from typing import Any

import psycopg2
import yaml

from resources import process_group
from tests.kubernetes import chart
from tests.processes import wait_until
from tests.ui.webserver import free_port

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
USER = "reelhouse"
PASSWORD = "s3cret/of the:tests%41?'&"  # what has a meaning in URLs, YAML and SQL
PASSWORD_VARIABLE = "DAGSTER_PG_PASSWORD"  # as the Dagster chart names it
GRACE_S = 5.0
LAUNCHER = {"module": "curation_assets.run_launcher", "class": "LocalRunLauncher"}
STORAGES = {  # section of dagster.yaml -> module and class
    "run_storage": ("run_storage", "PostgresRunStorage"),
    "event_log_storage": ("event_log", "PostgresEventLogStorage"),
    "schedule_storage": ("schedule_storage", "PostgresScheduleStorage"),
}


@dataclass
class Postgres:
    """A cluster in `folder`. Its commits survive it, not the machine: nothing is synced to the disk."""

    folder: Path
    port: int = field(default_factory=free_port)
    _watcher: "subprocess.Popen[bytes] | None" = None

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def start(self) -> None:
        """Returns when it takes connections."""
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off"}
        command = [PROGRAMS / "postgres", "-D", self.folder / "data"]
        command += [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._watcher = process_group.start(
                [*_as_its_user(), *map(str, command)], GRACE_S, stdout=log, stderr=log, cwd=self.folder
            )
        wait_until(self._answers, "PostgreSQL answers")

    def _answers(self) -> bool:
        assert self._watcher is not None
        assert self._watcher.poll() is None, self.log.read_text()
        with suppress(psycopg2.OperationalError):
            self.connect("postgres").close()
            return True
        return False

    def stop(self) -> None:
        """Hangs up on everybody, as where the server is restarted; it and its processes are gone on return."""
        assert self._watcher is not None
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]), SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self._watcher.wait(GRACE_S)
        process_group.stop(self._watcher, GRACE_S)

    def restart(self) -> None:
        self.stop()
        self.start()

    def connect(self, database: str) -> Any:
        return psycopg2.connect(host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database)

    def ask(self, query: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """The rows of a query, or none of a command."""
        with closing(self.connect(database)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(query)
                return list(cursor.fetchall()) if cursor.description else []

    def dump(self, database: str) -> str:
        """Every table's rows as SQL, read as text."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER, database]
        with_password = {**os.environ, "PGPASSWORD": PASSWORD}
        done = subprocess.run([PROGRAMS / "pg_dump", *where], env=with_password, capture_output=True, check=True)
        return done.stdout.decode()

    def dagster_yaml(self, database: str, **others: Any) -> str:
        """An instance with its records here, as the chart makes it of our values: but for TLS, and for pods."""
        values = chart.values()
        config = {
            "hostname": "127.0.0.1",
            "port": self.port,
            "db_name": database,
            "username": USER,
            "password": {"env": PASSWORD_VARIABLE},
            "params": {**values["postgresql"]["postgresqlParams"], "sslmode": "disable"},
            "scheme": values["postgresql"]["postgresqlScheme"],
        }
        storages = {
            section: {"module": f"dagster_postgres.{module}", "class": name, "config": {"postgres_db": config}}
            for section, (module, name) in STORAGES.items()
        }
        settings = chart.instance_settings(values)
        settings["run_monitoring"]["max_resume_run_attempts"] = 0  # which takes a launcher of pods
        return yaml.safe_dump({**settings, **storages, "run_launcher": LAUNCHER, **others})


@contextmanager
def postgres() -> Iterator[Postgres]:
    """An empty server, gone with its files at the end; its processes also when this one is killed."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # not pytest's, which other users can't enter
    password = folder / "password"
    password.write_text(PASSWORD)
    if _as_its_user():
        for path in (folder, password):
            shutil.chown(path, "postgres", "postgres")
    access = ["-U", USER, "--pwfile", str(password), "-A", "md5"]  # SCRAM takes 2 ms more a connection
    made = ["-D", str(folder / "data"), *access, "--no-sync", "--encoding", "UTF8", "--no-locale"]
    try:
        subprocess.run([*_as_its_user(), PROGRAMS / "initdb", *made], cwd=folder, stdout=subprocess.DEVNULL, check=True)
        password.unlink()
        server = Postgres(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _as_its_user() -> list[str]:
    """The server refuses to be root's."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
