"""`maintain` and homes of older versions on an object store."""

import datetime as dt

import polars as pl

from curation_assets.home import MARKER, open_home
from curation_assets.settings import Maintenance
from curation_assets.tables import FRAMES, TRAINING_SET
from curation_assets.upkeep.maintenance import maintain
from resources.delta_store import DeltaStore
from resources.files import Files

AT_ONCE = Maintenance(unreferenced_grace_hours=0, vanished_grace_days=0, version_retention_days=0)


def put(store: DeltaStore, path: str, size: int) -> int:
    row = {"clip_id": "v0-0-1", "frames_path": path, "frames_size_bytes": size, "shard": "films-0000"}
    rows = pl.DataFrame([{**dict.fromkeys(FRAMES.schema), **row}], schema=FRAMES.schema)
    return store.replace(store.open("frames", FRAMES.schema), rows, "films-0000", {})


def pin(store: DeltaStore, version: int) -> None:
    row = {
        "release": "r0001",
        "table_versions": [{"table": "frames", "version": version}],
        "exports": [],
        "shard": "all",
    }
    rows = pl.DataFrame([{**dict.fromkeys(TRAINING_SET.schema), **row}], schema=TRAINING_SET.schema)
    store.replace(store.open("training_set", TRAINING_SET.schema), rows, "all", {})


def test_it_deletes_what_nothing_names_and_keeps_what_a_release_pins(bucket: str) -> None:
    store, files = DeltaStore(bucket), Files(bucket)
    for name in ("pinned", "replaced", "current", "never_named"):
        files.write(f"frames/films-0000/{name}.zip", name.encode())
    versions = [put(store, f"frames/films-0000/{name}.zip", 1) for name in ("pinned", "replaced", "current")]
    pin(store, versions[0])
    pinned = store.scan(store.snapshot("frames", versions[0])).collect()

    report = maintain(store, files, AT_ONCE, dt.datetime.now(dt.UTC))

    assert report.deleted == {"frames": 2, "table files": 1}
    assert files.listing("frames/films-0000") == ["frames/films-0000/current.zip", "frames/films-0000/pinned.zip"]
    assert store.scan(store.snapshot("frames", versions[0])).collect().equals(pinned)
    assert maintain(store, files, AT_ONCE, dt.datetime.now(dt.UTC)).deleted == {}


def test_an_older_home_gets_the_columns_it_lacks(bucket: str) -> None:
    older = pl.Schema({name: dtype for name, dtype in FRAMES.schema.items() if name != "frames_sha256"})
    DeltaStore(bucket).open("frames", older)

    home = open_home(bucket)

    assert {field.name for field in home.store.snapshot("frames").schema().fields} == set(FRAMES.schema)
    assert home.files.size(MARKER)
