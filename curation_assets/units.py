"""Joins that several stages share: which rows of upstream tables make one input."""

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

import polars as pl

from curation_assets.incremental.stage import blocked_by
from curation_assets.incremental.work import Work
from curation_assets.settings import Settings

Frames = Mapping[str, pl.DataFrame]

LONGEST_RUN_S = 30.0  # longer ones would leave workers idle at the end, and lose more when interrupted
LARGEST_GAP_S = 1.0  # which the end trim of scenes leaves; over longer ones seeking is cheaper than decoding on

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
BOXES = ("crop_box", "frames_box")
"""Columns of clip_crops: what stays of the picture, px of the source's and of the stored frames."""


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


def crops_of(settings: Settings, *boxes: str) -> Mapping[str, Sequence[str]]:
    """What `with_crops` reads: these boxes of `clip_crops`, where it is on."""
    return {"clip_crops": ["clip_id", *boxes]} if settings.crop.is_on else {}


def with_crops(clips: pl.DataFrame, reads: Frames) -> pl.DataFrame:
    """Adds the boxes of `clip_crops` that are read, where any are; a clip without a row there is blocked."""
    if "clip_crops" not in reads:
        return clips
    no_row = pl.when(pl.col("_known").is_null()).then(pl.lit("clip_crops: no row of it"))
    boxes = [name for name in BOXES if name in reads["clip_crops"].columns]
    crops = reads["clip_crops"].select("clip_id", *boxes, blocked_by("clip_crops").alias("_failed"), _known=True)
    first = [pl.col("blocked")] if "blocked" in clips.columns else []
    return (
        clips.join(crops, on="clip_id", how="left", maintain_order="left")
        .with_columns(blocked=pl.coalesce(*first, "_failed", no_row))
        .drop("_failed", "_known")
    )


def selected_clips(reads: Frames, decision: str = "clip_selection") -> pl.DataFrame:
    """Clips with `wanted`: whether `decision` selects them. Rows of paid stages outlive the decision.

    Where `duplicates` is read, a selected clip isn't wanted until it was compared, nor where another is kept for it.
    """
    chosen = reads[decision].select("clip_id", wanted=pl.col("selected").fill_null(False))
    if "duplicates" not in reads:
        return chosen
    kept = reads["duplicates"].filter(pl.col("duplicate_of").is_null()).select("clip_id", kept=pl.lit(True))
    joined = chosen.join(kept, on="clip_id", how="left", maintain_order="left")
    return joined.select("clip_id", pl.col("wanted") & pl.col("kept").fill_null(False))


def chosen_by(settings: Settings) -> Mapping[str, Sequence[str]]:
    """What `selected_clips` reads."""
    of_duplicates = {"duplicates": ["clip_id", "duplicate_of"]} if settings.duplicates.kinds else {}
    return {"clip_selection": ["clip_id", "selected"], **of_duplicates}


def in_runs(work: Iterable[Work], pixels_at_once: float = math.inf) -> list[list[Work]]:
    """Clips of a video that one worker decodes in one pass: one after another, close together; images one by one.

    `pixels_at_once`: width x height of a run's clips, summed. Those with most pixels come first, so that no worker is
    left alone with one of them at the end.
    """
    runs: list[list[Work]] = []
    for unit in sorted(work, key=lambda unit: (unit.values["video_id"], unit.values["start_pts"])):
        area_px = unit.values["width"] * unit.values["height"]
        if runs and _continues(runs[-1], unit) and (len(runs[-1]) + 1) * area_px <= pixels_at_once:
            runs[-1].append(unit)
        else:
            runs.append([unit])
    return sorted(runs, key=lambda run: sum(map(pixels, run)), reverse=True)


def pixels(unit: Work) -> int:
    """Of all frames of a video or clip: how long a worker takes for it."""
    shown = unit.values
    return int(shown["width"] * shown["height"] * shown["frame_count"])


def _continues(run: Sequence[Work], unit: Work) -> bool:
    clip, first, last = unit.values, run[0].values, run[-1].values
    if clip["video_id"] != first["video_id"]:
        return False
    gap, length = clip["start_pts"] - last["end_pts"], clip["end_pts"] - first["start_pts"]
    second = 1 / Fraction(clip["time_base"])
    return bool(0 <= gap <= LARGEST_GAP_S * second and length <= LONGEST_RUN_S * second)
