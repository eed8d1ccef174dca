"""A job: films, a home, and runs over them by the product's own code."""

import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from dagster import DagsterInstance
from deltalake.exceptions import TableNotFoundError

from curation_assets.definitions import video_assets
from curation_assets.home import OpenHome, open_home
from curation_assets.incremental.committing import Report
from curation_assets.incremental.context import Context
from curation_assets.incremental.refresh import refresh
from curation_assets.orchestration import stage_asset
from curation_assets.orchestration.headless import HeadlessRun, instance_folder
from curation_assets.orchestration.local_storage import instance_in
from curation_assets.orchestration.stage_asset import StageAsset
from curation_assets.settings import Settings, Source, parse_settings
from curation_assets.shards import register
from curation_assets.tables import TABLES, TRAINING_SET
from curation_assets.tools import Tools
from curation_assets.training_set.release import make_release
from resources.files import Files
from tests.pipeline import jobs


@dataclass(frozen=True)
class Subject:
    """What faults are tried on: makes its films in a folder, and its settings given a chat server's address.

    `limit_s` bounds a run, so that one that hangs is seen.
    """

    put_films: Callable[[Path], object]
    settings: Callable[[str], Mapping[str, Any]]
    limit_s: float


@dataclass(frozen=True)
class Counts(jobs.Counts):
    """`computed` leaves out the rows taken from staging, which are `recovered`."""

    recovered: int

    @property
    def add_up(self) -> bool:
        return self.inputs == self.computed + self.recovered + self.reused + self.failed + self.blocked


def _counts(report: Mapping[str, Any]) -> Counts:
    names = ("inputs", "computed", "reused", "failed", "blocked", "recovered")
    found = {name: int(report.get(name, 0)) for name in names}
    return Counts(**{**found, "computed": found["computed"] - found["recovered"]})


@dataclass(frozen=True)
class Job:
    """Films, the home made of them, and how the job is run: by Dagster with its records, or stage after stage.

    `films` and `home` are local folders, or lie on the object store that `environment` leads to. Into `folder` runs
    write what they print, the step of every unit they finish, and, at their end, how many moments they had.
    """

    folder: Path
    films: str
    home: str
    settings: Mapping[str, Any]
    by_dagster: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def finished(self) -> Path:
        return self.folder / "finished"

    @property
    def said(self) -> Path:
        return self.folder / "said"

    @property
    def moments(self) -> Path:
        return self.folder / "moments"

    @property
    def struck(self) -> Path:
        """There from the moment on at which a run was struck."""
        return self.folder / "struck"

    @property
    def opened(self) -> OpenHome:
        return open_home(self.home)

    def run(self, retry_failed: bool = False) -> dict[str, Counts]:
        """The whole job in this process: register, refresh, release; what each table reported."""
        settings = parse_settings(dict(self.settings), "the job's settings")
        way = self._by_dagster if self.by_dagster else self._stage_after_stage
        return way(settings, retry_failed)

    def register(self) -> bool:
        """Register the films by Dagster, and nothing else."""
        settings = parse_settings(dict(self.settings), "the job's settings")
        with self.instance() as instance:
            return HeadlessRun(settings, self.home, instance).register(self._source)

    def instance(self) -> DagsterInstance:
        """Where Dagster keeps its records, to be closed by `with`."""
        beside = self.home if Files(self.home).is_local else str(self.folder)
        return instance_in(instance_folder(beside))

    @property
    def _source(self) -> dict[str, Any]:
        return {"name": jobs.SOURCE, "path": self.films}

    def _by_dagster(self, settings: Settings, retry_failed: bool) -> dict[str, Counts]:
        with self.instance() as instance:
            run = HeadlessRun(settings, self.home, instance)
            if run.register(self._source) and run.shard(jobs.SHARD, run.assets, retry_failed):
                run.release()
            return {table: _counts(metadata) for table, _, metadata in run.outcome.materialized}

    def _stage_after_stage(self, settings: Settings, retry_failed: bool) -> dict[str, Counts]:
        opened = self.opened
        run_id = uuid.uuid4().hex
        register({jobs.SOURCE: Source(path=self.films)}, settings.shards, opened.store, run_id)
        tools = Tools(settings, opened.files)
        counts = {}
        for asset in video_assets(settings):
            for report in self._refreshed(asset, tools, opened, run_id, retry_failed):
                counts[report.table] = _counts(vars(report))
        stages = [stage for asset in video_assets(settings) for stage in asset.stages]
        make_release(opened.store, opened.files, settings, stages, run_id)
        return counts

    def _refreshed(
        self, asset: StageAsset, tools: Tools, opened: OpenHome, run_id: str, retry_failed: bool
    ) -> list[Report]:
        execution = tools.settings.execution
        context = Context(
            opened.store,
            opened.files,
            run_id,
            execution.batch_units,
            execution.batch_seconds,
            stage_asset.Progress(lambda _: None, f"{asset.stages[0].table.name} {jobs.SHARD}"),
            retry_failed,
        )
        return refresh(asset.stages, jobs.SHARD, lambda work: asset.compute(work, tools), context)

    def note(self, step: str) -> None:
        """A run in a process of its own has finished a unit of `step`."""
        with self.finished.open("a") as file:
            file.write(f"{step}\n")

    def steps(self) -> dict[str, str]:
        """By table, the step that makes it: the first table of those made together."""
        settings = parse_settings(dict(self.settings), "the job's settings")
        return {s.table.name: asset.stages[0].table.name for asset in video_assets(settings) for s in asset.stages}

    def table(self, name: str) -> pl.DataFrame:
        """All rows without bookkeeping, in the order of their keys."""
        store = self.opened.store
        rows = store.scan(store.snapshot(name)).collect()
        if name == TRAINING_SET.name:  # releases made meanwhile are history; the newest must be right
            rows = rows.sort("release").tail(1).select("samples", "samples_sha256", "settings_hash", "warnings")
            return rows
        return rows.sort(*TABLES[name].key, nulls_last=True).select(TABLES[name].data_columns)

    def tables(self) -> dict[str, pl.DataFrame]:
        found = {}
        for name in TABLES:
            with suppress(TableNotFoundError):
                found[name] = self.table(name)
        return found

    def exports(self) -> dict[str, bytes]:
        """The newest release's files."""
        store, files = self.opened.store, self.opened.files
        rows = store.scan(store.snapshot(TRAINING_SET.name)).collect().sort("release")
        return {Path(path).name: files.read(path) for path in rows["exports"][-1]}
