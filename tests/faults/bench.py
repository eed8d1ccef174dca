"""Tries faults on a job, and says what was wrong afterwards."""

import datetime as dt
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random

import polars as pl

from curation_assets.home import OpenHome
from curation_assets.settings import Maintenance
from curation_assets.tables import CLIP_FILES, FRAMES, TRAINING_SET
from curation_assets.upkeep.maintenance import RECORD, maintain
from curation_assets.upkeep.releases import all_releases, pinned_versions, report_path
from resources.files import Files
from tests.faults.child import Strike, start
from tests.faults.job import Counts, Job, Subject
from tests.faults.small_job import SMALL, caption
from tests.object_store.faulty_proxy import Proxy
from tests.object_store.store import environment
from tests.pipeline.jobs import changed
from tests.processes import processes_with, wait_until
from tests.stand_in_server import Answer, StandInServer, stand_in_server

WORKERS_END_WITHIN_S = 15.0
GRACE = dt.timedelta(days=3650)  # longer than every grace period
LOG = "/_delta_log/"
NAMED_IN = {FRAMES.name: "frames_path", CLIP_FILES.name: "file_path", TRAINING_SET.name: "exports"}

Fault = Callable[["Bench", Job, Random], str]
"""Runs the job under a fault drawn from the random numbers, in any way it likes; returns what happened, in words."""


@dataclass(frozen=True)
class Kind:
    """`retry_failed`: the refresh is told to try again what failed for its input, as an empty answer counts."""

    name: str
    fault: Fault = field(repr=False)
    retry_failed: bool = False


@dataclass(frozen=True)
class Tried:
    """A fault and what came of it; `lost` counts items of one step, finished under the fault, that were done again."""

    kind: str
    seed: int
    happened: str
    lost: int
    problems: list[str]

    def __str__(self) -> str:
        ending = "; ".join(self.problems) or f"survived, {self.lost} items done again"
        return f"{self.kind}, seed {self.seed} ({self.happened}): {ending}"


@dataclass(frozen=True)
class Bucket:
    """A place on an object store, reached by way of `proxy` as the environment says."""

    url: str
    proxy: Proxy


class Bench:
    """The films, the servers and an undisturbed run with a local home, to which trials are compared.

    With a bucket the films and the trials' homes lie in it.
    """

    def __init__(
        self, folder: Path, subject: Subject, server: StandInServer, replies: "Replies", bucket: Bucket | None
    ) -> None:
        self.folder = folder
        self.subject = subject
        self.server = server
        self.replies = replies
        self.bucket = bucket
        self.films = self._put_films()
        undisturbed = replace(self.job("undisturbed"), home=str(folder / "undisturbed" / "home"))
        assert self.run(undisturbed) == 0, undisturbed.said.read_text()
        self.home = Path(undisturbed.home)
        self.moments = int(undisturbed.moments.read_text())
        self.tables = undisturbed.tables()
        self.exports = undisturbed.exports()
        self.steps = undisturbed.steps()

    def _put_films(self) -> str:
        films = self.folder / "films"
        self.subject.put_films(films)
        if self.bucket is None:
            return str(films)
        for film in films.iterdir():
            Files(self.bucket.url).write(f"films/{film.name}", film.read_bytes())
        return f"{self.bucket.url}/films"

    def job(self, name: str, by_dagster: bool = False) -> Job:
        """A job with a new home."""
        folder = self.folder / name
        folder.mkdir()
        settings = self.subject.settings(self.server.url)
        if self.bucket is None:
            return Job(folder, self.films, str(folder / "home"), settings, by_dagster)
        home, leads_there = f"{self.bucket.url}/{name}", environment(self.bucket.proxy.url)
        # with a time limit, and so a worker pool, of their own: the workers of others know no object store
        settings = changed(settings, execution__item_timeout_s=598.0)
        return Job(folder, self.films, home, settings, by_dagster, leads_there)

    def run(self, job: Job, strike: Strike | None = None) -> int:
        """Run the job to its end, in a process of its own; returns the exit status."""
        return self.ended(start(job, strike))

    def ended(self, process: BaseProcess) -> int:
        """The exit status of a job's process, once it has ended."""
        process.join(self.subject.limit_s)
        assert process.exitcode is not None, f"a run hung for {self.subject.limit_s:.0f} s"
        return process.exitcode

    def attempt(self, kind: Kind, seed: int, by_dagster: bool = False) -> Tried:
        """Strike a run, refresh once, maintain, and compare with the undisturbed run."""
        job = self.job(f"{kind.name} {seed} {by_dagster}".replace(" ", "-"), by_dagster)
        happened = kind.fault(self, job, Random(f"{kind.name}/{seed}"))
        self.replies.current = caption
        if self.bucket:
            self.bucket.proxy.fault = None
        else:
            assert Path(job.home, "tables").is_dir(), f"the run did nothing: {job.said.read_text()}"
        counts = job.run(kind.retry_failed)
        tried = Tried(kind.name, seed, happened, self._lost(job, counts), self.problems(job, counts))
        if not tried.problems:
            shutil.rmtree(job.folder)
        return tried

    def _lost(self, job: Job, counts: dict[str, Counts]) -> int:
        finished = Counter(job.finished.read_text().split() if job.finished.exists() else [])
        made = {table: count for table, count in counts.items() if table in self.steps}
        return max(0, *(finished[self.steps[table]] + count.computed - count.inputs for table, count in made.items()))

    def problems(self, job: Job, counts: dict[str, Counts]) -> list[str]:
        """What is not as it should be after a refresh that reported `counts`; maintains the home first."""
        wait_until(lambda: not processes_with(job.mark), "every worker has ended", WORKERS_END_WITHIN_S)
        opened = job.opened
        later = dt.datetime.now(dt.UTC) + GRACE
        opened.files.write(RECORD, json.dumps({"at": later.isoformat()}).encode())  # only a second one deletes
        maintain(opened.store, opened.files, Maintenance(), later + GRACE)
        problems = [f"{table}: {count}" for table, count in counts.items() if not count.add_up]
        tables = job.tables()
        for name, expected in self.tables.items():
            if name not in tables:
                problems.append(f"{name}: no such table")
            elif not tables[name].equals(expected):
                problems.append(f"{name}: {difference(tables[name], expected)}")
        problems += [f"export {name} differs" for name, data in job.exports().items() if data != self.exports[name]]
        return problems + [f"left behind: {path}" for path in leftovers(job.opened, tables)]


def difference(rows: pl.DataFrame, expected: pl.DataFrame) -> str:
    """The first in which two tables differ: number of rows, or a column."""
    if rows.height != expected.height:
        return f"{rows.height} rows, expected {expected.height}"
    for name in expected.columns:
        if not rows[name].equals(expected[name], null_equal=True):
            return f"{name} is {rows[name].to_list()}, expected {expected[name].to_list()}"
    return f"columns {rows.columns}, expected {expected.columns}"


def leftovers(home: OpenHome, tables: Iterable[str]) -> list[str]:
    """Files that no row, release, or version that anyone needs names, and temporary ones; Dagster's own left out."""
    store, files = home.store, home.files
    named = {report_path(release["release"]) for release in all_releases(store)}
    pinned = pinned_versions(store)
    for table in tables:
        newest = store.snapshot(table)
        needed = pinned.get(table, set()) - {newest.version()}
        for handle in (newest, *(store.snapshot(table, version) for version in needed)):
            named.update(uri.removeprefix(f"{files.root}/") for uri in handle.file_uris())
        if column := NAMED_IN.get(table):
            paths = store.scan(newest).collect()[column]
            named.update((paths.explode() if paths.dtype == pl.List else paths).drop_nulls())
    return [
        path
        for path in (found.path for found in files.found(""))
        if path.startswith("staging/")
        or (path.endswith((".partial", ".tmp", ".source")) and not path.startswith("dagster/"))
        or (path.startswith(("frames/", "clips/", "exports/", "tables/")) and path not in named and LOG not in path)
    ]


@dataclass
class Replies:
    """What the chat server answers at the moment."""

    current: Answer = caption


@contextmanager
def open_bench(folder: Path, subject: Subject = SMALL, bucket: Bucket | None = None) -> Iterator[Bench]:
    folder.mkdir(parents=True, exist_ok=True)
    replies = Replies()
    with stand_in_server(lambda body: replies.current(body)) as server:
        yield Bench(folder, subject, server, replies, bucket)
