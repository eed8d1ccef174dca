"""`clip_hashes`, `clip_neighbours` and `duplicates`: which clips show what another shows; none while that is off."""

from collections.abc import Iterable, Sequence
from functools import partial

import dagster as dg
import polars as pl

from curation_assets.duplicates import from_frames
from curation_assets.duplicates.comparing import HASHED, neighbours_of
from curation_assets.duplicates.deciding import MADE_FROM, Decided, decide
from curation_assets.incremental.stage import Stage, blocked_by
from curation_assets.incremental.work import Done, Pending, Work
from curation_assets.orchestration.checks import nothing_lost_result, sound_result
from curation_assets.orchestration.lineage import SHARD_DUPLICATES
from curation_assets.orchestration.stage_asset import (
    Home,
    StageAsset,
    explaining,
    report_shards,
    require_same_settings,
    shard_part_spec,
    stage_asset,
    whole_asset,
)
from curation_assets.rules import duplicate_rules
from curation_assets.settings import Settings, declared
from curation_assets.tables import CLIP_HASHES, CLIP_NEIGHBOURS, DUPLICATES, Row
from curation_assets.tools import Tools
from curation_assets.units import Frames
from curation_assets.views.metadata import Values, numbers, preview, settings_in_force, where
from resources.delta_store import DeltaStore
from resources.errors import Need
from resources.packages import package_version

GROUP = "4_selection"


def duplicate_assets(settings: Settings) -> list[StageAsset | dg.AssetsDefinition]:
    if not settings.duplicates.kinds:
        return []
    return [_clip_hashes(settings), _clip_neighbours(settings), _duplicates(settings)]


def _clip_hashes(settings: Settings) -> StageAsset:
    stage = Stage(
        CLIP_HASHES,
        unit="clip_id",
        reads={"frames": ["clip_id", "frame_indices", "frames_path", "frames_sha256"]},
        units=frames_to_hash,
        version="1",
        effort="call",
        not_data=frozenset({"frames_path"}),
    )

    @stage_asset(stage, settings, group=GROUP, kinds={"opencv"})
    def clip_hashes(work: Sequence[Work], tools: Tools) -> Iterable[Done]:
        """Perceptual hashes of the stored frames; no video is opened."""

        def arguments(unit: Work, _: str) -> Row:
            own = ("clip_id", "frames_path", "frames_sha256", "frame_count")
            return {"files": tools.files, **{name: unit.values[name] for name in own}}

        return tools.rows_in_workers(from_frames.hashes, work, arguments)

    return clip_hashes


def frames_to_hash(reads: Frames) -> pl.DataFrame:
    frame_count = pl.col("frame_indices").list.last() + 1
    return reads["frames"].select(
        "clip_id", "frames_path", "frames_sha256", blocked_by("frames"), frame_count=frame_count
    )


def _clip_neighbours(settings: Settings) -> StageAsset:
    section = settings.duplicates
    semantic = section.engine if "semantic" in section.kinds else None
    of_embeddings = {"clip_embeddings": ["clip_id", "engine", "model", "revision"]} if semantic else {}
    stage = Stage(
        CLIP_NEIGHBOURS,
        unit="clip_id",
        reads={"clip_hashes": [*HASHED], **of_embeddings},
        units=lambda reads: hashed_clips(reads, semantic),
        version="1",
        effort="call",
        settings={name: value for name, value in declared(section).items() if name != "keep"},
    )

    index: list[Need] = [partial(package_version, "faiss-cpu")] if {*section.kinds} - {"exact"} else []

    @stage_asset(stage, settings, group=GROUP, kinds={"polars"}, needs=index)
    def clip_neighbours(work: Pending, tools: Tools) -> Iterable[pl.DataFrame]:
        """Compares new clips with all there are, in any shard; of two that are new at once either names the other."""
        yield neighbours_of(work.columns, tools.scan, tools.settings.duplicates)

    return clip_neighbours


def hashed_clips(reads: Frames, semantic: str | None) -> pl.DataFrame:
    """Clips with what they are compared by; of an embedding what made it, since it is of the same frames."""
    hashed = reads["clip_hashes"].select(*HASHED, blocked_by("clip_hashes"))
    if semantic is None:
        return hashed
    embedded = reads["clip_embeddings"].filter(engine=semantic)
    embedded = embedded.select("clip_id", "model", "revision", not_embedded=blocked_by("clip_embeddings"))
    no_row = pl.when(pl.col("model").is_null()).then(pl.lit(f"clip_embeddings: no row of {semantic}"))
    return (
        hashed.join(embedded, on="clip_id", how="left")
        .with_columns(blocked=pl.coalesce("blocked", "not_embedded", no_row))
        .drop("not_embedded")
    )


def _duplicates(settings: Settings) -> dg.AssetsDefinition:
    @whole_asset(DUPLICATES, settings, GROUP, {"polars"}, deps=MADE_FROM)
    def duplicates(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult:  # type: ignore[type-arg]  # beside checks Dagster takes only the bare class
        """One row is a clip that was compared with all others, and which one is kept in its place.

        Of the selected clips that are near each other the best is kept, by `duplicates.keep`; each of the others names
        a kept one that it is near to itself. Decided over all shards at once; `sample_selection` and captions follow.
        """
        require_same_settings(context, settings)
        store = home.store()
        with explaining(DUPLICATES.name):
            decided = decide(store, settings, context.run.run_id)
        report_shards(context.instance, SHARD_DUPLICATES, decided.shard_versions)
        context.add_asset_metadata(_metadata(decided, store, settings))
        return dg.MaterializeResult(
            data_version=dg.DataVersion(decided.data_version),
            check_results=[
                sound_result(DUPLICATES.name, duplicate_rules(decided.rows)),
                nothing_lost_result(DUPLICATES.name, [], {"dropped": decided.dropped.height}),
            ],
        )

    return duplicates


def _metadata(decided: Decided, store: DeltaStore, settings: Settings) -> Values:
    kinds = dict(decided.dropped["kind"].value_counts().sort("kind").iter_rows())
    clips = {"clips": decided.rows.height, "selected": decided.selected, "dropped": decided.dropped.height}
    return {
        "dagster/row_count": dg.MetadataValue.int(decided.rows.height),
        **numbers(clips | kinds),
        "shards_changed": dg.MetadataValue.json(decided.changed),
        **settings_in_force(DUPLICATES, settings),
        "preview": preview(decided.dropped.lazy(), DUPLICATES),
        **where(store, DUPLICATES, decided.version),
    }


def duplicate_specs(settings: Settings) -> list[dg.AssetSpec]:
    return [shard_part_spec(DUPLICATES, GROUP)] if settings.duplicates.kinds else []
