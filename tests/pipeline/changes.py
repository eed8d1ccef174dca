"""The table of changes: what each makes the product do again, in exact numbers; all else is reused.

A row computed in `scenes` is a full decode of a video, a unit of `frames` or `motion_scores` or both a decode of a
clip, a row of `clip_files` an encode, one in a score or caption table a call of its engine.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from curation_assets.definitions import all_assets
from curation_assets.settings import Settings
from curation_assets.stage_asset import StageAsset
from tests import videos
from tests.pipeline.jobs import SETTINGS, Job, changed

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

Patch = Callable[[pytest.MonkeyPatch], None]
CHAT = {"model": "stand-in"}
TIGHT: Mapping[str, Any] = {"selection__motion": {"dis": {"min": 5.0}}}


def no_change(_: Job) -> None:
    pass


def no_patch(_: pytest.MonkeyPatch) -> None:
    pass


@dataclass(frozen=True)
class Change:
    """`computed`: the assets that compute anything, with how many units; the five figures: what that takes.

    `settings` are keys of `changed`. `films` does something to the job's folder, `patch` to the product. `earlier`
    is a change that was made and refreshed before. `chat`: captions are of a stand-in server. `needs`: the films that
    a refresh may open. `is_exact`: a plan can tell every figure before the run. `why`: an asset, and what the plan
    says of it.
    """

    name: str
    computed: Mapping[str, int] = field(default_factory=dict)
    video_decodes: int = 0
    clip_decodes: int = 0
    encodes: int = 0
    calls: int = 0
    samples: int = SAMPLES
    settings: Mapping[str, Any] = field(default_factory=dict)
    films: Callable[[Job], None] = no_change
    patch: Patch = no_patch
    earlier: "Change | None" = None
    chat: bool = False
    chat_before: bool = False
    needs: tuple[str, ...] = ()
    is_exact: bool = True
    is_refused: bool = False
    why: tuple[str, str] | None = None

    def settings_at(self, chat_url: str) -> dict[str, Any]:
        server = {"captions": {"engine": "chat", "chat": {**CHAT, "base_url": chat_url}}} if self.chat else {}
        settings = changed(SETTINGS, **server)
        for key, value in self.settings.items():
            settings = changed(settings, **{key: value})
        return settings


# --- what happens to films ---------------------------------------------------------------------------------------


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


# --- what happens to the product ---------------------------------------------------------------------------------


def another_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    revised = {"model": "another reader", "revision": "2"}
    monkeypatch.setattr("curation_assets.scores.assets.text_reader_identity", lambda _: revised)


def next_version(table: str) -> Patch:
    def raised(settings: Settings) -> list[Any]:
        assets = []
        for asset in all_assets(settings):
            if isinstance(asset, StageAsset) and any(stage.table.name == table for stage in asset.stages):
                stages = (
                    replace(stage, version="next") if stage.table.name == table else stage for stage in asset.stages
                )
                asset = replace(asset, stages=tuple(stages))
            assets.append(asset)
        return assets

    return lambda monkeypatch: monkeypatch.setattr("curation_assets.definitions.all_assets", raised)


# --- the table ---------------------------------------------------------------------------------------------------

NEW_VIDEO: dict[str, Any] = {
    "computed": ONE_NEW_VIDEO_OF_ONE_CLIP,
    "video_decodes": 1,
    "clip_decodes": 1,
    "encodes": 1,
    "calls": 5,
    "is_exact": False,
}

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
    ),
    Change("video replaced", **NEW_VIDEO, samples=6, films=replace_film, needs=("two_shots.mp4",)),
    Change(
        "video renamed",
        {"source_files": 1, "training_manifest": 5},
        films=rename,
        why=("source_files", "size and time of a known file"),
    ),
    Change("video moved", {"source_files": 1, "training_manifest": 2}, films=move),
    Change("video touched, another copied", {"source_files": 2}, films=touch_and_copy, is_exact=False),
    Change("video removed", films=remove, samples=2),
    Change(
        "video back again",
        {"source_files": 1, "training_manifest": 5},
        films=bring_back,
        earlier=Change("removed", films=remove),
        why=("training_manifest", "new input"),
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
        why=("clip_files", "its file is gone"),
    ),
    # settings that change decisions
    Change(
        "threshold tightened",
        {"clip_selection": CLIPS},
        samples=4,
        settings=TIGHT,
        why=("clip_selection", "settings: filters.motion dis.bound.min 0.95 -> 5.0"),
    ),
    Change(
        "threshold loosened",
        {"clip_selection": CLIPS, "sample_selection": 3, "training_manifest": 3},
        earlier=Change("tight", settings=TIGHT),
    ),
    Change("rule of spans that moves nothing", {"clips": VIDEOS}, settings={"clips__min_duration_s": 0.9}),
    Change("what the trainer needs", {"training_manifest": SAMPLES}, settings={"training_set__trainer": {"stride": 1}}),
    # settings of what decodes, encodes and calls
    Change(
        "threshold of cuts, the same cuts found",
        {"scenes": VIDEOS},
        video_decodes=VIDEOS,
        settings={"cuts__content_threshold": 26.0},
        needs=("bikes.mp4", "two_shots.mp4", "grey.mp4"),
        is_exact=False,
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
    ),
    Change(
        "confidence of text, without text",
        {"text_scores": CLIPS},
        calls=CLIPS,
        settings={"text__min_confidence": 0.9},
        is_exact=False,
    ),
    Change(
        "quality of encodes",
        {"clip_files": SAMPLES, "training_manifest": SAMPLES},
        encodes=SAMPLES,
        settings={"clip_files__crf": 30},
        needs=("bikes.mp4", "two_shots.mp4"),
        why=("clip_files", "settings: crf 22 -> 30"),
    ),
    Change(
        "captions by a server",
        CAPTIONED,
        calls=2 * SAMPLES,
        chat=True,
        is_exact=False,
        why=("captions", 'engine "facts" -> "chat"'),
    ),
    Change(
        "caption prompt, the same answers",
        {"captions": SAMPLES},
        calls=SAMPLES,
        settings={"captions__prompt": "What is shown?"},
        chat=True,
        chat_before=True,
        is_exact=False,
    ),
    # engines and logic
    Change(
        "revision of a server's model",
        {"captions": SAMPLES},
        calls=SAMPLES,
        settings={"captions__chat__revision": "2"},
        chat=True,
        chat_before=True,
        is_exact=False,
        why=("captions", 'settings: chat.revision "" -> "2"'),
    ),
    Change(
        "revision of an embedded engine",
        {"text_scores": CLIPS},
        calls=CLIPS,
        patch=another_reader,
        is_exact=False,
        why=("text_scores", "engine rapidocr: model"),
    ),
    Change(
        "logic version of arithmetic",
        {"clips": VIDEOS},
        patch=next_version("clips"),
        why=("clips", "logic version 1 -> next"),
    ),
    Change(
        "logic version of a decode",
        {"frames": CLIPS},
        clip_decodes=CLIPS,
        patch=next_version("frames"),
        needs=("bikes.mp4", "two_shots.mp4", "grey.mp4"),
        is_exact=False,
    ),
    # what changes no result
    Change("threshold of a detector that is off", settings={"cuts__adaptive_threshold": 4.0}),
    Change("size of batches", settings={"execution": {"workers": 2, "batch_units": 1}}),
    Change("worker count", settings={"execution": {"workers": 1}}),
    Change("shard size", settings={"shards__videos_per_shard": 1}),
    Change(
        "shard size, and a video added",
        **NEW_VIDEO,
        samples=SAMPLES + 1,
        settings={"shards__videos_per_shard": 1},
        films=add,
        needs=("street.mp4",),
    ),
    Change(
        "time-out and concurrency of a server",
        settings={"captions__chat__request_timeout_s": 30.0, "captions__chat__concurrency": 2},
        chat=True,
        chat_before=True,
    ),
]
