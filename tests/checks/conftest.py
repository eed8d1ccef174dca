"""A finished job of two short films, made once; tests get a copy whose tables they may break."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests import videos
from tests.pipeline.jobs import BARE_SETTINGS, Job, changed, copy_videos
from tests.stand_in_server import completion, stand_in_server

_NO_BOUND = {"min": None, "max": None}
_MEASURES = ("sharpness", "luma", "black_share", "white_share", "border_share", "frozen_share", "colour")
SETTINGS: dict[str, Any] = changed(  # scores that need no model, no threshold, captions of a stand-in server
    BARE_SETTINGS,
    clips__min_duration_s=0.3,
    motion={"engines": ["dis"]},
    technical={"engines": ["opencv"]},
    selection={"motion": {"dis": _NO_BOUND}, "technical": {"opencv": dict.fromkeys(_MEASURES, _NO_BOUND)}},
    captions={"engine": "chat", "chat": {"base_url": "http://127.0.0.1:9/v1", "model": "stand-in"}},
    execution__workers=1,
)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Where the job was made, and the untouched copy."""
    root = tmp_path_factory.mktemp("checks")
    job = Job(root / "job")
    copy_videos(job.films, two_shots=videos.two_shots(), pan=videos.pan(3, 25, (320, 180), 30))
    with stand_in_server(lambda body: (200, completion(f"Frames {body['user'][:8]}."))) as server:
        run = job.run(changed(SETTINGS, captions__chat__base_url=server.url))
    assert not run.outcome.step_failures
    shutil.copytree(job.root, root / "template")
    return job.root, root / "template"


@pytest.fixture
def job(finished: tuple[Path, Path]) -> Job:
    place, template = finished
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(template, place)
    return Job(place)
