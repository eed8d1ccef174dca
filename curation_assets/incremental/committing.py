"""Puts a shard's rows into their table by one commit, and counts what became of its inputs."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl

from curation_assets.incremental.context import Context
from curation_assets.incremental.digests import data_version, in_order
from curation_assets.incremental.planning import Plan
from curation_assets.incremental.stage import FINGERPRINT, KEY, UNIT
from curation_assets.incremental.staging import HAS_ERROR, Results
from curation_assets.tables import Row, Table
from resources.spent import Spent


@dataclass
class Report:
    """What a refresh of one shard of one table did; `inputs` = computed + reused + failed + blocked.

    `made_from`: the Delta version of every table that was read. `spent`: what the computing's seconds went into.
    """

    table: str
    shard: str
    inputs: int = 0
    computed: int = 0
    reused: int = 0
    failed: int = 0
    blocked: int = 0
    transient: int = 0
    recovered: int = 0
    kept: int = 0
    removed: int = 0
    rows: int = 0
    version: int = 0
    data_version: str = ""
    seconds: float = 0.0
    failures: list[tuple[str, str]] = field(default_factory=list)
    made_from: Mapping[str, int] = field(default_factory=dict)
    spent: Spent = field(default_factory=Spent)


def commit(plan: Plan, shard: str, context: Context, finished: Results, started: float) -> Report:
    stage = plan.stage
    rows = [*plan.blocked, *(row for result in _results(plan, finished) for row in result)]
    made = pl.concat([pl.DataFrame(rows, schema=stage.table.schema, orient="row"), *plan.computed])
    after = _sorted(_carried(pl.concat([plan.kept, plan.standing, made]), plan), stage.table)
    report = Report(stage.table.name, shard, inputs=plan.keys.height, kept=plan.kept.height)
    report.made_from = plan.made_from
    report.recovered = sum(key not in finished for key in plan.ready)
    _count(report, plan, made)
    report.rows = after.height
    report.removed = _removed(plan.before, after, stage.table)
    report.data_version = data_version(after, stage.table)
    if _is_as_before(after, plan):
        report.version = plan.handle.version()
    else:
        note = {
            "run_id": context.run_id,
            "shard": shard,
            "code_version": stage.code_version,
            "declaration": stage.declaration,
            "computed": str(report.computed + report.failed),
            "seconds": f"{time.monotonic() - started:.3f}",
        }
        report.version = context.store.replace(plan.handle, after, shard, note)
    return report


def _results(plan: Plan, finished: Results) -> Iterator[list[Row]]:
    """The rows of each pending key that were ready or computed one by one."""
    yield from plan.ready.values()
    if finished:
        for unit, engine, fingerprint in plan.pending.select(*KEY, FINGERPRINT).iter_rows():
            if rows := finished.get(((unit, engine), fingerprint)):
                yield rows


def _is_as_before(after: pl.DataFrame, plan: Plan) -> bool:
    """Rows made anew differ in their time, which takes far less to compare than all columns."""
    table = plan.stage.table
    times = _sorted(plan.before, table)["computed_at"]
    return after["computed_at"].equals(times) and after.equals(_sorted(plan.whole_before(), table))


def _count(report: Report, plan: Plan, made: pl.DataFrame) -> None:
    columns = [*plan.stage.keys(), "error", "error_kind"]
    there, new = plan.standing.select(columns), made.select(columns)
    old_failures, new_failures = (
        rows.filter(HAS_ERROR).unique(KEY, keep="first", maintain_order=True) for rows in (there, new)
    )
    standing = there.select(KEY).n_unique() if there.height else 0
    report.reused = standing - old_failures.height
    report.computed = report.inputs - standing - new_failures.height
    for unit, engine, error, kind in pl.concat([old_failures, new_failures]).sort(UNIT).iter_rows():
        if kind == "blocked":
            report.blocked += 1
        else:
            report.failed += 1
            report.transient += kind == "transient"
            report.failures.append((f"{unit} ({engine})" if engine else unit, error))


def _carried(rows: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """The rows with the carried columns of today."""
    stage = plan.stage
    if not stage.carried:
        return rows
    today = plan.units.select(stage.unit, *stage.carried)
    return rows.drop(stage.carried).join(today, on=stage.unit, how="left").select(rows.columns)


def _sorted(rows: pl.DataFrame, table: Table) -> pl.DataFrame:
    """By key; rows without one hold an error and are told apart by what they were made from."""
    return in_order(rows, *table.key, "input_fingerprint")


def _removed(before: pl.DataFrame, after: pl.DataFrame, table: Table) -> int:
    """Keys that had a result and have no row any more."""
    had = before.filter(pl.col("error").is_null()).select(table.key)
    return had.join(after.select(table.key), on=table.key, how="anti").height
