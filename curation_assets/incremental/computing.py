"""Computes what is pending, batch after batch into staging."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property

import polars as pl

from curation_assets.incremental.context import Context
from curation_assets.incremental.planning import Plan
from curation_assets.incremental.rows import complete_all, finished_rows
from curation_assets.incremental.stage import FINGERPRINT, KEY, NO_ENGINE, UNIT
from curation_assets.incremental.staging import Results, Staging
from curation_assets.incremental.work import Compute, Key, Pending
from curation_assets.tables import Row
from resources.errors import EngineUnavailable, TransientError


def compute_pending(
    plans: Sequence[Plan],
    shard: str,
    compute: Compute,
    context: Context,
    staging: Sequence[Staging],
    finished: Mapping[str, Results],
) -> None:
    """Adds to each plan's `computed` or, by table, to `finished`; a unit without an answer gets an error.

    Raises KeyError where an answer is of a unit that wasn't asked for, or comes twice.
    """
    pending = Pending(shard, [plan.part() for plan in plans])
    total = len(pending)
    if not total:
        return
    by_table = {plan.stage.table.name: (plan, area) for plan, area in zip(plans, staging, strict=True)}
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
                awaited.have_come(plan.stage.table.name, done[plan.stage.unit].unique())
                plan.computed.append(complete_all(plan.stage, shard, done, plan.pending, context))
                context.progress(total - awaited.units, total)
                continue
            if isinstance(done.outcome, EngineUnavailable):
                raise done.outcome
            name = done.table or plans[0].stage.table.name
            key = (done.unit, done.engine)
            before = awaited.units
            fingerprint = awaited.has_come(name, key)
            plan, _ = by_table[name]
            copies = plan.copies[done.unit]
            rows = finished_rows(plan.stage, shard, key, fingerprint, done.outcome, context, copies)
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
        stage = by_table[name][0].stage
        finished[name][key, fingerprint] = finished_rows(stage, shard, key, fingerprint, lost, context)


class _Awaited:
    """Keys without an answer yet, as columns until answers come one by one. `units` is of how many units."""

    def __init__(self, plans: Sequence[Plan], units: int) -> None:
        self._columns = {plan.stage.table.name: plan.pending.select(*KEY, FINGERPRINT) for plan in plans}
        self._by_key: dict[tuple[str, Key], str] | None = None
        self.units = units

    def have_come(self, table: str, units: pl.Series) -> None:
        """Answers for all these units, of a stage of one table without engines. Raises KeyError as `has_come` does."""
        if self._by_key is not None:
            for unit in units:
                self.has_come(table, (unit, NO_ENGINE))
            return
        pending = self._columns[table]
        left = pending.filter(~pl.col(UNIT).is_in(units.implode()))
        if pending.height - left.height < len(units):
            raise KeyError(table, sorted({*units} - {*pending[UNIT]}, key=str))
        self._columns[table] = left
        self.units -= len(units)

    def has_come(self, table: str, key: Key) -> str:
        """An answer for one key; returns its fingerprint. Raises KeyError where none was awaited."""
        fingerprint = self._keys.pop((table, key))
        self._left[key[0]] -= 1
        self.units -= not self._left[key[0]]
        return fingerprint

    def rest(self) -> list[tuple[tuple[str, Key], str]]:
        return sorted(self._keys.items()) if self.units else []

    @property
    def _keys(self) -> dict[tuple[str, Key], str]:
        if self._by_key is None:
            self._by_key = {
                (table, (unit, engine)): fingerprint
                for table, keys in self._columns.items()
                for unit, engine, fingerprint in keys.iter_rows()
            }
        return self._by_key

    @cached_property
    def _left(self) -> Counter[str]:
        return Counter(unit for keys in self._columns.values() for unit in keys[UNIT])
