"""The tables' promises to writers: nothing outside a shard changes, and nobody's rows are lost."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from resources.delta_store import PARTITION, Conflict, DeltaStore

TABLE = "scores"
SCHEMA = pl.Schema(
    {"clip_id": pl.String(), "score": pl.Float64(), "pairs": pl.List(pl.Float64()), "shard": pl.String()}
)


@pytest.fixture
def store(tmp_path: Path) -> DeltaStore:
    return DeltaStore(str(tmp_path))


def rows(shard: str, *clips: str, score: float = 0.5) -> pl.DataFrame:
    made = [{"clip_id": clip, "score": score, "pairs": [score, 1.0], "shard": shard} for clip in clips]
    return pl.DataFrame(made, schema=SCHEMA, orient="row")


def opened(store: DeltaStore, table: str = TABLE) -> DeltaTable:
    return store.open(table, SCHEMA)


def put(store: DeltaStore, shard: str, *clips: str, score: float = 0.5) -> int:
    return store.replace(opened(store), rows(shard, *clips, score=score), shard, {})


def contents(store: DeltaStore, table: str = TABLE) -> set[tuple[str, str]]:
    found = store.read(opened(store, table), ["shard", "clip_id"]).rows()
    assert len(found) == len(set(found)), "a row stands in the table twice"
    return set(found)


def test_replacing_some_shards_keeps_the_others(store: DeltaStore) -> None:
    for shard in "abcd":
        put(store, shard, f"{shard}1", f"{shard}2")

    put(store, "b", "b3")
    put(store, "c", "c1", score=0.9)

    assert contents(store) == {("a", "a1"), ("a", "a2"), ("b", "b3"), ("c", "c1"), ("d", "d1"), ("d", "d2")}
    assert store.read(opened(store), list(SCHEMA), "c").rows() == [("c1", 0.9, [0.9, 1.0], "c")]


def test_an_empty_frame_clears_its_shard_alone(store: DeltaStore) -> None:
    put(store, "a", "a1")
    put(store, "b", "b1")

    put(store, "a")

    assert contents(store) == {("b", "b1")}


WRITER = """
import sys
import polars as pl
from resources.delta_store import DeltaStore
from tests.resources.test_delta_store import opened, rows
store, shard, *tables = DeltaStore(sys.argv[1]), *sys.argv[2:]
print("ready", flush=True)
sys.stdin.readline()
for table in tables:
    store.replace(opened(store, table), rows(shard, shard + "1", shard + "2"), shard, {"run_id": shard})
"""


def test_processes_that_create_the_table_together_all_keep_their_rows(store: DeltaStore) -> None:
    shards = [f"shard-{number}" for number in range(6)]
    tables = [f"scores-{number}" for number in range(5)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, store.root, shard, *tables],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        for shard in shards
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0

    for table in tables:
        assert contents(store, table) == {(shard, shard + clip) for shard in shards for clip in "12"}
        assert opened(store, table).version() == len(shards)


def test_a_stale_handle_cannot_overwrite_what_another_writer_put_into_the_shard(store: DeltaStore) -> None:
    put(store, "a", "old")
    stale = opened(store)
    put(store, "a", "new")

    with pytest.raises(Conflict):
        store.replace(stale, rows("a", "mine"), "a", {})

    assert contents(store) == {("a", "new")}


def test_two_first_writes_of_a_shard_conflict(store: DeltaStore) -> None:
    stale = opened(store)
    put(store, "a", "first")

    with pytest.raises(Conflict):
        store.replace(stale, rows("a", "second"), "a", {})

    assert contents(store) == {("a", "first")}


def test_a_shard_cleared_meanwhile_conflicts(store: DeltaStore) -> None:
    put(store, "a", "a1")
    stale = opened(store)
    put(store, "a")

    with pytest.raises(Conflict):
        store.replace(stale, rows("a", "a2"), "a", {})

    assert contents(store) == set()


def test_a_stale_handle_is_no_hindrance_in_another_shard(store: DeltaStore) -> None:
    put(store, "a", "a1")
    stale = opened(store)
    put(store, "a", "a2")

    assert store.replace(stale, rows("b", "b1"), "b", {}) == 3

    assert contents(store) == {("a", "a2"), ("b", "b1")}


@pytest.mark.parametrize("filled", [False, True], ids=["empty table", "filled table"])
@pytest.mark.parametrize("other", [["a", "b"], "a", "b"], ids=["several shards", "same shard", "another shard"])
def test_replacing_several_shards_conflicts_with_any_other_change(
    store: DeltaStore, filled: bool, other: str | list[str]
) -> None:
    if filled:
        put(store, "a", "a1")
    stale = opened(store)
    store.replace(opened(store), rows(other[0], "theirs"), other, {})
    before = contents(store)

    with pytest.raises(Conflict):
        store.replace(stale, rows("a", "mine"), ["a"], {})

    assert contents(store) == before


def test_replacing_several_shards_is_one_commit_and_keeps_the_others(store: DeltaStore) -> None:
    for shard in "abd":
        put(store, shard, f"{shard}1")

    version = store.replace(opened(store), pl.concat([rows("b", "b2"), rows("c", "c1")]), ["a", "b", "c"], {})

    assert version == 4
    assert contents(store) == {("b", "b2"), ("c", "c1"), ("d", "d1")}


def test_the_log_which_every_opening_reads_holds_no_values_of_rows(store: DeltaStore, tmp_path: Path) -> None:
    for number in range(11):
        put(store, "a", f"clip-{number}")

    log = tmp_path / "tables" / TABLE / "_delta_log"
    (checkpoint,) = log.glob("*.checkpoint.parquet")
    assert "num_records" in opened(store).get_add_actions().column_names
    assert not [path for path in log.glob("*.json") if "clip-" in path.read_text()]
    assert "clip-" not in str(pl.read_parquet(checkpoint).to_dicts())


ODD = [
    "o'k",
    "a''b",
    'say "x"',
    "a b",
    "a/b",
    "k=v",
    "50%",
    "%27",
    "Zürich",
    "日本",
    "a\\b",
    "; drop",
    "' OR '1'='1",
    "é\t",
]


def test_any_shard_name_is_only_a_name(store: DeltaStore) -> None:
    for shard in ODD:
        put(store, shard, "x", "y")
    for shard in ODD:
        put(store, shard, "x")

    assert contents(store) == {(shard, "x") for shard in ODD}
    assert [store.read(opened(store), ["shard"], shard).height for shard in ODD] == [1] * len(ODD)


def test_rows_of_another_shard_are_refused(store: DeltaStore) -> None:
    put(store, "a", "a1")

    with pytest.raises(ValueError, match="rows of another shard in a write of 'a'"):
        store.replace(opened(store), pl.concat([rows("a", "a2"), rows("b", "b1")]), "a", {})

    assert contents(store) == {("a", "a1")}


def test_every_version_can_be_read_again(store: DeltaStore) -> None:
    first = put(store, "a", "a1", "a2")
    second = put(store, "a", "a3")
    third = put(store, "b", "b1")

    def clips_at(version: int) -> set[str]:
        return set(store.read(store.snapshot(TABLE, version), ["clip_id"]).get_column("clip_id"))

    assert [clips_at(version) for version in (first, second, third)] == [{"a1", "a2"}, {"a3"}, {"a3", "b1"}]


def test_a_handle_reads_the_version_it_was_opened_at(store: DeltaStore) -> None:
    put(store, "a", "old")
    handle = opened(store)
    put(store, "a", "new")

    assert store.read(handle, ["clip_id"], "a").rows() == [("old",)]


def test_reads_of_a_handle_give_rows_in_one_order_whatever_the_columns(store: DeltaStore) -> None:
    """A refresh reads a shard's other columns later than its keys."""
    put(store, "b", "b1")
    for number in range(6):
        clips = rows("a", *(f"{number}-{place:04d}" for place in range(3000))).with_columns(
            score=pl.int_range(3000).cast(pl.Float64)
        )
        write_deltalake(opened(store), clips, mode="append")
    handle = opened(store)
    whole = store.read(handle, list(SCHEMA), "a")
    assert len([path for path in handle.file_uris() if f"{PARTITION}=a" in path]) == 6

    for columns in (["clip_id"], ["pairs", "score"], ["score"], ["clip_id", "shard"]):
        assert store.read(handle, columns, "a").equals(whole.select(columns))


def test_a_commit_names_the_run_that_made_it(store: DeltaStore) -> None:
    store.replace(opened(store), rows("a", "a1"), "a", {"run_id": "run-7"})

    assert opened(store).history(1)[0]["run_id"] == "run-7"


def test_a_home_that_cannot_be_made_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(OSError, match=r"table scores can't be created: .*file/tables/scores.*Not a directory"):
        opened(DeltaStore(str(tmp_path / "file")))


def test_a_change_is_made_again_on_the_rows_that_another_writer_left(store: DeltaStore) -> None:
    schema = pl.Schema({"name": pl.String, "shard": pl.String})

    def rows(*names: str) -> pl.DataFrame:
        return pl.DataFrame({"name": names, "shard": ["s"] * len(names)}, schema=schema)

    store.replace(store.open("names", schema), rows("a"), "s", {})
    seen: list[int] = []

    def add_one(before: pl.DataFrame) -> pl.DataFrame:
        if not seen:
            store.replace(store.open("names", schema), pl.concat([before, rows("other")]), "s", {})
        seen.append(before.height)
        return pl.concat([before, rows("mine")])

    done = store.change("names", schema, "s", add_one, {})

    assert seen == [1, 2]
    assert sorted(store.read(store.snapshot("names"), ["name"], "s")["name"]) == ["a", "mine", "other"]
    assert store.change("names", schema, "s", lambda before: before, {}).version == done.version
