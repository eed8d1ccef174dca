"""A finished job, made once by the `reelhouse` command; tests get it fresh, always at the same path."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import videos
from tests.conftest import Command
from tests.pipeline.jobs import SETTINGS, SOURCE, Job, copy_videos, reelhouse, write_settings

AsJson = Callable[..., tuple[int, Any]]


@dataclass(frozen=True)
class Finished:
    """Where a copy of the finished job lies, where it was made, and what the command said."""

    template: Path
    place: Path
    command: "subprocess.CompletedProcess[str]"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    root = tmp_path_factory.mktemp("jobs")
    job = Job(root / "job")
    films = {"bikes": videos.bikes(), "two_shots": videos.two_shots(), "grey": videos.pan(3, 25, (320, 180), 30)}
    copy_videos(job.films, **films)
    settings = write_settings(job.root / "settings.yaml", SETTINGS)
    command = reelhouse("run", job.films, "--name", SOURCE, "--home", job.home, "--settings", settings)
    shutil.copytree(job.root, root / "template")
    return Finished(root / "template", job.root, command)


@pytest.fixture
def job(finished: Finished) -> Iterator[Job]:
    """The finished job, to change at will: paths in its tables stay true, since it lies where it was made."""
    shutil.rmtree(finished.place, ignore_errors=True)
    shutil.copytree(finished.template, finished.place)
    yield Job(finished.place)
    shutil.rmtree(finished.place)


@pytest.fixture
def as_json(job: Job, command: Command) -> AsJson:
    """A command with --json on the job: its exit status, and the document that is all of its standard output."""

    def run(*arguments: str | Path, settings: Path | None = None) -> tuple[int, Any]:
        settings = settings or job.root / "settings.yaml"
        status, out, _ = command(*arguments, "--json", "--home", job.home, "--settings", settings)
        assert out.isascii()
        assert "\x1b" not in out
        return status, json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    return run


@pytest.fixture
def new_job(tmp_path: Path) -> Job:
    """Nothing registered, no films yet."""
    made = Job(tmp_path)
    made.films.mkdir()
    return made
