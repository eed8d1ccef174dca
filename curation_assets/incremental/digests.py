"""Digests of settings, rows and tables that are the same on every machine."""

import datetime as dt
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Set
from typing import Any

import polars as pl

from curation_assets.tables import Table
from resources.frame_digest import frame_digest
from resources.json_columns import json_arrays


def data_version(rows: pl.DataFrame, table: Table) -> str:
    """16 hex digits naming the rows in any order, bookkeeping aside: equal for equal results."""
    data = rows.select(table.data_columns)
    plain = [name for name, dtype in data.schema.items() if not dtype.is_nested() and name not in table.key]
    return frame_digest(in_order(data, *table.key, *plain))[:16]


def in_order(rows: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Sorted by the columns; rows that are so already, as tables are stored, without a copy."""
    order = rows.select(pl.arg_sort_by(columns, nulls_last=True)).to_series()
    return rows if order.is_sorted() else rows[order]


def rows_sha256(rows: pl.DataFrame) -> str:
    """SHA-256, in hex, of the JSON array of the sorted SHA-256 of each row's own JSON array."""
    return sha256(as_json(sorted(sha256_of(json_arrays(rows, plain).to_list()))))


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sha256_of(texts: Iterable[str], before: str = "", after: str = "", digits: int = 64) -> list[str]:
    """Of each text with what stands before and after it."""
    begun, end = hashlib.sha256(before.encode("utf-8", "surrogatepass")), after.encode()
    found = []
    for text in texts:
        digest = begun.copy()
        digest.update(text.encode() + end)
        found.append(digest.hexdigest()[:digits])
    return found


def as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=plain, ensure_ascii=False, separators=(",", ":"))


def plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set):
        return sorted(value)
    if isinstance(value, Collection):
        return list(value)
    raise TypeError(f"{type(value).__name__} can't be part of a fingerprint")
