"""Makes Dagster assets of stages: declaration in, `refresh`, report out as metadata, checks and a data version."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl
from dagster_shared.record import replace

from curation_assets.engines import GPU, pool_of
from curation_assets.home import open_home
from curation_assets.incremental.committing import Report
from curation_assets.incremental.context import Context
from curation_assets.incremental.refresh import refresh
from curation_assets.incremental.stage import Stage
from curation_assets.incremental.work import Done, Pending
from curation_assets.orchestration.checks import check_results, check_specs, whole_table_specs
from curation_assets.orchestration.lineage import telling, told_by
from curation_assets.orchestration.step_pods import pod_tags
from curation_assets.progress import TERMINAL, Progress
from curation_assets.settings import NAME, Settings, settings_hash
from curation_assets.tables import Table
from curation_assets.tools import Tools
from curation_assets.views.definition import column_lineage, column_schema
from curation_assets.views.metadata import Refreshed
from resources.delta_store import DeltaStore
from resources.errors import EngineUnavailable, InputError, Need, TransientError
from resources.files import Files
from resources.text import one_line

SHARDS = dg.DynamicPartitionsDefinition(name="video_shards")
OWNERS = ["team:curation"]
SETTINGS_TAG = "reelhouse/settings"
RETRY_TAG = "reelhouse/retry_failed"
DATA_VERSION_TAG = "dagster/data_version"
NAME_CHARACTERS = 120

ComputeWith = Callable[[Pending, Tools], Iterable[Done | pl.DataFrame]]


@dataclass(frozen=True)
class StageAsset:
    """Stages that share one computation of a unit, what computes it, and the Dagster assets made of them."""

    stages: tuple[Stage, ...]
    compute: ComputeWith
    definition: dg.AssetsDefinition
    needs: tuple[Need, ...]
    """what `compute` can't start without"""


class Home(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where tables, frames and clips lie: a folder or an object store's URL."""

    root: str

    def store(self) -> DeltaStore:
        return open_home(self.root).store

    def files(self) -> Files:
        return open_home(self.root).files


def stage_asset(
    stages: Stage | Sequence[Stage],
    settings: Settings,
    *,
    group: str,
    kinds: set[str],
    partitions: dg.DynamicPartitionsDefinition = SHARDS,
    needs: Iterable[Need] = (),
) -> Callable[[ComputeWith], StageAsset]:
    """Turn a compute function into the asset of `stages`; several stages share one computation of a unit.

    The function's docstring is the asset's description; a stage of several is described by its table. `needs` is what
    the function can't start without.
    """
    declared = [stages] if isinstance(stages, Stage) else list(stages)
    pool = pool_of(name for stage in declared for name in (*stage.engines, str(stage.settings.get("engine"))))

    def decorate(compute: ComputeWith) -> StageAsset:
        @dg.multi_asset(
            name=compute.__name__,
            specs=[_spec(stage, group, kinds, compute.__doc__ or "") for stage in declared],
            check_specs=[in_shards(spec, partitions) for stage in declared for spec in check_specs(stage.table)],
            partitions_def=partitions,
            can_subset=len(declared) > 1,
            pool=pool,
            op_tags=pod_tags(compute.__name__, settings.kubernetes, needs_gpu=pool == GPU),
        )
        def materialize(context: dg.AssetExecutionContext, home: Home) -> Iterator[dg.MaterializeResult[None]]:
            require_same_settings(context, settings)
            chosen = [s for s in declared if dg.AssetKey(s.table.name) in context.selected_asset_keys]
            for report, stage in zip(_refresh(context, home, settings, chosen, compute), chosen, strict=True):
                yield _result(context, report, stage, home, settings)

        return StageAsset(tuple(declared), compute, materialize, tuple(needs))

    return decorate


def in_shards(spec: dg.AssetCheckSpec, partitions: dg.PartitionsDefinition) -> dg.AssetCheckSpec:
    """The check with a result a shard, where else the last shard's would stand for all, also in the policy's eyes.

    Not by the constructor, which warns that Dagster may change this yet.
    """
    return replace(spec, partitions_def=partitions)


def _spec(stage: Stage, group: str, kinds: set[str], description: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        stage.table.name,
        deps=[told_by(table) for table in stage.reads],
        description=f"One row is {stage.table.row_is}.\n\n{description.strip()}",
        group_name=group,
        kinds=kinds | {"deltalake"},
        owners=OWNERS,
        code_version=stage.code_version,
        metadata={
            "dagster/column_schema": column_schema(stage.table),
            "dagster/column_lineage": column_lineage(stage),
            "dagster/table_name": stage.table.name,
        },
    )


def whole_asset(
    table: Table, settings: Settings, group: str, kinds: set[str], deps: Sequence[str] = ()
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Turn a function into the asset that makes a table of all shards at once; its docstring is the description."""
    return dg.asset(
        name=table.name,
        deps=deps,
        group_name=group,
        kinds=kinds | {"deltalake"},
        owners=OWNERS,
        code_version="1",
        metadata={"dagster/column_schema": column_schema(table), "dagster/table_name": table.name},
        check_specs=whole_table_specs(table),
        op_tags=pod_tags(table.name, settings.kubernetes),
    )


def shard_part_spec(table: Table, group: str) -> dg.AssetSpec:
    """What a table that is made for all shards at once holds of each, so that news of one concern that one alone."""
    same = {name: [dg.TableColumnDep(table.name, name)] for name in table.stage_columns}
    return told_spec(
        table,
        group,
        f"The part of `{table.name}` in a shard; told by it.",
        told_by(table.name),
        deps=[table.name],
        metadata={"dagster/column_lineage": dg.TableColumnLineage(same)},
    )


def told_spec(table: Table, group: str, told: str, name: str | None = None, **options: Any) -> dg.AssetSpec:
    """An asset that no run makes: a table, or the part of it named `name`, of whose shards `report_shards` tells.

    `told` says who changes it; `options` are further ones of the spec.
    """
    return dg.AssetSpec(
        name or table.name,
        description=f"One row is {table.row_is}.\n\n{told}",
        group_name=group,
        kinds={"python", "deltalake"},
        owners=OWNERS,
        partitions_def=SHARDS,
        metadata={
            "dagster/column_schema": column_schema(table),
            "dagster/table_name": table.name,
            **options.pop("metadata", {}),
        },
        **options,
    )


def report_shards(instance: dg.DagsterInstance, asset: str, versions: Mapping[str, str]) -> list[str]:
    """Tell Dagster the data version of each shard of an asset that no run makes; returns those that it didn't know.

    What a killed process left untold is told by the next call.
    """
    key = dg.AssetKey(asset)
    told = instance.event_log_storage.get_latest_tags_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
    )
    news = [shard for shard, version in versions.items() if told.get(shard, {}).get(DATA_VERSION_TAG) != version]
    for shard in news:
        for event in (dg.AssetObservation, dg.AssetMaterialization):  # what staleness reads; what the policy reads
            instance.report_runless_asset_event(
                event(asset_key=key, partition=shard, tags={DATA_VERSION_TAG: versions[shard]})
            )
    return news


def require_name(name: str) -> str:
    """`name`, where it can be part of paths and predicates; the UI lets people name sources and partitions freely."""
    if not re.fullmatch(f"{NAME}(-[0-9]+)?", name):
        raise dg.Failure(
            f"{one_line(name, NAME_CHARACTERS)}: no name for a source, a shard or a prompt file; use at most 48 of "
            "a-z, 0-9, - and _",
            allow_retries=False,
        )
    return name


def require_same_settings(context: dg.AssetExecutionContext, settings: Settings) -> None:
    """Fail a step that loaded other settings than its run was launched with; the first step tags an untagged run."""
    loaded = settings_hash(settings)
    tagged = context.run.tags.get(SETTINGS_TAG)
    if tagged is None:
        context.instance.add_run_tags(context.run.run_id, {SETTINGS_TAG: loaded})
    elif tagged != loaded:
        raise dg.Failure(
            f"this run was launched with settings {tagged}, but the step loaded {loaded}: the settings file was "
            "changed in between; launch the run again",
            allow_retries=False,
        )


def _refresh(
    context: dg.AssetExecutionContext,
    home: Home,
    settings: Settings,
    stages: list[Stage],
    compute: ComputeWith,
) -> list[Report]:
    shard = require_name(context.partition_key)
    files = home.files()
    work = Context(
        store=home.store(),
        files=files,
        run_id=context.run.run_id,
        batch_units=settings.execution.batch_units,
        batch_seconds=settings.execution.batch_seconds,
        progress=Progress(context.log.info, f"{stages[0].table.name} {shard}"),
        retry_failed=RETRY_TAG in context.run.tags,
    )
    tools = Tools(settings, files, _say_to(context), work.scan)
    with (
        explaining(f"{stages[0].table.name} {shard}"),
        telling(settings.lineage, stages, shard, work.run_id, work.store) as reports,
    ):
        reports += refresh(stages, shard, lambda units: compute(units, tools), work)
    return reports


@contextmanager
def explaining(step: str) -> Iterator[None]:
    """Turn what stops a whole step into a failure that says in one line what happened and what to do."""
    try:
        yield
    except (EngineUnavailable, InputError, TransientError) as failure:
        raise dg.Failure(one_line(f"{step}: {failure}"), allow_retries=False) from failure
    except OSError as failure:
        raise dg.Failure(
            f"{one_line(f'{step}: {failure}')}; make room or give access, then run again: finished rows are kept",
            allow_retries=False,
        ) from failure


def _say_to(context: dg.AssetExecutionContext) -> Callable[[str], None]:
    """The Dagster log, and the logger that the terminal shows."""

    def say(message: str) -> None:
        context.log.info(message)
        TERMINAL.info(message)

    return say


def _result(
    context: dg.AssetExecutionContext, report: Report, stage: Stage, home: Home, settings: Settings
) -> dg.MaterializeResult[None]:
    """What the refresh came to; its metadata goes by the context, which spares the event log a second copy of it."""
    store, files = home.store(), home.files()
    refreshed = Refreshed(report, stage.table, settings, store, files)
    can_be_as_before = refreshed.has_pictures and not report.computed
    before = last_materialization(context.instance, report.table, report.shard) if can_be_as_before else None
    context.add_asset_metadata(refreshed.metadata(before), asset_key=report.table)
    return dg.MaterializeResult(
        asset_key=report.table,
        data_version=dg.DataVersion(report.data_version),
        check_results=list(check_results(report, stage, store, Tools(settings, files))),
        tags=refreshed.tags,
    )


def last_materialization(instance: dg.DagsterInstance, asset: str, shard: str | None) -> dg.AssetMaterialization | None:
    """Of the shard; of any or none where `shard` is null."""
    of_shard = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[shard] if shard else None)
    records = instance.fetch_materializations(of_shard, limit=1).records
    return records[0].asset_materialization if records else None
