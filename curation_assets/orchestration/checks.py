"""The asset checks of every table: their declaration, and the results of one refresh."""

from collections.abc import Iterable, Iterator, Sequence

import dagster as dg

from curation_assets.incremental.committing import Report
from curation_assets.incremental.stage import Stage
from curation_assets.rules import NAMED, Finding, Shard, broken_rules, losses
from curation_assets.tables import Table
from curation_assets.tools import Tools
from resources.delta_store import DeltaStore
from resources.text import one_line

SOUND = "rows_are_sound"
WITHIN_LIMIT = "machine_failures_within_limit"
NOTHING_LOST = "nothing_lost"
_NAME_CHARACTERS = 200


def check_specs(table: Table) -> list[dg.AssetCheckSpec]:
    """Few checks of many rules: each check of each table costs events in every run."""
    return [
        sound_spec(table),
        dg.AssetCheckSpec(
            WITHIN_LIMIT,
            asset=table.name,
            blocking=True,
            description="the share of transient failures (disk, memory, time-out, server) is at most "
            "execution.max_transient_share; bad input never stops a shard",
        ),
        nothing_lost_spec(table),
    ]


def sound_spec(table: Table) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        SOUND,
        asset=table.name,
        blocking=True,
        description=f"every rule that {table.name} must keep for what is made from it to be right; the rules and what "
        "breaks them stand in the metadata",
    )


def nothing_lost_spec(table: Table) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        NOTHING_LOST, asset=table.name, description="every input came to something; a warning otherwise"
    )


def check_results(report: Report, stage: Stage, store: DeltaStore, tools: Tools) -> Iterator[dg.AssetCheckResult]:
    """The results of `check_specs` for a shard that was just refreshed."""
    shard = Shard(report, store)
    yield sound_result(report.table, broken_rules(shard, stage, tools.files, tools.pool))
    yield _limit_result(report, tools.settings.execution.max_transient_share)
    counts = {"failed": report.failed, "blocked": report.blocked}
    yield nothing_lost_result(report.table, list(losses(shard, stage)), counts)


def _limit_result(report: Report, limit: float) -> dg.AssetCheckResult:
    share = report.transient / report.inputs if report.inputs else 0.0
    why = (
        f"{report.transient} of {report.inputs} inputs failed for want of a machine or server, more than "
        f"execution.max_transient_share ({limit:g}) allows; the failed rows say why, and the next refresh tries again"
    )
    return dg.AssetCheckResult(
        passed=share <= limit,
        check_name=WITHIN_LIMIT,
        asset_key=report.table,
        description=why if share > limit else None,
        metadata={"share": share, "limit": limit},
    )


def whole_table_specs(table: Table) -> list[dg.AssetCheckSpec]:
    """Of a table that is made whole, without shards and inputs to count."""
    return [sound_spec(table), nothing_lost_spec(table)]


def sound_result(table: str, findings: Iterable[Finding]) -> dg.AssetCheckResult:
    """One result of many rules; a broken one names the first rows that break it."""
    listed = list(findings)
    broken = [finding for finding in listed if finding.wrong]
    records = [
        dg.TableRecord({"rule": f.rule, "looked at": f.rows, "wrong": len(f.wrong), "for example": _examples(f.wrong)})
        for f in listed
    ]
    columns = [dg.TableColumn(name) for name in ("rule", "looked at", "wrong", "for example")]
    return dg.AssetCheckResult(
        passed=not broken,
        check_name=SOUND,
        asset_key=table,
        description="; ".join(f"{f.rule}: not so for {len(f.wrong)}, {_examples(f.wrong)}" for f in broken) or None,
        metadata={"rules": dg.MetadataValue.table(records, dg.TableSchema(columns=columns))},
    )


def nothing_lost_result(table: str, lost: Sequence[str], counts: dict[str, int]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not lost,
        check_name=NOTHING_LOST,
        asset_key=table,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(one_line(what) for what in lost) or None,
        metadata=counts,
    )


def _examples(names: Sequence[str]) -> str:
    return ", ".join(one_line(name, _NAME_CHARACTERS) for name in names[:NAMED])
