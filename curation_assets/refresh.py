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
from functools import cache, cached_property
from typing import Any, Literal, overload

import polars as pl
from deltalake import DeltaTable

from curation_assets.tables import TABLES, Table
from resources.delta_store import Conflict, DeltaStore
from resources.errors import EngineUnavailable, InputError, TransientError
from resources.files import Files
from resources.frame_digest import frame_digest
from resources.json_columns import json_arrays, json_objects
from resources.spent import Spent
from resources.text import one_line

Row = dict[str, Any]
MAX_CONFLICTS = 20
NO_ENGINE = ""
FINGERPRINT_DIGITS = 16

_UNIT, _ENGINE, _FINGERPRINT, _BLOCKED = "_unit", "_engine", "_fingerprint", "_blocked"
_ROW, _STANDS = "_row", "_stands"
_KEY = [_UNIT, _ENGINE]
_NO_KEYS = pl.DataFrame(schema=dict.fromkeys([*_KEY, _FINGERPRINT], pl.String))
_HAS_ERROR = (pl.col("error") != "").fill_null(False)

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
        return f"{self.version}-{_sha256(_as_json([self.settings, self.engines]))[:8]}"

    @property
    def declaration(self) -> str:
        """JSON of what a row's fingerprint names beside its input, kept with each commit for those who ask why."""
        return _as_json({"version": self.version, "settings": self.settings, "engines": self.engines})

    def key_of(self, row: Row) -> tuple[str, str]:
        """Unit and engine of a row; `engine` is a key only where a unit has a row for each."""
        return row[self.unit], (row["engine"] or NO_ENGINE) if "engine" in self.table.key else NO_ENGINE

    def keys(self) -> tuple[pl.Expr, pl.Expr]:
        """`_unit` and `_engine` of rows, as `key_of` gives them."""
        engine = pl.col("engine").fill_null(NO_ENGINE) if "engine" in self.table.key else pl.lit(NO_ENGINE)
        return pl.col(self.unit).alias(_UNIT), engine.alias(_ENGINE)

    def fingerprint(self, unit: Row, engine: str) -> str:
        """What a row of the unit is made from."""
        left_out = self._not_hashed
        data = {
            name: value
            for name, value in unit.items()
            if name not in left_out and not (name in self.added and value is None)
        }
        return _sha256(f"{self._made_by(engine)}{_as_json(data)}]")[:FINGERPRINT_DIGITS]

    def fingerprints(self, units: pl.DataFrame) -> pl.DataFrame:
        """`_unit`, `_engine` and `_fingerprint` of the rows of all units and engines, as `fingerprint` gives them."""
        data = json_objects(units.drop(self._not_hashed, strict=False), _plain, self.added).to_list()
        return pl.concat(
            [
                _NO_KEYS,
                *(
                    pl.DataFrame(
                        {
                            _UNIT: units[self.unit],
                            _ENGINE: pl.Series([engine], dtype=pl.String).new_from_index(0, units.height),
                            _FINGERPRINT: _sha256_of(data, self._made_by(engine), "]", FINGERPRINT_DIGITS),
                        }
                    )
                    for engine in self.engines
                ),
            ]
        )

    @property
    def _not_hashed(self) -> set[str]:
        return {*self.not_data, *self.carried, "blocked", "wanted"}

    def _made_by(self, engine: str) -> str:
        """What a fingerprint names before the unit's data."""
        return _as_json([self.table.name, self.version, self.settings, engine, self.engines[engine]])[:-1] + ","


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
class _Part:
    """What one table lacks: keys without rows, and their units with their columns."""

    stage: Stage
    units: pl.DataFrame
    keys: pl.DataFrame


class Pending(Sequence[Work]):
    """The units to compute, by name: one by one, or for arithmetic over whole columns as one frame of `columns`."""

    def __init__(self, shard: str, parts: Sequence[_Part]) -> None:
        self._shard = shard
        self._parts = parts

    @property
    def columns(self) -> pl.DataFrame:
        """The units' columns, for a stage of one table."""
        (part,) = self._parts
        return part.units

    def only(self, units: Collection[str]) -> "Pending":
        """Those among `units`."""
        names = pl.Series(list(units), dtype=pl.String)
        return Pending(
            self._shard,
            [
                _Part(
                    part.stage,
                    part.units.filter(pl.col(part.stage.unit).is_in(names.implode())),
                    part.keys.filter(pl.col(_UNIT).is_in(names.implode())),
                )
                for part in self._parts
            ],
        )

    @cached_property
    def _work(self) -> list[Work]:
        values: dict[str, Row] = defaultdict(dict)
        wanted: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
        fingerprints: dict[str, dict[_Key, str]] = defaultdict(dict)
        for part in self._parts:
            table = part.stage.table.name
            for row in part.units.to_dicts():
                values[row[part.stage.unit]] |= row
            for unit, engine, fingerprint in part.keys.select(*_KEY, _FINGERPRINT).iter_rows():
                wanted[unit][table] = (*wanted[unit].get(table, ()), engine)
                fingerprints[unit][table, engine] = fingerprint
        return [Work(unit, self._shard, values[unit], wanted[unit], fingerprints[unit]) for unit in sorted(wanted)]

    def __len__(self) -> int:
        return pl.concat([part.keys[_UNIT] for part in self._parts]).n_unique()

    @overload
    def __getitem__(self, index: int) -> Work: ...
    @overload
    def __getitem__(self, index: slice) -> list[Work]: ...
    def __getitem__(self, index: int | slice) -> Work | list[Work]:
        return self._work[index]

    def __iter__(self) -> Iterator[Work]:
        return iter(self._work)


@dataclass(frozen=True)
class Done:
    """What became of a unit in one table, for one engine: its rows, or the exception that says why there are none."""

    unit: str
    outcome: list[Row] | Exception
    engine: str = NO_ENGINE
    table: str | None = None


Compute = Callable[[Pending], Iterable[Done | pl.DataFrame]]
"""Gives what became of the units, one by one or, from arithmetic over whole columns, many units' rows at once.

Those aren't staged: to compute them again takes no longer than to read them.
"""
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
_Results = dict[tuple[_Key, str], list[Row]]  # by key and fingerprint
_Sizes = Callable[[str], Mapping[str, int]]  # folder of the home -> its files with their bytes


@dataclass
class _Plan:
    """One table's side of a refresh. `keys` are its inputs; each is blocked, has standing rows, or is pending.

    `kept` are rows that stay whatever becomes of their unit. `ready` are those of pending keys that need no computing:
    from staging, or computed before a conflict.
    """

    stage: Stage
    handle: DeltaTable
    before: pl.DataFrame
    units: pl.DataFrame
    keys: pl.DataFrame
    kept: pl.DataFrame
    standing: pl.DataFrame
    blocked: list[Row]
    pending: pl.DataFrame
    ready: _Results
    made_from: dict[str, int]
    computed: list[pl.DataFrame] = field(default_factory=list)

    def part(self) -> _Part:
        names = self.pending.select(pl.col(_UNIT).alias(self.stage.unit)).unique()
        return _Part(self.stage, self.units.join(names, on=self.stage.unit, how="semi"), self.pending)

    def take(self, results: _Results) -> None:
        """Use the results that pending keys have already, where their input is still the same."""
        if not results:
            return
        rows = self.pending.select(*_KEY, _FINGERPRINT).iter_rows()
        names = [((unit, engine), fingerprint) for unit, engine, fingerprint in rows]
        self.ready |= {name: results[name] for name in names if name in results}
        self.pending = self.pending.filter(pl.Series([name not in results for name in names], dtype=pl.Boolean))


def refresh(stages: Sequence[Stage], shard: str, compute: Compute, context: Context) -> list[Report]:
    """Bring one shard of the stages' tables up to date; stages given together share one computation of a unit.

    Raises what `compute` raises for the whole shard (an engine that can't start); what was finished until then is
    in staging. Failures of single units are rows.
    """
    started = time.monotonic()
    finished: dict[str, _Results] = {stage.table.name: {} for stage in stages}
    reports: dict[str, Report] = {}
    spent = Spent()
    staging = [_Staging(context.files, stage.table, shard) for stage in stages]
    for _ in range(MAX_CONFLICTS):
        plans = [_plan(stage, shard, context, area) for stage, area in zip(stages, staging, strict=True)]
        for plan, area in zip(plans, staging, strict=True):
            if plan.ready:
                area.renew()
            plan.take(finished[plan.stage.table.name])
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
    sizes = cache(context.files.sizes)  # a listing of a folder instead of a request for each row

    units = stage.units(upstream).unique(stage.unit, keep="last").sort(stage.unit)
    is_wanted = pl.col("wanted").fill_null(True) if "wanted" in units.columns else pl.lit(True)
    wanted = units.filter(is_wanted)
    keys = stage.fingerprints(wanted).join(_blocked(wanted, stage), on=_UNIT, how="left", maintain_order="left")
    rows = _told(before, stage).join(keys.drop(_BLOCKED), on=_KEY, how="left", maintain_order="left")
    rows = rows.with_columns(_stands(rows, stage, context, sizes).alias(_STANDS))
    found = rows.group_by(_KEY).agg(pl.col(_STANDS).all(), has_result=~_HAS_ERROR.any())
    keys = keys.join(found, on=_KEY, how="left", maintain_order="left").with_columns(pl.col(_STANDS).fill_null(False))
    is_kept = pl.col(_BLOCKED).is_not_null() & pl.col("has_result").fill_null(False) & stage.paid
    kept, keys = keys.filter(is_kept), keys.filter(~is_kept)
    blocked, left = keys.filter(pl.col(_BLOCKED).is_not_null()), keys.filter(pl.col(_BLOCKED).is_null())
    unwanted = units.filter(~is_wanted).select(pl.col(stage.unit).alias(_UNIT))

    def rows_of(names: pl.DataFrame, by: list[str]) -> pl.DataFrame:
        return _gathered(before, rows.join(names.select(by), on=by, how="semi", maintain_order="left")[_ROW])

    plan = _Plan(
        stage,
        handle,
        before,
        units,
        keys,
        kept=pl.concat([rows_of(unwanted, [_UNIT]), rows_of(kept, _KEY)]),
        standing=rows_of(left.filter(_STANDS), _KEY),
        blocked=_blocked_rows(stage, shard, blocked, rows_of(blocked, _KEY), context),
        pending=left.filter(~pl.col(_STANDS)),
        ready={},
        made_from={name: read.version() for name, read in handles.items()},
    )
    plan.take(staging.rows(stage, sizes))
    return plan


def _told(rows: pl.DataFrame, stage: Stage) -> pl.DataFrame:
    """The rows' keys and places, and what tells whether they stand: joins of whole rows would take far longer."""
    columns = ["input_fingerprint", "error", "error_kind", *(stage.file or ())]
    return rows.select(*stage.keys(), *columns).with_row_index(_ROW)


def _gathered(rows: pl.DataFrame, places: pl.Series) -> pl.DataFrame:
    """The rows at ascending places; all of them without a copy."""
    return rows if len(places) == rows.height else rows[places]


def _blocked(units: pl.DataFrame, stage: Stage) -> pl.DataFrame:
    """Why each unit can't be computed; null where it can."""
    reason = pl.col("blocked") if "blocked" in units.columns else pl.lit(None, pl.String)
    return units.select(pl.col(stage.unit).alias(_UNIT), pl.when(reason != "").then(reason).alias(_BLOCKED))


def _stands(rows: pl.DataFrame, stage: Stage, context: Context, sizes: _Sizes) -> pl.Series:
    """Whether each row was made from its key's present input, ended for good, and its file is there."""
    is_final = ~pl.col("error_kind").is_in(["transient", "blocked"]).fill_null(False)
    if context.retry_failed:
        is_final &= ~_HAS_ERROR
    is_same = (pl.col("input_fingerprint") == pl.col(_FINGERPRINT)).fill_null(False)
    stands = rows.select(is_same & is_final).to_series()
    return stands if stage.file is None else stands & _files_are_there(rows, stage, sizes)


def _files_are_there(rows: pl.DataFrame, stage: Stage, sizes: _Sizes) -> pl.Series:
    if stage.file is None:
        return pl.Series([True] * rows.height, dtype=pl.Boolean)
    path, size = stage.file
    named = rows.select(pl.when(~_HAS_ERROR).then(path), size).iter_rows()
    there = (path is None or sizes(path.rpartition("/")[0]).get(path) == size for path, size in named)
    return pl.Series(list(there), dtype=pl.Boolean)


def _compute_pending(
    plans: Sequence[_Plan],
    shard: str,
    compute: Compute,
    context: Context,
    staging: "Sequence[_Staging]",
    finished: Mapping[str, _Results],
) -> None:
    pending = Pending(shard, [plan.part() for plan in plans])
    total = len(pending)
    if not total:
        return
    by_table = {plan.stage.table.name: (plan.stage, area) for plan, area in zip(plans, staging, strict=True)}
    awaited = _Awaited(plans, total)
    batches: dict[str, list[Row]] = defaultdict(list)
    touched: set[str] = set()
    flushed = time.monotonic()

    def flush() -> None:
        for name, rows in batches.items():
            by_table[name][1].append(rows)
        batches.clear()
        touched.clear()

    context.progress(0, total)
    try:
        for done in compute(pending):
            if isinstance(done, pl.DataFrame):
                (plan,) = plans
                plan.computed.append(_complete_all(plan, shard, done, context))
                awaited.have_come(done[plan.stage.unit].unique())
                context.progress(total - awaited.units, total)
                continue
            if isinstance(done.outcome, EngineUnavailable):
                raise done.outcome
            name = done.table or plans[0].stage.table.name
            key = (done.unit, done.engine)
            before = awaited.units
            fingerprint = awaited.has_come(name, key)
            rows = _finish(by_table[name][0], shard, key, fingerprint, done.outcome, context)
            finished[name][key, fingerprint] = rows
            batches[name] += rows
            touched.add(done.unit)
            if awaited.units < before:
                context.progress(total - awaited.units, total)
            if len(touched) >= context.batch_units or time.monotonic() - flushed > context.batch_seconds:
                flush()
                flushed = time.monotonic()
    finally:
        flush()
    for (name, key), fingerprint in awaited.rest():
        lost = TransientError("the computation ended without an answer for it; the next refresh tries again")
        finished[name][key, fingerprint] = _finish(by_table[name][0], shard, key, fingerprint, lost, context)


class _Awaited:
    """Keys without an answer yet, told apart only where answers come one by one. `units` is of how many units."""

    def __init__(self, plans: Sequence[_Plan], units: int) -> None:
        self._plans = plans
        self._have_come: list[pl.Series] = []
        self.units = units

    def have_come(self, units: pl.Series) -> None:
        """Answers for all these units, of a stage of one table without engines."""
        self._have_come.append(units)
        self.units -= len(units)

    def has_come(self, table: str, key: _Key) -> str:
        """An answer for one key; returns its fingerprint. Raises KeyError where none was awaited."""
        self._left[key[0]] -= 1
        fingerprint = self._keys.pop((table, key))
        self.units -= not self._left[key[0]]
        return fingerprint

    def rest(self) -> list[tuple[tuple[str, _Key], str]]:
        if not self.units:
            return []
        come = set(pl.concat(self._have_come)) if self._have_come else set()
        return sorted(item for item in self._keys.items() if item[0][1][0] not in come)

    @cached_property
    def _keys(self) -> dict[tuple[str, _Key], str]:
        return {
            (plan.stage.table.name, (unit, engine)): fingerprint
            for plan in self._plans
            for unit, engine, fingerprint in plan.pending.select(*_KEY, _FINGERPRINT).iter_rows()
        }

    @cached_property
    def _left(self) -> Counter[str]:
        return Counter(unit for _, (unit, _) in self._keys)


def _finish(
    stage: Stage, shard: str, key: _Key, fingerprint: str, outcome: list[Row] | Exception, context: Context
) -> list[Row]:
    if isinstance(outcome, list) and not outcome:
        outcome = InputError("nothing came out of it, and nothing was said to be wrong with it")
    if isinstance(outcome, list):
        return [_complete(stage, shard, key, row, fingerprint, context) for row in outcome]
    kind = "input" if isinstance(outcome, InputError) else "transient"
    failure = {"error": one_line(str(outcome)) or type(outcome).__name__, "error_kind": kind}
    return [_complete(stage, shard, key, failure, fingerprint, context)]


def _blocked_rows(stage: Stage, shard: str, blocked: pl.DataFrame, old: pl.DataFrame, context: Context) -> list[Row]:
    """The rows of blocked keys, those that say so already left as they are."""
    rows: dict[_Key, list[Row]] = defaultdict(list)
    for row in old.to_dicts():
        rows[stage.key_of(row)].append(row)
    found = []
    for unit, engine, fingerprint, reason in blocked.select(*_KEY, _FINGERPRINT, _BLOCKED).iter_rows():
        there = rows[unit, engine]
        if len(there) == 1 and there[0]["error_kind"] == "blocked" and there[0]["error"] == reason:
            found += there
        else:
            said = {"error": reason, "error_kind": "blocked"}
            found.append(_complete(stage, shard, (unit, engine), said, fingerprint, context))
    return found


def _own(row: Row, stage: Stage) -> Row:
    return {name: row[name] for name in stage.table.schema}


def _complete(stage: Stage, shard: str, key: _Key, columns: Row, fingerprint: str, context: Context) -> Row:
    """A row with every column of the table; those that are carried come with the commit."""
    _require_known(stage, columns)
    row: Row = dict.fromkeys(stage.table.schema)
    if "engine" in row and key[1]:
        row["engine"] = key[1]
    row |= columns
    row |= {
        stage.unit: key[0],
        "shard": shard,
        "input_fingerprint": fingerprint,
        "run_id": context.run_id,
        "computed_at": dt.datetime.now(dt.UTC),
    }
    return row


def _complete_all(plan: _Plan, shard: str, rows: pl.DataFrame, context: Context) -> pl.DataFrame:
    """`_complete` for many units of a stage without engines."""
    stage = plan.stage
    _require_known(stage, rows.columns)
    fingerprints = plan.pending.select(pl.col(_UNIT).alias(stage.unit), input_fingerprint=_FINGERPRINT)
    given = rows.join(fingerprints, on=stage.unit, how="left").with_columns(
        shard=pl.lit(shard), run_id=pl.lit(context.run_id), computed_at=pl.lit(dt.datetime.now(dt.UTC))
    )
    return given.select(
        (pl.col(name) if name in given.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in stage.table.schema.items()
    )


def _require_known(stage: Stage, columns: Iterable[str]) -> None:
    if unknown := set(columns) - set(stage.table.schema):
        raise ValueError(f"{stage.table.name}: a row has columns that the table lacks: {sorted(unknown)}")


def _commit(plan: _Plan, shard: str, context: Context, finished: _Results, started: float) -> Report:
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
    if _are_equal(after, _sorted(plan.before, stage.table)):
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


def _results(plan: _Plan, finished: _Results) -> Iterator[list[Row]]:
    """The rows of each pending key that were ready or computed one by one."""
    yield from plan.ready.values()
    if finished:
        for unit, engine, fingerprint in plan.pending.select(*_KEY, _FINGERPRINT).iter_rows():
            if rows := finished.get(((unit, engine), fingerprint)):
                yield rows


def _are_equal(after: pl.DataFrame, before: pl.DataFrame) -> bool:
    """Rows made anew differ in their time, which takes far less to compare than all columns."""
    return after["computed_at"].equals(before["computed_at"]) and after.equals(before)


def _count(report: Report, plan: _Plan, made: pl.DataFrame) -> None:
    columns = [*plan.stage.keys(), "error", "error_kind"]
    there, new = plan.standing.select(columns), made.select(columns)
    old_failures, new_failures = (
        rows.filter(_HAS_ERROR).unique(_KEY, keep="first", maintain_order=True) for rows in (there, new)
    )
    standing = there.select(_KEY).n_unique() if there.height else 0
    report.reused = standing - old_failures.height
    report.computed = report.inputs - standing - new_failures.height
    for unit, engine, error, kind in pl.concat([old_failures, new_failures]).sort(_UNIT).iter_rows():
        if kind == "blocked":
            report.blocked += 1
        else:
            report.failed += 1
            report.transient += kind == "transient"
            report.failures.append((f"{unit} ({engine})" if engine else unit, error))


def _carried(rows: pl.DataFrame, plan: _Plan) -> pl.DataFrame:
    """The rows with the carried columns of today."""
    stage = plan.stage
    if not stage.carried:
        return rows
    today = plan.units.select(stage.unit, *stage.carried)
    return rows.drop(stage.carried).join(today, on=stage.unit, how="left").select(rows.columns)


def _sorted(rows: pl.DataFrame, table: Table) -> pl.DataFrame:
    """By key; rows without one hold an error and are told apart by what they were made from."""
    return _in_order(rows, *table.key, "input_fingerprint")


def _in_order(rows: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Sorted by the columns; rows that are so already, as tables are stored, without a copy."""
    order = rows.select(pl.arg_sort_by(columns, nulls_last=True)).to_series()
    return rows if order.is_sorted() else rows[order]


def _removed(before: pl.DataFrame, after: pl.DataFrame, table: Table) -> int:
    """Keys that had a result and have no row any more."""
    had = before.filter(pl.col("error").is_null()).select(table.key)
    return had.join(after.select(table.key), on=table.key, how="anti").height


def data_version(rows: pl.DataFrame, table: Table) -> str:
    """16 hex digits naming the rows in any order, bookkeeping aside: equal for equal results."""
    data = rows.select(table.data_columns)
    plain = [name for name, dtype in data.schema.items() if not dtype.is_nested() and name not in table.key]
    return frame_digest(_in_order(data, *table.key, *plain))[:16]


def rows_sha256(rows: pl.DataFrame) -> str:
    """SHA-256, in hex, of the JSON array of the sorted SHA-256 of each row's own JSON array."""
    return _sha256(_as_json(sorted(_sha256_of(json_arrays(rows, _plain).to_list()))))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _sha256_of(texts: Iterable[str], before: str = "", after: str = "", digits: int = 64) -> list[str]:
    """Of each text with what stands before and after it."""
    begun, end = hashlib.sha256(before.encode("utf-8", "surrogatepass")), after.encode()
    found = []
    for text in texts:
        digest = begun.copy()
        digest.update(text.encode() + end)
        found.append(digest.hexdigest()[:digits])
    return found


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

    def rows(self, stage: Stage, sizes: _Sizes) -> _Results:
        """Results by unit, engine and fingerprint; failures aren't taken over, they are tried again."""
        found: _Results = {}
        for name, rows in self._read():
            if name not in self._mine:
                self._mine.append(name)
            if rows is None:
                continue
            is_good = ~rows.select(_HAS_ERROR).to_series() & _files_are_there(rows, stage, sizes)
            groups: _Results = defaultdict(list)
            bad = set()
            for row, good in zip(rows.with_columns(*stage.keys()).to_dicts(), is_good, strict=True):
                name_of = (row[_UNIT], row[_ENGINE]), row["input_fingerprint"]
                groups[name_of].append(_own(row, stage))
                if not good:
                    bad.add(name_of)
            found |= {name: group for name, group in groups.items() if name not in bad}
        return found

    def _read(self) -> Iterator[tuple[str, pl.DataFrame | None]]:
        for name in self._files.listing(self._folder):
            rows: pl.DataFrame | None = None
            with suppress(FileNotFoundError, pl.exceptions.PolarsError):  # committed by another run, or damaged
                frame = pl.read_parquet(io.BytesIO(self._files.read(name)))
                rows = frame if frame.schema == self._table.schema else None
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
