"""The job that faults are tried on: two videos, six clips, and a chat server for their captions."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from tests import videos
from tests.faults.job import Subject
from tests.pipeline.jobs import changed, copy_videos
from tests.stand_in_server import completion

CLIPS = 6
BATCH_UNITS = 2  # so that a kill finds work in staging and work that isn't there yet

SETTINGS: dict[str, Any] = {
    "clips": {"min_source_area_px": 1, "min_duration_s": 0.8, "end_trim_s": 0.2},
    "semantic": {"engines": []},  # to load torch or OCR would take longer than the rest of the job
    "text": {"engines": []},
    "selection": {"technical": {"opencv": {"sharpness": {"min": 20.0}, "luma": {"min": 15.0}}}},
    "captions": {"engine": "chat", "chat": {"model": "stand-in"}},
    "rewriting": {"engine": "off"},
    "alignment": {"engine": "off"},
    "execution": {"workers": 2, "batch_units": BATCH_UNITS},
}


def settings_with(server_url: str) -> dict[str, Any]:
    """SETTINGS with the address of the chat server, which recomputes nothing."""
    return changed(SETTINGS, captions__chat__base_url=server_url)


@cache
def four_shots() -> Path:
    """320x136, 25 fps: shots of 46, 61, 50 and 55 frames of a street, without sound."""
    picked = "trim=start_frame=30:end_frame=242,setpts=PTS-STARTPTS,scale=320:136,setsar=1"
    return videos.ffmpeg(
        "four_shots.mp4", "-i", str(videos.bikes()), "-vf", picked, "-c:v", "libx264", "-preset", "ultrafast", "-an"
    )


def put_films(folder: Path) -> None:
    """Two videos of two and four clips."""
    copy_videos(folder, two_shots=videos.two_shots(), four_shots=four_shots())


def caption(body: dict[str, Any]) -> tuple[int, bytes]:
    """A well server's answer: a caption that depends on the pictures alone."""
    pictures = json.dumps(body["messages"])
    return 200, completion(f"A street scene described in {len(pictures)} characters.")


SMALL = Subject(put_films, settings_with, limit_s=180)
