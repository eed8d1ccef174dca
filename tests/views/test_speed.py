"""Beside its seconds a refresh shows what of them was unavoidable, measured on the work itself."""

import time

import pytest

from curation_assets.clips.detection import detect_scenes
from curation_assets.incremental.committing import Report
from curation_assets.settings import Cuts
from curation_assets.views.speed import LIMITS, speed
from resources.calls import Call, run_call
from resources.media import read_frames
from resources.spent import Spent
from resources.workers import WorkerPool
from tests import videos


def test_cut_detection_shows_decoding_as_its_limit() -> None:
    calls = [
        Call(str(n), "", detect_scenes, {"source": videos.source(path), "video_id": str(n), "cuts": Cuts()})
        for n, path in enumerate((videos.bikes(), videos.two_shots()))
    ]
    spent, started = Spent(), time.monotonic()
    pool = WorkerPool(2, 120, 8 << 30)
    with spent.collected():
        outcomes = [outcome for _, outcome in pool.map(run_call, calls)]
    pool.close()
    assert not any(isinstance(outcome, Exception) for outcome in outcomes)
    seconds = time.monotonic() - started

    shown = speed(Report("scenes", "films-0000", computed=2, seconds=seconds, spent=spent))

    assert shown["limit_is"] == LIMITS["decoding"]
    assert 0 < shown["limit_seconds"] <= shown["seconds"]
    assert shown["share_of_limit"] == pytest.approx(shown["limit_seconds"] / seconds, abs=0.01)
    assert shown["frames_per_second"] == pytest.approx((250 + 90) / seconds, abs=0.01)
    assert shown["video_hours_per_hour"] == pytest.approx((10.0 + 3.6) / seconds, abs=0.1)
    assert "decoding" in shown["seconds_went_into"]
    assert shown["seconds_went_into"].endswith("on 2 workers")


def test_decoding_counts_without_what_is_done_with_the_frames() -> None:
    two_shots = videos.source(videos.two_shots())
    spent, started, away_s = Spent(), time.perf_counter(), 0.0
    with spent.collected():
        for frame in read_frames(two_shots):
            left = time.perf_counter()
            frame.rgb()
            time.sleep(0.001)
            away_s += time.perf_counter() - left

    assert 0 < spent.seconds["decoding"] <= time.perf_counter() - started - away_s


def test_frames_count_as_they_are_taken() -> None:
    spent, bikes = Spent(), videos.source(videos.bikes())
    with spent.collected():
        frames = read_frames(bikes)
        for _ in range(10):
            next(frames)
        frames.close()

    assert spent.counts == {"frames": 10, "video_s": pytest.approx(0.4)}


def test_nothing_computed_shows_seconds_alone() -> None:
    assert speed(Report("scenes", "films-0000", reused=3, seconds=0.25)) == {"seconds": 0.25}


def test_arithmetic_has_rates_and_no_limit() -> None:
    shown = speed(Report("clips", "films-0000", computed=3, recovered=1, seconds=0.5))

    assert shown == {"seconds": 0.5, "units_per_second": 4.0}
