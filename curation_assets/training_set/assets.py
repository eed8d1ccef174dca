"""`training_manifest`: a row for each sample. `training_set`: a release of all shards' samples."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import dagster as dg
import polars as pl

from curation_assets.engines import identity
from curation_assets.incremental.stage import Stage
from curation_assets.incremental.work import Pending
from curation_assets.orchestration.checks import nothing_lost_result, sound_result
from curation_assets.orchestration.stage_asset import (
    Home,
    StageAsset,
    explaining,
    require_same_settings,
    stage_asset,
    whole_asset,
)
from curation_assets.rules import release_rules
from curation_assets.settings import Settings, Trainer, declared
from curation_assets.tables import GAP, TRAINING_MANIFEST, TRAINING_SET, Row
from curation_assets.tools import Tools
from curation_assets.training_set.gaps import Decision
from curation_assets.training_set.manifest import manifest_rows
from curation_assets.training_set.release import Release, make_release
from curation_assets.units import Frames
from curation_assets.upkeep.releases import TablesAt, find_release, release_before, versions_of
from curation_assets.views.metadata import Values, as_table, numbers, preview, settings_in_force, where
from resources.delta_store import DeltaStore
from resources.errors import InputError
from resources.files import Files
from resources.tokens import token_counter, tokenizer_revision

GROUP = "6_training_set"
LISTED_GAPS = 50
FILE_COLUMNS = ["file_path", "width", "height", "frame_count", "duration_s", "frames_per_s", "crop_box"]
SCORES = {  # table -> slot of the settings whose first engine gives the manifest's score
    "motion_scores": "motion",
    "semantic_scores": "semantic",
    "aesthetic_scores": "aesthetic",
    "text_scores": "text",
    "technical_scores": "technical",
    "alignment_scores": "alignment",
    "safety_scores": "safety",
    "watermark_scores": "watermark",
}
MADE_ON_REQUEST = ("safety", "watermark")  # slots whose tables aren't there while they are off


def training_set_assets(
    settings: Settings, upstream: Sequence[Stage], duplicates: Decision | None
) -> list[StageAsset | dg.AssetsDefinition]:
    """`upstream` are the stages of all tables that the manifest is made from; `duplicates` is None while it is off."""
    manifest = _training_manifest(settings)
    return [manifest, _training_set(settings, [*upstream, *manifest.stages], duplicates)]


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
            **_scores_read(settings),
        },
        units=lambda reads: samples(reads, settings),
        version="1",
        settings=_trainer_settings(settings.training_set.trainer),
        added=frozenset({"camera_motion", "crop_box", "safety_score", "watermark_score"}),
    )

    needs = [partial(token_counter, settings.training_set.trainer.tokenizer)]

    @stage_asset(stage, settings, group=GROUP, kinds={"polars"}, needs=needs)
    def training_manifest(work: Pending, tools: Tools) -> Iterable[pl.DataFrame]:
        """The samples of a shard: selected, captioned, encoded, and their source still there."""
        trainer = tools.settings.training_set.trainer
        yield manifest_rows(work.columns, trainer, token_counter(trainer.tokenizer))

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
        if table not in reads:
            found = found.with_columns(pl.lit(None, pl.Float64).alias(name) for name in _score_columns(slot))
            continue
        first = next(iter(getattr(settings, slot).engines), None)
        scores = reads[table].filter(pl.col("engine") == pl.lit(first, pl.String))
        found = found.join(scores.select("clip_id", *_score_columns(slot)), on="clip_id", how="left")
    return found


def _scores_read(settings: Settings) -> dict[str, list[str]]:
    """Of each table of scores that there is the columns that the manifest takes."""
    return {
        table: ["clip_id", "engine", *_score_columns(slot)]
        for table, slot in SCORES.items()
        if slot not in MADE_ON_REQUEST or getattr(settings, slot).engines
    }


def _score_columns(slot: str) -> list[str]:
    return ["motion_score", "camera_motion"] if slot == "motion" else [f"{slot}_score"]


def _training_set(settings: Settings, stages: Sequence[Stage], duplicates: Decision | None) -> dg.AssetsDefinition:
    @whole_asset(TRAINING_SET, settings, GROUP, {"polars"}, deps=[TRAINING_MANIFEST.name])
    def training_set(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult:  # type: ignore[type-arg]  # beside checks Dagster takes only the bare class
        """One row is a release: all shards' samples, exported, with the table versions they came from.

        Identical samples under identical settings are the release that is there already. What is missing, failed or
        out of date in some shards holds no release up; it is listed under gaps.
        """
        require_same_settings(context, settings)
        with explaining(TRAINING_SET.name):
            release = make_release(home.store(), home.files(), settings, stages, context.run.run_id, duplicates)
        made = _Made(release, home.store(), home.files())
        context.add_asset_metadata(made.metadata(settings))
        return dg.MaterializeResult(data_version=dg.DataVersion(release.name), check_results=made.checks())

    return training_set


@dataclass(frozen=True)
class _Made:
    """A release after it was made, or found."""

    release: Release
    store: DeltaStore
    files: Files

    @cached_property
    def _row(self) -> Row:
        return find_release(self.store, self.release.name)

    @cached_property
    def _samples(self) -> pl.DataFrame:
        return self._samples_of(self._row)

    def _samples_of(self, release: Row) -> pl.DataFrame:
        tables = TablesAt(self.store, versions_of(release))
        columns = ["clip_id", "file_path", "duration_s"]
        return tables.read(TRAINING_MANIFEST.name, columns, pl.col("error").is_null())

    def checks(self) -> list[dg.AssetCheckResult]:
        gaps = len(self.release.gaps)
        lost = [f"{gaps} gaps: shards with inputs without result, rows out of date or failures"] if gaps else []
        rules = release_rules(self._row, self.release.is_new, self._samples["file_path"], self.files)
        return [
            sound_result(TRAINING_SET.name, rules),
            nothing_lost_result(TRAINING_SET.name, lost, {"gaps": gaps}),
        ]

    def metadata(self, settings: Settings) -> Values:
        release, samples = self.release, self._samples
        counts = {
            "inputs": release.samples,
            "computed": release.samples if release.is_new else 0,
            "reused": 0 if release.is_new else release.samples,
            "samples": release.samples,
            "hours": round(float(samples["duration_s"].sum()) / 3600, 4),
            "gap_count": len(release.gaps),
        }
        rows = self.store.scan(self.store.snapshot(TRAINING_SET.name, release.version))
        return {
            "release": dg.MetadataValue.text(release.name),
            "changed": dg.MetadataValue.text(self._changed()),
            "dagster/row_count": dg.MetadataValue.int(release.releases),
            **numbers(counts),
            "seconds": dg.MetadataValue.float(round(release.seconds, 3)),
            "gaps": as_table([field.name for field in GAP.fields], release.gaps[:LISTED_GAPS]),
            "exports": dg.MetadataValue.json(release.exports),
            **settings_in_force(TRAINING_SET, settings),
            "preview": preview(rows, TRAINING_SET),
            **where(self.store, TRAINING_SET, release.version),
        }

    def _changed(self) -> str:
        """Against the release before, by clip; `reelhouse release diff` tells more."""
        if not self.release.is_new:
            return "nothing: the same samples under the same settings were released before"
        before = release_before(self.store, self._row)
        if before is None:
            return "the first release"
        try:
            was = self._samples_of(before)
        except InputError as gone:
            return str(gone)
        entered = self._samples.join(was, on="clip_id", how="anti").height
        left = was.join(self._samples, on="clip_id", how="anti").height
        return f"{entered} samples entered and {left} left since {before['release']}"
