"""Whole columns as JSON, against `json.dumps` value by value."""

import datetime as dt
import json
import math
import random
from typing import Any

import polars as pl
import pytest

from resources.json_columns import json_arrays, json_column, json_objects

CHANCE = random.Random(0)
FLOATS = [
    *(CHANCE.choice((1, -1)) * 10 ** CHANCE.uniform(-9, 22) for _ in range(20_000)),
    *(CHANCE.uniform(0, 1) for _ in range(20_000)),
    *map(float, range(1000)),
    *(0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1.7e308, 0.1 + 0.2),
    *(math.nextafter(edge, to) for edge in (1e-4, 1e-5, 1e16, 1e15) for to in (0, edge, math.inf)),
]
TEXTS = ["", "plain", 'a "word"', "back\\slash", "line\nbreak", "\x00\x1f\x7f", "日本語 é\u2028", "😀", None]
ITEMS = [{"b": 1.5, "a": "x"}, {"b": None, "a": None}, None]
DTYPES: dict[str, tuple[list[Any], Any]] = {
    "floats": (FLOATS, pl.Float64),
    "short floats": ([0.1, 1e-7, None], pl.Float32),
    "texts": (TEXTS, pl.String),
    "numbers": ([0, -5, 2**63 - 1, None], pl.Int64),
    "truth": ([True, False, None], pl.Boolean),
    "nulls": ([None, None], pl.String),
    "nothing": ([], pl.Float64),
    "times": ([dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC), None], pl.Datetime("us", "UTC")),
    "structs": (ITEMS, pl.Struct({"b": pl.Float64, "a": pl.String})),
    "lists": ([[1, None], [], None, [3]], pl.List(pl.Int64)),
    "lists of lists": ([[["a"], [], None], []], pl.List(pl.List(pl.String))),
    "lists of structs": ([ITEMS, [], None], pl.List(pl.Struct({"b": pl.Float64, "a": pl.String}))),
}


def text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=dt.datetime.isoformat)


@pytest.mark.parametrize("name", DTYPES)
def test_a_column_is_what_json_dumps_writes_of_each_value(name: str) -> None:
    values = pl.Series(DTYPES[name][0], dtype=DTYPES[name][1])
    assert json_column(values, dt.datetime.isoformat).to_list() == [text(value) for value in values.to_list()]


def test_rows_are_objects_and_arrays() -> None:
    rows = pl.DataFrame({"b": [1.5, None], 'a "': ["x", None], "c": [[1], None]})
    assert json_objects(rows).to_list() == [text(row) for row in rows.to_dicts()]
    assert json_arrays(rows).to_list() == [text(row) for row in rows.rows()]
    assert json_objects(rows, optional={"b", "c"}).to_list() == [text(rows.to_dicts()[0]), '{"a \\"":null}']
    assert json_objects(pl.DataFrame(height=2)).to_list() == ["{}", "{}"]
    assert json_objects(rows.select("b"), optional={"b"}).to_list() == ['{"b":1.5}', "{}"]


def test_what_json_lacks_is_refused() -> None:
    with pytest.raises(TypeError):
        json_column(pl.Series([dt.date(2026, 1, 2)]))
