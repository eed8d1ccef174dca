"""The demo's job: its sample videos and settings, every embedded engine on."""

from pathlib import Path
from typing import Any

import yaml

from deployments.demo import sample_videos
from tests.faults.job import Subject

SETTINGS = Path(sample_videos.__file__).with_name("curation.yaml")


def demo_settings(server_url: str) -> dict[str, Any]:
    """The demo's own; it has no chat server."""
    return dict(yaml.safe_load(SETTINGS.read_text(encoding="utf-8")))


DEMO = Subject(sample_videos.make_sample_videos, demo_settings, limit_s=1800)
