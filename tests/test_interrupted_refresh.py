"""Whatever moment a refresh is killed at, and whoever works beside it, the next one ends with the same rows."""

import multiprocessing
import signal
from collections import Counter
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curation_assets.tables import FRAMES, MOTION_SCORES, SCENES
from resources.errors import InputError
from tests import toy_stages
from tests.toy_stages import BATCH_UNITS, SHARD, Home, frames, motion, put, scene_rows, scenes, some_videos

UNITS = 6
STAGES = (frames(), motion("dis", "farneback"))
KILLED_AT = [
    ("computing", 1),  # before any work
    ("before writing frames", 1),  # a clip's file
    ("after writing frames", 1),
    ("computing", 2),  # within the first batch
    ("before writing staging/frames", 1),
    ("after writing staging/frames", 1),  # the batch's rows of one table are there, of the other not
    ("after writing staging/motion_scores", 1),
    ("computing", 5),
    ("after writing staging/motion_scores", 3),
    ("before commit of frames", 1),
    ("after commit of frames", 1),
    ("before deleting staging/frames", 1),
    ("before deleting staging/frames", 3),  # staging partly cleared
    ("before commit of motion_scores", 1),  # between the tables
    ("after commit of motion_scores", 1),
    ("before deleting staging/motion_scores", 2),
    ("the end", 1),
]


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.toy_stages"])
    return context


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def started(processes: ForkServerContext, function: Any, home: Home, *arguments: Any) -> ForkServerProcess:
    process = processes.Process(target=function, args=(str(home.folder), *arguments))
    process.start()
    return process


def ended(process: ForkServerProcess) -> int | None:
    process.join(60)
    return process.exitcode


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    home = Home(tmp_path_factory.mktemp("undisturbed"))
    put(home.store, some_videos(UNITS))
    home.refresh(home.computer(*STAGES))
    return {table.name: home.results(table) for table in (FRAMES, MOTION_SCORES)}


@pytest.mark.parametrize(("event", "nth"), KILLED_AT)
def test_a_killed_run_loses_at_most_a_batch_and_the_next_ends_with_the_same_rows(
    home: Home, processes: ForkServerContext, undisturbed: dict[str, pl.DataFrame], event: str, nth: int
) -> None:
    put(home.store, some_videos(UNITS))

    killed = started(processes, toy_stages.refresh_until_killed, home, event, nth)
    assert ended(killed) == -signal.SIGKILL
    computer = home.computer(*STAGES)
    reports = home.refresh(computer)

    for table in (FRAMES, MOTION_SCORES):
        assert home.results(table).equals(undisturbed[table.name])
    for report in reports:
        assert report.inputs == report.computed + report.reused + report.failed + report.blocked
    first = Counter((home.folder / "asked").read_text().split())
    twice = {unit for _, unit, _ in computer.asked} & set(first)
    assert len(twice) <= BATCH_UNITS
    assert set(first.values()) == {1}
    assert home.staged() == []
    rows = home.table(FRAMES)
    stored = {
        f"frames/{SHARD}/{path.name}" for path in (home.folder / "frames" / SHARD).iterdir() if path.name[0] != "."
    }
    assert stored == set(rows["frames_path"])

    assert [report.reused for report in home.refresh(home.computer(*STAGES))] == [UNITS, 2 * UNITS]
    assert (home.version(FRAMES), home.version(MOTION_SCORES)) == (1, 1)


def test_a_batch_that_was_damaged_in_staging_is_computed_again(
    home: Home, processes: ForkServerContext, undisturbed: dict[str, pl.DataFrame]
) -> None:
    put(home.store, some_videos(UNITS))
    killed = started(processes, toy_stages.refresh_until_killed, home, "before commit of frames", 1)
    assert ended(killed) == -signal.SIGKILL
    first, second, *_ = sorted((home.folder / "staging").rglob("*.parquet"))
    first.write_bytes(first.read_bytes()[:100])
    second.unlink()
    second.symlink_to("nowhere")

    home.refresh(home.computer(*STAGES))

    for table in (FRAMES, MOTION_SCORES):
        assert home.results(table).equals(undisturbed[table.name])
    assert home.staged() == []


def test_an_undisturbed_process_makes_the_same_rows(
    home: Home, processes: ForkServerContext, undisturbed: dict[str, pl.DataFrame]
) -> None:
    put(home.store, some_videos(UNITS))

    assert ended(started(processes, toy_stages.refresh_until_killed, home, "never", 1)) == 0

    assert home.results(FRAMES).equals(undisturbed["frames"])
    assert home.results(MOTION_SCORES).equals(undisturbed["motion_scores"])


def expected_scenes(videos: dict[str, Any], detector: str) -> list[tuple[str, int, str]]:
    return [
        (name, row["scene_index"], detector)
        for name in sorted(videos)
        for row in scene_rows(videos[name]["frame_count"], detector)
    ]


def test_two_refreshes_of_a_shard_at_once_lose_and_double_nothing(home: Home, processes: ForkServerContext) -> None:
    for number in range(4):
        videos = some_videos(5 + number, 20 + 10 * number)  # every unit changes, one is added
        put(home.store, videos)

        both = [started(processes, toy_stages.refresh_slowly, home, "content", 0.01 * (1 + n)) for n in range(2)]

        assert [ended(process) for process in both] == [0, 0]
        rows = home.table(SCENES).select("video_id", "scene_index", "detector").rows()
        assert rows == expected_scenes(videos, "content")
        assert home.staged() == []


def test_two_refreshes_with_other_settings_end_with_the_rows_of_one(home: Home, processes: ForkServerContext) -> None:
    for number in range(3):
        videos = some_videos(4, 20 + 10 * number)
        put(home.store, videos)

        both = [started(processes, toy_stages.refresh_slowly, home, name, 0.01) for name in ("content", "adaptive")]

        assert [ended(process) for process in both] == [0, 0]
        rows = home.table(SCENES).select("video_id", "scene_index", "detector").rows()
        assert rows in [expected_scenes(videos, name) for name in ("content", "adaptive")]


def test_a_refresh_that_loses_the_race_does_not_compute_twice(home: Home) -> None:
    """Its finished rows stay in hand, and those of the other writer are taken as they are."""
    put(home.store, some_videos(3))
    computer = home.computer(scenes(), v2=InputError("corrupt"))
    others = home.computer(scenes(), v2=None)

    def another_run_commits(unit: str) -> None:
        if unit == "v2" and not others.asked:
            home.refresh(others)

    computer.before_unit = another_run_commits
    (report,) = home.refresh(computer)

    assert [unit for _, unit, _ in computer.asked] == ["v0", "v1", "v2"]
    assert [unit for _, unit, _ in others.asked] == ["v2"]  # v0 and v1 were in staging
    assert (report.reused, report.failures) == (2, [("v2", "corrupt")])


def test_upstream_that_changes_during_a_refresh_is_seen_by_the_next(home: Home) -> None:
    put(home.store, some_videos(3))
    computer = home.computer(scenes())

    def upstream_changes(unit: str) -> None:
        if unit == "v0":
            put(home.store, some_videos(3, 50))

    computer.before_unit = upstream_changes
    home.refresh(computer)
    assert home.table(SCENES).select("video_id", "scene_index", "detector").rows() == expected_scenes(
        some_videos(3), "content"
    )

    home.refresh(home.computer(scenes()))
    assert home.table(SCENES).select("video_id", "scene_index", "detector").rows() == expected_scenes(
        some_videos(3, 50), "content"
    )


def test_a_reader_never_sees_a_row_twice_or_a_shard_half_replaced(home: Home, processes: ForkServerContext) -> None:
    videos = some_videos(8)
    put(home.store, videos)
    home.refresh(home.computer(scenes()))
    allowed = [expected_scenes(videos, name) for name in ("content", "adaptive")]
    location = home.store.location(SCENES.name)

    writer = started(processes, toy_stages.refresh_back_and_forth, home, 24)
    seen: set[str] = set()
    reads = 0
    while writer.is_alive():
        rows = pl.scan_delta(location).select("video_id", "scene_index", "detector").collect()
        assert rows.sort("video_id", "scene_index").rows() in allowed
        seen |= set(rows["detector"])
        reads += 1

    assert ended(writer) == 0
    assert reads > 3
    assert seen == {"content", "adaptive"}
