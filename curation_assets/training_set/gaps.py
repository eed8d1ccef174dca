"""What a release lacks: inputs without a result, results that other settings, code or inputs gave, and failures.

Told from the rows themselves, so that compaction and vacuum change nothing: a row's fingerprint names all that it
was made from, and a stage's declaration says what it would be made from now.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from curation_assets.incremental.stage import FINGERPRINT, UNIT, Stage
from curation_assets.inspection.failures import KINDS as FAILED
from curation_assets.inspection.failures import has_failed
from curation_assets.tables import DUPLICATES, TABLES, Scan
from curation_assets.upkeep.releases import TablesAt

MISSING = "missing"
OUT_OF_DATE = "out of date"
KINDS = (MISSING, OUT_OF_DATE, *FAILED)
Gap = dict[str, Any]
Decision = Callable[[Scan], pl.DataFrame]
"""shard, clip_id, duplicate_of, kind and similarity that `duplicates` would hold, if it were made from these tables."""


def find_gaps(
    stages: Sequence[Stage], tables: TablesAt, duplicates: Decision | None = None, all_rows: bool = True
) -> list[Gap]:
    """Gaps of `tables`, upstream first: shard, table, kind and how many inputs. `stages` made them, upstream first.

    Kinds: `missing`, inputs that the stage hasn't had yet; `out of date`; `input` and `transient`, failures. What
    a failed or missing parent keeps from its children is a gap of the parent only. Only the last stage's rows are
    all compared, and only with `all_rows`. Of the others one a shard is, since settings and code change all rows of a
    shard; their count is null. `duplicates`, unless None, is decided anew and compared with the table of that name.
    """
    order = [*TABLES]
    found = [gap for part in tables.in_parts() for gap in _gaps(stages, part, all_rows)]
    if duplicates is not None:
        found += _gaps_of_duplicates(tables, duplicates(tables.scan))
    return sorted(found, key=lambda gap: (order.index(gap["table"]), KINDS.index(gap["kind"])))


def _gaps(stages: Sequence[Stage], tables: TablesAt, all_rows: bool) -> list[Gap]:
    shard_of = dict(tables.read("source_files", ["video_id", "shard"]).iter_rows())
    found: list[Gap] = []
    for stage in stages:
        rows = tables.read(stage.table.name, _columns(stage))
        units = _units(stage, tables).with_columns(
            shard=_video_of(stage.unit).replace_strict(shard_of, default=None, return_dtype=pl.String)
        )
        wanted = units.filter(_wanted(units.columns))
        gaps = {
            MISSING: _count(wanted.join(rows, on=stage.unit, how="anti")) if stage.engines else {},
            OUT_OF_DATE: _all_out_of_date(stage, wanted, units, rows)
            if all_rows and stage is stages[-1]
            else _shards_out_of_date(stage, wanted, rows),
            **{kind: _count(rows.filter(has_failed(stage.table, [kind])).unique(stage.unit)) for kind in FAILED},
        }
        found += _listed(stage.table.name, gaps)
    return found


def _gaps_of_duplicates(tables: TablesAt, now: pl.DataFrame) -> list[Gap]:
    """Clips that were compared and not decided on, and decisions that would be others `now`."""
    stands = tables.read(DUPLICATES.name, now.columns)
    missing = now.join(stands, on="clip_id", how="anti")
    changed = stands.join(now, on=now.columns, how="anti", nulls_equal=True)
    return _listed(DUPLICATES.name, {MISSING: _count(missing), OUT_OF_DATE: _count(changed)})


def _listed(table: str, gaps: Mapping[str, Mapping[str, int | None]]) -> list[Gap]:
    return [
        {"shard": shard, "table": table, "kind": kind, "count": count}
        for kind, shards in gaps.items()
        for shard, count in sorted(shards.items())
    ]


def _columns(stage: Stage) -> list[str]:
    engine = ["engine"] if "engine" in stage.table.key else []
    missing = ["missing"] if "missing" in stage.table.schema else []
    return list(dict.fromkeys([stage.unit, *engine, *missing, "shard", "input_fingerprint", "error_kind"]))


def _units(stage: Stage, tables: TablesAt) -> pl.DataFrame:
    reads = {
        name: tables.read(name, dict.fromkeys([*columns, "error", "error_kind"]))
        for name, columns in stage.reads.items()
    }
    return stage.units(reads)


def _wanted(columns: Sequence[str]) -> pl.Expr:
    """Whether a unit is to be computed and its parents have results."""
    wanted = pl.col("wanted") if "wanted" in columns else pl.lit(True)
    return wanted & pl.col("blocked").is_null() if "blocked" in columns else wanted


def _video_of(unit: str) -> pl.Expr:
    """The video's id, with which every clip's begins."""
    return pl.col(unit).str.split("-").list.first()


def _count(rows: pl.DataFrame) -> dict[str, int]:
    return dict(rows.group_by("shard").len().iter_rows())


def _shards_out_of_date(stage: Stage, wanted: pl.DataFrame, rows: pl.DataFrame) -> dict[str, None]:
    """Shards whose first input with rows, or its row of any engine, has another fingerprint now."""
    first = wanted.join(rows, on=stage.unit, how="semi").sort(stage.unit).unique("shard", keep="first")
    return dict.fromkeys(_changed(stage, first, rows)["shard"])


def _all_out_of_date(stage: Stage, wanted: pl.DataFrame, units: pl.DataFrame, rows: pl.DataFrame) -> dict[str, int]:
    """By shard the inputs whose rows would be made anew, and the rows whose input is gone."""
    made = wanted.join(rows, on=stage.unit, how="semi")
    gone = rows.join(units, on=stage.unit, how="anti").select("shard")
    return _count(pl.concat([_changed(stage, made, rows).select("shard"), gone]))


def _changed(stage: Stage, units: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The units of whose rows there is none with the present fingerprint, of one engine or more."""
    stored = rows.select(*stage.keys(), input_fingerprint="input_fingerprint")
    now = stage.fingerprints(units.drop("shard")).rename({FINGERPRINT: "input_fingerprint"})
    changed = now.join(stored, on=now.columns, how="anti")
    return units.join(changed, left_on=stage.unit, right_on=UNIT, how="semi")
