"""Scores and bounds in, decisions with their reasons out; both selections are made here."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from curation_assets.filters import Filter, is_for_clips, margin, passes


def score_of(filter_: Filter) -> str:
    """The column of a filter's score."""
    return ".".join(filter_.key)


def why_not_of(filter_: Filter) -> str:
    """The column that says why there is no score to compare; null where there is one."""
    return f"{score_of(filter_)} why not"


def decisions(clips: pl.DataFrame, filters: Sequence[Filter], extra_reasons: Sequence[pl.Expr] = ()) -> pl.DataFrame:
    """The rows of `clip_selection` of `clips`: selected when every filter for the media type passes and there is no
    extra reason.

    `clips` has `clip_id`, `video_id` and of each filter `score_of` and `why_not_of`. Bounds are inclusive; where there
    is no score no bound is passed. A filter that isn't for the clip's media type is measured as neither passed nor
    failed. `extra_reasons` are causes outside the scores, null where they don't hold; they come first in `reasons`.
    """
    measured = [_measured(clips, filter_) for filter_ in filters]
    reasons = [
        *clips.select(reason.alias(str(k)) for k, reason in enumerate(extra_reasons)),
        *(_reasons(clips, rows, filter_) for rows, filter_ in zip(measured, filters, strict=True)),
    ]
    listed = _side_by_side(reasons, clips.height).cast(pl.List(pl.String)).list.drop_nulls()
    return clips.select("clip_id", "video_id").with_columns(
        selected=listed.list.len() == 0,
        reasons=listed,
        measurements=_measurements(measured, filters, clips.height),
    )


def _measured(clips: pl.DataFrame, filter_: Filter) -> pl.DataFrame:
    """`value`, `margin` and `passed`."""
    value = pl.col("value")
    scored = clips.select(
        "clip_id", value=pl.when(pl.col(why_not_of(filter_)).is_null()).then(pl.col(score_of(filter_)))
    )
    return scored.select(
        "value",
        margin=margin(filter_, value),
        passed=pl.when(is_for_clips(filter_)).then(passes(filter_, value)),
    )


def _reasons(clips: pl.DataFrame, measured: pl.DataFrame, filter_: Filter) -> pl.Series:
    """Why the filter drops a clip; null where it doesn't."""
    value, name = measured["value"], filter_.name
    measured_by = ", ".join(part for part in (filter_.engine, filter_.unit) if part)
    is_dropped = (~measured["passed"]).fill_null(False)
    not_scored = pl.format(f"{name}: not scored: {{}}", clips[why_not_of(filter_)])
    reasons = pl.select(pl.when(is_dropped & value.is_null()).then(not_scored)).to_series()
    sides = (
        (filter_.bound.min, pl.Series.lt, "below the minimum"),
        (filter_.bound.max, pl.Series.gt, "above the maximum"),
    )
    for bound, is_past, words in sides:
        if bound is not None:
            past = (is_dropped & is_past(value, bound)).fill_null(False).arg_true()
            scores = value.gather(past).to_list()
            why = [f"{name}: {_figure(score, bound)} is {words} {bound} ({measured_by})" for score in scores]
            reasons = reasons.scatter(past, why)
    return reasons


def _figure(score: float, bound: float) -> str:
    """Four significant digits, or all where rounding would put the score on the bound or past it."""
    short = f"{score:.4g}"
    return short if (float(short) < bound) == (score < bound) and float(short) != bound else repr(score)


def _measurements(measured: Sequence[pl.DataFrame], filters: Sequence[Filter], height: int) -> pl.Series:
    said = (
        rows.select(
            filter=pl.lit(filter_.name),
            engine=pl.lit(filter_.engine),
            value="value",
            min=pl.lit(filter_.bound.min, pl.Float64),
            max=pl.lit(filter_.bound.max, pl.Float64),
            margin="margin",
            passed="passed",
        )
        for rows, filter_ in zip(measured, filters, strict=True)
    )
    return _side_by_side([rows.to_struct() for rows in said], height)


def _side_by_side(columns: Sequence[pl.Series], height: int) -> pl.Series:
    """Lists of a row's values; 60 times as fast as `concat_list` where they are structs."""
    if not columns or not height:
        return pl.Series([[]] * height, dtype=pl.List(pl.Null))
    by_row = np.arange(len(columns) * height).reshape(len(columns), height).T.ravel()
    return pl.concat(columns)[by_row].reshape((height, len(columns))).arr.to_list()
