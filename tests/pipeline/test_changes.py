"""What a change makes the product do again, in exact numbers, and that it does nothing else.

A row computed in `scenes` is a full decode of a video, one in `frames` or `motion_scores` a decode of a clip, one
in `clip_files` an encode, one in a score or caption table a call of its engine. That nothing else opens a video is
shown by taking the films away after registration: what then needs one fails.
"""

import os
import shutil
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from tests import videos
from tests.pipeline.jobs import SETTINGS, Job, Session, changed
from tests.stand_in_server import completion, stand_in_server

VIDEOS, CLIPS, SAMPLES = 3, 8, 7  # of the finished job: bikes has 5 samples, two_shots 2, grey a clip that is dropped

Computed = dict[str, int]

ONE_NEW_VIDEO_OF_ONE_CLIP: Computed = dict.fromkeys(
    (
        "source_files", "raw_videos", "scenes", "clips", "frames", "motion_scores", "semantic_scores",
        "technical_scores", "text_scores", "clip_selection", "captions", "rewritten_captions", "alignment_scores",
        "sample_selection", "clip_files", "training_manifest",
    ),
    1,
)  # fmt: skip


def refresh_without_films(job: Job, settings: Mapping[str, Any], but: tuple[str, ...] = ()) -> Session:
    """Register the films, take all `but` some away, refresh every asset, release, and put them back."""
    aside = job.root / "aside"
    with job.session(settings) as session:
        assert session.register()
        job.films.rename(aside)
        job.films.mkdir()
        for name in but:
            (aside / name).rename(job.films / name)
        session.refresh()
        session.release()
    for name in but:
        (job.films / name).rename(aside / name)
    job.films.rmdir()
    aside.rename(job.films)
    return session


def assert_computed(session: Session, expected: Computed) -> None:
    """Exactly these, without a failure; the size of a new release beside them is the manifest's."""
    computed = session.computed()
    computed.pop("training_set", None)
    assert session.outcome.step_failures == []
    assert {asset: counts.failed for asset, counts in session.counts().items() if counts.failed} == {}
    assert computed == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param(
            {"execution": {"workers": 1, "batch_units": 1}, "cuts__adaptive_threshold": 4.0},
            {},
            id="workers-and-threshold-of-another-detector",
        ),
        pytest.param({"text__min_confidence": 0.9}, {"text_scores": CLIPS}, id="text-confidence-without-text"),
        pytest.param({"training_set__trainer": {"stride": 1}}, {"training_manifest": SAMPLES}, id="trainer"),
        pytest.param({"clips__min_duration_s": 0.9}, {"clips": VIDEOS}, id="span-rule-that-moves-nothing"),
    ],
)
def test_settings_that_need_no_video(job: Job, settings: dict[str, Any], expected: Computed) -> None:
    assert_computed(refresh_without_films(job, changed(SETTINGS, **settings)), expected)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param(
            {"cuts__content_threshold": 26.0},  # the same cuts are found, so nothing follows
            {"scenes": VIDEOS},
            id="cut-threshold",
        ),
        pytest.param(
            {"motion__engines": ["dis", "farneback"]},
            {"motion_scores": CLIPS, "clip_selection": CLIPS},
            id="second-motion-engine",
        ),
        pytest.param(
            {"clip_files__crf": 30}, {"clip_files": SAMPLES, "training_manifest": SAMPLES}, id="clip-encoding"
        ),
    ],
)
def test_settings_that_need_the_videos(job: Job, settings: dict[str, Any], expected: Computed) -> None:
    after = changed(SETTINGS, **settings)
    if "motion__engines" in settings:
        after["selection"]["motion"] = {"farneback": {"min": 0.0, "max": 1000.0}}
    assert_computed(job.run(after), expected)


def test_motion_sampling_decodes_clips_and_keeps_frames_and_files(job: Job) -> None:
    computed = job.run(changed(SETTINGS, motion__dis={"pairs_per_s": 4.0})).computed()
    assert computed["motion_scores"] == computed["clip_selection"] == CLIPS
    assert computed["captions"] == SAMPLES, "a caption of facts says how much moves"
    assert computed["training_manifest"] == SAMPLES
    untouched = {"source_files", "raw_videos", "scenes", "clips", "frames", "text_scores", "clip_files"}
    assert untouched.isdisjoint(computed)


def test_taking_the_films_away_shows_what_opens_them(job: Job) -> None:
    """The check that the other tests rely on: a refresh that needs a video does fail without it."""
    session = refresh_without_films(job, changed(SETTINGS, cuts__content_threshold=26.0))
    assert session.counts()["scenes"].failed == VIDEOS
    assert session.outcome.step_failures


def test_threshold_tightened_and_loosened(job: Job) -> None:
    samples = job.table("training_manifest")
    paid = {name: job.table(name) for name in ("captions", "rewritten_captions", "alignment_scores", "clip_files")}
    tight = changed(SETTINGS, selection__motion={"dis": {"min": 5.0}})
    tightened = refresh_without_films(job, tight)
    assert_computed(tightened, {"clip_selection": CLIPS})
    kept = job.table("training_manifest")
    assert kept.height == 4
    assert kept["motion_score"].to_list() == samples.filter(pl.col("motion_score") >= 5.0)["motion_score"].to_list()
    for name, rows in paid.items():
        assert job.table(name).equals(rows), f"{name}: rows of paid stages outlive the decision"

    loosened = refresh_without_films(job, SETTINGS)
    assert_computed(loosened, {"clip_selection": CLIPS, "sample_selection": 3, "training_manifest": 3})
    data = [name for name in samples.columns if name not in ("run_id", "computed_at")]
    assert job.table("training_manifest").select(data).equals(samples.select(data))
    assert [row["samples"] for row in job.table("training_set").sort("computed_at").to_dicts()] == [7, 4, 7]


def test_caption_engine_and_prompt(job: Job) -> None:
    files = job.table("clip_files")
    with stand_in_server(lambda _: (200, completion("A street with people."))) as server:
        chat = {"base_url": server.url, "model": "stand-in"}
        by_model = changed(SETTINGS, captions={"engine": "chat", "chat": chat})
        worded = dict.fromkeys(
            ("captions", "rewritten_captions", "alignment_scores", "sample_selection", "training_manifest"), SAMPLES
        )
        assert_computed(refresh_without_films(job, by_model), worded)
        assert len(server.received) == SAMPLES
        assert set(job.table("training_manifest")["text"]) == {"A street with people."}

        other_prompt = changed(by_model, captions__prompt="What is shown?")
        assert_computed(refresh_without_films(job, other_prompt), {"captions": SAMPLES})
        assert len(server.received) == 2 * SAMPLES, "the same answers, so nothing follows"

        elsewhere = changed(other_prompt, captions__chat={**chat, "request_timeout_s": 30.0, "concurrency": 2})
        assert_computed(refresh_without_films(job, elsewhere), {})
        assert len(server.received) == 2 * SAMPLES, "no caption is paid for twice"
    assert job.table("clip_files").equals(files)


def test_video_added(job: Job) -> None:
    shutil.copy(videos.street(), job.films / "street.mp4")
    assert_computed(refresh_without_films(job, SETTINGS, but=("street.mp4",)), ONE_NEW_VIDEO_OF_ONE_CLIP)
    assert job.table("training_manifest").height == SAMPLES + 1


def test_renamed_and_moved_videos_are_the_same_videos(job: Job) -> None:
    videos_before = job.table("raw_videos").select("video_id", "frame_count")
    renamed, moved = job.films / "Fahrräder [1] $HOME.mp4", job.films / "more" / "two_shots.mp4"
    moved.parent.mkdir()
    (job.films / "bikes.mp4").rename(renamed)
    (job.films / "two_shots.mp4").rename(moved)
    loss_allowed = changed(SETTINGS, shards__max_lost_share=0.9)
    # Hashing tells that they are known; the manifest's rows follow because they name the file.
    assert_computed(refresh_without_films(job, loss_allowed), {"source_files": 2, "training_manifest": SAMPLES})
    assert job.table("raw_videos").select("video_id", "frame_count").equals(videos_before)
    assert dict(job.table("training_manifest")["source_uri"].value_counts().iter_rows()) == {
        str(renamed): 5,
        str(moved): 2,
    }


def test_touched_or_copied_video_is_hashed_and_nothing_more(job: Job) -> None:
    os.utime(job.films / "bikes.mp4")
    shutil.copy(job.films / "two_shots.mp4", job.films / "zzz.mp4")
    assert_computed(refresh_without_films(job, SETTINGS), {"source_files": 2})
    assert job.table("source_files").height == VIDEOS + 1
    assert job.table("training_manifest").height == SAMPLES


def test_replaced_video(job: Job) -> None:
    shutil.copy(videos.street(), job.films / "two_shots.mp4")
    assert_computed(refresh_without_films(job, SETTINGS, but=("two_shots.mp4",)), ONE_NEW_VIDEO_OF_ONE_CLIP)
    files = job.table("source_files").filter(path="two_shots.mp4").sort("missing")
    assert files["missing"].to_list() == [False, True]
    manifest = job.table("training_manifest").filter(pl.col("source_uri").str.ends_with("two_shots.mp4"))
    assert manifest["video_id"].to_list() == [files["video_id"][0]]


def test_removed_video_leaves_the_manifest_at_once_and_comes_back_for_nothing(job: Job) -> None:
    manifest = job.table("training_manifest")
    rows = {name: job.table(name).height for name in job.versions() if name not in ("training_set", "prompts")}
    (job.films / "bikes.mp4").rename(job.root / "bikes.mp4")
    assert_computed(refresh_without_films(job, SETTINGS), {})
    assert {row["source_uri"] for row in job.table("training_manifest").to_dicts()} == {
        str(job.films / "two_shots.mp4")
    }
    assert {name: job.table(name).height for name in rows} == {**rows, "training_manifest": 2}

    (job.root / "bikes.mp4").rename(job.films / "bikes.mp4")
    assert_computed(refresh_without_films(job, SETTINGS), {"source_files": 1, "training_manifest": 5})
    data = [name for name in manifest.columns if name not in ("run_id", "computed_at")]
    assert job.table("training_manifest").select(data).equals(manifest.select(data))


def test_lost_file_of_a_row_is_made_again_and_nothing_else(job: Job) -> None:
    path = job.table("clip_files")["file_path"][0]
    (job.home / path).unlink()
    before = job.versions()
    assert_computed(job.run(SETTINGS), {"clip_files": 1})
    assert (job.home / path).is_file()
    changed_tables = {name for name, version in job.versions().items() if version != before[name]}
    assert changed_tables == {"clip_files"}
