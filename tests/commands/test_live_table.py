"""The live table of `reelhouse run`: what a terminal shows while Dagster's events and the steps' progress come in."""

import io
import logging
import subprocess
import sys
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterEvent, DagsterEventType
from dagster._core.events import AssetMaterializationPlannedData, StepMaterializationData
from dagster._core.execution.plan.objects import StepFailureData, StepSuccessData
from rich.console import Console

from curation_assets.commands.live import Board, in_words, shown
from curation_assets.progress import TERMINAL, Progress
from tests.commands.screen import Screen

ASSETS = ["source_files", "raw_videos", "scenes", "clips", "frames", "motion_scores", "training_manifest"]
STEPS = {"frames": "frames_and_motion", "motion_scores": "frames_and_motion"}
SHARDS = [f"films-{number:04d}" for number in range(200)]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


DATA = {DagsterEventType.STEP_SUCCESS: StepSuccessData(1.0), DagsterEventType.STEP_FAILURE: StepFailureData(None, None)}


def event(kind: DagsterEventType, asset: str, data: Any = None) -> DagsterEvent:
    return DagsterEvent(kind.value, "job", step_key=STEPS.get(asset, asset), event_specific_data=data or DATA.get(kind))


def plan(board: Board) -> None:
    for asset in ASSETS:
        planned = AssetMaterializationPlannedData(dg.AssetKey(asset))
        board.see(event(DagsterEventType.ASSET_MATERIALIZATION_PLANNED, asset, planned))


def materialize(board: Board, asset: str, inputs: int, failed: int = 0) -> None:
    made = dg.AssetMaterialization(asset, metadata={"inputs": inputs, "failed": failed})
    board.see(event(DagsterEventType.ASSET_MATERIALIZATION, asset, StepMaterializationData(made)))


def drawn(board: Board, height: int = 30, width: int = 100) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True)
    console.print(board)
    screen = Screen(width)
    screen.feed(console.file.getvalue())  # type: ignore[attr-defined]
    return [line.rstrip() for line in screen.lines]


def line_of(asset: str, lines: list[str]) -> str:
    return " ".join(next(line for line in lines if line.startswith(f"{asset} ")).split())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    board = Board(clock)
    board.expect(ASSETS)
    plan(board)
    return board


def test_a_line_an_asset_tells_state_units_rate_and_time_left(board: Board, clock: Clock) -> None:
    assert line_of("scenes", drawn(board)) == "scenes waiting"
    next(shards := board.each(SHARDS[:2]))
    board.see(event(DagsterEventType.STEP_START, "scenes"))
    clock.now = 4.0
    assert line_of("scenes", drawn(board)) == "scenes running 4 s 0/2"
    progress = Progress(lambda _: None, "scenes films-0000")
    progress._started -= 4.0  # s ago
    with_pace = logging.Logger("reelhouse")
    with_pace.addFilter(board.takes)
    for record in records_of(progress, 20, 100):
        assert not with_pace.filter(record), "shown in the table, not above it"
    assert line_of("scenes", drawn(board)) == "scenes running 20/100 5.0/s 16 s left 0/2"
    clock.now = 21.0
    materialize(board, "scenes", inputs=120, failed=3)
    board.see(event(DagsterEventType.STEP_SUCCESS, "scenes"))
    assert line_of("scenes", drawn(board)) == "scenes done, 3 failed 120/120 5.0/s 21 s 1/2"
    assert drawn(board)[-1] == "films-0000, shard 1 of 2 · 3 failed · 21 s gone"
    next(shards)
    assert line_of("scenes", drawn(board)) == "scenes waiting 1/2"
    assert drawn(board)[-1] == "films-0001, shard 2 of 2 · 3 failed · 21 s gone · about 21 s left"


def records_of(progress: Progress, done: int, total: int) -> list[logging.LogRecord]:
    """What the steps' progress sends to the terminal."""
    found: list[logging.LogRecord] = []
    keep = logging.Handler()
    keep.emit = found.append  # type: ignore[method-assign]
    TERMINAL.addHandler(keep)
    level, TERMINAL.level = TERMINAL.level, logging.DEBUG
    try:
        progress(done, total)
    finally:
        TERMINAL.removeHandler(keep)
        TERMINAL.level = level
    return found


def test_assets_of_one_step_run_and_fail_together(board: Board) -> None:
    next(board.each(SHARDS[:1]))
    board.see(event(DagsterEventType.STEP_START, "frames"))
    lines = drawn(board)
    assert line_of("frames", lines).startswith("frames running")
    assert line_of("motion_scores", lines).startswith("motion_scores running")
    materialize(board, "frames", inputs=5)
    board.see(event(DagsterEventType.STEP_FAILURE, "frames"))
    lines = drawn(board)
    assert line_of("frames", lines).startswith("frames failed")
    assert line_of("motion_scores", lines).startswith("motion_scores failed")


@pytest.mark.parametrize(("height", "width"), [(24, 80), (8, 60), (5, 40), (3, 30)])
def test_200_shards_fit_a_small_screen(board: Board, clock: Clock, height: int, width: int) -> None:
    for number, _ in enumerate(board.each(SHARDS)):
        for asset in (asset for asset in ASSETS[1:] if asset != "motion_scores"):
            board.see(event(DagsterEventType.STEP_START, asset))
            clock.now += 1.5
            lines = drawn(board, height, width)
            assert len(lines) <= height
            assert max(map(len, lines)) <= width
            assert any(line.startswith(asset[:4]) for line in lines[1:-1]), "the asset at work is in sight"
            board.see(event(DagsterEventType.STEP_SUCCESS, asset))
        if number == 9:
            break
    assert drawn(board)[-1] == "films-0009, shard 10 of 200 · 1 min 15 s gone · about 23 min 45 s left"


def test_messages_stand_above_the_table_which_leaves_nothing_behind(board: Board) -> None:
    out = io.StringIO()
    console = Console(file=out, width=100, height=30, force_terminal=True)
    handler = logging.Handler()
    handler.emit = lambda record: console.print(record.getMessage())  # type: ignore[method-assign]
    TERMINAL.handlers = [handler]
    with shown(board, console):
        for shard in board.each(["films-0000"]):
            board.see(event(DagsterEventType.STEP_START, "scenes"))
            TERMINAL.info("the server is starting")
            Progress(lambda _: None, f"scenes {shard}", every_s=0.0)(1, 2)
    screen = Screen(100)
    screen.feed(out.getvalue())
    assert [line for line in screen.lines if line.strip()] == ["the server is starting"]
    assert not screen.cursor_is_hidden
    assert TERMINAL.level == logging.INFO


def test_a_dumb_terminal_and_a_file_get_no_table(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    for console in (Console(file=io.StringIO(), force_terminal=True), Console(file=io.StringIO())):
        with shown(board, console):
            board.see(event(DagsterEventType.STEP_START, "scenes"))
        assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_what_a_step_prints_stays_out_of_the_document_that_follows() -> None:
    code = (
        "from rich.console import Console; from curation_assets.commands.live import Board, shown\n"
        "with shown(Board(), Console(stderr=True)): print('a step')\n"
        "print('the document')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "the document\n"


def test_durations_in_words() -> None:
    assert [in_words(s) for s in (0, 59.4, 61, 3599, 3600, 90000)] == [
        *("0 s", "59 s", "1 min 1 s", "59 min 59 s", "1 h 0 min", "25 h 0 min"),
    ]
