"""The one automation policy and the jobs."""

from collections.abc import Sequence

import dagster as dg

WHOLE = (dg.AssetKey("source_files"), dg.AssetKey("training_set"))  # not partitioned by shard
PROMPTS = (dg.AssetKey("prompts"), dg.AssetKey("beautified_prompts"))  # partitioned by prompt file


def policy() -> dg.AutomationCondition:  # type: ignore[type-arg]
    """Refresh a shard of an asset when its inputs' data or its own code version changed, or it is missing.

    `eager` would ignore code versions and rerun everything below an identical result.
    """
    condition = dg.AutomationCondition
    handled = condition.newly_requested() | condition.initial_evaluation()
    data = condition.any_deps_updated().replace("newly_updated", condition.data_version_changed()).since(handled)
    code = condition.code_version_changed().since(handled)  # true for one tick only, so it is latched
    return (
        ~condition.in_progress()
        & ~condition.any_deps_in_progress()
        & ~condition.any_deps_missing()
        & (data | code | condition.newly_missing().since_last_handled())
    )


def with_policy(assets: Sequence[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """The assets under the policy; those that span all shards or are made of prompts run on demand."""

    def policed(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec if spec.key in (*WHOLE, *PROMPTS) else spec.replace_attributes(automation_condition=policy())

    return list(dg.map_asset_specs(policed, assets))


def automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """Off until somebody switches it on in the UI."""
    return dg.AutomationConditionSensorDefinition(
        "refresh_what_changed",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Requests the shards whose inputs, settings or code changed. Registration and release stay manual.",
    )


JOBS = [
    dg.define_asset_job(
        "refresh_shard",
        dg.AssetSelection.all() - dg.AssetSelection.assets(*WHOLE, *PROMPTS),
        description="One shard through every asset; what is up to date is reused.",
    ),
    dg.define_asset_job(
        "release", dg.AssetSelection.assets("training_set"), description="Export all shards' samples as a release."
    ),
]
