"""Frames have equal digests where their values are equal, and nowhere else."""

import datetime as dt
from typing import Any

import polars as pl
import pytest

from resources.frame_digest import frame_digest

ROWS: dict[str, list[Any]] = {
    "text": ["a", "bc", None, ""],
    "number": [1, None, 3, 0],
    "share": [0.5, None, float("nan"), 0.0],
    "holds": [True, None, False, False],
    "when": [dt.datetime(2026, 1, 2, tzinfo=dt.UTC), None, None, None],
    "list": [["a", None], [], None, [""]],
    "struct": [{"x": 1.0, "y": "z"}, None, {"x": None, "y": None}, {"x": 0.0, "y": ""}],
    "nested": [[{"x": 1.0, "y": ["z"]}], None, [], [{"x": None, "y": None}]],
}


def frame(**changes: list[Any]) -> pl.DataFrame:
    whole = pl.DataFrame(ROWS)
    return whole.with_columns(**{name: pl.Series(values, dtype=whole[name].dtype) for name, values in changes.items()})


def test_equal_values_have_equal_digests_however_they_are_kept() -> None:
    whole = frame()
    in_chunks = pl.concat([whole.head(1), whole.slice(1, 2), whole.tail(1)], rechunk=False)
    assert frame_digest(in_chunks) == frame_digest(whole)
    kept = whole.with_columns(number=pl.when(pl.col("number") != 3).then("number"))
    made = frame(number=[1, None, None, 0])
    assert frame_digest(kept) == frame_digest(made)  # where there is still a 3 below the null


def test_it_is_the_same_in_every_version() -> None:
    assert frame_digest(frame()) == "da6e6ae252c475daeed901eb3b5400a774117e5894828131efd3af8d94396443"


@pytest.mark.parametrize(
    "change",
    [
        {"text": ["ab", "c", None, ""]},
        {"text": ["a", "bc", "", ""]},
        {"number": [1, 0, 3, 0]},
        {"share": [0.5, None, None, 0.0]},
        {"holds": [True, False, False, False]},
        {"list": [["a", None], None, None, [""]]},
        {"list": [["a"], [], None, ["", None]]},
        {"list": [["a", ""], [], None, [""]]},
        {"struct": [{"x": 1.0, "y": "z"}, {"x": None, "y": None}, None, {"x": 0.0, "y": ""}]},
        {"nested": [[{"x": 1.0, "y": []}], None, [], [{"x": None, "y": ["z"]}]]},
    ],
)
def test_another_value_is_another_digest(change: dict[str, list[Any]]) -> None:
    assert frame_digest(frame(**change)) != frame_digest(frame())


def test_rows_and_names_count() -> None:
    whole = frame()
    others = [whole.rename({"text": "texts"}), whole.reverse(), whole.head(3), whole.drop("text")]
    assert len({frame_digest(rows) for rows in (whole, *others)}) == 5


def test_a_type_that_has_no_rule_is_refused() -> None:
    with pytest.raises(TypeError, match="things"):
        frame_digest(pl.DataFrame({"things": [object()]}))
