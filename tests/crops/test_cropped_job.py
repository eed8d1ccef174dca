"""A film that was left out for its bars is trained on without them; what has no bars isn't computed again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest

from curation_assets.commands.trace import lines
from curation_assets.home import open_home
from curation_assets.inspection.lookup import find_item
from curation_assets.inspection.trace import trace
from resources.media import read_frames
from resources.pictures import cropped
from tests import videos
from tests.crops import films
from tests.pipeline.jobs import BARE_SETTINGS, Job, Session, changed, copy_videos, same_results

WHOLE = changed(
    BARE_SETTINGS, technical__engines=["opencv"], selection={"technical": {"opencv": {"sharpness": {"min": 20.0}}}}
)
CROPPED = changed(WHOLE, crop={"borders": True})
TABLES = ("technical_scores", "clip_selection", "sample_selection", "captions", "clip_files", "training_manifest")

Tables = dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Runs:
    """A letterboxed film and one without bars: the tables without cropping, with it, and without it again."""

    job: Job
    before: Tables
    cropping: Session
    story: list[str]
    file_frame: np.ndarray
    after: Tables
    again: Tables


def refreshed(job: Job, settings: Mapping[str, Any]) -> Session:
    with job.session(settings) as session:
        assert session.register()
        assert session.refresh(), session.outcome.step_failures
    return session


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    job = Job(tmp_path_factory.mktemp("crop"))
    copy_videos(job.films, barred=films.letterboxed(), plain=videos.street())
    refreshed(job, WHOLE)
    before = {name: job.table(name) for name in TABLES}
    cropping = refreshed(job, CROPPED)
    after = {name: job.table(name) for name in (*TABLES, "clip_crops")}
    home = open_home(str(job.home))
    barred = after["clip_crops"].drop_nulls("crop_box").item(0, "clip_id")
    story = lines(trace(home, find_item(home.store, barred)))
    made = after["clip_files"].row(by_predicate=pl.col("clip_id") == barred, named=True)
    frame = next(iter(read_frames(videos.source(job.home / made["file_path"])))).rgb()
    refreshed(job, WHOLE)
    return Runs(job, before, cropping, story, frame, after, {name: job.table(name) for name in TABLES})


def row_of(tables: Tables, table: str, runs: Runs, film: str) -> dict[str, Any] | None:
    """The row of a film's one clip."""
    video_id = runs.job.table("source_files").row(by_predicate=pl.col("path") == film, named=True)["video_id"]
    rows = tables[table].filter(pl.col("clip_id").str.starts_with(video_id)).to_dicts()
    return rows[0] if rows else None


def test_the_film_that_was_dropped_for_its_borders_is_selected_without_them(runs: Runs) -> None:
    before = row_of(runs.before, "clip_selection", runs, "barred.mp4")
    after = row_of(runs.after, "clip_selection", runs, "barred.mp4")
    assert before is not None
    assert after is not None
    assert any(reason.startswith("border_share: ") for reason in before["reasons"])
    assert after["selected"]
    scores = row_of(runs.after, "technical_scores", runs, "barred.mp4")
    assert scores is not None
    assert scores["border_share"] == 0.0


def test_scores_file_and_sample_name_the_box_and_trace_tells_it(runs: Runs) -> None:
    crop = row_of(runs.after, "clip_crops", runs, "barred.mp4")
    assert crop is not None
    left, top, width, height = box = crop["crop_box"]
    assert (left, width) == (0, 320)
    assert 40 <= top <= 44
    assert 216 <= top + height <= 220
    assert crop["reason"] == "letterbox"
    for table in ("technical_scores", "clip_files", "training_manifest"):
        cropped_row, whole_row = (row_of(runs.after, table, runs, f"{film}.mp4") for film in ("barred", "plain"))
        assert cropped_row is not None
        assert whole_row is not None
        assert cropped_row["crop_box"] == box, table
        assert whole_row["crop_box"] is None, table
    sample = row_of(runs.after, "training_manifest", runs, "barred.mp4")
    assert sample is not None
    assert (sample["width"], sample["height"]) == (width, height)
    (told,) = (line for line in runs.story if "letterbox" in line)
    assert told.startswith(f"  {width}x{height} px from {left},{top} on, {crop['area_share']:.3f} of it")


def test_the_file_shows_the_box_of_the_source(runs: Runs) -> None:
    crop = row_of(runs.after, "clip_crops", runs, "barred.mp4")
    assert crop is not None
    shown = cropped(next(iter(read_frames(videos.source(films.letterboxed())))).rgb(), crop["crop_box"])
    assert runs.file_frame.shape == shown.shape
    assert 10 * np.log10(255**2 / np.mean((runs.file_frame.astype(float) - shown) ** 2)) > 33


def test_what_is_not_cropped_is_not_computed_again(runs: Runs) -> None:
    made_again = {name: counts for name, counts in runs.cropping.counts().items() if counts.inputs}
    assert made_again["clip_crops"].computed == 2
    for name in TABLES[1:]:
        assert (made_again[name].computed, made_again[name].reused) == (1, made_again[name].inputs - 1), name
    for name in ("frames", "clips", "scenes"):
        assert made_again[name].computed == 0, name
    for name in TABLES:
        assert row_of(runs.before, name, runs, "plain.mp4") == row_of(runs.after, name, runs, "plain.mp4"), name


def test_switched_off_again_the_clip_is_judged_whole_and_what_was_paid_for_stays(runs: Runs) -> None:
    for name in ("technical_scores", "clip_selection", "training_manifest"):
        assert same_results(name, runs.before[name], runs.again[name]), name
    for name in ("captions", "clip_files"):
        assert same_results(name, runs.after[name], runs.again[name]), name
