"""Tries faults on a job, and says what was wrong afterwards."""

import datetime as dt
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
from deltalake.exceptions import DeltaError

from curation_assets.home import open_home
from curation_assets.maintenance import maintain
from curation_assets.settings import Maintenance
from curation_assets.tables import CLIP_FILES, FRAMES, TRAINING_SET
from tests.faults.child import Strike, start
from tests.faults.job import Counts, Job, Subject
from tests.faults.small_job import SMALL, caption
from tests.processes import processes_with, wait_until
from tests.stand_in_server import Answer, StandInServer, stand_in_server

WORKERS_END_WITHIN_S = 15.0
GRACE = dt.timedelta(days=3650)  # longer than every grace period
NAMED_IN = ((FRAMES.name, "frames_path"), (CLIP_FILES.name, "file_path"), (TRAINING_SET.name, "exports"))

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


class Bench:
    """The films, the chat server and an undisturbed run, to which trials are compared."""

    def __init__(self, folder: Path, subject: Subject, server: StandInServer, replies: "Replies") -> None:
        self.folder = folder
        self.subject = subject
        self.server = server
        self.replies = replies
        self.films = folder / "films"
        subject.put_films(self.films)
        undisturbed = self.job("undisturbed")
        assert self.run(undisturbed) == 0, undisturbed.said.read_text()
        self.home = undisturbed.home
        self.moments = int(undisturbed.moments.read_text())
        self.tables = undisturbed.tables()
        self.exports = undisturbed.exports()
        self.steps = undisturbed.steps()

    def job(self, name: str, by_dagster: bool = False) -> Job:
        """A job with a new home."""
        folder = self.folder / name
        folder.mkdir()
        return Job(self.films, folder / "home", self.subject.settings(self.server.url), by_dagster)

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
        assert (job.home / "tables").is_dir(), f"the run did nothing: {job.said.read_text()}"
        self.replies.current = caption
        counts = job.run(kind.retry_failed)
        problems = self.problems(job, counts)
        if not problems:
            shutil.rmtree(job.home)
        return Tried(kind.name, seed, happened, self._lost(job, counts), problems)

    def _lost(self, job: Job, counts: dict[str, Counts]) -> int:
        finished = Counter(job.finished.read_text().split() if job.finished.exists() else [])
        made = {table: count for table, count in counts.items() if table in self.steps}
        return max(0, *(finished[self.steps[table]] + count.computed - count.inputs for table, count in made.items()))

    def problems(self, job: Job, counts: dict[str, Counts]) -> list[str]:
        """What is not as it should be after a refresh that reported `counts`; maintains the home first."""
        wait_until(lambda: not processes_with(job.mark), "every worker has ended", WORKERS_END_WITHIN_S)
        opened = open_home(str(job.home))
        for times in (1, 2):  # what one maintenance finds unnamed the next takes away
            maintain(opened.store, opened.files, Maintenance(), dt.datetime.now(dt.UTC) + times * GRACE)
        problems = [f"{table}: {count}" for table, count in counts.items() if not count.add_up]
        tables = job.tables()
        for name, expected in self.tables.items():
            if name not in tables:
                problems.append(f"{name}: no such table")
            elif not tables[name].equals(expected):
                problems.append(f"{name}: {difference(tables[name], expected)}")
        problems += [f"export {name} differs" for name, data in job.exports().items() if data != self.exports[name]]
        return problems + [f"left behind: {path}" for path in leftovers(job)]


def difference(rows: pl.DataFrame, expected: pl.DataFrame) -> str:
    """The first in which two tables differ: number of rows, or a column."""
    if rows.height != expected.height:
        return f"{rows.height} rows, expected {expected.height}"
    for name in expected.columns:
        if not rows[name].equals(expected[name], null_equal=True):
            return f"{name} is {rows[name].to_list()}, expected {expected[name].to_list()}"
    return f"columns {rows.columns}, expected {expected.columns}"


def leftovers(job: Job) -> list[str]:
    """Files of the home that no row, release or table version names, and temporary ones; Dagster's own are left out."""
    store = open_home(str(job.home)).store
    named: set[str] = set()
    rows_in: set[str] = set()
    for table, column in NAMED_IN:
        paths = store.scan(store.snapshot(table)).collect()[column]
        named.update((paths.explode() if paths.dtype == pl.List else paths).drop_nulls())
    for folder in (job.home / "tables").iterdir():
        newest = store.snapshot(folder.name).version()
        for version in range(newest + 1):
            with suppress(DeltaError):  # no longer there
                handle = store.snapshot(folder.name, version)
                rows_in.update(str(Path(uri).relative_to(job.home)) for uri in handle.file_uris())
    files = sorted(str(path.relative_to(job.home)) for path in job.home.rglob("*") if not path.is_dir())
    return [
        path
        for path in files
        if path.startswith("staging/")
        or (path.endswith((".partial", ".tmp", ".source")) and not path.startswith("dagster/"))
        or (path.startswith(("frames/", "clips/", "exports/")) and path not in named)
        or (path.startswith("tables/") and "/_delta_log/" not in path and path not in rows_in)
    ]


class Replies:
    """What the chat server answers at the moment."""

    def __init__(self) -> None:
        self.current: Answer = caption

    def __call__(self, body: dict[str, Any]) -> tuple[int, bytes] | None:
        return self.current(body)


@contextmanager
def open_bench(folder: Path, subject: Subject = SMALL) -> Iterator[Bench]:
    folder.mkdir(parents=True, exist_ok=True)
    replies = Replies()
    with stand_in_server(replies) as server:
        yield Bench(folder, subject, server, replies)
