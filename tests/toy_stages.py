"""Stages whose computation is trivial, over real tables, and processes that refresh them and die on the way."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable

from curation_assets.incremental.committing import Report
from curation_assets.incremental.context import Context
from curation_assets.incremental.refresh import refresh
from curation_assets.incremental.stage import NO_ENGINE, Stage, blocked_by
from curation_assets.incremental.work import Done, Work
from curation_assets.tables import FRAMES, MOTION_SCORES, RAW_VIDEOS, SCENES, Row, Table
from resources.delta_store import DeltaStore
from resources.files import Files

SHARD = "films-0000"
SCENE_FRAMES = 10
BATCH_UNITS = 2
READS = {"raw_videos": ["video_id", "source_uri", "frame_count", "missing"]}


def video(frame_count: int = 20, **columns: Any) -> Row:
    """A probed video; one scene every ten frames."""
    return {"frame_count": frame_count, "missing": False, **columns}


def put(store: DeltaStore, videos: Mapping[str, Row], shard: str = SHARD, table: Table = RAW_VIDEOS) -> int:
    """Make `videos` the shard's rows of an upstream table."""
    made = [
        {**dict.fromkeys(table.schema), "source_uri": f"/films/{name}.mp4", **columns, "video_id": name, "shard": shard}
        for name, columns in videos.items()
    ]
    handle = store.open(table.name, table.schema)
    return store.replace(handle, pl.DataFrame(made, schema=table.schema, orient="row"), shard, {})


def some_videos(count: int, frame_count: int = 20) -> dict[str, Row]:
    return {f"v{number}": video(frame_count + SCENE_FRAMES * (number % 3)) for number in range(count)}


def videos_as(unit: str) -> Callable[[Mapping[str, pl.DataFrame]], pl.DataFrame]:
    """The videos as units; `missing` ones are kept but not computed."""

    def units(reads: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        return reads["raw_videos"].select(
            pl.col("video_id").alias(unit),
            "source_uri",
            "frame_count",
            blocked_by("raw_videos"),
            wanted=~pl.col("missing"),
        )

    return units


def scenes(**changes: Any) -> Stage:
    """Several rows a unit, no engines."""
    values: dict[str, Any] = {
        "table": SCENES,
        "unit": "video_id",
        "reads": READS,
        "units": videos_as("video_id"),
        "version": "1",
        "settings": {"detector": "content"},
        "not_data": frozenset({"source_uri"}),
    }
    return Stage(**values | changes)


def frames(**changes: Any) -> Stage:
    """One row a unit, with a file."""
    values: dict[str, Any] = {
        "table": FRAMES,
        "unit": "clip_id",
        "reads": READS,
        "units": videos_as("clip_id"),
        "version": "1",
        "settings": {"jpeg_quality": 92},
        "not_data": frozenset({"source_uri"}),
        "file": ("frames_path", "frames_size_bytes"),
    }
    return Stage(**values | changes)


def motion(*engines: str, **changes: Any) -> Stage:
    """One row a unit and engine."""
    values: dict[str, Any] = {
        "table": MOTION_SCORES,
        "unit": "clip_id",
        "reads": READS,
        "units": videos_as("clip_id"),
        "version": "1",
        "engines": {engine: {"side": 320} for engine in engines or ("dis",)},
        "not_data": frozenset({"source_uri"}),
    }
    return Stage(**values | changes)


@dataclass
class Computer:
    """Computes toy rows and notes what it was asked for; can be told to fail."""

    stages: tuple[Stage, ...]
    files: Files
    outcomes: dict[str, Exception | None] = field(default_factory=dict)  # unit -> what it ends in; None: no answer
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # table, unit, engine
    before_unit: Callable[[str], None] = lambda unit: None

    def __call__(self, work: list[Work]) -> Iterator[Done]:
        for unit in work:
            self.before_unit(unit.unit)
            for stage in self.stages:
                for engine in unit.wanted.get(stage.table.name, ()):
                    self.asked.append((stage.table.name, unit.unit, engine))
                    outcome = self.outcomes.get(unit.unit, self.rows(stage, unit, engine))
                    if outcome is not None:
                        yield Done(unit.unit, outcome, engine, stage.table.name)

    def rows(self, stage: Stage, unit: Work, engine: str) -> list[Row]:
        if stage.table is SCENES:
            return scene_rows(unit.values["frame_count"], stage.settings["detector"])
        if stage.table is FRAMES:
            return [self._frames_row(stage, unit)]
        return [{"motion_score": float(unit.values["frame_count"]), "revision": stage.version, "unit": engine}]

    def _frames_row(self, stage: Stage, unit: Work) -> Row:
        made_of = unit.fingerprints[FRAMES.name, NO_ENGINE][:8]
        path = f"frames/{unit.shard}/{unit.unit}-{made_of}.zip"
        data = bytes(unit.values["frame_count"])
        self.files.write(path, data)
        quality = stage.settings["jpeg_quality"]
        return {"frame_indices": [0, quality], "frames_path": path, "frames_size_bytes": len(data)}


def scene_rows(frame_count: int, detector: str) -> list[Row]:
    starts = range(0, frame_count, SCENE_FRAMES)
    return [
        {"scene_index": index, "start_frame": start, "end_frame": start + SCENE_FRAMES, "detector": detector}
        for index, start in enumerate(starts)
    ]


class Home:
    """Tables and files under a folder, refreshed by runs."""

    def __init__(self, folder: Path, store: type[DeltaStore] = DeltaStore, files: type[Files] = Files) -> None:
        self.folder = folder
        self.store = store(str(folder))
        self.files = files(str(folder))
        self.runs = 0

    def computer(self, *stages: Stage, **outcomes: Exception | None) -> Computer:
        return Computer(stages, self.files, outcomes)

    def context(self, retry_failed: bool = False) -> Context:
        self.runs += 1
        return Context(
            self.store, self.files, f"run-{os.getpid()}-{self.runs}", BATCH_UNITS, 3600, retry_failed=retry_failed
        )

    def refresh(self, computer: Computer, shard: str = SHARD, retry_failed: bool = False) -> list[Report]:
        return refresh(computer.stages, shard, computer, self.context(retry_failed))

    def table(self, table: Table, shard: str = SHARD) -> pl.DataFrame:
        handle = self.store.open(table.name, table.schema)
        return self.store.read(handle, list(table.schema), shard).sort(*table.key, "input_fingerprint", nulls_last=True)

    def results(self, table: Table, shard: str = SHARD) -> pl.DataFrame:
        """The rows without what may differ between runs."""
        return self.table(table, shard).drop("run_id", "computed_at")

    def version(self, table: Table) -> int:
        return int(self.store.open(table.name, table.schema).version())

    def staged(self) -> list[str]:
        return sorted(str(path.name) for path in (self.folder / "staging").rglob("*") if path.is_file())


class KillPoint:
    """Kills this process by SIGKILL when an event happens for the n-th time."""

    def __init__(self, event: str, nth: int) -> None:
        self._event = event
        self._nth = nth
        self._seen: Counter[str] = Counter()

    def __call__(self, event: str) -> None:
        self._seen[event] += 1
        if event == self._event and self._seen[event] == self._nth:
            os.kill(os.getpid(), signal.SIGKILL)


def refresh_until_killed(folder: str, event: str, nth: int) -> None:
    """Refresh frames and motion scores together; note each unit asked for, and die at the n-th `event`."""
    reach = KillPoint(event, nth)

    class ReportingStore(DeltaStore):
        def replace(self, handle: DeltaTable, rows: pl.DataFrame, shard: str | None, note: Mapping[str, str]) -> int:
            name = handle.table_uri.rstrip("/").rpartition("/")[2]
            reach(f"before commit of {name}")
            version = super().replace(handle, rows, shard, note)
            reach(f"after commit of {name}")
            return version

    class ReportingFiles(Files):
        def write(self, relative: str, data: bytes) -> None:
            kind = _kind(relative)
            reach(f"before writing {kind}")
            super().write(relative, data)
            reach(f"after writing {kind}")

        def delete(self, relative: str) -> None:
            reach(f"before deleting {_kind(relative)}")
            super().delete(relative)

    home = Home(Path(folder), ReportingStore, ReportingFiles)
    computer = home.computer(frames(), motion("dis", "farneback"))
    log = Path(folder) / "asked"

    def before_unit(unit: str) -> None:
        with log.open("a") as file:
            file.write(f"{unit}\n")
        reach("computing")

    computer.before_unit = before_unit
    home.refresh(computer)
    reach("the end")


def _kind(relative: str) -> str:
    """staging/frames, staging/motion_scores, or frames for a clip's file."""
    return relative.rpartition("/")[0].removesuffix(f"/{SHARD}")


def refresh_slowly(folder: str, detector: str, pause_s: float) -> None:
    home = Home(Path(folder))
    computer = home.computer(scenes(settings={"detector": detector}))
    computer.before_unit = lambda unit: time.sleep(pause_s)
    home.refresh(computer)


def refresh_back_and_forth(folder: str, rounds: int) -> None:
    """Replace every row of the shard again and again, by another detector's."""
    home = Home(Path(folder))
    for number in range(rounds):
        home.refresh(home.computer(scenes(settings={"detector": ("content", "adaptive")[number % 2]})))
