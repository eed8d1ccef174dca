"""Scores beside the bounds they are judged by, in one form for score tables and for selections."""

from collections.abc import Sequence

import polars as pl

from curation_assets.filters import Filter, is_for_clips, margin, passes

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
    score = pl.col(filter_.column).cast(pl.Float64)
    value = pl.when(pl.col("error").is_null() & score.is_finite()).then(score)
    return (
        rows.filter(is_for_clips(filter_), engine=filter_.engine)
        .with_columns(filter=pl.lit(filter_.name), value=value)
        .with_columns(
            margin=margin(filter_, pl.col("value")),
            passed=passes(filter_, pl.col("value")),
        )
        .select(SCORES.names())
    )
