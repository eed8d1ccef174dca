"""Workers of stages that use no network of torch don't spend the time and memory of importing it."""

from pathlib import Path

import pytest

from tests import videos
from tests.pipeline.jobs import SETTINGS, Job, changed, copy_videos, reelhouse, write_settings


def test_clips_frames_motion_text_and_technical_scores_are_made_without_torch(
    new_job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_videos(new_job.films, two_shots=videos.two_shots())
    for module in ("torch", "transformers"):
        (tmp_path / f"{module}.py").write_text("raise RuntimeError('imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    settings = write_settings(tmp_path / "settings.yaml", changed(SETTINGS, semantic__engines=[]))
    where = ("--home", new_job.home, "--settings", settings)
    said = reelhouse("run", new_job.films, *where, "--until", "clip_selection")
    assert said.returncode == 0, said.stderr
    assert not new_job.table("technical_scores").is_empty()
    assert not new_job.table("text_scores").is_empty()
