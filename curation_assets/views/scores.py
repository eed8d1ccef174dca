"""Scores beside the bounds they are judged by, in one form for score tables and for selections."""

from collections.abc import Sequence

import polars as pl

from curation_assets.filters import Filter
from curation_assets.media_types import IS_IMAGE

SCORES = pl.Schema(
    {
        "clip_id": pl.String,
        "filter": pl.String,
        "engine": pl.String,
        "value": pl.Float64,
        "margin": pl.Float64,
        "passed": pl.Boolean,
    }
)
"""A row is a clip and a filter that is for its media type; `value` is null where there is no finite score."""


def scores_of(rows: pl.DataFrame, filters: Sequence[Filter]) -> pl.DataFrame:
    """`SCORES` of a score table's rows, or of a selection's, which hold them as `measurements`."""
    if "measurements" in rows.columns:
        measured = rows.filter(pl.col("error").is_null()).select("clip_id", "measurements")
        long = measured.explode("measurements", empty_as_null=False).unnest("measurements").select(SCORES.names())
        return long.filter(pl.col("passed").is_not_null())
    judged = [_judged(rows, filter_) for filter_ in filters]
    return pl.concat([SCORES.to_frame(), *judged])


def _judged(rows: pl.DataFrame, filter_: Filter) -> pl.DataFrame:
    """As `selection.decisions` judges: bounds are inclusive, and what is no finite number never passes."""
    low, high = (pl.lit(bound, pl.Float64) for bound in (filter_.bound.min, filter_.bound.max))
    score = pl.col(filter_.column).cast(pl.Float64)
    value = pl.when(pl.col("error").is_null() & score.is_finite()).then(score)
    media_type = pl.when(IS_IMAGE).then(pl.lit("image")).otherwise(pl.lit("video"))
    of_filter = (pl.col("engine") == filter_.engine) & media_type.is_in(list(filter_.bound.media_types))
    return (
        rows.filter(of_filter)
        .with_columns(filter=pl.lit(filter_.name), value=value)
        .with_columns(margin=pl.min_horizontal(pl.col("value") - low, high - pl.col("value")))
        .with_columns(passed=pl.col("value").is_not_null() & (pl.col("margin") >= 0).fill_null(True))
        .select(SCORES.names())
    )
