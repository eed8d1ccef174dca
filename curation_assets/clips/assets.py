"""`scenes`: the shots of each video, from one full decode. `clips`: the spans they are cut into."""

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from curation_assets.clips.detection import detect_or_split
from curation_assets.clips.spans import cut_spans
from curation_assets.clips.transnetv2 import weights_file
from curation_assets.incremental.stage import Stage, blocked_by
from curation_assets.incremental.work import Done, Work
from curation_assets.orchestration.stage_asset import StageAsset, stage_asset
from curation_assets.settings import Cuts, Settings, result_settings
from curation_assets.tables import CLIPS, SCENES, Row
from curation_assets.tools import Tools
from curation_assets.units import READING, pixels
from resources.media import VideoSource

GROUP = "2_clips"
SCENE_COLUMNS = [
    "scene_index",
    "start_frame",
    "end_frame",
    "start_s",
    "end_s",
    "start_pts",
    "end_pts",
    "frame_pts",
    "ends_at_cut",
]


def detector_settings(cuts: Cuts) -> Row:
    """What can change the chosen detector's cuts; the thresholds of the others can't."""
    prefix = {"threshold": "fade"}.get(cuts.detector, cuts.detector)
    shared = ("detector", "min_scene_frames")
    return {name: value for name, value in result_settings(cuts).items() if name in shared or name.startswith(prefix)}


def probed_videos(reads: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    return reads["raw_videos"].select(
        "video_id", "source_uri", "frame_count", *READING, blocked_by("raw_videos"), wanted=~pl.col("missing")
    )


def scene_assets(settings: Settings) -> list[StageAsset]:
    stage = Stage(
        SCENES,
        unit="video_id",
        reads={"raw_videos": ["video_id", "source_uri", "missing", "frame_count", *READING]},
        units=probed_videos,
        version="2",
        effort="decode",
        settings=detector_settings(settings.cuts),
        not_data=frozenset({"source_uri", "frame_count"}),
    )

    needs = [weights_file] if settings.cuts.detector == "transnetv2" else []

    @stage_asset(stage, settings, group=GROUP, kinds={"ffmpeg"}, needs=needs)
    def scenes(work: Sequence[Work], tools: Tools) -> Iterable[Done]:
        """Decodes each video once and finds its cuts; a video without a cut is one scene."""

        def arguments(unit: Work, _: str) -> Row:
            source = VideoSource.from_row(unit.values)
            frame_count = unit.values["frame_count"]
            return {"source": source, "video_id": unit.unit, "cuts": tools.settings.cuts, "frame_count": frame_count}

        largest_first = sorted(work, key=pixels, reverse=True)  # so that no worker is left alone with one at the end
        return tools.rows_in_workers(detect_or_split, largest_first, arguments)

    return [scenes]


def videos_with_scenes(reads: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    scenes = (
        reads["scenes"]
        .sort("video_id", "scene_index", nulls_last=True)
        .group_by("video_id", maintain_order=True)
        .agg(pl.struct(SCENE_COLUMNS).alias("scenes"), pl.col("error").first(), pl.col("error_kind").first())
        .select("video_id", "scenes", blocked_by("scenes"))
    )
    return reads["raw_videos"].drop("error", "error_kind").join(scenes, on="video_id")


def clip_assets(settings: Settings) -> list[StageAsset]:
    stage = Stage(
        CLIPS,
        unit="video_id",
        reads={
            "raw_videos": ["video_id", "width", "height", "time_base"],
            "scenes": ["video_id", *SCENE_COLUMNS],
        },
        units=videos_with_scenes,
        version="1",
        settings=result_settings(settings.clips),
    )

    @stage_asset(stage, settings, group=GROUP, kinds={"polars"})
    def clips(work: Sequence[Work], tools: Tools) -> Iterable[Done]:
        """Cuts scenes into spans of allowed length, by arithmetic; what is dropped says why."""
        rules = tools.settings.clips
        return tools.rows_here(lambda video: cut_spans(video, video["scenes"], rules), work)

    return [clips]
