"""A killed run loses at most what it was doing: run again, it ends with the rows of a run that nobody killed."""

import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import videos
from tests.pipeline.jobs import (
    BARE_SETTINGS,
    SOURCE,
    Job,
    changed,
    command,
    copy_videos,
    environment,
    same_results,
    write_settings,
)
from tests.processes import MARK, processes_with, wait_until

Moment = Callable[[Job], bool]


def begun(table: str) -> Moment:
    """The table exists, so its step runs."""
    return lambda job: (job.home / "tables" / table).is_dir()


def first_file_in(folder: str) -> Moment:
    return lambda job: next((job.home / folder).rglob("*.*"), None) is not None


MOMENTS: dict[str, Moment] = {
    "while frames are stored": first_file_in("frames"),
    "while clips are encoded": first_file_in("clips"),
    "while the training set is exported": begun("training_set"),
}


def run_and_kill(arguments: list[str], job: Job, name: str, moment: Moment) -> None:
    """Start the command, kill it at the moment, and see its workers end by themselves."""
    mark = uuid.uuid4().hex
    run = subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(**{MARK: mark})
    )
    try:
        wait_until(lambda: moment(job) or run.poll() is not None, name)
        assert run.poll() is None, f"ended before it could be killed {name}"
        assert len(processes_with(mark)) > 1 or "training set" in name, "the command and its workers"
    finally:
        run.kill()
        run.wait()
    wait_until(lambda: not processes_with(mark), f"no worker is left of a run killed {name}")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for left processes in /proc")
def test_run_killed_again_and_again(new_job: Job) -> None:
    """Each run goes on where the one before was killed; the one that isn't killed ends with the same rows."""
    job = new_job
    copy_videos(job.films, bikes=videos.bikes(), two_shots=videos.two_shots(), street=videos.street())
    assert job.run(BARE_SETTINGS).outcome.step_failures == []
    undisturbed = Job(job.root / "undisturbed")
    undisturbed.root.mkdir()
    job.home.rename(undisturbed.home)

    settings = changed(BARE_SETTINGS, execution={"workers": 2, "batch_units": 1})
    file = write_settings(job.root / "settings.yaml", settings)
    arguments = command("run", job.films, "--name", SOURCE, "--home", job.home, "--settings", file)
    for name, moment in MOMENTS.items():
        run_and_kill(arguments, job, name, moment)
    last = job.run(BARE_SETTINGS)
    assert last.outcome.step_failures == []

    for name in set(undisturbed.versions()) - {"training_set"}:
        assert same_results(name, job.table(name), undisturbed.table(name)), name
    newest, only = (made.table("training_set").sort("computed_at").row(-1, named=True) for made in (job, undisturbed))
    assert newest["samples_sha256"] == only["samples_sha256"]
    for path, same in zip(newest["exports"], only["exports"], strict=True):
        assert (job.home / path).read_bytes() == (undisturbed.home / same).read_bytes(), path
    assert not any(path.is_file() for path in (job.home / "staging").rglob("*"))
