"""Homes of other versions: older ones are brought up to date and lose nothing, newer ones are refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from curation_assets.home import FORMAT, MARKER, open_home
from curation_assets.settings import SettingsError
from curation_assets.tables import FRAMES, MOTION_SCORES, TRAINING_SET
from resources.delta_store import PROPERTIES, Conflict, DeltaStore
from tests import toy_stages as toy

LACKS = {"frames": ["frames_sha256", "frames_size_bytes"], "motion_scores": ["pair_frames"]}


def schema_before(name: str, schema: pl.Schema) -> pl.Schema:
    return pl.Schema({column: dtype for column, dtype in schema.items() if column not in LACKS[name]})


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A home without a marker, two of whose tables were made before they got some of their columns."""
    new, place = toy.Home(tmp_path / "new"), tmp_path / "old"
    toy.put(new.store, toy.some_videos(3))
    new.refresh(new.computer(toy.frames(file=None), toy.motion()))
    new.folder.rename(place)
    store = DeltaStore(str(place))
    for table in (FRAMES, MOTION_SCORES):
        rows = store.scan(store.snapshot(table.name)).collect()
        (place / "tables" / table.name).rename(place / f"{table.name} of the newer version")
        schema = schema_before(table.name, table.schema)
        store.replace(store.open(table.name, schema), rows.select(list(schema)), toy.SHARD, {})
    return place


def lacking(home: Path) -> dict[str, list[str]]:
    store = DeltaStore(str(home))
    found = {}
    for table in (FRAMES, MOTION_SCORES):
        there = {field.name for field in store.snapshot(table.name).schema().fields}
        found[table.name] = sorted(set(table.schema) - there)
    return found


def rows_of(home: Path) -> dict[str, pl.DataFrame]:
    store = DeltaStore(str(home))
    return {
        table.name: store.scan(store.snapshot(table.name))
        .select(list(schema_before(table.name, table.schema)))
        .collect()
        for table in (FRAMES, MOTION_SCORES)
    }


def test_an_older_home_gets_the_columns_it_lacks_and_keeps_its_rows(old: Path) -> None:
    before = rows_of(old)
    assert lacking(old) == LACKS

    home = open_home(str(old))

    assert lacking(old) == {"frames": [], "motion_scores": []}
    assert all(rows.equals(before[name]) for name, rows in rows_of(old).items())
    assert home.store.read(home.store.snapshot("motion_scores"), ["pair_frames"]).null_count().item() == 3
    assert json.loads((old / MARKER).read_text())["format"] == FORMAT


def test_tables_of_an_older_home_are_kept_as_new_ones(old: Path) -> None:
    DeltaStore(str(old)).snapshot("frames").alter.set_table_properties({"delta.checkpointInterval": "100"})
    (old / MARKER).write_text(json.dumps({"format": FORMAT, "columns": "those of then"}))

    home = open_home(str(old))

    assert PROPERTIES.items() <= home.store.snapshot("frames").metadata().configuration.items()


def test_a_refresh_of_an_older_home_computes_nothing_again(old: Path) -> None:
    open_home(str(old))
    home = toy.Home(old)

    reports = home.refresh(home.computer(toy.frames(file=None), toy.motion()))

    assert [(report.computed, report.reused) for report in reports] == [(0, 3), (0, 3)]


def test_an_upgrade_that_was_interrupted_goes_on(old: Path) -> None:
    DeltaStore(str(old)).upgrade("frames", FRAMES.schema)
    assert lacking(old) == {"frames": [], "motion_scores": LACKS["motion_scores"]}

    open_home(str(old))

    assert lacking(old) == {"frames": [], "motion_scores": []}


def test_several_processes_may_open_an_older_home_at_once(old: Path) -> None:
    code = "import sys; from curation_assets.home import open_home; sys.stdin.read(1); open_home(sys.argv[1])"
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(old)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"x")
        process.stdin.flush()

    assert [process.communicate()[1] for process in processes] == [b""] * 4
    assert [process.returncode for process in processes] == [0] * 4
    assert lacking(old) == {"frames": [], "motion_scores": []}


def test_a_writer_that_opened_the_table_before_writes_again(old: Path) -> None:
    store = DeltaStore(str(old))
    handle = store.snapshot("frames")
    rows = store.scan(handle).collect()

    open_home(str(old))

    with pytest.raises(Conflict):
        store.replace(handle, rows, toy.SHARD, {})


def test_a_home_that_is_up_to_date_is_not_written_to(old: Path) -> None:
    open_home(str(old))
    code = "import sys; from curation_assets.home import open_home; open_home(sys.argv[1])"
    before = {path: path.stat().st_mtime_ns for path in old.rglob("*")}

    subprocess.run([sys.executable, "-c", code, str(old)], check=True)

    assert {path: path.stat().st_mtime_ns for path in old.rglob("*")} == before


def test_opening_a_home_that_does_not_exist_makes_nothing(tmp_path: Path) -> None:
    open_home(str(tmp_path / "home"))

    assert os.listdir(tmp_path) == []


def test_a_home_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / MARKER).write_text(json.dumps({"format": FORMAT + 1, "columns": "?"}))

    with pytest.raises(SettingsError, match=f"format {FORMAT + 1}, .* formats up to {FORMAT}; update Reelhouse"):
        open_home(str(tmp_path))


def test_a_table_with_unknown_columns_is_refused_since_its_rows_would_lose_them(tmp_path: Path) -> None:
    store = DeltaStore(str(tmp_path))
    store.open(TRAINING_SET.name, pl.Schema({**TRAINING_SET.schema, "licence": pl.String}))

    with pytest.raises(SettingsError, match=r"training_set has columns .*\['licence'\].* another version of Reelhouse"):
        open_home(str(tmp_path))
    assert not (tmp_path / MARKER).exists()


def test_a_column_of_another_type_is_refused(tmp_path: Path) -> None:
    store = DeltaStore(str(tmp_path))
    store.open(TRAINING_SET.name, pl.Schema({**TRAINING_SET.schema, "samples": pl.String}))

    with pytest.raises(SettingsError, match="column samples of table training_set"):
        open_home(str(tmp_path))
