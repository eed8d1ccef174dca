"""Which rows of a shard stand and which are to be computed."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property

import polars as pl
from deltalake import DeltaTable

from curation_assets.incremental.context import Context
from curation_assets.incremental.rows import complete
from curation_assets.incremental.stage import FINGERPRINT, KEY, UNIT, Stage
from curation_assets.incremental.staging import HAS_ERROR, Results, Sizes, Staging, files_are_there
from curation_assets.incremental.work import Key, Part
from curation_assets.tables import TABLES, Row

_BLOCKED, _ROW, _STANDS = "_blocked", "_row", "_stands"


@dataclass
class Plan:
    """One table's side of a refresh. `keys` are its inputs; each is blocked, has standing rows, or is pending.

    `before` has of the rows in the table what tells whether they stand, `whole_before()` reads the rest of them.
    `kept` are rows that stay whatever becomes of their unit. `ready` are those of pending keys that need no computing:
    from staging, or computed before a conflict.
    """

    stage: Stage
    handle: DeltaTable
    before: pl.DataFrame
    whole_before: Callable[[], pl.DataFrame]
    units: pl.DataFrame
    keys: pl.DataFrame
    kept: pl.DataFrame
    standing: pl.DataFrame
    blocked: list[Row]
    pending: pl.DataFrame
    ready: Results
    made_from: dict[str, int]
    computed: list[pl.DataFrame] = field(default_factory=list)

    def part(self) -> Part:
        names = self.pending.select(pl.col(UNIT).alias(self.stage.unit)).unique()
        return Part(self.stage, self.units.join(names, on=self.stage.unit, how="semi"), self.pending)

    @cached_property
    def copies(self) -> dict[str, Row]:
        """Of each unit the columns that its rows copy; of a unit without them they are null."""
        names = [name for name in self.stage.copied if name in self.units.columns]
        rows = self.units.select(names).to_dicts() if names else [{}] * self.units.height
        return dict(zip(self.units[self.stage.unit], rows, strict=True))

    def take(self, results: Results) -> None:
        """Use the results that pending keys have already, where their input is still the same."""
        if not results:
            return
        rows = self.pending.select(*KEY, FINGERPRINT).iter_rows()
        names = [((unit, engine), fingerprint) for unit, engine, fingerprint in rows]
        self.ready |= {name: results[name] for name in names if name in results}
        self.pending = self.pending.filter(pl.Series([name not in results for name in names], dtype=pl.Boolean))


def planned(stage: Stage, shard: str, context: Context, staging: Staging) -> Plan:
    """The plan of what is in the tables and in staging now."""
    store = context.store
    handles = {name: store.open(name, TABLES[name].schema) for name in stage.reads}
    upstream = {
        name: store.read(handles[name], [*columns, "error", "error_kind"], shard)
        for name, columns in stage.reads.items()
    }
    handle = store.open(stage.table.name, stage.table.schema)
    before = store.read(handle, _telling(stage), shard)
    sizes = cache(context.files.sizes)  # a listing of a folder instead of a request for each row

    units = _one_a_unit(stage.units(upstream), stage.unit)
    is_wanted = pl.col("wanted").fill_null(True) if "wanted" in units.columns else pl.lit(True)
    wanted = units.filter(is_wanted)
    keys = stage.fingerprints(wanted).join(_blocked(wanted, stage), on=UNIT, how="left", maintain_order="left")
    rows = _told(before, stage).join(keys.drop(_BLOCKED), on=KEY, how="left", maintain_order="left")
    rows = rows.with_columns(_stands(rows, stage, context, sizes).alias(_STANDS))
    found = rows.group_by(KEY).agg(pl.col(_STANDS).all(), has_result=~HAS_ERROR.any())
    keys = keys.join(found, on=KEY, how="left", maintain_order="left").with_columns(pl.col(_STANDS).fill_null(False))
    is_kept = pl.col(_BLOCKED).is_not_null() & pl.col("has_result").fill_null(False) & stage.paid
    kept, keys = keys.filter(is_kept), keys.filter(~is_kept)
    blocked, left = keys.filter(pl.col(_BLOCKED).is_not_null()), keys.filter(pl.col(_BLOCKED).is_null())
    unwanted = units.filter(~is_wanted).select(pl.col(stage.unit).alias(UNIT))

    @cache
    def whole_before() -> pl.DataFrame:
        rest = [name for name in stage.table.schema if name not in before.columns]
        return before.hstack(store.read(handle, rest, shard)).select(list(stage.table.schema))

    def rows_of(names: pl.DataFrame, by: list[str]) -> pl.DataFrame:
        places = rows.join(names.select(by), on=by, how="semi", maintain_order="left")[_ROW]
        return _gathered(whole_before(), places) if len(places) else stage.table.schema.to_frame()

    plan = Plan(
        stage,
        handle,
        before,
        whole_before,
        units,
        keys,
        kept=pl.concat([rows_of(unwanted, [UNIT]), rows_of(kept, KEY)]),
        standing=rows_of(left.filter(_STANDS), KEY),
        blocked=_blocked_rows(stage, shard, blocked, rows_of(blocked, KEY), context),
        pending=left.filter(~pl.col(_STANDS)),
        ready={},
        made_from={name: read.version() for name, read in handles.items()},
    )
    plan.take(staging.rows(stage, sizes))
    return plan


def _one_a_unit(units: pl.DataFrame, unit: str) -> pl.DataFrame:
    """The last row of each unit, in the units' order, in which they mostly are."""
    names = units[unit]
    is_ascending = (names.slice(1) > names.head(-1)).all(ignore_nulls=False)
    return units if is_ascending else units.unique(unit, keep="last").sort(unit)


def _telling(stage: Stage) -> list[str]:
    """The columns that tell whether rows stand or changed; where none stands the others, most bytes, aren't read."""
    of_all = ("input_fingerprint", "error", "error_kind", "computed_at")
    return list(dict.fromkeys([stage.unit, *stage.table.key, *(stage.file or ()), *of_all]))


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
    return units.select(pl.col(stage.unit).alias(UNIT), pl.when(reason != "").then(reason).alias(_BLOCKED))


def _stands(rows: pl.DataFrame, stage: Stage, context: Context, sizes: Sizes) -> pl.Series:
    """Whether each row was made from its key's present input, ended for good, and its file is there."""
    is_final = ~pl.col("error_kind").is_in(["transient", "blocked"]).fill_null(False)
    if context.retry_failed:
        is_final &= ~HAS_ERROR
    is_same = (pl.col("input_fingerprint") == pl.col(FINGERPRINT)).fill_null(False)
    return rows.select(is_same & is_final).to_series() & files_are_there(rows, stage, sizes)


def _blocked_rows(stage: Stage, shard: str, blocked: pl.DataFrame, old: pl.DataFrame, context: Context) -> list[Row]:
    """The rows of blocked keys, those that say so already left as they are."""
    rows: dict[Key, list[Row]] = defaultdict(list)
    for row in old.to_dicts():
        rows[stage.key_of(row)].append(row)
    found = []
    for unit, engine, fingerprint, reason in blocked.select(*KEY, FINGERPRINT, _BLOCKED).iter_rows():
        there = rows[unit, engine]
        if len(there) == 1 and there[0]["error_kind"] == "blocked" and there[0]["error"] == reason:
            found += there
        else:
            said = {"error": reason, "error_kind": "blocked"}
            found.append(complete(stage, shard, (unit, engine), said, fingerprint, context))
    return found
