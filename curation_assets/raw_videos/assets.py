"""`source_files`: what the sources hold. `raw_videos`: what probing found in each video."""

from collections.abc import Iterable, Mapping, Sequence

import dagster as dg
import polars as pl
from pydantic import Field

from curation_assets.incremental.stage import Stage
from curation_assets.incremental.work import Done, Work
from curation_assets.orchestration.checks import nothing_lost_result, sound_result
from curation_assets.orchestration.lineage import SHARD_FILES
from curation_assets.orchestration.stage_asset import (
    SHARDS,
    Home,
    StageAsset,
    explaining,
    report_shards,
    require_name,
    require_same_settings,
    shard_part_spec,
    stage_asset,
    whole_asset,
)
from curation_assets.raw_videos.image_probing import probe_image
from curation_assets.raw_videos.probing import probe_video
from curation_assets.rules import registration_rules
from curation_assets.settings import Settings, Source, result_settings
from curation_assets.shards import Registration, register
from curation_assets.tables import RAW_VIDEOS, SOURCE_FILES, Row
from curation_assets.tools import Tools
from curation_assets.views.metadata import Values, failures, numbers, preview, settings_in_force, where
from curation_assets.views.speed import rates
from resources.text import one_line

GROUP = "1_sources"
CARRIED = ("source", "path", "source_uri", "missing", "listing", "size_bytes", "media_type")


class Scan(dg.Config):
    """A source beside those of the settings; without a name, the settings' sources are scanned."""

    name: str | None = None
    path: str | None = None
    recursive: bool = True
    media_types: list[str] = Field(["video", "image"])
    path_column: str = "video_path"
    folder: str | None = None

    def sources(self, settings: Settings) -> Mapping[str, Source]:
        if self.name is None or self.path is None:
            return settings.sources
        require_name(self.name)
        return {self.name: Source.model_validate(self.model_dump(exclude={"name"}))}


def source_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    @whole_asset(SOURCE_FILES, settings, GROUP, {"python"})
    def source_files(context: dg.AssetExecutionContext, config: Scan, home: Home) -> dg.MaterializeResult:  # type: ignore[type-arg]  # beside checks Dagster takes only the bare class
        """One row is a file of a source, once per content it had.

        Lists the sources, hashes new and changed files and assigns each new video its shard.
        """
        require_same_settings(context, settings)
        sources = config.sources(settings)
        if not sources:
            raise dg.Failure(
                "no source to scan: name one under `sources:` in the settings, or run `reelhouse run FOLDER`",
                allow_retries=False,
            )
        with explaining(SOURCE_FILES.name):
            found = register(sources, settings.shards, home.store(), context.run.run_id)
        report_shards(context.instance, SHARD_FILES, found.shard_versions)  # before a policy can see new shards
        context.instance.add_dynamic_partitions(SHARDS.name, found.shards)
        if found.source_errors:
            raise dg.Failure("; ".join(one_line(error) for error in found.source_errors), allow_retries=False)
        return dg.MaterializeResult(
            metadata=_registration_metadata(found, home, settings),
            data_version=dg.DataVersion(found.data_version),
            check_results=_registration_checks(found, home, context.instance.get_dynamic_partitions(SHARDS.name)),
        )

    return [source_files]


def shard_files_specs() -> list[dg.AssetSpec]:
    return [shard_part_spec(SOURCE_FILES, GROUP)]


def _registration_checks(found: Registration, home: Home, shards: Sequence[str]) -> list[dg.AssetCheckResult]:
    store = home.store()
    rows = store.read(store.snapshot(SOURCE_FILES.name, found.version), [*SOURCE_FILES.key, "shard"])
    failed = len(found.failures)
    lost = [f"{failed} of {found.files} files can't be registered"] if failed else []
    return [
        sound_result(SOURCE_FILES.name, registration_rules(rows, shards)),
        nothing_lost_result(SOURCE_FILES.name, lost, {"failed": failed}),
    ]


def _registration_metadata(found: Registration, home: Home, settings: Settings) -> Values:
    store = home.store()
    counts = {
        "inputs": found.files,
        "computed": found.hashed - found.unreadable,
        "reused": found.files - found.hashed - (len(found.failures) - found.unreadable),
        "failed": len(found.failures),
        "added": found.added,
        "vanished": found.vanished,
        "shards": len(found.shards),
    }
    return {
        "dagster/row_count": dg.MetadataValue.int(found.rows),
        **numbers(counts),
        **numbers(rates(found.hashed, found.seconds, found.spent)),
        **failures(found.failures),
        **settings_in_force(SOURCE_FILES, settings),
        "preview": preview(store.scan(store.snapshot(SOURCE_FILES.name, found.version)), SOURCE_FILES),
        **where(store, SOURCE_FILES, found.version),
    }


def registered_videos(reads: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """One row a video or image: of its paths the first that still exists. What was taken down is no input."""
    as_image = pl.when(media_type="image").then(True)
    return (
        reads["source_files"]
        .join(reads["takedowns"].select("video_id"), on="video_id", how="anti")
        .sort("missing", "source", "path")
        .unique("video_id", keep="first", maintain_order=True)
        .select("video_id", *CARRIED, as_image=as_image, wanted=~pl.col("missing"), blocked="error")
    )


def raw_video_assets(settings: Settings) -> list[StageAsset]:
    stage = Stage(
        RAW_VIDEOS,
        unit="video_id",
        reads={"source_files": ["video_id", *CARRIED], "takedowns": ["video_id"]},
        units=registered_videos,
        version="1",
        effort="probe",
        settings=result_settings(settings.raw_videos),
        carried=CARRIED,
        added=frozenset({"as_image"}),
    )

    @stage_asset(stage, settings, group=GROUP, kinds={"ffmpeg"})
    def raw_videos(work: Sequence[Work], tools: Tools) -> Iterable[Done]:
        """Reads each file's packets without decoding: streams, size, exact rate, times, colours. Decodes images."""
        limits = tools.settings.raw_videos

        def arguments(unit: Work, _: str) -> Row:
            return {"uri": unit.values["source_uri"], "limits": limits}

        for probe, as_image in ((probe_video, None), (probe_image, True)):
            units = [unit for unit in work if unit.values["as_image"] is as_image]
            yield from tools.rows_in_workers(probe, units, arguments)

    return [raw_videos]
