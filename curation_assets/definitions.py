"""The code location: gathers assets, jobs, sensors and resources; no logic."""

import os

import dagster as dg

from curation_assets.beautified_prompts.assets import beautified_prompt_assets
from curation_assets.captions.assets import caption_assets
from curation_assets.clip_files.assets import clip_file_assets
from curation_assets.clips.assets import clip_assets, scene_assets
from curation_assets.crops.assets import crop_assets
from curation_assets.duplicates.assets import duplicate_assets, duplicate_specs
from curation_assets.duplicates.deciding import decision
from curation_assets.frames.assets import frame_assets
from curation_assets.incremental.stage import Stage
from curation_assets.orchestration.automation import jobs, schedules, sensors, with_policy
from curation_assets.orchestration.stage_asset import SHARDS, Home, StageAsset
from curation_assets.raw_videos.assets import raw_video_assets, shard_files_specs, source_assets
from curation_assets.raw_videos.takedowns import takedown_specs
from curation_assets.report.assets import report_assets
from curation_assets.scores.assets import score_assets, screening_assets
from curation_assets.selection.assets import sample_selection_assets, selection_assets
from curation_assets.selection.exclusions import exclusion_specs
from curation_assets.settings import Settings, SettingsError, home_path, load_settings
from curation_assets.training_set.assets import training_set_assets
from curation_assets.views.definition import linked_to_code


def executor() -> dg.ExecutorDefinition:
    """Where steps run, by `CURATION_EXECUTOR`. Raises SettingsError for a name that isn't one, or a missing extra."""
    match os.environ.get("CURATION_EXECUTOR", "in_process"):
        case "in_process":
            return dg.in_process_executor
        case "multiprocess":
            return dg.multiprocess_executor
        case "k8s":
            try:
                from curation_assets.orchestration.kubernetes import k8s_executor
            except ModuleNotFoundError as missing:
                raise SettingsError(f"CURATION_EXECUTOR is k8s: {missing}; install reelhouse[k8s]") from None
            return k8s_executor
        case other:
            raise SettingsError(f"CURATION_EXECUTOR is {other!r}; use in_process, multiprocess or k8s")


def all_assets(settings: Settings) -> list[StageAsset | dg.AssetsDefinition]:
    """Every asset of one settings tree, upstream first."""
    from_videos: list[StageAsset | dg.AssetsDefinition] = [
        *source_assets(settings),
        *raw_video_assets(settings),
        *scene_assets(settings),
        *clip_assets(settings),
        *frame_assets(settings),
        *crop_assets(settings),
        *score_assets(settings),
        *screening_assets(settings),
        *selection_assets(settings),
        *duplicate_assets(settings),
        *caption_assets(settings),
        *sample_selection_assets(settings),
        *clip_file_assets(settings),
    ]
    stages = [stage for asset in from_videos if isinstance(asset, StageAsset) for stage in asset.stages]
    of_all = [*training_set_assets(settings, stages, decision(settings)), *report_assets(settings)]
    return [*from_videos, *of_all, *beautified_prompt_assets(settings)]


def stage_assets(settings: Settings) -> list[StageAsset]:
    """Those that a refresh makes, upstream first."""
    return [asset for asset in all_assets(settings) if isinstance(asset, StageAsset)]


def video_assets(settings: Settings) -> list[StageAsset]:
    """Those that a refresh makes from videos, upstream first."""
    return [asset for asset in stage_assets(settings) if asset.definition.partitions_def == SHARDS]


def video_stages(settings: Settings) -> list[Stage]:
    """Every stage that makes a table from videos, upstream first."""
    return [stage for asset in video_assets(settings) for stage in asset.stages]


def build_definitions(settings: Settings, home: str) -> dg.Definitions:
    """Everything Dagster shows, for one settings tree and one home."""
    assets = [
        linked_to_code(asset.definition, asset.compute) if isinstance(asset, StageAsset) else linked_to_code(asset)
        for asset in all_assets(settings)
    ]
    told = [*exclusion_specs(), *takedown_specs(), *shard_files_specs(), *duplicate_specs(settings)]
    return dg.Definitions(
        assets=[*with_policy(assets), *told],
        jobs=jobs(settings),
        schedules=schedules(),
        sensors=sensors(settings),
        resources={"home": Home(root=home)},
        executor=executor(),
    )


@dg.definitions
def defs() -> dg.Definitions:
    return build_definitions(load_settings(), home_path())
