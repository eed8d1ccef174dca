"""`open_tables`: what a researcher reads with polars, and that reading leaves the home as it was."""

import datetime as dt
import doctest
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import curation_assets
from curation_assets import open_tables
from curation_assets.inspection import querying
from curation_assets.tables import MOTION_SCORES, TABLES
from resources.delta_store import DeltaStore
from resources.errors import InputError
from tests.pipeline.jobs import SHARD, Job

NAME, SCHEMA = MOTION_SCORES.name, MOTION_SCORES.schema


def put(home: Path, shard: str, clips: int, schema: pl.Schema = SCHEMA) -> None:
    store = DeltaStore(str(home))
    rows = pl.DataFrame({"clip_id": [f"{shard}-{n}" for n in range(clips)], "shard": shard})
    empty = {name: pl.lit(None, dtype) for name, dtype in schema.items() if name not in rows.columns}
    store.replace(store.open(NAME, schema), rows.with_columns(**empty).select(schema.names()), shard, {"shard": shard})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With three shards of one table; beside it the one that tells a home."""
    DeltaStore(str(tmp_path)).open("source_files", TABLES["source_files"].schema)
    for number, shard in enumerate(("a", "b", "c"), start=1):
        put(tmp_path, shard, number)
    return tmp_path


def files(home: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in home.rglob("*")}


def clips(rows: pl.LazyFrame) -> list[str]:
    return sorted(rows.select("clip_id").collect()["clip_id"])


def test_every_table_is_read_whole_and_nothing_is_written(job: Job) -> None:
    before = files(job.home)
    tables = open_tables(job.home)
    there = job.versions()
    for name in tables.names:
        rows = tables.scan(name).collect()
        assert rows.schema == TABLES[name].schema
        expected = job.table(name) if name in there else TABLES[name].schema.to_frame()
        assert rows.sort(*TABLES[name].key, nulls_last=True).equals(expected)
    tables.release("latest").scan(NAME).collect()
    assert files(job.home) == before


def test_the_examples_in_docstrings_are_true(job: Job) -> None:
    names = {"open_tables": open_tables, "home": job.home}
    for module in (curation_assets, querying):
        result = doctest.testmod(module, globs=dict(names))
        assert result.attempted
        assert not result.failed


def test_importing_it_imports_neither_dagster_nor_models(home: Path) -> None:
    code = f"""
import json, sys
from curation_assets import open_tables
imported = set(sys.modules)
open_tables({str(home)!r}).scan({NAME!r}).collect()
print(json.dumps([sorted(imported), sorted(sys.modules)]))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    at_import, when_used = map(set, json.loads(ran.stdout))
    assert not at_import & {"polars", "deltalake", "pydantic", "dagster"}
    assert not when_used & {"dagster", "torch", "cv2", "av", "pydantic", "transformers"}


def test_only_the_files_of_the_shards_asked_for_are_read(home: Path) -> None:
    for file in (home / "tables" / NAME).glob("shard=b/*.parquet"):
        file.unlink()
    tables = open_tables(home)
    assert clips(tables.scan(NAME, shards="a")) == ["a-0"]
    assert clips(tables.scan(NAME, shards=["a", "c"])) == ["a-0", "c-0", "c-1", "c-2"]
    assert clips(tables.scan(NAME, shards="unknown")) == []
    with pytest.raises(FileNotFoundError):
        clips(tables.scan(NAME))


def test_a_version_is_named_by_its_number_or_a_time(home: Path) -> None:
    tables = open_tables(home)
    versions = tables.versions(NAME)
    assert versions.select("version", "shard").rows() == [(3, "c"), (2, "b"), (1, "a"), (0, None)]
    for version, time, _, _ in versions.rows():
        expected = sum(range(version + 1))
        assert len(clips(tables.scan(NAME, version=version))) == expected
        assert len(clips(tables.scan(NAME, version=time))) == expected
        assert len(clips(tables.scan(NAME, version=time.replace(tzinfo=None)))) == expected


def test_a_scan_shows_one_version_while_others_write(home: Path) -> None:
    rows = open_tables(home).scan(NAME, shards="a")
    put(home, "a", 5)
    assert len(clips(rows)) == 1
    assert len(clips(open_tables(home).scan(NAME, shards="a"))) == 5


def test_a_release_shows_what_it_was_made_from(job: Job) -> None:
    tables = open_tables(job.home)
    then = tables.release()
    before = tables.scan(NAME).collect()
    job.store.change(NAME, SCHEMA, SHARD, lambda rows: rows.clear(), {})
    assert tables.scan(NAME).collect().is_empty()
    assert then.scan(NAME).collect().equals(before)
    assert then.scan(NAME, shards=SHARD, version=0).collect().is_empty()
    assert then.scan("prompts").collect().is_empty()
    assert then.scan("training_set").collect().height == 1


def test_a_column_that_an_older_program_did_not_write_is_null(tmp_path: Path) -> None:
    DeltaStore(str(tmp_path)).open("source_files", TABLES["source_files"].schema)
    put(tmp_path, "a", 2, pl.Schema({name: dtype for name, dtype in SCHEMA.items() if name != "motion_p90"}))
    rows = open_tables(tmp_path).scan(NAME).collect()
    assert rows.schema == SCHEMA
    assert rows["motion_p90"].to_list() == [None, None]


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (
            lambda tables: tables.scan("motion_score"),
            "motion_score: there is no such table; did you mean motion_scores?",
        ),
        (lambda tables: tables.columns("xyzzy"), "there is no such table; there are source_files, raw_videos"),
        (lambda tables: tables.versions("clip"), "did you mean clips?"),
        (lambda tables: tables.scan(NAME, version=9), "version 9 of motion_scores can't be read"),
        (lambda tables: tables.scan(NAME, version=dt.datetime(2000, 1, 1)), "its first version is of 20"),
        (lambda tables: tables.release("r0009"), "there is no release yet"),
        (
            lambda tables: open_tables("s3://user:key@bucket/home"),
            "s3://bucket/home: a user or password in a URL; credentials belong into AWS_ACCESS_KEY_ID",
        ),
        (lambda tables: open_tables("no/such/home"), "no/such/home: there are no tables here; name the home of a run"),
    ],
)
def test_what_there_is_not_is_said_in_one_sentence(home: Path, asked: Any, answer: str) -> None:
    with pytest.raises(InputError) as raised:
        asked(open_tables(home))
    assert answer in str(raised.value)
