"""The whole job with home and source on an object store gives the rows of the local one, after any fault too."""

import datetime as dt
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from dagster import DagsterInstance
from deltalake.exceptions import TableNotFoundError

from curation_assets.headless import HeadlessRun
from curation_assets.home import open_home
from curation_assets.maintenance import maintain
from curation_assets.settings import Maintenance, parse_settings
from curation_assets.tables import TABLES
from resources.delta_store import DeltaStore
from resources.errors import TransientError
from resources.files import Files
from resources.object_store import filesystem
from tests import videos
from tests.object_store.faulty_proxy import Fault, Proxy
from tests.object_store.store import ACCESS_KEY, SECRET_KEY
from tests.pipeline.jobs import BARE_SETTINGS, SHARD, SOURCE, changed, copy_videos

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


Decide = Callable[[str, str], Fault | None]
Script = Callable[[], Decide]


def on(method: str, part: str, fault: Fault, first: int = 0, times: int = 1000) -> Script:
    """`fault` for the matching requests from number `first` on."""

    def script() -> Decide:
        numbers = count()

        def decide(asked: str, path: str) -> Fault | None:
            if asked == method and part in path:
                return fault if first <= next(numbers) < first + times else None
            return None

        return decide

    return script


# Asset -> what goes wrong while it is made, one after the other on one home.
FAULTS: dict[str, list[tuple[str, Script]]] = {
    "source_files": [
        ("the source can't be listed", on("GET", "list-type=2&prefix=films", Fault(status=403))),
        ("the source breaks off while it is hashed", on("GET", f"/films/{FILM}", Fault(cut_after=1000))),
    ],
    "raw_videos": [("the source breaks off", on("GET", f"/films/{FILM}", Fault(cut_after=1000)))],
    "scenes": [("the answer to creating a table is lost", on("PUT", "scenes/_delta_log/", Fault(cut_after=0), 0, 1))],
    "clips": [("the answer to a commit is lost", on("PUT", "clips/_delta_log/", Fault(cut_after=0), 1, 1))],
    "clip_selection": [("a table's log breaks off", on("GET", "clips/_delta_log/000", Fault(cut_after=50)))],
    "frames": [
        ("frames can't be stored", on("PUT", f"/home/frames/{SHARD}/", Fault(status=403))),
        ("a finished batch can't be stored", on("PUT", "/staging/", Fault(status=403))),
        ("stored frames can't be listed", on("GET", "home%2Fframes%2F", Fault(status=403))),
        ("staging can't be listed", on("GET", "home%2Fstaging%2F", Fault(status=403))),
    ],
    "captions": [
        ("stored frames can't be read", on("GET", f"/home/frames/{SHARD}/", Fault(status=403))),
        ("a commit is refused", on("PUT", "captions/_delta_log/", Fault(status=403))),
    ],
    "clip_files": [
        ("the source can't be reached", on("HEAD", f"/films/{FILM}", Fault(status=403))),
        ("clips break off on their way", on("PUT", f"/home/clips/{SHARD}/", Fault(refuse=True))),
    ],
}


@dataclass(frozen=True)
class Steps:
    """One asset after another, each by a run of its own."""

    home: str
    source: str
    instance: DagsterInstance

    @property
    def assets(self) -> list[str]:
        """Upstream first."""
        runs = HeadlessRun(parse_settings(REMOTE_SETTINGS, "the test's settings"), self.home, self.instance)
        return [name for name in runs.assets if name != "training_set"]

    def make(self, asset: str) -> list[str]:
        """The asset of the one shard; returns what failed, in words."""
        runs = HeadlessRun(parse_settings(REMOTE_SETTINGS, "the test's settings"), self.home, self.instance)
        if asset == "source_files":
            runs.register({"name": SOURCE, "path": self.source})
        else:
            runs.shard(SHARD, [asset])
        failed = [record.data["error"] for _, _, made in runs.outcome.materialized for record in failures(made)]
        return [*failed, *runs.outcome.step_failures]


def failures(metadata: Mapping[str, Any]) -> Any:
    return metadata["failures"].records if "failures" in metadata else []


def test_after_each_fault_one_refresh_gives_the_same_rows(
    bucket: str, source: str, local: LocalJob, instance: DagsterInstance, proxy: Proxy
) -> None:
    steps = Steps(f"{bucket}/home", source, instance)
    here = tables(str(local.home))
    for asset in steps.assets:
        for what, script in FAULTS.get(asset, []):
            proxy.requests.clear()
            proxy.fault = script()
            said = steps.make(asset)
            proxy.fault = None
            assert said, what
            assert any(request.faulted for request in proxy.requests), what
            assert any("s3://" in message for message in said), said
        assert steps.make(asset) == [], asset
        assert rows(steps.home, asset).equals(here[asset]), asset
    assert filesystem(bucket).find(f"{bucket}/home/staging") == []


def test_a_store_that_fails_now_and_then_is_not_noticed(
    bucket: str, source: str, local: LocalJob, instance: DagsterInstance, proxy: Proxy
) -> None:
    numbers = count(1)
    kinds = [Fault(status=500), Fault(status=503), Fault(delay_s=0.1)]
    proxy.fault = lambda method, path: kinds[n // 20 % 3] if (n := next(numbers)) % 20 == 0 else None
    steps = Steps(f"{bucket}/home", source, instance)
    for asset in ("source_files", "raw_videos", "scenes"):
        assert steps.make(asset) == [], asset
    assert sum(request.faulted for request in proxy.requests) >= 10
    proxy.fault = None
    assert rows(steps.home, "scenes").equals(rows(str(local.home), "scenes"))


def bursts(seed: int) -> Decide:
    """Now and then some requests in a row fail, are throttled, come late or break off."""
    random = Random(seed)
    left, fault = 0, Fault()

    def decide(method: str, path: str) -> Fault | None:
        nonlocal left, fault
        if left:
            left -= 1
        elif random.random() < 0.01:
            left = random.choice([0, 5, 40])
            statuses = [Fault(status=status) for status in (403, 500, 503)]
            fault = random.choice([*statuses, Fault(refuse=True), Fault(delay_s=0.1), Fault(cut_after=0)])
        else:
            return None
        return fault

    return decide


@pytest.mark.parametrize("seed", [1])
def test_after_random_faults_one_refresh_gives_the_same_rows_and_maintenance_leaves_no_orphan(
    bucket: str, source: str, local: LocalJob, instance: DagsterInstance, proxy: Proxy, seed: int
) -> None:
    home = f"{bucket}/home"
    proxy.fault = bursts(seed)
    with suppress(TransientError):  # the store can't be reached at all
        run_job(home, source, instance)
    assert any(request.faulted for request in proxy.requests), seed
    proxy.fault = None

    assert run_job(home, source, instance).outcome.step_failures == []
    assert_same(home, local)

    opened = open_home(home)
    for times in (1, 2):  # what one maintenance finds unnamed the next takes away
        maintain(opened.store, opened.files, Maintenance(), dt.datetime.now(dt.UTC) + times * dt.timedelta(days=3650))
    assert_same(home, local)
    assert [found.path for found in opened.files.found("staging")] == []
    for folder, table, column in (("frames", "frames", "frames_path"), ("clips", "clip_files", "file_path")):
        named = set(opened.store.read(opened.store.snapshot(table), [column])[column])
        assert {found.path for found in opened.files.found(folder)} == named
