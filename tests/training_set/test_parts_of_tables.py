"""What looks at all shards holds some at a time, however many rows each has."""

from pathlib import Path

import polars as pl
import pytest

from curation_assets.tables import CLIPS, SCENES, Table
from curation_assets.upkeep import releases
from curation_assets.upkeep.releases import tables_now
from resources.delta_store import DeltaStore


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    made = DeltaStore(str(tmp_path))
    for shard, rows in {"a": 2, "b": 2, "c": 5, "d": 0, "e": 1}.items():
        put(made, SCENES, shard, rows)
    put(made, CLIPS, "e", 3)
    return made


def put(store: DeltaStore, table: Table, shard: str, rows: int) -> None:
    made = pl.DataFrame({"shard": [shard] * rows}, schema={"shard": pl.String})
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in table.schema.items() if name != "shard"]
    store.replace(
        store.open(table.name, table.schema), made.with_columns(missing).select(list(table.schema)), shard, {}
    )


@pytest.mark.parametrize(
    ("rows_at_once", "parts"),
    [(4, [["a", "b"], ["c"], ["e"]]), (8, [["a", "b"], ["c", "e"]]), (1, [["a"], ["b"], ["c"], ["e"]])],
)
def test_a_part_has_at_most_so_many_rows_of_its_largest_table_or_is_one_shard(
    store: DeltaStore, monkeypatch: pytest.MonkeyPatch, rows_at_once: int, parts: list[list[str]]
) -> None:
    monkeypatch.setattr(releases, "ROWS_AT_ONCE", rows_at_once)

    assert [part.shards for part in tables_now(store).in_parts()] == parts


def test_a_home_without_rows_has_no_parts(tmp_path: Path) -> None:
    assert list(tables_now(DeltaStore(str(tmp_path))).in_parts()) == []
