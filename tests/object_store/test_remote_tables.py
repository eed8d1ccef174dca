"""Tables on an object store: commits are conditional requests, so that no writer overwrites another's."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import polars as pl
import pytest

from curation_assets import open_tables
from curation_assets.tables import SOURCE_FILES
from resources.delta_store import Conflict, DeltaStore
from resources.errors import InputError, TransientError
from tests.object_store.faulty_proxy import Fault, Proxy
from tests.object_store.store import ObjectStore

SCHEMA = pl.Schema({"clip_id": pl.String, "shard": pl.String})
TABLE = "clips"


def rows(shard: str, *clips: str) -> pl.DataFrame:
    return pl.DataFrame({"clip_id": clips, "shard": [shard] * len(clips)}, schema=SCHEMA)


def clips(store: DeltaStore) -> list[str]:
    return sorted(store.read(store.snapshot(TABLE), ["clip_id"]).get_column("clip_id"))


def test_every_commit_asks_that_its_version_is_not_there(bucket: str, proxy: Proxy) -> None:
    store = DeltaStore(f"{bucket}/home")
    store.replace(store.open(TABLE, SCHEMA), rows("a", "1"), "a", {})
    store.replace(store.open(TABLE, SCHEMA), rows("a", "2"), "a", {})

    commits = [r for r in proxy.requests if r.method == "PUT" and "_delta_log" in r.path]
    assert [commit.path[-7:] for commit in commits] == ["00.json", "01.json", "02.json"]
    assert {commit.headers.get("if-none-match") for commit in commits} == {"*"}
    assert clips(store) == ["2"]


def test_writers_that_create_a_table_at_once_lose_nothing(bucket: str, proxy: Proxy) -> None:
    shards = ["a", "b", "c", "d"]
    together = Barrier(len(shards))
    proxy.fault = lambda method, path: Fault(delay_s=0.2) if method == "PUT" and path.endswith("00.json") else None

    def write(shard: str) -> None:
        store = DeltaStore(f"{bucket}/home")
        together.wait()
        for _ in range(10):
            try:
                store.replace(store.open(TABLE, SCHEMA), rows(shard, shard), shard, {})
                return
            except Conflict:
                continue

    with ThreadPoolExecutor(len(shards)) as threads:
        list(threads.map(write, shards))
    refused = [r for r in proxy.requests if r.method == "PUT" and r.status == 412]
    assert refused
    assert clips(DeltaStore(f"{bucket}/home")) == shards


def test_of_two_writers_of_a_shard_the_second_reads_again(bucket: str) -> None:
    store = DeltaStore(f"{bucket}/home")
    first, second = store.open(TABLE, SCHEMA), store.open(TABLE, SCHEMA)
    store.replace(first, rows("a", "first"), "a", {})
    with pytest.raises(Conflict):
        store.replace(second, rows("a", "second"), "a", {})
    assert clips(store) == ["first"]


def test_a_table_of_many_versions_is_opened_by_few_requests(bucket: str, proxy: Proxy) -> None:
    store = DeltaStore(f"{bucket}/home")
    handle = store.open(TABLE, SCHEMA)
    for number in range(19):
        store.replace(handle, rows("a", str(number)), "a", {})
    proxy.requests.clear()
    assert clips(store) == ["18"]
    assert len(proxy.requests) < 20


def test_a_commit_whose_answer_was_lost_is_seen_by_the_next_reader(bucket: str, proxy: Proxy) -> None:
    store = DeltaStore(f"{bucket}/home")
    handle = store.open(TABLE, SCHEMA)
    proxy.fault = lambda method, path: Fault(cut_after=0) if method == "PUT" and "_delta_log" in path else None
    with pytest.raises(TransientError, match=f"{bucket}/home/tables/clips: .*connection.*; run again"):
        store.replace(handle, rows("a", "1"), "a", {})
    proxy.fault = None
    assert clips(store) == ["1"]


def test_data_that_breaks_off_is_read_again(bucket: str, proxy: Proxy) -> None:
    store = DeltaStore(f"{bucket}/home")
    store.replace(store.open(TABLE, SCHEMA), rows("a", "1"), "a", {})
    handle = store.snapshot(TABLE)
    cuts = iter([Fault(cut_after=100), Fault(status=500), Fault(refuse=True)])
    proxy.fault = lambda method, path: next(cuts, None) if path.endswith(".parquet") else None
    assert store.read(handle, ["clip_id"]).height == 1
    assert next(cuts, None) is None


@pytest.mark.parametrize(
    ("root", "fault", "why"),
    [
        ("s3://not-there/home", None, "there is no such bucket .*create it"),
        (None, Fault(status=403), "access was denied .*check AWS_ACCESS_KEY_ID"),
        (None, Fault(status=503), "the store asks to slow down .*run again later"),
    ],
)
def test_a_store_that_fails_is_no_empty_table(
    bucket: str, proxy: Proxy, root: str | None, fault: Fault | None, why: str
) -> None:
    root = root or f"{bucket}/home"
    if fault:
        proxy.fault = lambda method, path: fault
    with pytest.raises(TransientError, match=f"{root}/tables/clips: {why}"):
        DeltaStore(root).open(TABLE, SCHEMA)
    assert not [request for request in proxy.requests if request.method != "GET"]


def test_researchers_read_the_same_way(bucket: str, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AWS_ENDPOINT_URL", store.url
    )  # the proxy is a thread here, and stands while delta-rs lists commits
    home = f"{bucket}/home"
    with pytest.raises(InputError, match="there are no tables here"):
        open_tables(home)
    written = DeltaStore(home)
    written.open(SOURCE_FILES.name, SOURCE_FILES.schema)
    for shard in ("a", "b"):
        written.replace(written.open(TABLE, SCHEMA), rows(shard, shard), shard, {"shard": shard})
    tables = open_tables(home)
    assert tables.scan(TABLE, shards="b").collect()["clip_id"].to_list() == ["b"]
    assert tables.scan(TABLE, version=1).collect()["clip_id"].to_list() == ["a"]
    assert tables.versions(TABLE)["shard"].to_list() == ["b", "a", None]
