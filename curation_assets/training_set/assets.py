"""`training_manifest`: a row for each sample. `training_set`: a release of all shards' samples."""

from collections.abc import Iterable

import dagster as dg
import polars as pl

from curation_assets.refresh import Done, Stage, Work
from curation_assets.settings import Settings, result_settings, settings_hash
from curation_assets.stage_asset import (
    OWNERS,
    Home,
    StageAsset,
    column_schema,
    explaining,
    preview,
    require_same_settings,
    stage_asset,
)
from curation_assets.tables import TRAINING_MANIFEST, TRAINING_SET
from curation_assets.tools import Tools
from curation_assets.training_set.manifest import manifest_row
from curation_assets.training_set.release import Release, make_release
from curation_assets.units import Frames

GROUP = "training_set"
FILE_COLUMNS = ["file_path", "width", "height", "frame_count", "duration_s", "frames_per_s"]
SCORES = {  # table -> slot of the settings whose first engine gives the manifest's score
    "motion_scores": "motion",
    "semantic_scores": "semantic",
    "aesthetic_scores": "aesthetic",
    "text_scores": "text",
    "technical_scores": "technical",
}


def training_set_assets(settings: Settings) -> list[StageAsset | dg.AssetsDefinition]:
    return [_training_manifest(settings), _training_set(settings)]


def _training_manifest(settings: Settings) -> StageAsset:
    stage = Stage(
        TRAINING_MANIFEST,
        unit="clip_id",
        reads={
            "sample_selection": ["clip_id", "video_id", "selected", "caption"],
            "clip_files": ["clip_id", *FILE_COLUMNS],
            "clips": ["clip_id", "start_s", "end_s"],
            "raw_videos": ["video_id", "source", "source_uri", "listing", "missing"],
            "captions": ["clip_id", "caption", "engine"],
            "rewritten_captions": ["clip_id", "engine"],
            "alignment_scores": ["clip_id", "engine", "alignment_score"],
            **{table: ["clip_id", "engine", f"{slot}_score"] for table, slot in SCORES.items()},
        },
        units=lambda reads: samples(reads, settings),
        version="1",
        settings=result_settings(settings.training_set.trainer),
    )

    @stage_asset(stage, settings, group=GROUP, kinds={"polars"})
    def training_manifest(work: list[Work], tools: Tools) -> Iterable[Done]:
        """The samples of a shard: selected, captioned, encoded, and their source still there."""
        trainer = tools.settings.training_set.trainer
        return tools.rows_here(lambda sample: manifest_row(sample, trainer), work)

    return training_manifest


def samples(reads: Frames, settings: Settings) -> pl.DataFrame:
    """Everything that is known of each sample; a clip without a file is no sample yet."""
    chosen = reads["sample_selection"].filter("selected").select("clip_id", "video_id", text="caption")
    files = reads["clip_files"].filter(pl.col("error").is_null()).select("clip_id", *FILE_COLUMNS)
    videos = reads["raw_videos"].filter(~pl.col("missing")).select("video_id", "source", "source_uri", "listing")
    found = (
        chosen.join(files, on="clip_id")
        .join(videos, on="video_id")
        .join(reads["clips"].select("clip_id", "start_s", "end_s"), on="clip_id")
        .join(reads["captions"].select("clip_id", original_caption="caption", caption_engine="engine"), on="clip_id")
        .join(reads["rewritten_captions"].select("clip_id", rewriting_engine="engine"), on="clip_id")
        .join(reads["alignment_scores"].select("clip_id", "alignment_score"), on="clip_id", how="left")
    )
    for table, slot in SCORES.items():
        first = next(iter(getattr(settings, slot).engines), None)
        scores = reads[table].filter(pl.col("engine") == pl.lit(first, pl.String))
        found = found.join(scores.select("clip_id", f"{slot}_score"), on="clip_id", how="left")
    return found


def _training_set(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        deps=[TRAINING_MANIFEST.name],
        group_name=GROUP,
        kinds={"polars", "deltalake"},
        owners=OWNERS,
        code_version="1",
        metadata={"dagster/column_schema": column_schema(TRAINING_SET), "dagster/table_name": TRAINING_SET.name},
    )
    def training_set(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult[None]:
        """One row is a release: all shards' samples, exported, with the table versions they came from.

        Identical samples under identical settings are the release that is there already.
        """
        require_same_settings(context, settings)
        with explaining(TRAINING_SET.name):
            release = make_release(
                home.store(), home.files(), settings_hash(settings), settings.training_set.paths, context.run.run_id
            )
        return dg.MaterializeResult(metadata=_metadata(release, home), data_version=dg.DataVersion(release.name))

    return training_set


def _metadata(release: Release, home: Home) -> dict[str, dg.MetadataValue]:
    store = home.store()
    return {
        "release": dg.MetadataValue.text(release.name),
        "samples": dg.MetadataValue.int(release.samples),
        "exports": dg.MetadataValue.json(release.exports),
        "dagster/row_count": dg.MetadataValue.int(release.releases),
        "inputs": dg.MetadataValue.int(release.samples),
        "computed": dg.MetadataValue.int(release.samples if release.is_new else 0),
        "reused": dg.MetadataValue.int(0 if release.is_new else release.samples),
        "seconds": dg.MetadataValue.float(round(release.seconds, 3)),
        "preview": preview(store.scan(store.snapshot(TRAINING_SET.name, release.version)), TRAINING_SET),
        "delta_version": dg.MetadataValue.int(release.version),
        "dagster/uri": dg.MetadataValue.text(store.location(TRAINING_SET.name)),
    }
