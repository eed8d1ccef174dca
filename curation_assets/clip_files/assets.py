"""`clip_files`: the clips of the manifest, encoded; of images copies. Nothing is encoded that was dropped."""

from collections.abc import Iterable, Sequence

import polars as pl

from curation_assets.clip_files.storing import ClipEncoder, FileTask
from curation_assets.incremental.stage import NO_ENGINE, Stage, blocked_by
from curation_assets.incremental.work import Done, Work
from curation_assets.orchestration.stage_asset import StageAsset, stage_asset
from curation_assets.settings import Settings, result_settings
from curation_assets.tables import CLIP_FILES
from curation_assets.tools import Tools
from curation_assets.units import (
    READING,
    SPAN,
    Frames,
    clips_with_source,
    crops_of,
    in_runs,
    selected_clips,
    with_crops,
)
from resources.ffmpeg import Limits
from resources.runs import map_runs

PIXELS_AT_ONCE = 4 * 1920 * 1080  # four encoders of 1080p, or one of 4K, in memory


def clip_file_assets(settings: Settings) -> list[StageAsset]:
    stage = Stage(
        CLIP_FILES,
        unit="clip_id",
        reads={
            "sample_selection": ["clip_id", "selected"],
            "clips": ["clip_id", "video_id", "dropped", "start_s", *SPAN],
            "raw_videos": ["video_id", "source_uri", "missing", "audio_stream_index", *READING],
            "frames": ["clip_id", "frames_path"],
            **crops_of(settings, "crop_box"),
        },
        units=chosen_clips,
        version="1",
        effort="encode",
        paid=True,
        settings=result_settings(settings.clip_files),
        not_data=frozenset({"source_uri", "frames_path"}),
        added=frozenset({"metadata", "crop_box"}),
        copied=("crop_box",),
        file=("file_path", "file_size_bytes"),
    )

    @stage_asset(stage, settings, group="6_training_set", kinds={"ffmpeg"})
    def clip_files(work: Sequence[Work], tools: Tools) -> Iterable[Done]:
        """Encodes exactly the frames of each span and compares the first and last with the source. Copies images.

        Of a cropped clip it is what stays of the picture.
        """
        execution = tools.settings.execution
        limits = Limits(execution.item_timeout_s, execution.item_memory_bytes)

        encoder = ClipEncoder(tools.files, tools.settings.clip_files, limits)
        runs = [[file_task(unit) for unit in run] for run in in_runs(work, PIXELS_AT_ONCE)]
        for task, outcome in map_runs(tools.pool, encoder, runs):
            yield Done(task.clip["clip_id"], outcome if isinstance(outcome, Exception) else [outcome])

    return [clip_files]


def file_task(unit: Work) -> FileTask:
    made_of = unit.fingerprints[CLIP_FILES.name, NO_ENGINE][:8]
    return FileTask(unit.values, f"clips/{unit.shard}/{unit.unit}-{made_of}.mp4")


def chosen_clips(reads: Frames) -> pl.DataFrame:
    """Clips with what is needed to cut them; files of clips that are not chosen today are left as they are."""
    chosen = selected_clips(reads, "sample_selection").rename({"wanted": "chosen"})
    frames = reads["frames"].select("clip_id", "frames_path", blocked_by("frames"))
    return (
        with_crops(clips_with_source(reads).join(frames, on="clip_id"), reads)
        .join(reads["raw_videos"].select("video_id", "audio_stream_index"), on="video_id")
        .with_columns(metadata=pl.when(timestamps="none").then(pl.lit("left out")))  # images were copied with it once
        .join(chosen, on="clip_id", how="left")
        .with_columns(wanted=pl.col("wanted") & pl.col("chosen").fill_null(False))
        .drop("chosen")
    )
