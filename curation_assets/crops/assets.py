"""`clip_crops`: what is cut off the clips' pictures; none while that is off."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import polars as pl

from curation_assets.crops import from_frames
from curation_assets.engines import identity
from curation_assets.incremental.stage import Stage
from curation_assets.incremental.work import Done, Work
from curation_assets.orchestration.stage_asset import StageAsset, stage_asset
from curation_assets.settings import Settings, result_settings
from curation_assets.tables import CLIP_CROPS, Row
from curation_assets.tools import Tools
from curation_assets.units import Frames, stored_frames
from resources.errors import Need
from resources.text_reader import text_reader_identity

GROUP = "3_scores"


def crop_assets(settings: Settings) -> list[StageAsset]:
    if not settings.crop.is_on:
        return []
    stage = Stage(
        CLIP_CROPS,
        unit="clip_id",
        reads={
            "frames": ["clip_id", "video_id", "frames_path", "frames_sha256"],
            "raw_videos": ["video_id", "width", "height"],
        },
        units=frames_with_size,
        version="1",
        effort="call",
        settings=crop_settings(settings),
        not_data=frozenset({"frames_path"}),
    )
    needs: list[Need] = [partial(text_reader_identity, from_frames.READER)] if settings.crop.subtitles else []

    @stage_asset(stage, settings, group=GROUP, kinds={"opencv"}, needs=needs)
    def clip_crops(work: Sequence[Work], tools: Tools) -> Iterable[Done]:
        """Borders and subtitles, found on the stored frames; what is made from pictures later leaves them out."""
        of = tools.settings
        given = {"settings": of.crop, "text": of.text, "min_area_px": of.clips.min_source_area_px}

        def arguments(unit: Work, _: str) -> Row:
            own = {name: unit.values[name] for name in ("frames_path", "width", "height")}
            return {"files": tools.files, **own, **given}

        return tools.rows_in_workers(from_frames.crop, work, arguments)

    return [clip_crops]


def frames_with_size(reads: Frames) -> pl.DataFrame:
    """Clips with their stored frames and the size of their source, px."""
    sizes = reads["raw_videos"].select("video_id", "width", "height")
    videos = reads["frames"].select("clip_id", "video_id").join(sizes, on="video_id", how="left")
    return stored_frames(reads).join(videos.drop("video_id"), on="clip_id", maintain_order="left")


def crop_settings(settings: Settings) -> dict[str, Any]:
    """Of subtitles only where they are cut off: then what reads them, too."""
    values = {**result_settings(settings.crop), "min_source_area_px": settings.clips.min_source_area_px}
    if not settings.crop.subtitles:
        del values["subtitle_band_share"]
        return values
    text = {name: getattr(settings.text, name) for name in ("min_confidence", "min_characters", "longest_side_px")}
    return {**values, "text": text, "reader": identity(text_reader_identity, from_frames.READER)}
