"""`clip_selection` and `sample_selection`: thresholds applied to scores, every decision with its reasons.

The thresholds are in the settings under `selection` and `sample_selection`; `curation_assets/filters.py` lists
them, `decisions.py` applies them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from curation_assets.filters import Filter, clip_filters, sample_filters
from curation_assets.refresh import Done, Row, Stage, Work
from curation_assets.selection.decisions import Unscored, decide
from curation_assets.selection.exclusions import exclusion_reasons, with_exclusion
from curation_assets.settings import Settings, declared
from curation_assets.stage_asset import StageAsset, stage_asset
from curation_assets.tables import CLIP_SELECTION, SAMPLE_SELECTION
from curation_assets.tools import Tools
from curation_assets.units import Frames, kept_clips


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
        version="1",
        settings=filter_settings(filters),
    )

    def selected(clip: Row) -> Row:
        return decide(clip["clip_id"], clip["video_id"], values(clip), filters, exclusion_reasons(clip["exclusion"]))

    @stage_asset(stage, settings, group="4_selection", kinds={"polars"})
    def clip_selection(work: list[Work], tools: Tools) -> Iterable[Done]:
        """Applies the thresholds to the scores; a missing or failed score never passes, nor what people exclude."""
        return tools.rows_here(selected, work)

    return [clip_selection]


def sample_selection_assets(settings: Settings) -> list[StageAsset]:
    filters = sample_filters(settings)
    stage = Stage(
        SAMPLE_SELECTION,
        unit="clip_id",
        reads={
            "clip_selection": ["clip_id", "video_id", "selected"],
            "captions": ["clip_id", "status"],
            "rewritten_captions": ["clip_id", "caption", "status"],
            **{table: [*columns, "caption"] for table, columns in score_columns(filters).items()},
        },
        units=lambda reads: with_scores(captioned_clips(reads), scores_of_captions(reads, filters), filters),
        version="1",
        settings=filter_settings(filters),
    )

    def sample(clip: Row) -> Row:
        decision = decide(clip["clip_id"], clip["video_id"], values(clip), filters, caption_reasons(clip))
        return {**decision, "caption": clip["caption"]}

    @stage_asset(stage, settings, group="6_training_set", kinds={"polars"})
    def sample_selection(work: list[Work], tools: Tools) -> Iterable[Done]:
        """Of the selected clips those with a caption, a rewrite and enough alignment."""
        return tools.rows_here(sample, work)

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
    """Adds `scores`: for each filter that has a row its value, or the row's error."""
    if not filters:
        return clips.with_columns(scores=pl.lit([], pl.List(pl.Null)))
    scores = pl.concat(
        reads[f.table]
        .filter(engine=f.engine)
        .select(
            "clip_id",
            score=pl.struct(
                pl.lit(f.name).alias("filter"),
                "engine",
                pl.col(f.column).cast(pl.Float64).alias("value"),
                "error",
            ),
        )
        for f in filters
    )
    listed = scores.group_by("clip_id", maintain_order=True).agg(pl.col("score").alias("scores"))
    return clips.join(listed, on="clip_id", how="left")


def scores_of_captions(reads: Frames, filters: Sequence[Filter]) -> Frames:
    """Scores of the present captions alone: one of another caption is none, until the new caption has its own."""
    captions = reads["rewritten_captions"].select("clip_id", present="caption")
    present = pl.col("error").is_not_null() | (pl.col("caption") == pl.col("present"))
    tables = {filter_.table for filter_ in filters}
    return {table: reads[table].join(captions, on="clip_id").filter(present).drop("present") for table in tables}


def values(clip: Row) -> dict[tuple[str, str], float | Unscored | None]:
    """The clip's scores as `decide` takes them."""
    return {
        (score["filter"], score["engine"]): Unscored(score["error"]) if score["error"] else score["value"]
        for score in clip["scores"] or []
    }


def captioned_clips(reads: Frames) -> pl.DataFrame:
    """The selected clips with what captioning and rewriting came to."""
    captions = reads["captions"].select("clip_id", caption_status="status", caption_error="error")
    rewritten = reads["rewritten_captions"].select("clip_id", "caption", "status", rewrite_error="error")
    selected = reads["clip_selection"].filter("selected").select("clip_id", "video_id")
    return selected.join(captions, on="clip_id", how="left").join(rewritten, on="clip_id", how="left")


def caption_reasons(clip: Row) -> list[str]:
    """Why a clip can't be a sample for want of words."""
    if clip["caption_status"] is None or clip["caption_status"] == "failed":
        return [f"caption: {clip['caption_error'] or 'there is none'}"]
    if clip["status"] is None or clip["status"] == "failed":
        return [f"rewrite: {clip['rewrite_error'] or 'there is none'}"]
    return []
