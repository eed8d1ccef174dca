"""Unsafe content and watermarks in a job: tables, filters and manifest columns that are there while they are on."""

import polars as pl
import pytest

from curation_assets.definitions import video_stages
from curation_assets.settings import parse_settings
from tests import images, videos
from tests.moving_camera import Moves, film
from tests.pipeline.jobs import BARE_SETTINGS, Job, changed, copy_videos

ON = changed(BARE_SETTINGS, safety__engines=["opennsfw"], watermark__engines=["static_overlay"])
TABLES = {"safety_scores", "watermark_scores"}
BOXES = (200, 12, 80, 36), (212, 20, 30, 20)  # of the mark: left, top, width, height


@pytest.fixture(scope="module")
def off(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A finished job of a film, the same with a mark over it, and an image; neither engine is on."""
    job = Job(tmp_path_factory.mktemp("screening"))
    plain = film(Moves(pan=10), frames=50)
    drawn = ",".join(f"drawbox=x={x}:y={y}:w={w}:h={h}:color=white@0.8:t=3" for x, y, w, h in BOXES)
    marked = videos.ffmpeg("marked.mp4", "-i", str(plain), "-vf", drawn, *videos.LOSSLESS)
    copy_videos(job.films, plain=plain, marked=marked)
    images.plain_png(job.films / "picture.png")
    with job.session(BARE_SETTINGS) as session:
        assert session.register()
        assert session.refresh(sorted(session.partitioned()))
    return job


def by_path(job: Job, table: str) -> dict[str, dict[str, object]]:
    videos_ = job.table("raw_videos").select("path", "video_id")
    rows = job.table(table).with_columns(video_id=pl.col("clip_id").str.head(16)).join(videos_, on="video_id")
    return {row["path"]: row for row in rows.to_dicts()}


def test_they_are_neither_made_nor_read_while_they_are_off(off: Job) -> None:
    stages = {stage.table.name: stage for stage in video_stages(parse_settings(BARE_SETTINGS, "x.yaml"))}
    assert not TABLES & stages.keys()
    assert not any(TABLES & stage.reads.keys() for stage in stages.values())
    assert not TABLES & off.versions().keys()
    assert off.table("training_manifest").select("safety_score", "watermark_score").null_count().row(0) == (3, 3)


def test_switched_on_they_score_and_filter_and_all_else_is_reused(off: Job) -> None:
    with off.session(ON) as session:
        assert session.register()
        assert session.refresh(sorted(session.partitioned()))
    assert session.computed() == {
        "safety_scores": 3,
        "watermark_scores": 2,
        "clip_selection": 3,
        "training_manifest": 2,
    }
    safety, watermark = by_path(off, "safety_scores"), by_path(off, "watermark_scores")
    assert all(row["safety_score"] > 0.8 for row in safety.values())
    assert [len(safety[name]["frame_scores"]) for name in ("plain.mp4", "picture.png")] == [9, 1]
    assert watermark.keys() == {"plain.mp4", "marked.mp4"}, "an image has no frames to compare"
    assert (watermark["plain.mp4"]["watermark_score"], watermark["plain.mp4"]["watermark_box"]) == (0.0, None)
    assert watermark["marked.mp4"]["watermark_box"] == pytest.approx(list(BOXES[0]), abs=6)

    decided = by_path(off, "clip_selection")
    assert [decided[name]["reasons"] for name in ("plain.mp4", "picture.png")] == [[], []]
    (reason,) = decided["marked.mp4"]["reasons"]
    assert reason.startswith("watermark: 0.0")
    assert reason.endswith("(static_overlay, share of the picture)")
    samples = by_path(off, "training_manifest")
    assert samples.keys() == {"plain.mp4", "picture.png"}
    for name, row in samples.items():
        assert row["safety_score"] == safety[name]["safety_score"]
    assert (samples["plain.mp4"]["watermark_score"], samples["picture.png"]["watermark_score"]) == (0.0, None)


def test_a_clip_below_the_bound_or_without_a_score_is_left_out(off: Job) -> None:
    """There is no unsafe film: a row says that one is."""
    with off.session(ON) as session:
        assert session.register()
        assert session.refresh(sorted(session.partitioned()))
        plain = by_path(off, "safety_scores")["plain.mp4"]["clip_id"]
        said = pl.when(pl.col("clip_id") == plain).then(0.19)
        off.edit("safety_scores", safety_score=said.otherwise(pl.lit(None, pl.Float64)))
        assert session.refresh(["clip_selection"])
    decided = by_path(off, "clip_selection")
    assert decided["plain.mp4"]["reasons"] == ["safety: 0.19 is below the minimum 0.2 (opennsfw, probability)"]
    assert decided["picture.png"]["reasons"] == ["safety: not scored: safety_score of opennsfw is null"]


def test_switched_off_again_the_manifest_is_as_it_was(off: Job) -> None:
    with off.session(BARE_SETTINGS) as session:
        assert session.register()
        assert session.refresh(sorted(session.partitioned()))
    samples = off.table("training_manifest")
    assert samples.height == 3
    assert samples.select("safety_score", "watermark_score").null_count().row(0) == (3, 3)
