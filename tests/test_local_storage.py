"""A local home's Dagster records: kept by connections that stay open, in databases that Dagster's own storage reads."""

import multiprocessing as mp
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import dagster as dg
import pytest
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage

from curation_assets.orchestration.headless import open_instance
from curation_assets.orchestration.local_storage import OPEN_RUNS, _Runs, instance_in


@dg.asset
def toy() -> None:
    pass


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))  # which stays set after open_instance
    with open_instance(str(tmp_path)) as made:
        yield made


def make_instance(folder: Path, started: Barrier) -> int:
    started.wait()
    with instance_in(folder) as made:
        return len(made.get_runs())


def test_processes_that_make_one_home_s_records_at_once_all_find_them(tmp_path: Path) -> None:
    context, at_once = mp.get_context("spawn"), 3
    homes = [tmp_path / str(number) for number in range(4)]
    with context.Manager() as manager, ProcessPoolExecutor(at_once, context) as pool:
        for home in homes:
            home.mkdir()
            (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
            started = manager.Barrier(at_once)
            made = [pool.submit(make_instance, home, started) for _ in range(at_once)]
            assert [each.result(60) for each in made] == [0] * at_once
            with instance_in(home) as instance:
                assert instance.get_runs() == []


def databases_open(folder: Path) -> set[str]:
    """The files that this process has open, by name."""
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
    targets = (os.readlink(link) for link in links if link.is_symlink())
    return {Path(target).name for target in targets if target.startswith(str(folder)) and target.endswith(".db")}


def test_a_home_has_it_and_dagster_s_own_storage_goes_on_with_its_records(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run = dg.materialize([toy], instance=instance)
    own = dg.DagsterInstance.from_config(str(tmp_path))
    assert (type(own.run_storage), type(instance.run_storage)) == (SqliteRunStorage, _Runs)
    assert [record.run_id for record in own.get_runs()] == [run.run_id]
    events = [event.dagster_event_type for event in own.all_logs(run.run_id)]
    assert events == [event.dagster_event_type for event in instance.all_logs(run.run_id)]
    assert dg.DagsterEventType.ASSET_MATERIALIZATION in events


def test_a_run_s_database_is_as_dagster_makes_it(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    mine = dg.materialize([toy], instance=instance).run_id
    with dg.DagsterInstance.from_config(str(tmp_path)) as own:
        theirs = dg.materialize([toy], instance=own).run_id

    def described(run: str) -> list[list[tuple[str, ...]]]:
        asked = "SELECT name, sql FROM sqlite_master ORDER BY 1", "SELECT * FROM alembic_version", "PRAGMA journal_mode"
        (path,) = tmp_path.rglob(f"{run}.db")
        with closing(sqlite3.connect(path)) as database:
            return [database.execute(question).fetchall() for question in asked]

    assert described(mine) == described(theirs)
    assert {path.suffix for path in tmp_path.rglob(f"{mine}.*")} <= {".db", ".db-wal", ".db-shm"}


def test_the_databases_of_a_few_runs_stay_open(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    runs = [dg.materialize([toy], instance=instance).run_id for _ in range(OPEN_RUNS + 2)]
    assert databases_open(tmp_path) == {"runs.db", "index.db", *(f"{run}.db" for run in runs[-OPEN_RUNS:])}
    assert all(instance.all_logs(run) for run in runs)


def test_nothing_stays_open_after_it(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    dg.materialize([toy], instance=instance)
    instance.dispose()
    assert not databases_open(tmp_path)


def test_what_is_wiped_is_gone(instance: dg.DagsterInstance) -> None:
    run = dg.materialize([toy], instance=instance)
    instance.wipe()
    assert not instance.get_runs()
    assert not instance.all_logs(run.run_id)
    assert dg.materialize([toy], instance=instance).success


def test_a_storage_that_somebody_chose_is_left(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("storage: {sqlite: {base_dir: " + str(tmp_path / "elsewhere") + "}}")
    with instance_in(tmp_path) as chosen:
        assert type(chosen.run_storage) is SqliteRunStorage
    assert (tmp_path / "elsewhere" / "history" / "runs.db").exists()
