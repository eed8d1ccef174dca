"""Rows with all the columns of their table, of what a compute function answered."""

import datetime as dt
from collections.abc import Iterable

import polars as pl

from curation_assets.incremental.context import Context
from curation_assets.incremental.stage import FINGERPRINT, UNIT, Stage
from curation_assets.incremental.work import Key
from curation_assets.tables import Row
from resources.errors import InputError
from resources.text import one_line


def finished_rows(
    stage: Stage,
    shard: str,
    key: Key,
    fingerprint: str,
    outcome: list[Row] | Exception,
    context: Context,
    copies: Row | None = None,
) -> list[Row]:
    """`copies` are the unit's columns that stand in its rows."""
    if isinstance(outcome, list) and not outcome:
        outcome = InputError("nothing came out of it, and nothing was said to be wrong with it")
    if isinstance(outcome, list):
        return [complete(stage, shard, key, {**(copies or {}), **row}, fingerprint, context) for row in outcome]
    kind = "input" if isinstance(outcome, InputError) else "transient"
    failure = {"error": one_line(str(outcome)) or type(outcome).__name__, "error_kind": kind}
    return [complete(stage, shard, key, failure, fingerprint, context)]


def complete(stage: Stage, shard: str, key: Key, columns: Row, fingerprint: str, context: Context) -> Row:
    """A row with every column of the table; those that are carried come with the commit."""
    _require_known(stage, columns)
    row: Row = dict.fromkeys(stage.table.columns)
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


def complete_all(stage: Stage, shard: str, rows: pl.DataFrame, keys: pl.DataFrame, context: Context) -> pl.DataFrame:
    """`complete` for many units of a stage without engines; `keys` name what each is made from."""
    _require_known(stage, rows.columns)
    fingerprints = keys.select(pl.col(UNIT).alias(stage.unit), input_fingerprint=FINGERPRINT)
    given = rows.join(fingerprints, on=stage.unit, how="left").with_columns(
        shard=pl.lit(shard), run_id=pl.lit(context.run_id), computed_at=pl.lit(dt.datetime.now(dt.UTC))
    )
    return given.select(
        (pl.col(name) if name in given.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in stage.table.schema.items()
    )


def _require_known(stage: Stage, columns: Iterable[str]) -> None:
    if unknown := set(columns) - stage.table.columns.keys():
        raise ValueError(f"{stage.table.name}: a row has columns that the table lacks: {sorted(unknown)}")
