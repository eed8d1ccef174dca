"""The row-level incremental refresh that every partitioned asset shares.

1. Open the tables, read the declared columns, fingerprint each input row (unit).
2. Keep rows whose fingerprint is unchanged, take finished rows from staging, compute the rest in batches, each
   written to staging, so that a killed run loses at most one batch.
3. Change the table once, by one overwrite of the shard through the handle opened in step 1. On a conflict go back to
   step 1 with the computed rows in hand; staging is deleted after the commit.
4. Report in = computed + reused + failed + blocked, what was removed, and a data version made of the rows.
"""

import datetime as dt
import hashlib
import io
import json
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import polars as pl
from deltalake import DeltaTable

from curation_assets.tables import TABLES, Table
from resources.delta_store import Conflict, DeltaStore
from resources.errors import EngineUnavailable, InputError, TransientError
from resources.files import Files
from resources.spent import Spent
from resources.text import one_line

Row = dict[str, Any]
MAX_CONFLICTS = 20
NO_ENGINE = ""

Effort = Literal["arithmetic", "probe", "decode", "call", "encode"]
"""What a unit takes: nothing to speak of, reading a file's packets, decoding its span, an engine, an encode."""


@dataclass(frozen=True)
class Stage:
    """The one declaration of what a table is made from; fingerprint, projection, lineage and code version follow.

    `reads`: upstream table -> the columns read. `units`: joins those frames to one row per input; the column `unit`
    names the input. Two columns it may add steer the refresh: `blocked`, a reason why the parent has no result, and
    `wanted`, false where existing rows are kept but nothing is computed (rows of paid stages outlive a decision).
    `settings`: every value of the settings that can change a result, execution settings left out. `engines`: engine
    -> its settings, model and revision, for tables that hold a row per engine. `version`: raised when the logic
    changes. `not_data`: unit columns that say where the input lies, not what it is. `carried`: unit columns copied to
    all rows at each refresh, also to reused ones. `paid`: a result outlives a failure of its parent. `file`: the
    columns that hold path and size of a row's file. `added`: unit columns younger than rows in use, whose fingerprints
    stand where such a column is null. `effort`: what computing a unit takes, which `plan` adds up.
    """

    table: Table
    unit: str
    reads: Mapping[str, Sequence[str]]
    units: Callable[[Mapping[str, pl.DataFrame]], pl.DataFrame]
    version: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    engines: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {NO_ENGINE: {}})
    not_data: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    carried: tuple[str, ...] = ()
    file: tuple[str, str] | None = None
    paid: bool = False
    effort: Effort = "arithmetic"

    @property
    def code_version(self) -> str:
        return f"{self.version}-{_digest([self.settings, self.engines])[:8]}"

    @property
    def declaration(self) -> str:
        """JSON of what a row's fingerprint names beside its input, kept with each commit for those who ask why."""
        return _as_json({"version": self.version, "settings": self.settings, "engines": self.engines})

    def key_of(self, row: Row) -> tuple[str, str]:
        """Unit and engine of a row; `engine` is a key only where a unit has a row for each."""
        return row[self.unit], (row["engine"] or NO_ENGINE) if "engine" in self.table.key else NO_ENGINE

    def fingerprint(self, unit: Row, engine: str) -> str:
        data = {
            name: value
            for name, value in unit.items()
            if name not in self.not_data
            and name not in self.carried
            and name not in ("blocked", "wanted")
            and not (name in self.added and value is None)
        }
        return _digest([self.table.name, self.version, self.settings, engine, self.engines[engine], data])[:16]


def blocked_by(table: str) -> pl.Expr:
    """The column `blocked` of units whose row in `table` holds an error: the first cause, with the table it lies in."""
    error = pl.when(pl.col("error_kind") == "blocked").then("error").otherwise(pl.format(f"{table}: {{}}", "error"))
    return pl.when(pl.col("error").is_not_null()).then(error).alias("blocked")


@dataclass(frozen=True)
class Work:
    """A unit to compute: its columns, and for each table the engines whose rows are missing.

    `fingerprints` names what made each row, for files that carry it in their name.
    """

    unit: str
    shard: str
    values: Row
    wanted: Mapping[str, tuple[str, ...]]
    fingerprints: Mapping[tuple[str, str], str]

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines wanted, for a stage of one table."""
        (engines,) = self.wanted.values()
        return engines


@dataclass(frozen=True)
class Done:
    """What became of a unit in one table, for one engine: its rows, or the exception that says why there are none."""

    unit: str
    outcome: list[Row] | Exception
    engine: str = NO_ENGINE
    table: str | None = None


Compute = Callable[[list[Work]], Iterable[Done]]
Progress = Callable[[int, int], None]


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


@dataclass(frozen=True)
class Context:
    """What a refresh needs besides stages and compute function."""

    store: DeltaStore
    files: Files
    run_id: str
    batch_units: int = 32
    batch_seconds: float = 30.0
    progress: Progress = lambda done, total: None
    retry_failed: bool = False


_Key = tuple[str, str]  # unit, engine
_Sizes = Callable[[str], Mapping[str, int]]  # folder of the home -> its files with their bytes


@dataclass
class _Plan:
    """One table's side of a refresh: which rows stand, which are asked for."""

    stage: Stage
    handle: DeltaTable
    before: pl.DataFrame
    units: dict[str, Row]
    fingerprints: dict[_Key, str]
    standing: dict[_Key, list[Row]]
    staged: dict[_Key, list[Row]]
    blocked: dict[_Key, list[Row]]
    kept: list[Row]
    pending: list[_Key]
    made_from: dict[str, int]


def refresh(stages: Sequence[Stage], shard: str, compute: Compute, context: Context) -> list[Report]:
    """Bring one shard of the stages' tables up to date; stages given together share one computation of a unit.

    Raises what `compute` raises for the whole shard (an engine that can't start); what was finished until then is
    in staging. Failures of single units are rows.
    """
    started = time.monotonic()
    finished: dict[str, dict[tuple[_Key, str], list[Row]]] = {stage.table.name: {} for stage in stages}
    reports: dict[str, Report] = {}
    spent = Spent()
    staging = [_Staging(context.files, stage.table, shard) for stage in stages]
    for _ in range(MAX_CONFLICTS):
        plans = [_plan(stage, shard, context, area) for stage, area in zip(stages, staging, strict=True)]
        for plan, area in zip(plans, staging, strict=True):
            if plan.staged:
                area.renew()
            _take_finished(plan, finished[plan.stage.table.name])
        with spent.collected():
            _compute_pending(plans, shard, compute, context, staging, finished)
        try:
            for plan, area in zip(plans, staging, strict=True):
                name = plan.stage.table.name
                if name not in reports:
                    reports[name] = _commit(plan, shard, context, finished[name], started)
                    area.clear()
        except Conflict:
            continue
        for report in reports.values():
            report.seconds, report.spent = time.monotonic() - started, spent
        return [reports[stage.table.name] for stage in stages]
    raise TransientError(
        f"{stages[0].table.name} {shard}: other writers changed this shard {MAX_CONFLICTS} times while it was being "
        "refreshed; stop the other runs of this shard and run it again"
    )


def _plan(stage: Stage, shard: str, context: Context, staging: "_Staging") -> _Plan:
    store = context.store
    handles = {name: store.open(name, TABLES[name].schema) for name in stage.reads}
    upstream = {
        name: store.read(handles[name], [*columns, "error", "error_kind"], shard)
        for name, columns in stage.reads.items()
    }
    handle = store.open(stage.table.name, stage.table.schema)
    before = store.read(handle, list(stage.table.schema), shard)
    by_unit: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in before.to_dicts():
        name, engine = stage.key_of(row)
        by_unit[name][engine].append(row)
    sizes = cache(context.files.sizes)  # a listing of a folder instead of a request for each row
    in_staging = staging.rows(stage, sizes)

    made_from = {name: read.version() for name, read in handles.items()}
    plan = _Plan(stage, handle, before, {}, {}, {}, {}, {}, [], [], made_from)
    for unit in stage.units(upstream).sort(stage.unit).to_dicts():
        name = unit[stage.unit]
        plan.units[name] = unit
        if unit.get("wanted") is False:
            plan.kept += [_carry(stage, unit, row) for rows in by_unit[name].values() for row in rows]
            continue
        for engine in stage.engines:
            key = (name, engine)
            old = by_unit[name][engine]
            if unit.get("blocked") and stage.paid and old and not any(row["error"] for row in old):
                plan.kept += [_carry(stage, unit, row) for row in old]
                continue
            plan.fingerprints[key] = fingerprint = stage.fingerprint(unit, engine)
            if unit.get("blocked"):
                plan.blocked[key] = _blocked_rows(stage, shard, key, unit, fingerprint, old, context)
            elif _stands(old, fingerprint, stage, context, sizes):
                plan.standing[key] = old
            elif fresh := in_staging.get((key, fingerprint)):
                plan.staged[key] = fresh
            else:
                plan.pending.append(key)
    return plan


def _stands(rows: list[Row], fingerprint: str, stage: Stage, context: Context, sizes: _Sizes) -> bool:
    """Whether the rows were made from the same input, ended for good, and their files are there."""
    if not rows or any(row["input_fingerprint"] != fingerprint for row in rows):
        return False
    if any(row["error_kind"] in ("transient", "blocked") or (row["error"] and context.retry_failed) for row in rows):
        return False
    return all(_file_is_there(row, stage, sizes) for row in rows)


def _file_is_there(row: Row, stage: Stage, sizes: _Sizes) -> bool:
    if stage.file is None or row["error"]:
        return True
    path, size = (row[column] for column in stage.file)
    return path is None or sizes(path.rpartition("/")[0]).get(path) == size


def _take_finished(plan: _Plan, finished: Mapping[tuple[_Key, str], list[Row]]) -> None:
    """Use rows computed before a conflict, where their input is still the same."""
    remaining = []
    for key in plan.pending:
        rows = finished.get((key, plan.fingerprints[key]))
        if rows is None:
            remaining.append(key)
        else:
            plan.staged[key] = rows
    plan.pending = remaining


def _compute_pending(
    plans: Sequence[_Plan],
    shard: str,
    compute: Compute,
    context: Context,
    staging: "Sequence[_Staging]",
    finished: Mapping[str, dict[tuple[_Key, str], list[Row]]],
) -> None:
    wanted: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    values: dict[str, Row] = defaultdict(dict)
    fingerprints: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for plan in plans:
        table = plan.stage.table.name
        for unit, engine in plan.pending:
            wanted[unit][table] = (*wanted[unit].get(table, ()), engine)
            values[unit] |= plan.units[unit]
            fingerprints[unit][table, engine] = plan.fingerprints[unit, engine]
    if not wanted:
        return
    by_table = {plan.stage.table.name: (plan, area) for plan, area in zip(plans, staging, strict=True)}
    outstanding = {(name, key) for name, (plan, _) in by_table.items() for key in plan.pending}
    batches: dict[str, list[Row]] = defaultdict(list)
    touched: set[str] = set()
    left = Counter(unit for _, (unit, _) in outstanding)
    flushed = time.monotonic()

    def flush() -> None:
        for name, rows in batches.items():
            by_table[name][1].append(rows)
        batches.clear()
        touched.clear()

    context.progress(0, len(wanted))
    try:
        for done in compute(
            [Work(unit, shard, values[unit], wanted[unit], fingerprints[unit]) for unit in sorted(wanted)]
        ):
            if isinstance(done.outcome, EngineUnavailable):
                raise done.outcome
            name = done.table or plans[0].stage.table.name
            key = (done.unit, done.engine)
            outstanding.remove((name, key))
            plan, _ = by_table[name]
            rows = _finish(plan, shard, key, done.outcome, context)
            finished[name][key, plan.fingerprints[key]] = rows
            batches[name] += rows
            touched.add(done.unit)
            left[done.unit] -= 1
            if not left[done.unit]:
                del left[done.unit]
                context.progress(len(wanted) - len(left), len(wanted))
            if len(touched) >= context.batch_units or time.monotonic() - flushed > context.batch_seconds:
                flush()
                flushed = time.monotonic()
    finally:
        flush()
    for name, key in sorted(outstanding):
        plan, _ = by_table[name]
        lost = TransientError("the computation ended without an answer for it; the next refresh tries again")
        finished[name][key, plan.fingerprints[key]] = _finish(plan, shard, key, lost, context)


def _finish(plan: _Plan, shard: str, key: _Key, outcome: list[Row] | Exception, context: Context) -> list[Row]:
    if isinstance(outcome, list) and not outcome:
        outcome = InputError("nothing came out of it, and nothing was said to be wrong with it")
    if isinstance(outcome, list):
        return [
            _complete(plan.stage, shard, key, plan.units[key[0]], row, plan.fingerprints[key], context)
            for row in outcome
        ]
    kind = "input" if isinstance(outcome, InputError) else "transient"
    failure = {"error": one_line(str(outcome)) or type(outcome).__name__, "error_kind": kind}
    return [_complete(plan.stage, shard, key, plan.units[key[0]], failure, plan.fingerprints[key], context)]


def _blocked_rows(
    stage: Stage, shard: str, key: _Key, unit: Row, fingerprint: str, old: list[Row], context: Context
) -> list[Row]:
    if len(old) == 1 and old[0]["error_kind"] == "blocked" and old[0]["error"] == unit["blocked"]:
        return old
    reason = {"error": unit["blocked"], "error_kind": "blocked"}
    return [_complete(stage, shard, key, unit, reason, fingerprint, context)]


def _complete(stage: Stage, shard: str, key: _Key, unit: Row, columns: Row, fingerprint: str, context: Context) -> Row:
    """A row with every column of the table."""
    unknown = set(columns) - set(stage.table.schema)
    if unknown:
        raise ValueError(f"{stage.table.name}: a row has columns that the table lacks: {sorted(unknown)}")
    row: Row = dict.fromkeys(stage.table.schema)
    if "engine" in row and key[1]:
        row["engine"] = key[1]
    row |= {name: unit[name] for name in stage.carried}
    row |= columns
    row |= {
        stage.unit: key[0],
        "shard": shard,
        "input_fingerprint": fingerprint,
        "run_id": context.run_id,
        "computed_at": dt.datetime.now(dt.UTC),
    }
    return row


def _commit(
    plan: _Plan, shard: str, context: Context, finished: Mapping[tuple[_Key, str], list[Row]], started: float
) -> Report:
    stage = plan.stage
    report = Report(stage.table.name, shard, inputs=len(plan.fingerprints), kept=len(plan.kept))
    report.made_from = plan.made_from
    rows: list[Row] = list(plan.kept)
    for key, fingerprint in plan.fingerprints.items():
        if key in plan.blocked:
            made, was_there = plan.blocked[key], False
        elif key in plan.standing:
            made, was_there = plan.standing[key], True
        else:
            made, was_there = plan.staged.get(key) or finished[key, fingerprint], False
            report.recovered += key in plan.staged and (key, fingerprint) not in finished
        rows += [_carry(stage, plan.units[key[0]], row) for row in made]
        _count(report, key, made, was_there)
    after = _frame(rows, stage.table)
    report.rows = after.height
    report.removed = _removed(plan.before, after, stage.table)
    report.data_version = data_version(after, stage.table)
    if after.equals(_sorted(plan.before, stage.table)):
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


def _count(report: Report, key: _Key, rows: list[Row], was_there: bool) -> None:
    failed = next((row for row in rows if row["error"]), None)
    name = f"{key[0]} ({key[1]})" if key[1] else key[0]
    if failed is None:
        report.reused += was_there
        report.computed += not was_there
    elif failed["error_kind"] == "blocked":
        report.blocked += 1
    else:
        report.failed += 1
        report.transient += failed["error_kind"] == "transient"
        report.failures.append((name, failed["error"]))


def _carry(stage: Stage, unit: Row, row: Row) -> Row:
    return {**row, **{name: unit[name] for name in stage.carried}}


def _frame(rows: list[Row], table: Table) -> pl.DataFrame:
    return _sorted(pl.DataFrame(rows, schema=table.schema, orient="row"), table)


def _sorted(rows: pl.DataFrame, table: Table) -> pl.DataFrame:
    """By key; rows without one hold an error and are told apart by what they were made from."""
    return rows.sort(*table.key, "input_fingerprint", nulls_last=True)


def _removed(before: pl.DataFrame, after: pl.DataFrame, table: Table) -> int:
    """Keys that had a result and have no row any more."""
    had = before.filter(pl.col("error").is_null()).select(table.key)
    return had.join(after.select(table.key), on=table.key, how="anti").height


def data_version(rows: pl.DataFrame, table: Table) -> str:
    """16 hex digits naming the rows, bookkeeping aside: equal for equal results."""
    data = rows.select(table.data_columns).iter_rows(named=True)
    return _digest(sorted(_digest(row) for row in data))[:16]


def _digest(value: Any) -> str:
    return hashlib.sha256(_as_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=_plain, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set):
        return sorted(value)
    if isinstance(value, Collection):
        return list(value)
    raise TypeError(f"{type(value).__name__} can't be part of a fingerprint")


class _Staging:
    """Finished rows of a shard that aren't in the table yet, one Parquet file a batch."""

    def __init__(self, files: Files, table: Table, shard: str) -> None:
        self._files = files
        self._table = table
        self._folder = f"staging/{table.name}/{shard}"
        self._mine: list[str] = []

    def append(self, rows: list[Row]) -> None:
        if not rows:
            return
        buffer = io.BytesIO()
        pl.DataFrame(rows, schema=self._table.schema, orient="row").write_parquet(buffer)
        name = f"{self._folder}/{uuid.uuid4().hex}.parquet"
        self._files.write(name, buffer.getvalue())
        self._mine.append(name)

    def rows(self, stage: Stage, sizes: _Sizes) -> dict[tuple[_Key, str], list[Row]]:
        """Results by unit, engine and fingerprint; failures aren't taken over, they are tried again."""
        found: dict[tuple[_Key, str], list[Row]] = {}
        for name, rows in self._read():
            if name not in self._mine:
                self._mine.append(name)
            groups: dict[tuple[_Key, str], list[Row]] = defaultdict(list)
            for row in rows:
                groups[stage.key_of(row), row["input_fingerprint"]].append(row)
            for key, group in groups.items():
                if all(row["error"] is None and _file_is_there(row, stage, sizes) for row in group):
                    found[key] = group
        return found

    def _read(self) -> Iterator[tuple[str, list[Row]]]:
        for name in self._files.listing(self._folder):
            rows: list[Row] = []
            with suppress(FileNotFoundError, pl.exceptions.PolarsError):  # committed by another run, or damaged
                frame = pl.read_parquet(io.BytesIO(self._files.read(name)))
                rows = frame.to_dicts() if frame.schema == self._table.schema else []
            yield name, rows

    def renew(self) -> None:
        """Write the batches taken over again: maintenance knows by their age that somebody counts on them."""
        for name in self._mine:
            with suppress(FileNotFoundError):
                self._files.write(name, self._files.read(name))

    def clear(self) -> None:
        """Delete what this refresh wrote or took over; another run's newer batches stay its own."""
        for name in self._mine:
            self._files.delete(name)
        self._mine.clear()
        self._files.delete_abandoned(self._folder)
