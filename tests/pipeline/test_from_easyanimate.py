"""docs/from-easyanimate.md, followed word for word over a small data set as EasyAnimate's scripts leave it."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from curation_assets.cli import main
from tests import videos
from tests.pipeline.documents import PAGES, blocks
from tests.pipeline.jobs import BARE_SETTINGS, copy_videos, write_settings

PAGE = PAGES["docs/from-easyanimate.md"]
MOTION = {"a_0.mp4": 3.2, "a_1_0.mp4": 0.5, "b_0.mp4": 7.0}
CAPTIONS = {"a_0.mp4": "A caption made elsewhere.", "b_0.mp4": 'Another, with "quotes".'}


def write_rows(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    root = tmp_path / "datasets" / "panda_70m"
    clips = root / "videos_clips"
    pans = {name: videos.pan(speed, 25, (320, 180), 30) for name, speed in {"a_1_0": 3, "b_0": 2}.items()}
    copy_videos(clips / "data", a_0=videos.two_shots(), **pans)
    write_rows(clips / "data" / "meta_file_info.jsonl", [{"video_path": name} for name in MOTION])
    write_rows(
        clips / "meta_consistency_info.jsonl",
        [
            {
                "video_path": "a_0.mp4",
                "similarity_cross_frame": [0.9],
                "similarity_mean": 0.9,
                "sample_frame_idx": [0, 25],
            }
        ],
    )
    write_rows(
        clips / "meta_quality_info_siglip.jsonl",
        [{"video_path": name, "sample_frame_idx": [0, 9], "aesthetic_score_siglip": [4.1, 4.3]} for name in MOTION],
    )
    write_rows(clips / "meta_text_info.jsonl", [{"video_path": name, "text_score": 0.01} for name in MOTION])
    write_rows(
        clips / "meta_motion_info.jsonl",
        [{"video_path": name, "motion_score": value} for name, value in MOTION.items()],
    )
    write_rows(
        root / "meta_caption_info_rewritten.jsonl",
        [{"video_path": name, "caption": text} for name, text in CAPTIONS.items()],
    )
    return tmp_path


def test_clips_scores_and_captions_come_over(data_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data_set)
    monkeypatch.delenv("CURATION_HOME", raising=False)
    monkeypatch.setenv("CURATION_SETTINGS", "")
    join, manifest = blocks("python", PAGE)
    (settings,) = map(yaml.safe_load, blocks("yaml", PAGE))
    settings["clips"]["min_duration_s"] = 0.5  # the test's clips are short
    write_settings(Path("clips.yaml"), {**BARE_SETTINGS, **settings})
    (command,) = re.findall(r"^    \.venv/bin/reelhouse (run clips\.parquet .*)$", PAGE, re.MULTILINE)

    exec(join)
    assert main(shlex.split(command)) == 0
    exec(manifest)

    samples = pl.read_delta(".reelhouse/tables/training_manifest")
    listed = {Path(row["source_uri"]).name: json.loads(row["listing"]) for row in samples.to_dicts()}
    assert {name: columns["motion_score"] for name, columns in listed.items()} == MOTION
    assert listed["a_0.mp4"]["aesthetic_score_siglip"] == [4.1, 4.3]
    assert listed["b_0.mp4"]["similarity_cross_frame"] is None
    written = json.loads(Path("train.json").read_text(encoding="utf-8"))
    assert sorted(row["text"] for row in written) == sorted(CAPTIONS.values())
    assert all(Path(".reelhouse", row["file_path"]).is_file() and row["type"] == "video" for row in written)
