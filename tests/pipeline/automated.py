"""A finished job of two shards under the real daemon; what a change makes it request and do."""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from curation_assets.orchestration.headless import HeadlessRun
from curation_assets.settings import Settings, load_settings
from tests import videos
from tests.automation.daemon import Requests, instance_in_memory, open_daemon, save_records
from tests.pipeline.jobs import SETTINGS, SOURCE, Job, changed, copy_videos, write_settings


@dataclass
class Did:
    """What a registration and the daemon's work after it did; rows by asset.

    `refused`: why the registration failed. `stale`: the assets and shards that the UI then marked as out of date.
    """

    refused: list[str]
    stale: set[tuple[str, str]]
    ticks: list[Requests]
    computed: Counter[str]
    failed: Counter[str]


@dataclass(frozen=True)
class Automated:
    """The environment has to name the job's home and its settings file, `settings.yaml` in its folder."""

    job: Job
    instance: dg.DagsterInstance

    @property
    def settings(self) -> dict[str, Any]:
        """Of the finished job. One worker, so that one process loads the models."""
        source = {SOURCE: {"path": str(self.job.films)}}
        return changed(SETTINGS, sources=source, shards={"videos_per_shard": 2}, execution={"workers": 1})

    def load(self, settings: Mapping[str, Any]) -> Settings:
        """Settings as every process finds them from now on."""
        write_settings(self.job.root / "settings.yaml", settings)
        return load_settings()

    def keep(self, folder: Path) -> None:
        """A copy of the job and its instance's records, to start from again."""
        save_records(self.instance, self.job.root)
        shutil.copytree(self.job.root, folder)

    def runs(self) -> HeadlessRun:
        return HeadlessRun(load_settings(), str(self.job.home), self.instance)

    def work(self, needs: Iterable[str] | None = None, by_hand: bool = False) -> Did:
        """Register the films, then let the daemon work until it requests nothing; it finds the films of `needs` alone.

        `by_hand`: every shard is refreshed after that, whether anything was requested or not.
        """
        before = self.instance.get_runs_count()
        runs = self.runs()
        runs.register({})
        with only(self.job, needs), open_daemon(self.instance) as daemon:
            stale = daemon.stale()
            ticks = daemon.until_quiet()
            for shard in runs.shards() if by_hand else ():
                runs.shard(shard, runs.assets)
            failed = daemon.counted("failed", before) + daemon.counted("blocked", before)
            return Did(runs.outcome.step_failures, stale, ticks, daemon.counted("computed", before), failed)


@contextmanager
def copy_of(kept: Path, place: Path) -> Iterator[Automated]:
    """A job that was kept, at the `place` where it was made, so that paths in its tables stay true."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(kept, place)
    with instance_in_memory(place) as instance:
        yield Automated(Job(place), instance)


@contextmanager
def finished_job(place: Path) -> Iterator[Automated]:
    """Films of 5 and of no samples in the first shard, one of 2 in the second; the policy is on."""
    job = Job(place)
    films = {"bikes": videos.bikes(), "two_shots": videos.two_shots(), "grey": videos.pan(3, 25, (320, 180), 30)}
    copy_videos(job.films, **films)
    with instance_in_memory(place) as instance:
        automated = Automated(job, instance)
        automated.load(automated.settings)
        runs = automated.runs()
        assert runs.register({})
        assert all(runs.shard(shard, runs.assets) for shard in runs.shards())
        with open_daemon(instance) as daemon:
            daemon.switch_on()
            assert daemon.tick() == {}, "switched on, it asks for what is missing, and nothing is"
        yield automated


@contextmanager
def only(job: Job, needs: Iterable[str] | None) -> Iterator[None]:
    """Takes all films away but these, for a while; with None all stay."""
    if needs is None:
        yield
        return
    aside = job.root / "aside"
    job.films.rename(aside)
    job.films.mkdir()
    for name in needs:
        shutil.copy2(aside / name, job.films / name)
    yield
    shutil.rmtree(job.films)
    aside.rename(job.films)
