"""The table of changes: what each makes the product do again and the policy request; all else is reused.

A row computed in `scenes` is a full decode of a video, a unit of `frames` or `motion_scores` or both a decode of a
clip, a row of `clip_files` an encode, one in a score or caption table a call of its engine.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from curation_assets.incremental.stage import Stage
from curation_assets.tables import Table
from tests import videos
from tests.pipeline.jobs import Job, changed

VIDEOS, CLIPS, SAMPLES = 3, 8, 7  # of the finished job: bikes has 5 samples, two_shots 2, grey a clip that is dropped

ONE_NEW_VIDEO_OF_ONE_CLIP: Mapping[str, int] = dict.fromkeys(
    (
        "source_files", "raw_videos", "scenes", "clips", "frames", "motion_scores", "semantic_scores",
        "technical_scores", "text_scores", "clip_selection", "captions", "rewritten_captions", "alignment_scores",
        "sample_selection", "clip_files", "training_manifest",
    ),
    1,
)  # fmt: skip
CAPTIONED: Mapping[str, int] = dict.fromkeys(
    ("captions", "rewritten_captions", "alignment_scores", "sample_selection", "training_manifest"), SAMPLES
)

A, B, NEW = ("films-0000",), ("films-0001",), ("films-0002",)
AB = A + B
Tick = Mapping[tuple[str, ...], str]
"""The assets that the policy requests at once, by shards."""

Patch = Callable[[pytest.MonkeyPatch], None]
CHAT = {"model": "stand-in"}


def no_change(_: Job) -> None:
    pass


def no_patch(_: pytest.MonkeyPatch) -> None:
    pass


@dataclass(frozen=True)
class Change:
    """`computed`: the assets that compute anything, with how many units; the five figures: what that takes.

    `ticks`: what the policy requests, until it requests nothing: the assets whose code or whose inputs' data changed.
    First those that are out of date, each of the shards concerned. `again`: the units that it has computed twice, for
    an asset is requested when one input changed, and when another has followed. `is_by_hand`: what the policy can't
    know of, done when a run is asked for.

    `settings` are keys of `changed`. `films` does something to the job's folder, `patch` to the product. `after`: the
    change that was made before, and worked off. `chat`: captions are of a stand-in server. `needs`: the films that
    may be opened. `is_exact`: a plan can tell every figure before the run. `why`: an asset, and what the plan says of
    it. `has_new_asset`: what is requested first wasn't there before, so that it is missing and its readers are stale.
    """

    name: str
    computed: Mapping[str, int] = field(default_factory=dict)
    ticks: Sequence[Tick] = ()
    again: Mapping[str, int] = field(default_factory=dict)
    video_decodes: int = 0
    clip_decodes: int = 0
    encodes: int = 0
    calls: int = 0
    samples: int = SAMPLES
    settings: Mapping[str, Any] = field(default_factory=dict)
    films: Callable[[Job], None] = no_change
    patch: Patch = no_patch
    after: str = ""
    chat: bool = False
    needs: tuple[str, ...] = ()
    is_exact: bool = True
    is_refused: bool = False
    is_by_hand: bool = False
    why: tuple[str, str] | None = None
    has_new_asset: bool = False

    def settings_at(self, before: Mapping[str, Any], chat_url: str) -> dict[str, Any]:
        server = {"captions": {"engine": "chat", "chat": {**CHAT, "base_url": chat_url}}} if self.chat else {}
        settings = changed(before, **server)
        for key, value in self.settings.items():
            settings = changed(settings, **{key: value})
        return settings


def add(job: Job) -> None:
    shutil.copy(videos.street(), job.films / "street.mp4")


def replace_film(job: Job) -> None:
    shutil.copy(videos.street(), job.films / "two_shots.mp4")


def rename(job: Job) -> None:
    (job.films / "bikes.mp4").rename(job.films / "Fahrräder [1] $HOME.mp4")


def move(job: Job) -> None:
    (job.films / "more").mkdir()
    (job.films / "two_shots.mp4").rename(job.films / "more" / "two_shots.mp4")


def touch_and_copy(job: Job) -> None:
    os.utime(job.films / "bikes.mp4")
    shutil.copy(job.films / "two_shots.mp4", job.films / "zzz.mp4")


def remove(job: Job) -> None:
    (job.films / "bikes.mp4").rename(job.root / "bikes.mp4")


def bring_back(job: Job) -> None:
    (job.root / "bikes.mp4").rename(job.films / "bikes.mp4")


def unmount(job: Job) -> None:
    job.films.rename(job.root / "unmounted")


def empty(job: Job) -> None:
    unmount(job)
    job.films.mkdir()


def lose_a_clip_file(job: Job) -> None:
    (job.home / job.table("clip_files")["file_path"][0]).unlink()


def another_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    revised = {"model": "another reader", "revision": "2"}
    monkeypatch.setattr("curation_assets.scores.assets.text_reader_identity", lambda _: revised)


def next_version(name: str, folder: str) -> Patch:
    """Of the stage of a table, declared in the folder's `assets.py`."""

    def stage(table: Table, **declared: Any) -> Stage:
        return Stage(table, **{**declared, "version": "next"} if table.name == name else declared)

    return lambda monkeypatch: monkeypatch.setattr(f"curation_assets.{folder}.assets.Stage", stage)


FILES = "clip_files training_manifest"
FROM_VIDEOS = f"scenes clips frames motion_scores {FILES}"
FROM_FRAMES = "semantic_scores clip_embeddings aesthetic_scores technical_scores text_scores"
FROM_DECISIONS = "captions rewritten_captions alignment_scores sample_selection"

NEW_VIDEO: dict[str, Any] = {
    "computed": ONE_NEW_VIDEO_OF_ONE_CLIP,
    "video_decodes": 1,
    "clip_decodes": 1,
    "encodes": 1,
    "calls": 5,
    "is_exact": False,
}
IN_ITS_SHARD: list[Tick] = [
    {B: "raw_videos"},
    {B: FROM_VIDEOS},
    {B: f"clips frames motion_scores {FROM_FRAMES} clip_selection captions alignment_scores {FILES}"},
    {B: f"clip_selection {FROM_DECISIONS} training_manifest"},
    {B: f"alignment_scores sample_selection {FILES}"},
    {B: "training_manifest"},
]
LEVELS = ("raw_videos", "scenes", "clips", "frames motion_scores", FROM_FRAMES, "clip_selection")
IN_A_NEW_SHARD: list[Tick] = [  # what is made from a missing shard waits
    {NEW: assets} for assets in (*LEVELS, *FROM_DECISIONS.split(), *FILES.split())
]

CHANGES = [
    Change("nothing"),
    # videos
    Change(
        "video added",
        **NEW_VIDEO,
        samples=SAMPLES + 1,
        films=add,
        needs=("street.mp4",),
        why=("raw_videos", "new input"),
        ticks=IN_ITS_SHARD,
    ),
    Change("video replaced", **NEW_VIDEO, samples=6, films=replace_film, needs=("two_shots.mp4",), ticks=IN_ITS_SHARD),
    Change(
        "video renamed",
        {"source_files": 1, "training_manifest": 5},
        films=rename,
        why=("source_files", "size and time of a known file"),
        ticks=[{A: "raw_videos"}, {A: FROM_VIDEOS}],
    ),
    Change(
        "video moved",
        {"source_files": 1, "training_manifest": 2},
        films=move,
        ticks=[{B: "raw_videos"}, {B: FROM_VIDEOS}],
    ),
    Change(
        "video touched, another copied",
        {"source_files": 2},
        films=touch_and_copy,
        is_exact=False,
        ticks=[{B: "raw_videos"}],
    ),
    Change("video removed", films=remove, samples=2, ticks=[{A: "raw_videos"}, {A: FROM_VIDEOS}]),
    Change(
        "video back again",
        {"source_files": 1, "training_manifest": 5},
        films=bring_back,
        after="video removed",
        why=("training_manifest", "new input"),
        ticks=[{A: "raw_videos"}, {A: FROM_VIDEOS}],
    ),
    Change("source unreachable", films=unmount, is_refused=True),
    Change("source emptied", films=empty, is_refused=True),
    Change(
        "file of a clip lost",
        {"clip_files": 1},
        encodes=1,
        films=lose_a_clip_file,
        needs=("two_shots.mp4",),
        is_exact=False,
        is_by_hand=True,
        why=("clip_files", "its file is gone"),
    ),
    # settings that change decisions
    Change(
        "threshold tightened",
        {"clip_selection": CLIPS},
        samples=4,
        settings={"selection__motion": {"dis": {"min": 5.0}}},
        why=("clip_selection", "settings: filters.motion dis.bound.min 0.95 -> 5.0"),
        ticks=[{AB: "clip_selection"}, {AB: FROM_DECISIONS}, {AB: FILES}],
    ),
    Change(
        "threshold loosened",
        {"clip_selection": CLIPS, "sample_selection": 3, "training_manifest": 3},
        after="threshold tightened",
        ticks=[{AB: "clip_selection"}, {AB: FROM_DECISIONS}, {AB: FILES}],
    ),
    Change(
        "rule of spans that moves nothing",
        {"clips": VIDEOS},
        settings={"clips__min_duration_s": 0.9},
        ticks=[{AB: "clips"}, {A: f"frames motion_scores clip_selection captions {FILES}"}],
    ),
    Change(
        "what the trainer needs",
        {"training_manifest": SAMPLES},
        settings={"training_set__trainer": {"stride": 1}},
        ticks=[{AB: "training_manifest"}],
    ),
    # settings of what decodes, encodes and calls
    Change(
        "threshold of cuts, the same cuts found",
        {"scenes": VIDEOS},
        video_decodes=VIDEOS,
        settings={"cuts__content_threshold": 26.0},
        needs=("bikes.mp4", "two_shots.mp4", "grey.mp4"),
        is_exact=False,
        ticks=[{AB: "scenes"}],
    ),
    Change(
        "motion setting",
        {
            "motion_scores": CLIPS,
            "clip_selection": CLIPS,
            "captions": SAMPLES,  # which say how much moves; one now in other words
            "rewritten_captions": 1,
            "alignment_scores": 1,
            "sample_selection": 1,
            "training_manifest": SAMPLES,
        },
        clip_decodes=CLIPS,
        calls=SAMPLES + 1,
        why=("motion_scores", "engine dis: pairs_per_s 2.0 -> 4.0"),
        settings={"motion__dis": {"pairs_per_s": 4.0}},
        needs=("bikes.mp4", "two_shots.mp4", "grey.mp4"),
        is_exact=False,
        ticks=[
            {AB: "motion_scores"},
            {AB: "clip_selection captions training_manifest"},
            {AB: FROM_DECISIONS, A: "training_manifest"},
            {A: f"alignment_scores sample_selection {FILES}"},
        ],
        again={"training_manifest": 1},
    ),
    Change(
        "second motion engine",
        {"motion_scores": CLIPS, "clip_selection": CLIPS},
        clip_decodes=CLIPS,
        settings={
            "motion__engines": ["dis", "farneback"],
            "selection__motion": {"farneback": {"min": 0.0, "max": 1000.0}},
        },
        needs=("bikes.mp4", "two_shots.mp4", "grey.mp4"),
        is_exact=False,
        ticks=[{AB: "motion_scores clip_selection"}, {AB: f"clip_selection {FROM_DECISIONS} training_manifest"}],
    ),
    Change(
        "borders to be cropped, and none found",
        {"clip_crops": CLIPS},
        calls=CLIPS,
        settings={"crop__borders": True},
        ticks=[{AB: "clip_crops"}, {AB: f"{FROM_FRAMES} captions alignment_scores clip_files"}],
        has_new_asset=True,
    ),
    Change(
        "confidence of text, without text",
        {"text_scores": CLIPS},
        calls=CLIPS,
        settings={"text__min_confidence": 0.9},
        is_exact=False,
        ticks=[{AB: "text_scores"}],
    ),
    Change(
        "quality of encodes",
        {"clip_files": SAMPLES, "training_manifest": SAMPLES},
        encodes=SAMPLES,
        settings={"clip_files__crf": 30},
        needs=("bikes.mp4", "two_shots.mp4"),
        why=("clip_files", "settings: crf 22 -> 30"),
        ticks=[{AB: "clip_files"}, {AB: "training_manifest"}],
    ),
    Change(
        "captions by a server",
        CAPTIONED,
        calls=2 * SAMPLES,
        chat=True,
        is_exact=False,
        why=("captions", 'engine "facts" -> "chat"'),
        ticks=[
            {AB: "captions"},
            {AB: "rewritten_captions sample_selection training_manifest"},
            {AB: f"alignment_scores sample_selection {FILES}"},
            {AB: f"sample_selection {FILES}"},
        ],
        again={"sample_selection": SAMPLES},  # no sample while its caption has no alignment of its own
    ),
    Change(
        "caption prompt, the same answers",
        {"captions": SAMPLES},
        calls=SAMPLES,
        settings={"captions__prompt": "What is shown?"},
        chat=True,
        after="captions by a server",
        is_exact=False,
        ticks=[{AB: "captions"}, {AB: "rewritten_captions sample_selection training_manifest"}],
    ),
    # engines and logic
    Change(
        "revision of a server's model",
        {"captions": SAMPLES},
        calls=SAMPLES,
        settings={"captions__chat__revision": "2"},
        chat=True,
        after="captions by a server",
        is_exact=False,
        why=("captions", 'settings: chat.revision "" -> "2"'),
        ticks=[{AB: "captions"}, {AB: "rewritten_captions sample_selection training_manifest"}],
    ),
    Change(
        "revision of an embedded engine",
        {"text_scores": CLIPS},
        calls=CLIPS,
        patch=another_reader,
        is_exact=False,
        why=("text_scores", "engine rapidocr: model"),
        ticks=[{AB: "text_scores"}],
    ),
    Change(
        "logic version of arithmetic",
        {"clips": VIDEOS},
        patch=next_version("clips", "clips"),
        why=("clips", "logic version 1 -> next"),
        ticks=[{AB: "clips"}],
    ),
    Change(
        "logic version of a decode",
        {"frames": CLIPS},
        clip_decodes=CLIPS,
        patch=next_version("frames", "frames"),
        needs=("bikes.mp4", "two_shots.mp4", "grey.mp4"),
        is_exact=False,
        ticks=[{AB: "frames"}],
    ),
    # what changes no result
    Change("threshold of a detector that is off", settings={"cuts__adaptive_threshold": 4.0}),
    Change("size of batches", settings={"execution__batch_units": 1}),
    Change("worker count", settings={"execution__workers": 2}),
    Change("shard size", settings={"shards__videos_per_shard": 1}),
    Change(
        "shard size, and a video added",
        **NEW_VIDEO,
        samples=SAMPLES + 1,
        settings={"shards__videos_per_shard": 1},
        films=add,
        needs=("street.mp4",),
        ticks=IN_A_NEW_SHARD,
    ),
    Change(
        "time-out and concurrency of a server",
        settings={"captions__chat__request_timeout_s": 30.0, "captions__chat__concurrency": 2},
        chat=True,
        after="captions by a server",
    ),
]
