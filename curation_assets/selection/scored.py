"""Many clips of all shards with their scores side by side, for those who ask what thresholds would do."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import polars as pl

from curation_assets.filters import Filter, is_for_clips, passes
from curation_assets.media_types import IS_IMAGE
from curation_assets.selection.decisions import score_of
from curation_assets.tables import TABLES, Scan


def kept_clips(scan: Scan) -> pl.LazyFrame:
    """What `clip_selection` decides on: clips that weren't dropped; `excluded` are those that people left out."""
    said = scan("exclusions").select("kind", "excluded_id").collect()
    clips, videos = (said.filter(kind=kind)["excluded_id"].to_list() for kind in ("clip", "video"))
    return (
        scan("clips")
        .filter(pl.col("clip_id").is_not_null(), pl.col("dropped").is_null())
        .select("shard", "clip_id", "video_id", "duration_s")
        .with_columns(excluded=pl.col("clip_id").is_in(clips) | pl.col("video_id").is_in(videos))
    )


def with_scores(clips: pl.LazyFrame, scan: Scan, filters: Iterable[Filter]) -> pl.DataFrame:
    """Adds `is_image` and each filter's score (`score_of`), null where there is none; rows by shard.

    A score of a caption is the clip's where that is its own, whose hash is in `caption_hash`.
    """
    columns: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)  # of a table's engine
    for filter_ in filters:
        columns[filter_.table, filter_.engine][score_of(filter_)] = filter_.column
    found = in_order(clips.with_columns(is_image=IS_IMAGE).collect())
    for (table, engine), names in columns.items():
        scored = in_order(_scores(scan, table, engine, names).collect())
        found = beside(found, scored)
        if "scored_hash" in scored.columns:
            is_own = pl.col("caption_hash") == pl.col("scored_hash")
            own = (pl.when(is_own).then(name).alias(name) for name in names)
            found = found.with_columns(own).drop("scored_hash")
    return found


def _scores(scan: Scan, table: str, engine: str, names: Mapping[str, str]) -> pl.LazyFrame:
    of_caption = {"scored_hash": hash_of("caption")} if "caption" in TABLES[table].schema else {}
    is_there = pl.col("error").is_null() | (pl.col("error") == "")
    scores = (pl.when(is_there).then(pl.col(column).cast(pl.Float64)).alias(name) for name, column in names.items())
    return scan(table).filter(engine=engine).select("shard", "clip_id", *scores, **of_caption)


def hash_of(caption: str) -> pl.Expr:
    """64 bits that stand for a caption, null for none: a million texts take longer to keep than all else here."""
    return pl.when(pl.col(caption).is_not_null()).then(pl.col(caption).hash())


def in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """By shard, each in the order it is stored in, which refreshes make that of the keys."""
    return pl.concat([rows.clear(), *_shards(rows).values()], rechunk=True)


def beside(clips: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Adds the columns of `others` by clip_id, null where there is none; both `in_order`.

    A join takes longer than all else here. It is left out where both have the same clips, first all, then by shard.
    """
    if clips["clip_id"].equals(others["clip_id"]):
        return clips.hstack(others.drop("shard", "clip_id"))
    parts, shards = _shards(clips), _shards(others)
    if len(parts) <= 1 and len(shards) <= 1:
        return clips.join(others.drop("shard"), on="clip_id", how="left", maintain_order="left")
    joined = [beside(part, shards.get(shard, others.clear())) for shard, part in parts.items()]
    return pl.concat([beside(clips.clear(), others.clear()), *joined], rechunk=True)


def _shards(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The rows of each shard, whose files follow each other in any order."""
    runs = rows.select(pl.col("shard").rle()).unnest("shard")
    runs = runs.with_columns(start=pl.col("len").cum_sum() - pl.col("len")).sort("value", maintain_order=True)
    found: dict[str, list[pl.DataFrame]] = defaultdict(list)
    for length, shard, start in runs.select("len", "value", "start").iter_rows():
        found[shard].append(rows.slice(start, length))
    return {shard: pl.concat(parts) for shard, parts in found.items()}


def removes(filter_: Filter) -> pl.Expr:
    """Whether `decisions` finds a reason against the clip in this filter."""
    return _is_for(filter_) & ~passes(filter_, pl.col(score_of(filter_)))


def lacks_score(filter_: Filter) -> pl.Expr:
    """Whether the reason is that there is no score."""
    return _is_for(filter_) & ~_is_scored(filter_)


def has_score(filter_: Filter) -> pl.Expr:
    """Whether the filter is for the clip and has a score to compare."""
    return _is_for(filter_) & _is_scored(filter_)


def _is_scored(filter_: Filter) -> pl.Expr:
    return pl.col(score_of(filter_)).is_finite().fill_null(False)


def _is_for(filter_: Filter) -> pl.Expr:
    return is_for_clips(filter_, pl.col("is_image"))
