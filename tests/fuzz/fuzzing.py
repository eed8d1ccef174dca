"""Feeds damaged videos to probing, detection and sampling as the assets run them, in worker processes with limits."""

import contextlib
import math
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from curation_assets.clips.detection import detect_scenes
from curation_assets.clips.spans import cut_spans
from curation_assets.frames.motion_engines import motion_engines
from curation_assets.frames.storing import ClipSampler, ClipTask, SampledClip
from curation_assets.raw_videos.probing import probe_video
from curation_assets.settings import Clips, Cuts, DisMotion, Frames, Motion, RawVideos
from curation_assets.tables import CLIPS, FRAMES, MOTION_SCORES, RAW_VIDEOS, SCENES, Table
from resources.calls import Call, Row, run_call
from resources.errors import InputError, TransientError
from resources.files import Files
from resources.media import VideoSource
from resources.pictures import unpack_pictures
from resources.runs import map_runs
from resources.workers import WorkerPool
from tests.fuzz.mutators import mutate
from tests.fuzz.seeds import seeds

LIMITS = RawVideos(max_pixels=1 << 20)
CUTS = Cuts()
CLIPS_OF = Clips(min_source_area_px=1, min_duration_s=0.1, end_trim_s=0.0)
PICTURES = Frames(longest_side_px=64)
MOTION = Motion(engines=("dis", "farneback"), dis=DisMotion(longest_side_px=64))

ITEM_TIMEOUT_S = 20.0
ITEM_MEMORY_BYTES = 3 << 30  # of address space, of which the libraries take most
BATCH = 50
CLIPS_SAMPLED = 2
LONGEST_MESSAGE = 2000
LOST = ("worker process died", "took longer", "more memory", "transient failure")

Outcome = list[Row] | Row | Exception


@dataclass
class FuzzReport:
    """`ended`: mutants by how far they came and what stopped them; `problems`: what must never happen."""

    files: int = 0
    seconds: float = 0.0
    ended: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.files} files in {self.seconds:.0f} s"]
        lines += [f"  {count:6} {name}" for name, count in self.ended.most_common()]
        lines += [f"  PROBLEM {problem}" for problem in self.problems]
        return "\n".join(lines)


@dataclass
class _Mutant:
    """A damaged file, what was done to it, and the rows it has come to."""

    path: Path
    made_by: str
    raw_video: Row = field(default_factory=dict)
    scenes: list[Row] = field(default_factory=list)
    clips: list[Row] = field(default_factory=list)
    ended: str = ""


def fuzz(
    count: int, seed: int, folder: Path, workers: int = 1, say: Callable[[str], None] = lambda _: None
) -> FuzzReport:
    """Run `count` mutants, the same for the same seed; everything lies under `folder`.

    A mutant that causes a problem, or costs its worker, is kept in `folder/found`. Files that appear where none belong
    are problems too.
    """
    report = FuzzReport()
    started = time.monotonic()
    places = [folder / name for name in ("inputs", "home", "elsewhere", "found")]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    inputs, home, elsewhere, found = places
    seeds()  # made before this process works elsewhere
    with _working_in(elsewhere):
        pool = WorkerPool(workers, ITEM_TIMEOUT_S, ITEM_MEMORY_BYTES)
        try:
            for first in range(0, count, BATCH):
                mutants = [_make(number, seed, inputs) for number in range(first, min(first + BATCH, count))]
                for mutant, problem in _run(mutants, pool, Files(str(home))):
                    shutil.copy(mutant.path, found)
                    report.problems.append(f"{mutant.path.name} ({mutant.made_by}): {problem}")
                for mutant in mutants:
                    report.ended[mutant.ended] += 1
                    if mutant.ended.endswith(LOST):
                        shutil.copy(mutant.path, found)
                report.problems += _strays(mutants, inputs, elsewhere)
                report.files += len(mutants)
                report.seconds = time.monotonic() - started
                say(f"{report.files} of {count} files, {len(report.problems)} problems, {report.seconds:.0f} s")
                _empty(inputs, home)
        finally:
            pool.close()
    report.seconds = time.monotonic() - started
    return report


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Working folder and place for temporary files of this process and its workers."""
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


def _empty(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder)
        folder.mkdir()


def _make(number: int, seed: int, inputs: Path) -> _Mutant:
    dice = random.Random(f"{seed}/{number}")
    origin, other = dice.sample(seeds(), 2)
    data, made_by = mutate(origin.read_bytes(), other.read_bytes(), dice)
    path = inputs / f"{number:06}-{origin.name}"
    path.write_bytes(data)
    os.utime(path, (0, 0))
    return _Mutant(path, made_by)


def _run(mutants: Sequence[_Mutant], pool: WorkerPool, files: Files) -> Iterator[tuple[_Mutant, str]]:
    """Take the mutants through the stages; yields what must not be."""
    by_name = {mutant.path.name: mutant for mutant in mutants}

    def stage(name: str, calls: list[Call]) -> Iterator[tuple[_Mutant, Any]]:
        for call, outcome in pool.map(run_call, calls):
            mutant = by_name[call.unit]
            if isinstance(outcome, Exception):
                mutant.ended = f"{name}: {_kind(outcome)}"
            yield mutant, outcome

    calls = [Call(m.path.name, "", probe_video, {"uri": str(m.path), "limits": LIMITS}) for m in mutants]
    for mutant, outcome in stage("probe", calls):
        if isinstance(outcome, Exception):
            yield from ((mutant, problem) for problem in _of_failure(outcome))
        else:
            mutant.raw_video = {**outcome[0], "source_uri": str(mutant.path), "video_id": mutant.path.name}
            yield from ((mutant, problem) for problem in _of_rows(RAW_VIDEOS, [mutant.raw_video]))

    calls = []
    for mutant in mutants:
        if mutant.raw_video:
            source = VideoSource.from_row(mutant.raw_video)
            arguments = {"source": source, "video_id": mutant.path.name, "cuts": CUTS}
            calls.append(Call(mutant.path.name, "", detect_scenes, arguments))
    for mutant, outcome in stage("detection", calls):
        if isinstance(outcome, Exception):
            yield from ((mutant, problem) for problem in _of_failure(outcome))
            continue
        mutant.scenes = outcome
        yield from ((mutant, problem) for problem in (*_of_rows(SCENES, outcome), *_of_tiles(outcome)))
        mutant.clips = cut_spans(mutant.raw_video, mutant.scenes, CLIPS_OF)
        mutant.ended = "detection: no span becomes a clip"
        yield from ((mutant, problem) for problem in (*_of_rows(CLIPS, mutant.clips), *_of_tiles(mutant.clips)))

    sampler = ClipSampler(files, PICTURES, MOTION)
    runs = []
    for mutant in mutants:
        if clips := [clip for clip in mutant.clips if clip["dropped"] is None][:CLIPS_SAMPLED]:
            paths = [f"frames/{mutant.path.name}/{clip['clip_id']}.zip" for clip in clips]
            engines = tuple(motion_engines(MOTION))
            runs.append(
                [ClipTask({**mutant.raw_video, **clip}, path, engines) for clip, path in zip(clips, paths, strict=True)]
            )
    for task, outcome in map_runs(pool, sampler, runs):
        mutant = by_name[Path(task.clip["source_uri"]).name]
        if isinstance(outcome, Exception):
            mutant.ended = f"sampling: {_kind(outcome)}"
            yield from ((mutant, problem) for problem in _of_failure(outcome))
        else:
            mutant.ended = "sampled" if mutant.ended.startswith(("detection", "sampled")) else mutant.ended
            yield from ((mutant, problem) for problem in _of_sample(outcome, files))


def _kind(failure: Exception) -> str:
    """The kind of failure, without what differs from file to file."""
    text = str(failure)
    if isinstance(failure, InputError):
        return "bad input"
    return next((words for words in LOST if words in text), LOST[-1])


def _of_failure(failure: Exception) -> Iterator[str]:
    text = str(failure)
    if not isinstance(failure, (InputError, TransientError)):
        yield f"ended in {type(failure).__name__}: {text[:LONGEST_MESSAGE]}"
    if text.startswith("unexpected "):
        yield f"nobody foresaw it: {text}"
    if not text.isprintable() or len(text) > LONGEST_MESSAGE:
        yield f"its message isn't one line to read: {text[:LONGEST_MESSAGE]!r}"
    if "; " not in text:
        yield f"its message names no remedy: {text}"


def _of_rows(table: Table, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Rows must fit their table and hold finite numbers."""
    try:
        pl.DataFrame(rows, schema={name: column.dtype for name, column in table.stage_columns.items()}, orient="row")
    except (pl.exceptions.PolarsError, TypeError, OverflowError) as failure:
        yield f"its rows don't fit into {table.name}: {failure}"
    for row in rows:
        for name, value in row.items():
            numbers = value if isinstance(value, list) else [value]
            if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
                yield f"{table.name}.{name} isn't finite"


def _of_tiles(spans: Sequence[Row]) -> Iterator[str]:
    """Scenes and clips lie end to end from the first frame on."""
    if spans[0]["start_frame"] != 0:
        yield "its spans don't begin at frame 0"
    if any(one["end_frame"] != two["start_frame"] for one, two in pairwise(spans)):
        yield "its spans overlap or leave a gap"
    if any(span["end_frame"] <= span["start_frame"] or span["end_s"] <= span["start_s"] for span in spans):
        yield "one of its spans is empty"


def _of_sample(sample: SampledClip, files: Files) -> Iterator[str]:
    assert sample.frames_row is not None
    yield from _of_rows(FRAMES, [sample.frames_row])
    data = files.read(sample.frames_row["frames_path"])
    shapes = {picture.shape for picture in unpack_pictures(data)}
    if shapes != {(sample.frames_row["height"], sample.frames_row["width"], 3)}:
        yield f"its stored frames are {shapes}"
    for motion in sample.motion.values():
        if isinstance(motion, Exception):
            yield from _of_failure(motion)
        else:
            yield from _of_rows(MOTION_SCORES, [motion])


def _strays(mutants: Sequence[_Mutant], inputs: Path, elsewhere: Path) -> Iterator[str]:
    """Files outside the home: where the workers run, or beside the inputs; and inputs that were written to."""
    for path in elsewhere.rglob("*"):
        yield f"a file appeared in the working folder: {path.name}"
    names = {mutant.path.name for mutant in mutants}
    for path in inputs.iterdir():
        if path.name not in names:
            yield f"a file appeared beside the inputs: {path.name}"
        elif path.stat().st_mtime != 0:
            yield f"an input was written to: {path.name}"
