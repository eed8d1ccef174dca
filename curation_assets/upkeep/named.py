"""Rows of other clips that name clips of a video: those like them, and those that are kept in their place."""

from collections.abc import Collection

import polars as pl

from curation_assets.tables import CLIP_NEIGHBOURS, DUPLICATES, SAMPLE_SELECTION

NAMING = (CLIP_NEIGHBOURS, DUPLICATES, SAMPLE_SELECTION)
"""The tables that have such rows."""
TAKEN_DOWN = "duplicates: of a clip that was taken down"


def names(video_id: str, columns: Collection[str]) -> pl.Expr:
    """Whether a row with these columns names a clip of the video in the place of another clip."""
    found = {
        "neighbours": pl.col("neighbours").list.eval(_is_neighbour(video_id)).list.any(),
        "duplicate_of": pl.col("duplicate_of").str.starts_with(video_id),
        "reasons": pl.col("reasons").list.eval(_is_reason(video_id)).list.any(),
    }
    return pl.any_horizontal(pl.lit(False), *(found[name] for name in found if name in columns)).fill_null(False)


def without_names(video_id: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with no clip of the video named. Where one is kept in the place of another, that isn't decided any more.

    A sample's reason stays, without the clip's id, until it is decided anew.
    """
    reason = pl.when(_is_reason(video_id)).then(pl.lit(TAKEN_DOWN)).otherwise(pl.element())
    edited = {
        "neighbours": pl.col("neighbours").list.filter(~_is_neighbour(video_id)),
        "reasons": pl.col("reasons").list.eval(reason),
    }
    rows = rows.with_columns(edited[name] for name in edited if name in rows.columns)
    return rows.filter(~names(video_id, rows.columns))


def _is_neighbour(video_id: str) -> pl.Expr:
    return pl.element().struct.field("clip_id").str.starts_with(video_id)


def _is_reason(video_id: str) -> pl.Expr:
    return pl.element().str.starts_with(f"duplicates: of {video_id}")
