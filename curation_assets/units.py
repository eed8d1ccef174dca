"""Joins that several stages share: which rows of upstream tables make one input."""

from collections.abc import Mapping, Sequence

import polars as pl

from curation_assets.refresh import blocked_by

Frames = Mapping[str, pl.DataFrame]

READING = (  # columns of raw_videos: how the chosen stream is read, the same for every step that decodes
    "stream_index",
    "time_base",
    "timestamps",
    "frame_rate",
    "rotation_deg",
    "sample_aspect_ratio",
    "width",
    "height",
    "colour_space",
    "colour_range",
)
SPAN = (
    "start_frame",
    "end_frame",
    "start_pts",
    "end_pts",
    "frame_pts",
    "frame_count",
)  # columns of clips: which frames
DECODING: Mapping[str, Sequence[str]] = {  # what `clips_with_source` takes
    "clips": ("clip_id", "video_id", "dropped", *SPAN),
    "raw_videos": ("video_id", "source_uri", "missing", *READING),
}


def kept_clips(reads: Frames) -> pl.DataFrame:
    """The clips that weren't dropped."""
    clips = reads["clips"].filter(pl.col("clip_id").is_not_null() & pl.col("dropped").is_null())
    return clips.drop("dropped", "error", "error_kind")


def clips_with_source(reads: Frames) -> pl.DataFrame:
    """Kept clips with what is needed to decode them; those of missing files are left as they are."""
    videos = reads["raw_videos"].select("video_id", "source_uri", *READING, wanted=~pl.col("missing"))
    return kept_clips(reads).join(videos, on="video_id")


def stored_frames(reads: Frames) -> pl.DataFrame:
    """Clips with their stored frames."""
    return reads["frames"].select("clip_id", "frames_path", "frames_sha256", blocked_by("frames"))


def selected_clips(reads: Frames, decision: str = "clip_selection") -> pl.DataFrame:
    """Clips with `wanted`: whether `decision` selects them. Rows of paid stages outlive the decision."""
    return reads[decision].select("clip_id", wanted=pl.col("selected").fill_null(False))
