"""The schedules, by Dagster's own scheduler: off until switched on, then a maintenance and a release a day."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time
from dagster._scheduler.scheduler import launch_scheduled_runs

from tests.automation.daemon import LOGGER, Daemon, instance_in_memory, open_daemon
from tests.pipeline.jobs import SETTINGS, Job, changed, write_settings

MIDNIGHT = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
ENDED_AND_RUN = [("maintenance", dg.DagsterRunStatus.SUCCESS), ("release", dg.DagsterRunStatus.SUCCESS)]


@pytest.fixture
def daemon(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """Over the finished job, under settings of which there is no release yet."""
    stricter = changed(SETTINGS, selection__motion={"dis": {"min": 5.0}})
    monkeypatch.setenv("CURATION_HOME", str(job.home))
    monkeypatch.setenv("CURATION_SETTINGS", str(write_settings(tmp_path / "settings.yaml", stricter)))
    with instance_in_memory(tmp_path) as instance, open_daemon(instance) as opened:
        yield opened


def scheduler(daemon: Daemon, hours: float) -> list[tuple[str, dg.DagsterRunStatus]]:
    """The scheduler's tick so many hours after midnight; every run there has been by then, by name."""
    now = MIDNIGHT + dt.timedelta(hours=hours)
    with freeze_time(now):
        assert not [error for error in launch_scheduled_runs(daemon.workspace, LOGGER, now, {}) if error]
    return sorted((run.job_name, run.status) for run in daemon.instance.get_runs())


def switch_on(daemon: Daemon) -> None:
    with freeze_time(MIDNIGHT):
        for schedule in daemon.repository.get_schedules():
            daemon.instance.start_schedule(schedule)


def test_the_schedules_run_nothing_until_they_are_switched_on(daemon: Daemon) -> None:
    assert scheduler(daemon, hours=24) == []


def test_a_day_brings_a_maintenance_and_a_release_of_what_there_is(daemon: Daemon, job: Job) -> None:
    switch_on(daemon)
    assert scheduler(daemon, hours=1) == []
    assert scheduler(daemon, hours=5.1) == ENDED_AND_RUN
    assert job.table("training_set").height == 2, "one by the command before, one by the schedule"
    assert scheduler(daemon, hours=29.1) == sorted(2 * ENDED_AND_RUN)
    assert job.table("training_set").height == 2, "the same samples under the same settings are the same release"
