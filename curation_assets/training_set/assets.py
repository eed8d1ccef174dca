"""`training_manifest`: a row for each sample. `training_set`: a release of all shards' samples."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from curation_assets.checks import nothing_lost_result, sound_result, whole_table_specs
from curation_assets.engines import identity
from curation_assets.refresh import Done, Stage, Work
from curation_assets.rules import release_rules
from curation_assets.settings import Settings, Trainer, declared
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
from curation_assets.step_pods import pod_tags
from curation_assets.tables import GAP, TRAINING_MANIFEST, TRAINING_SET
from curation_assets.tools import Tools
from curation_assets.training_set.manifest import manifest_row
from curation_assets.training_set.release import Release, make_release
from curation_assets.units import Frames
from resources.errors import InputError
from resources.tokens import token_counter, tokenizer_revision

GROUP = "training_set"
LISTED_GAPS = 50
FILE_COLUMNS = ["file_path", "width", "height", "frame_count", "duration_s", "frames_per_s"]
SCORES = {  # table -> slot of the settings whose first engine gives the manifest's score
    "motion_scores": "motion",
    "semantic_scores": "semantic",
    "aesthetic_scores": "aesthetic",
    "text_scores": "text",
    "technical_scores": "technical",
    "alignment_scores": "alignment",
}


def training_set_assets(settings: Settings, upstream: Sequence[Stage]) -> list[StageAsset | dg.AssetsDefinition]:
    """`upstream` are the stages of all tables that the manifest is made from."""
    manifest = _training_manifest(settings)
    return [manifest, _training_set(settings, [*upstream, *manifest.stages])]


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
            **{table: ["clip_id", "engine", f"{slot}_score"] for table, slot in SCORES.items()},
        },
        units=lambda reads: samples(reads, settings),
        version="1",
        settings=_trainer_settings(settings.training_set.trainer),
    )

    needs = [partial(token_counter, settings.training_set.trainer.tokenizer)]

    @stage_asset(stage, settings, group=GROUP, kinds={"polars"}, needs=needs)
    def training_manifest(work: list[Work], tools: Tools) -> Iterable[Done]:
        """The samples of a shard: selected, captioned, encoded, and their source still there."""
        trainer = tools.settings.training_set.trainer
        count_tokens = token_counter(trainer.tokenizer)
        return tools.rows_here(lambda sample: manifest_row(sample, trainer, count_tokens), work)

    return training_manifest


def _trainer_settings(trainer: Trainer) -> dict[str, Any]:
    """The tokenizer by what it is, not by where it lies."""
    tokenizer = {"tokenizer": identity(tokenizer_revision, trainer.tokenizer)} if trainer.tokenizer else {}
    return declared(trainer) | tokenizer


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
    )
    for table, slot in SCORES.items():
        first = next(iter(getattr(settings, slot).engines), None)
        scores = reads[table].filter(pl.col("engine") == pl.lit(first, pl.String))
        found = found.join(scores.select("clip_id", f"{slot}_score"), on="clip_id", how="left")
    return found


def _training_set(settings: Settings, stages: Sequence[Stage]) -> dg.AssetsDefinition:
    @dg.asset(
        deps=[TRAINING_MANIFEST.name],
        group_name=GROUP,
        kinds={"polars", "deltalake"},
        owners=OWNERS,
        code_version="1",
        metadata={"dagster/column_schema": column_schema(TRAINING_SET), "dagster/table_name": TRAINING_SET.name},
        check_specs=whole_table_specs(TRAINING_SET),
        op_tags=pod_tags(TRAINING_SET.name, settings.kubernetes),
    )
    def training_set(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult:  # type: ignore[type-arg]  # beside checks Dagster takes only the bare class
        """One row is a release: all shards' samples, exported, with the table versions they came from.

        Identical samples under identical settings are the release that is there already. What is missing, failed or
        out of date in some shards holds no release up; it is listed under gaps.
        """
        require_same_settings(context, settings)
        with explaining(TRAINING_SET.name):
            try:
                release = make_release(home.store(), home.files(), settings, stages, context.run.run_id)
            except InputError as failure:
                raise dg.Failure(f"{TRAINING_SET.name}: {failure}", allow_retries=False) from failure
        return dg.MaterializeResult(
            metadata=_metadata(release, home),
            data_version=dg.DataVersion(release.name),
            check_results=_checks(release, home),
        )

    return training_set


def _checks(release: Release, home: Home) -> list[dg.AssetCheckResult]:
    store = home.store()
    releases = store.scan(store.snapshot(TRAINING_SET.name, release.version)).filter(release=release.name)
    [row] = releases.collect().to_dicts()
    versions = {table["table"]: table["version"] for table in row["table_versions"]}
    manifest = store.snapshot(TRAINING_MANIFEST.name, versions[TRAINING_MANIFEST.name])
    paths = store.read(manifest, ["file_path", "error"]).filter(pl.col("error").is_null())["file_path"]
    gaps = len(release.gaps)
    lost = [f"{gaps} gaps: shards with inputs without result, rows out of date or failures"] if gaps else []
    return [
        sound_result(TRAINING_SET.name, release_rules(row, release.is_new, paths, home.files())),
        nothing_lost_result(TRAINING_SET.name, lost, {"gaps": gaps}),
    ]


def _metadata(release: Release, home: Home) -> dict[str, dg.MetadataValue]:
    store = home.store()
    return {
        "release": dg.MetadataValue.text(release.name),
        "samples": dg.MetadataValue.int(release.samples),
        "exports": dg.MetadataValue.json(release.exports),
        "gaps": dg.MetadataValue.table(
            [dg.TableRecord(gap) for gap in release.gaps[:LISTED_GAPS]],
            dg.TableSchema(columns=[dg.TableColumn(field.name) for field in GAP.fields]),
        ),
        "gap_count": dg.MetadataValue.int(len(release.gaps)),
        "dagster/row_count": dg.MetadataValue.int(release.releases),
        "inputs": dg.MetadataValue.int(release.samples),
        "computed": dg.MetadataValue.int(release.samples if release.is_new else 0),
        "reused": dg.MetadataValue.int(0 if release.is_new else release.samples),
        "seconds": dg.MetadataValue.float(round(release.seconds, 3)),
        "preview": preview(store.scan(store.snapshot(TRAINING_SET.name, release.version)), TRAINING_SET),
        "delta_version": dg.MetadataValue.int(release.version),
        "dagster/uri": dg.MetadataValue.text(store.location(TRAINING_SET.name)),
    }
