"""A probed video."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curation_assets.raw_videos.probing import probe_video
from curation_assets.settings import RawVideos


@pytest.fixture
def probe() -> Callable[[Path], dict[str, Any]]:
    return lambda path: probe_video(str(path), RawVideos())
