"""JSON of whole columns: for each value the text that `json.dumps` writes, without a call a value."""

import json
from collections.abc import Callable, Collection
from typing import Any

import polars as pl

Default = Callable[[Any], Any]

_ESCAPED = r'["\\\x00-\x1f]'
_NULL = pl.lit("null")


def json_objects(rows: pl.DataFrame, default: Default | None = None, optional: Collection[str] = ()) -> pl.Series:
    """An object a row, as `json_column`; columns of `optional` are left out where they are null."""
    parts: list[str | pl.Series] = []
    for name in sorted(rows.columns):
        member = [f",{json.dumps(name, ensure_ascii=False)}:", _part(rows[name], default)]
        if name in optional:
            is_there = rows[name].is_not_null()
            member = [pl.select(pl.when(is_there).then(_joined(member, rows.height)).otherwise(pl.lit(""))).to_series()]
        parts += member
    return _enclosed("{", parts, "}", rows.height)


def json_arrays(rows: pl.DataFrame, default: Default | None = None) -> pl.Series:
    """An array a row, of its columns' values, as `json_column`."""
    columns = (_part(rows[name], default) for name in rows.columns)
    return _enclosed("[", [part for column in columns for part in (",", column)], "]", rows.height)


def json_column(values: pl.Series, default: Default | None = None) -> pl.Series:
    """Texts equal to `json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=default)`.

    Raises TypeError for a value that JSON lacks and `default` refuses.
    """
    if values.null_count() == len(values):
        return pl.Series(["null"], dtype=pl.String).new_from_index(0, len(values))
    texts = _texts(values.alias("value"), default)
    if not values.null_count():
        return texts
    return pl.select(pl.when(values.is_not_null()).then(texts).otherwise(_NULL)).to_series()


def _texts(values: pl.Series, default: Default | None) -> pl.Series:
    """As `json_column`; anything where there is a null."""
    dtype, value = values.dtype, pl.col("value")
    if isinstance(dtype, pl.List):
        return _lists(values, default)
    if isinstance(dtype, pl.Struct):
        return json_objects(values.struct.unnest(), default)
    if dtype == pl.String:
        return _but_for(values, value.str.contains(_ESCAPED), pl.format('"{}"', value), default)
    if dtype.is_float():
        size = value.abs()  # beyond these Python writes an exponent, in a way of its own
        is_plain = ((size >= 1e-4) & (size < 1e16)) | (size == 0)
        return _but_for(values.cast(pl.Float64), ~is_plain, value.cast(pl.String), default)
    if dtype.is_integer():
        return values.cast(pl.String)
    if dtype == pl.Boolean:
        return pl.select(pl.when(values).then(pl.lit("true")).otherwise(pl.lit("false"))).to_series()
    return _one_by_one(values, default)


def _lists(values: pl.Series, default: Default | None) -> pl.Series:
    lists = values.to_frame().with_row_index("row")
    items = lists.filter(pl.col("value").list.len() > 0).explode("value")
    texts = items.select("row", text=json_column(items["value"], default))
    joined = texts.group_by("row", maintain_order=True).agg(pl.col("text").str.join(","))
    whole = lists.select("row").join(joined, on="row", how="left", maintain_order="left")
    return whole.select(pl.format("[{}]", pl.col("text").fill_null(""))).to_series()


def _but_for(values: pl.Series, odd: pl.Expr, texts: pl.Expr, default: Default | None) -> pl.Series:
    """`texts`, but Python's own where a value is `odd`."""
    made = values.to_frame().select(text=texts, odd=odd.fill_null(False))
    if not made["odd"].any():
        return made["text"]
    where = made["odd"].arg_true()
    return made["text"].scatter(where, _one_by_one(values.gather(where), default))


def _one_by_one(values: pl.Series, default: Default | None) -> pl.Series:
    dumped = (
        json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=default)
        for value in values.to_list()
    )
    return pl.Series(list(dumped), dtype=pl.String)


def _part(values: pl.Series, default: Default | None) -> str | pl.Series:
    """A text a row, or one for all rows."""
    return "null" if values.null_count() == len(values) else json_column(values, default)


def _enclosed(start: str, parts: list[str | pl.Series], end: str, height: int) -> pl.Series:
    """The parts of each row, of which the first that isn't empty begins with a comma."""
    match parts:
        case [str(text), *rest]:
            parts = [text[1:], *rest]
        case [_, *_]:
            parts = [_joined(parts, height).str.slice(1)]
    return _joined([start, *parts, end], height)


def _joined(parts: list[str | pl.Series], height: int) -> pl.Series:
    whole: list[str | pl.Series] = []
    for part in parts:
        if whole and isinstance(part, str) and isinstance(whole[-1], str):
            whole[-1] += part
        else:
            whole.append(part)
    if isinstance(whole[0], str) and len(whole) == 1:
        return pl.Series(whole, dtype=pl.String).new_from_index(0, height)
    return pl.select(pl.concat_str(map(pl.lit, whole))).to_series()
