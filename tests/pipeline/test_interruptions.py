"""A killed run loses at most what it was doing: run again, it ends with the rows of a run that nobody killed."""

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from curation_assets.tables import TABLES
from tests.pipeline.conftest import Finished
from tests.pipeline.jobs import SETTINGS, SOURCE, Job, command, environment, same_results, write_settings

LIMIT_S = 120.0
MARK = "REELHOUSE_TEST_RUN"

Moment = Callable[[Job], bool]


def processes_with(mark: str) -> list[int]:
    """Ids of the processes that inherited the mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {LIMIT_S:.0f} s: {what}"
        time.sleep(0.01)


def begun(table: str) -> Moment:
    """The table exists, so its step runs."""
    return lambda job: (job.home / "tables" / table).is_dir()


def first_file_in(folder: str) -> Moment:
    return lambda job: next((job.home / folder).rglob("*.*"), None) is not None


@pytest.fixture
def undisturbed(finished: Finished, job: Job) -> Mapping[str, Job]:
    """The finished job, with its place free for another run."""
    kept = Job(finished.template)
    shutil.rmtree(job.home)
    return {"kept": kept}


MOMENTS: dict[str, Moment] = {
    "while videos are decoded": begun("scenes"),
    "while frames are stored": first_file_in("frames"),
    "while text is read": begun("text_scores"),
    "while clips are encoded": first_file_in("clips"),
    "while the training set is exported": begun("training_set"),
}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for left processes in /proc")
def test_run_killed_again_and_again(finished: Finished, job: Job) -> None:
    """Each run goes on where the one before was killed; the one that isn't killed ends with the same rows."""
    shutil.rmtree(job.home)
    settings = write_settings(job.root / "settings.yaml", {**SETTINGS, "execution": {"workers": 2, "batch_units": 1}})
    arguments = command("run", job.films, "--name", SOURCE, "--home", job.home, "--settings", settings)
    for name, moment in MOMENTS.items():
        mark = uuid.uuid4().hex
        run = subprocess.Popen(
            arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(**{MARK: mark})
        )
        wait_until(lambda: moment(job) or run.poll() is not None, name)  # noqa: B023
        assert run.poll() is None, f"ended before it could be killed {name}"
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        wait_until(lambda: not processes_with(mark), "its workers end")  # noqa: B023

    last = job.run(SETTINGS)
    assert last.outcome.step_failures == []
    whole = Job(finished.template)
    for name in whole.versions():
        if name == "training_set":
            continue
        assert same_results(name, job.table(name), whole.table(name)), name
    releases = [job_.table("training_set").sort("computed_at")["samples_sha256"].to_list() for job_ in (job, whole)]
    assert releases[0][-1:] == releases[1]
    assert not any(path.is_file() for path in (job.home / "staging").rglob("*"))
    assert TABLES.keys() >= whole.versions().keys()
