"""Makes Dagster assets of stages: declaration in, `refresh`, report out as metadata, checks and a data version."""

import html
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl
from dagster_shared.record import replace

from curation_assets.checks import check_results, check_specs
from curation_assets.engines import GPU, pool_of
from curation_assets.home import open_home
from curation_assets.lineage import columns_made_from, telling
from curation_assets.refresh import Context, Done, Report, Stage, Work, refresh
from curation_assets.settings import NAME, Settings, settings_hash
from curation_assets.step_pods import pod_tags
from curation_assets.tables import Table
from curation_assets.tools import Tools
from resources.delta_store import DeltaStore
from resources.errors import EngineUnavailable, Need, TransientError
from resources.files import Files
from resources.text import one_line

SHARDS = dg.DynamicPartitionsDefinition(name="video_shards")
OWNERS = ["team:curation"]
SETTINGS_TAG = "reelhouse/settings"
RETRY_TAG = "reelhouse/retry_failed"
DATA_VERSION_TAG = "dagster/data_version"
PREVIEW_ROWS = 8
PREVIEW_CHARACTERS = 120
NOT_PREVIEWED = {
    *("start_pts", "end_pts", "frame_pts", "pair_frames", "measurements", "facts", "table_versions"),
    *("model", "revision", "sampling", "frames_sha256", "prompt_sha256", "samples_sha256"),
    *("export_sha256", "paths_from", "written_by", "settings", "gaps"),
}
LISTED_FAILURES = 50

SHARD_FILES = "shard_files"
_TOLD_BY = {"source_files": SHARD_FILES}  # a table written for all shards at once -> what tells of one shard's part

TERMINAL = logging.getLogger("reelhouse")

ComputeWith = Callable[[list[Work], Tools], Iterable[Done]]


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
                yield _result(report, stage, home, settings)

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
        deps=[_told_by(table) for table in stage.reads],
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


def _told_by(table: str) -> dg.AssetKey:
    """The asset whose data version says whether a shard's part of the table changed."""
    return dg.AssetKey(_TOLD_BY.get(table, table))


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


def column_schema(table: Table) -> dg.TableSchema:
    """The table's columns; the UI takes descriptions for Markdown, where `<rule>` would be a tag."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name, str(column.dtype), description=html.escape(column.description, quote=False))
            for name, column in table.columns.items()
        ]
    )


def column_lineage(stage: Stage) -> dg.TableColumnLineage:
    """A key column comes from the upstream columns of its name; any other from all that the stage reads as data."""
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(_told_by(table), column) for table, column in sources]
            for name, sources in columns_made_from(stage).items()
        }
    )


def require_name(name: str) -> str:
    """`name`, where it can be part of paths and predicates; the UI lets people name sources and partitions freely."""
    if not re.fullmatch(f"{NAME}(-[0-9]+)?", name):
        raise dg.Failure(
            f"{one_line(name, PREVIEW_CHARACTERS)}: no name for a source, a shard or a prompt file; use at most 48 of "
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
        progress=Progress(_say_to(context), f"{stages[0].table.name} {shard}"),
        retry_failed=RETRY_TAG in context.run.tags,
    )
    tools = Tools(settings, files, _say_to(context))
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
    except (EngineUnavailable, TransientError) as failure:
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


class Progress:
    """Says how far a shard is, with rate and time left, at most every `every_s` seconds and at the end."""

    def __init__(self, say: Callable[[str], None], what: str, every_s: float = 5.0) -> None:
        self._say = say
        self._what = what
        self._every_s = every_s
        self._started = self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._said < self._every_s:
            return
        self._said = now
        rate = done / max(now - self._started, 1e-9)
        left = f", {(total - done) / rate:.0f} s left" if done and done < total else ""
        self._say(f"{self._what}: {done}/{total}, {rate:.1f}/s{left}")


def _result(report: Report, stage: Stage, home: Home, settings: Settings) -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(
        asset_key=report.table,
        metadata=_metadata(report, stage, home),
        data_version=dg.DataVersion(report.data_version),
        check_results=list(check_results(report, stage, home.store(), Tools(settings, home.files()))),
    )


def _metadata(report: Report, stage: Stage, home: Home) -> Mapping[str, dg.MetadataValue]:
    """In the order in which the UI shows it: counts, speed, failures, first rows, where it lies."""
    store = home.store()
    made = report.computed + report.failed
    counts = {name: getattr(report, name) for name in (*COUNTS, *RARE_COUNTS)}
    values: dict[str, dg.MetadataValue] = {
        "dagster/partition_row_count": dg.MetadataValue.int(report.rows),
        **{name: dg.MetadataValue.int(n) for name, n in counts.items() if n or name in COUNTS},
        "seconds": dg.MetadataValue.float(round(report.seconds, 3)),
    }
    if made:
        values["units_per_second"] = dg.MetadataValue.float(round(made / max(report.seconds, 1e-9), 3))
    if report.failures:
        values["failures"] = failure_table(report.failures)
    rows = store.scan(store.snapshot(report.table, report.version), report.shard)
    return values | {
        "preview": preview(rows, stage.table),
        "delta_version": dg.MetadataValue.int(report.version),
        "dagster/uri": dg.MetadataValue.text(store.location(report.table)),
        "dagster/column_schema": dg.MetadataValue.table_schema(column_schema(stage.table)),
        "dagster/column_lineage": dg.MetadataValue.column_lineage(column_lineage(stage)),
    }


COUNTS = ("inputs", "computed", "reused", "failed", "blocked")
RARE_COUNTS = ("removed", "kept", "recovered")  # said only when there are any


def failure_table(failures: Sequence[tuple[str, str]]) -> dg.MetadataValue:
    """The first failures: item and error."""
    return dg.MetadataValue.table(
        [
            dg.TableRecord({"item": one_line(item, PREVIEW_CHARACTERS), "error": one_line(error)})
            for item, error in failures[:LISTED_FAILURES]
        ],
        dg.TableSchema(columns=[dg.TableColumn("item"), dg.TableColumn("error")]),
    )


def preview(rows: pl.LazyFrame, table: Table) -> dg.MetadataValue:
    """The first rows with a result, without the columns that are no reading matter."""
    names = [name for name in table.stage_columns if name not in NOT_PREVIEWED]
    first = rows.filter(pl.col("error").is_null()).sort(table.key).head(PREVIEW_ROWS).select(names).collect()
    records = [dg.TableRecord({name: _readable(value) for name, value in row.items()}) for row in first.to_dicts()]
    return dg.MetadataValue.table(records, dg.TableSchema(columns=[dg.TableColumn(name) for name in names]))


def _readable(value: Any) -> str | None:
    """A value as a cell's text, shortened."""
    if value is None:
        return None
    if isinstance(value, list):
        text = "; ".join(_readable(item) or "" for item in value)
    elif isinstance(value, float):
        text = f"{value:.6g}"
    else:
        text = str(value)
    return text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"
