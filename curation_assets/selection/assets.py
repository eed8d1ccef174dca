"""`clip_selection` and `sample_selection`: thresholds applied to scores, every decision with its reasons.

The thresholds are in the settings under `selection` and `sample_selection`; `curation_assets/filters.py` lists
them and `decisions.py` applies them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

import polars as pl

from curation_assets.filters import Filter, clip_filters, sample_filters
from curation_assets.incremental.stage import Stage
from curation_assets.incremental.work import Pending
from curation_assets.orchestration.stage_asset import StageAsset, stage_asset
from curation_assets.selection.decisions import decisions, score_of, why_not_of
from curation_assets.selection.exclusions import EXCLUDED, with_exclusion
from curation_assets.settings import Settings, declared
from curation_assets.tables import CLIP_SELECTION, SAMPLE_SELECTION
from curation_assets.tools import Tools
from curation_assets.units import Frames, kept_clips

NOT_WRITTEN = (
    pl.when(pl.col("caption_status").fill_null("failed") == "failed")
    .then(pl.format("caption: {}", pl.col("caption_error").replace("", None).fill_null("there is none")))
    .when(pl.col("status").fill_null("failed") == "failed")
    .then(pl.format("rewrite: {}", pl.col("rewrite_error").replace("", None).fill_null("there is none")))
)
"""Why a clip can't be a sample for want of words; null where it has them."""

DUPLICATE = (
    pl.when(pl.col("compared").is_null())
    .then(pl.lit("duplicates: not compared with other clips yet"))
    .when(pl.col("duplicate_of").is_not_null())
    .then(pl.format("duplicates: of {} ({}, {})", "duplicate_of", "kind", pl.col("similarity").round(3)))
)
"""Why a clip gives way to another; null where it doesn't."""


def selection_assets(settings: Settings) -> list[StageAsset]:
    filters = clip_filters(settings)
    stage = Stage(
        CLIP_SELECTION,
        unit="clip_id",
        reads={
            "clips": ["clip_id", "video_id", "dropped"],
            "exclusions": ["excluded_id", "kind", "reason", "excluded_on"],
            **score_columns(filters),
        },
        units=lambda reads: with_scores(with_exclusion(kept_clips(reads), reads), reads, filters),
        version="2",
        settings=filter_settings(filters),
    )

    @stage_asset(stage, settings, group="4_selection", kinds={"polars"})
    def clip_selection(work: Pending, tools: Tools) -> Iterable[pl.DataFrame]:
        """Applies the thresholds to the scores; a missing or failed score never passes, nor what people exclude."""
        yield decisions(work.columns, filters, [EXCLUDED])

    return [clip_selection]


def sample_selection_assets(settings: Settings) -> list[StageAsset]:
    filters = sample_filters(settings)
    of_duplicates = {"duplicates": ["clip_id", "duplicate_of", "kind", "similarity"]}
    stage = Stage(
        SAMPLE_SELECTION,
        unit="clip_id",
        reads={
            "clip_selection": ["clip_id", "video_id", "selected"],
            **(of_duplicates if settings.duplicates.kinds else {}),
            "captions": ["clip_id", "status"],
            "rewritten_captions": ["clip_id", "caption", "status"],
            **{table: [*columns, "caption"] for table, columns in score_columns(filters).items()},
        },
        units=lambda reads: with_scores(captioned_clips(reads), scores_of_captions(reads, filters), filters),
        version="2",
        settings=filter_settings(filters),
    )

    @stage_asset(stage, settings, group="6_training_set", kinds={"polars"})
    def sample_selection(work: Pending, tools: Tools) -> Iterable[pl.DataFrame]:
        """Of the selected clips those that are no duplicates, with a caption, a rewrite and enough alignment."""
        for clips, judges, causes in _judged(work.columns, filters):
            yield decisions(clips, judges, causes).with_columns(caption=clips["caption"])

    return [sample_selection]


def filter_settings(filters: Sequence[Filter]) -> Mapping[str, Any]:
    return {"filters": [{**asdict(f), "bound": declared(f.bound)} for f in filters]}


def score_columns(filters: Sequence[Filter]) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = {}
    for filter_ in filters:
        wanted = columns.setdefault(filter_.table, ["clip_id", "engine"])
        if filter_.column not in wanted:
            wanted.append(filter_.column)
    return columns


def with_scores(clips: pl.DataFrame, reads: Frames, filters: Sequence[Filter]) -> pl.DataFrame:
    """Adds of each filter the score and why there is none, as `decisions` takes them."""
    for (table, engine), group in groupby(filters, lambda filter_: (filter_.table, filter_.engine)):
        own = {score_of(filter_): filter_ for filter_ in group}
        columns = {name: pl.col(filter_.column).cast(pl.Float64) for name, filter_ in own.items()}
        rows = reads[table].filter(engine=engine).select("clip_id", "error", is_there=pl.lit(True), **columns)
        clips = clips.join(rows, on="clip_id", how="left", maintain_order="left")
        clips = clips.with_columns(_why_not(filter_).alias(why_not_of(filter_)) for filter_ in own.values())
        clips = clips.drop("error", "is_there")
    return clips


def _why_not(filter_: Filter) -> pl.Expr:
    """Why a clip has no score to compare; null where it has one."""
    score, column = pl.col(score_of(filter_)), f"{filter_.column} of {filter_.engine}"
    number = pl.when(score.is_nan()).then(pl.lit("nan")).when(score > 0).then(pl.lit("inf")).otherwise(pl.lit("-inf"))
    return (
        pl.when(pl.col("is_there").is_null())
        .then(pl.lit(f"no row of {filter_.engine} in {filter_.table}"))
        .when(pl.col("error") != "")
        .then("error")
        .when(score.is_null())
        .then(pl.lit(f"{column} is null"))
        .when(~score.is_finite())
        .then(pl.format(f"{column} is {{}}, which is no number", number))
    )


def scores_of_captions(reads: Frames, filters: Sequence[Filter]) -> Frames:
    """Scores of the present captions alone: one of another caption is none, until the new caption has its own."""
    captions = reads["rewritten_captions"].select("clip_id", present="caption")
    present = pl.col("error").is_not_null() | (pl.col("caption") == pl.col("present"))
    tables = {filter_.table for filter_ in filters}
    return {table: reads[table].join(captions, on="clip_id").filter(present).drop("present") for table in tables}


def _judged(
    clips: pl.DataFrame, filters: Sequence[Filter]
) -> Iterator[tuple[pl.DataFrame, Sequence[Filter], Sequence[pl.Expr]]]:
    """Clips with the filters and causes that decide on them: a duplicate, which gets no caption, is judged as that."""
    if "duplicate" in clips.columns:
        is_duplicate = pl.col("duplicate").is_not_null()
        yield clips.filter(is_duplicate), [], [pl.col("duplicate")]
        clips = clips.filter(~is_duplicate)
    yield clips, filters, [NOT_WRITTEN]


def captioned_clips(reads: Frames) -> pl.DataFrame:
    """The selected clips with what captioning and rewriting came to, and why they give way to others, if asked for."""
    captions = reads["captions"].select("clip_id", caption_status="status", caption_error="error")
    rewritten = reads["rewritten_captions"].select("clip_id", "caption", "status", rewrite_error="error")
    selected = reads["clip_selection"].filter("selected").select("clip_id", "video_id")
    if "duplicates" in reads:
        compared = reads["duplicates"].select("clip_id", "duplicate_of", "kind", "similarity", compared=pl.lit(True))
        selected = selected.join(compared, on="clip_id", how="left", maintain_order="left")
        selected = selected.select("clip_id", "video_id", duplicate=DUPLICATE)
    return selected.join(captions, on="clip_id", how="left").join(rewritten, on="clip_id", how="left")
