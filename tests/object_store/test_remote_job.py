"""The whole job with home and source on an object store gives the rows of the local one, and says what fails."""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from dagster import DagsterInstance
from deltalake.exceptions import TableNotFoundError

from curation_assets.home import open_home
from curation_assets.inspection.lookup import find_item
from curation_assets.orchestration.headless import HeadlessRun
from curation_assets.settings import parse_settings
from curation_assets.tables import TABLES
from curation_assets.upkeep.takedown import forget
from resources.delta_store import DeltaStore
from resources.files import Files
from resources.object_store import filesystem
from tests import videos
from tests.object_store.faulty_proxy import Fault, Proxy
from tests.object_store.store import ACCESS_KEY, SECRET_KEY
from tests.pipeline.jobs import BARE_SETTINGS, SHARD, SOURCE, Job, changed, copy_videos

# A time limit that no other job has, so a worker pool of its own: the others' know no object store.
REMOTE_SETTINGS = changed(BARE_SETTINGS, execution__item_timeout_s=599.0)
FILM = "two_shots.mp4"


def run_job(
    home: str, source: str, instance: DagsterInstance, settings: Mapping[str, Any] = REMOTE_SETTINGS
) -> HeadlessRun:
    runs = HeadlessRun(parse_settings(dict(settings), "the test's settings"), home, instance)
    if runs.register({"name": SOURCE, "path": source}):
        runs.shard(SHARD, runs.assets)
        runs.release()
    return runs


def tables(home: str) -> dict[str, pl.DataFrame]:
    found = {}
    for name in TABLES:
        with suppress(TableNotFoundError):
            found[name] = rows(home, name)
    return found


def rows(home: str, name: str) -> pl.DataFrame:
    """A table without bookkeeping, and without where the sources lie."""
    store, table = DeltaStore(home), TABLES[name]
    found = store.scan(store.snapshot(name)).collect().sort(*table.key, nulls_last=True)
    if "missing" in found.columns:
        found = found.filter(~pl.col("missing"))
    named_after_uri = {"training_set": ["release", "samples_sha256", "exports"]}.get(name, [])
    return found.select(c for c in table.data_columns if c not in ("source_uri", *named_after_uri))


@dataclass(frozen=True)
class LocalJob:
    home: Path
    film: Path


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> LocalJob:
    root = tmp_path_factory.mktemp("local")
    copy_videos(root / "films", two_shots=videos.two_shots())
    with DagsterInstance.ephemeral() as instance:
        run_job(str(root / "home"), str(root / "films"), instance, BARE_SETTINGS)
    return LocalJob(root / "home", root / "films" / FILM)


@pytest.fixture
def source(bucket: str, local: LocalJob) -> str:
    filesystem(bucket).put_file(str(local.film), f"{bucket}/films/{FILM}")
    return f"{bucket}/films"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    (tmp_path / "dagster").mkdir()
    with DagsterInstance.local_temp(str(tmp_path / "dagster")) as made:
        yield made


def assert_same(home: str, local: LocalJob) -> None:
    there, here = tables(home), tables(str(local.home))
    assert list(there) == list(here)
    assert [name for name in here if not there[name].equals(here[name])] == []
    assert here["training_manifest"].height == 2
    files, mine = Files(home), Files(str(local.home))
    for path in (*mine.listing(f"frames/{SHARD}"), *mine.listing(f"clips/{SHARD}")):
        assert files.read(path) == mine.read(path)


def test_rows_and_files_are_those_of_the_local_job(
    bucket: str,
    source: str,
    local: LocalJob,
    instance: DagsterInstance,
    proxy: Proxy,
    elsewhere: Proxy,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    home = f"{bucket}/home"
    with caplog.at_level(logging.DEBUG, "reelhouse"):
        runs = run_job(home, source, instance)
    assert runs.outcome.step_failures == []
    assert_same(home, local)
    exported = json.loads(filesystem(home).cat_file(f"{home}/exports/{release(home)}/train.json"))
    assert len(exported) == 2

    commits = [r for r in proxy.requests if r.method == "PUT" and "_delta_log" in r.path]
    assert commits
    assert {commit.headers.get("if-none-match") for commit in commits} == {"*"}
    assert proxy.count("PUT", f"/home/clips/{SHARD}/") == 2
    assert elsewhere.requests == []

    runs.outcome.materialized.clear()
    runs.shard(SHARD, ["frames", "clip_files"])
    assert [made["computed"] for _, _, made in runs.outcome.materialized] == [0, 0]
    assert_says_no_secret(home, instance, tmp_path, caplog.text + repr(runs.outcome))


def release(home: str) -> str:
    store = DeltaStore(home)
    return store.read(store.snapshot("training_set"), ["release"]).item()


def assert_says_no_secret(home: str, instance: DagsterInstance, folder: Path, said: str) -> None:
    client = filesystem(home)
    kept = [client.cat_file(path) for path in client.find(home)]
    kept += [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    for record in instance.get_run_records():
        kept.append(repr(record.dagster_run).encode())
        kept.append(repr(instance.all_logs(record.dagster_run.run_id)).encode())
    assert len(kept) > 50
    for secret in (SECRET_KEY, ACCESS_KEY):
        assert secret not in said
        assert [content for content in kept if secret.encode() in content] == []


def failing(runs: HeadlessRun) -> list[str]:
    """What failed, rows and steps, in words."""
    failures = (made["failures"].records for _, _, made in runs.outcome.materialized if "failures" in made)
    return [record.data["error"] for records in failures for record in records] + runs.outcome.step_failures


def test_what_failed_is_told_with_its_place_and_a_remedy(
    bucket: str, source: str, instance: DagsterInstance, proxy: Proxy
) -> None:
    home = f"{bucket}/home"
    remedy = "access was denied .*check AWS_ACCESS_KEY_ID"
    runs = HeadlessRun(parse_settings(REMOTE_SETTINGS, "the test's settings"), home, instance)
    runs.register({"name": SOURCE, "path": source})
    refused = {
        f"/home/frames/{SHARD}/": f"{home}/frames/{SHARD}/.*: {remedy}",
        "/home/tables/frames/_delta_log/": f"frames {SHARD}: {home}/tables/frames: {remedy}",
    }
    for place, said in refused.items():
        proxy.fault = lambda method, path, place=place: Fault(status=403) if method == "PUT" and place in path else None
        assert not runs.shard(SHARD, ["raw_videos", "scenes", "clips", "frames"])
        assert any(re.search(said, message) for message in failing(runs)), failing(runs)
        runs.outcome.materialized.clear()
        runs.outcome.step_failures.clear()


def test_a_store_that_fails_now_and_then_is_not_noticed(
    bucket: str, source: str, local: LocalJob, instance: DagsterInstance, proxy: Proxy
) -> None:
    home = f"{bucket}/home"
    numbers = count(1)
    kinds = [Fault(status=500), Fault(status=503), Fault(delay_s=0.1)]
    proxy.fault = lambda method, path: kinds[n // 20 % 3] if (n := next(numbers)) % 20 == 0 else None
    runs = HeadlessRun(parse_settings(REMOTE_SETTINGS, "the test's settings"), home, instance)
    assert runs.register({"name": SOURCE, "path": source})
    assert runs.shard(SHARD, ["raw_videos", "scenes"])
    assert failing(runs) == []
    assert sum(request.faulted for request in proxy.requests) >= 10
    proxy.fault = None
    assert rows(home, "scenes").equals(rows(str(local.home), "scenes"))


def test_forgetting_a_video_leaves_nothing_of_it_but_the_takedown(bucket: str, local: LocalJob) -> None:
    home, client = f"{bucket}/home", filesystem(bucket)
    client.put(f"{local.home}/", f"{home}/", recursive=True)
    opened = open_home(home)
    video = find_item(opened.store, FILM)

    done = forget(opened, video, "on request", None)

    assert done.left == []
    assert (done.media_files, done.releases) == (4, Job(local.home.parent).table("training_set")["release"].to_list())
    assert opened.store.read(opened.store.snapshot("takedowns"), ["video_id"]).rows() == [(video.id,)]
    quoting = [path for path in client.find(home) if quotes(client.cat_file(path), path, video.id, FILM)]
    assert {path.split("/")[3] for path in quoting} == {"takedowns", "training_set"}, "which say that it is gone"


def quotes(data: bytes, path: str, *needles: str) -> bool:
    if path.endswith(".parquet"):
        data += repr(pl.read_parquet(data).to_dicts()).encode()
    return any(needle.encode() in data or needle in path for needle in needles)
