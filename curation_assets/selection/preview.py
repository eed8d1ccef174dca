"""What thresholds would do to the clips there are, worked out from stored scores; nothing is decoded or written.

What a clip is removed by is one bit a filter; all counts come from the few sets of bits there are.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from curation_assets.filters import Filter
from curation_assets.selection.decisions import score_of
from curation_assets.selection.scored import (
    beside,
    has_score,
    hash_of,
    in_order,
    kept_clips,
    lacks_score,
    removes,
    with_scores,
)
from curation_assets.settings import Bound
from curation_assets.tables import Scan

NEAREST = 5
SAMPLED = 20_000
RESOLUTIONS = {2160: "2160p", 1440: "1440p", 1080: "1080p", 720: "720p", 480: "480p", 0: "below 480p"}
UNKNOWN = "unknown"
MS_PER_HOUR = 3_600_000
_MS = (pl.col("duration_s").fill_null(0) * 1000).round().cast(pl.Int64).alias("ms")  # whose sum depends on no order

Side = Literal["min", "max"]
Duplicates = Callable[[pl.DataFrame], pl.DataFrame]
"""clip_id and selected of some clips -> clip_id and duplicate_of (null: of none) of all clips that were compared."""


@dataclass(frozen=True)
class Thresholds:
    """The filters of both selections."""

    clips: Sequence[Filter]
    samples: Sequence[Filter]


@dataclass(frozen=True)
class Amount:
    """Clips and their hours; an image has none."""

    clips: int
    hours: float


@dataclass(frozen=True)
class Effect:
    """What a filter does to the clips that reach the filters.

    `alone`: what it removes as the only filter. `in_order`: of that, what no filter before it removes; `remaining` is
    left then, `remaining_now` with the filters in force (null where it isn't among them). `last`: what it removes as
    the last filter, so what would stay without it. `not_scored`: of `alone`, for want of a score.
    """

    name: str
    engine: str
    unit: str
    min: float | None
    max: float | None
    min_now: float | None
    max_now: float | None
    alone: Amount
    in_order: Amount
    last: Amount
    remaining: Amount
    not_scored: Amount
    remaining_now: Amount | None


@dataclass(frozen=True)
class Retention:
    """What stays of the clips that have something in common."""

    name: str
    clips: Amount
    selected_now: Amount
    selected: Amount


@dataclass(frozen=True)
class Neighbour:
    """A clip near a border. `margin` is its distance to it, negative outside; `removed_by` names filters."""

    clip_id: str
    score: float
    margin: float
    removed_by: list[str]


@dataclass(frozen=True)
class Border:
    """The scored clips nearest to a bound, nearest first, equally near ones by clip_id."""

    name: str
    engine: str
    side: Side
    bound: float
    inside: list[Neighbour]
    outside: list[Neighbour]


@dataclass(frozen=True)
class Samples:
    """What becomes of the selected clips: `duplicates` give way to others of them, `not_compared` weren't compared with
    others yet; of the rest `to_caption` lack a caption or its rewrite, of `failed` one failed.

    The effects are those on `captioned`, which have both. The first two are null where duplicates aren't looked for.
    """

    duplicates: Amount | None
    not_compared: Amount | None
    to_caption: Amount
    failed: Amount
    captioned: Amount
    effects: list[Effect]
    selected_now: Amount
    selected: Amount


@dataclass(frozen=True)
class Preview:
    """`..._now` is under the filters in force. `clips` are all that are judged, `excluded` those left out by hand.

    `not_scored` lack a score that a filter for them needs. `overlap[i][j]`: clips that filters i and j both remove.
    """

    clips: Amount
    excluded: Amount
    not_scored: Amount
    selected_now: Amount
    selected: Amount
    entering: Amount
    leaving: Amount
    effects: list[Effect]
    overlap: list[list[int]]
    by_source: list[Retention]
    by_resolution: list[Retention]
    borders: list[Border]
    samples: Samples


def preview(
    scan: Scan, then: Thresholds, now: Thresholds, nearest: int = NEAREST, duplicates: Duplicates | None = None
) -> Preview:
    """The selections under `then` beside those under `now`, with `nearest` clips on each side of each border.

    `duplicates` is None where they aren't looked for.
    """
    clips = with_scores(kept_clips(scan), scan, [*then.clips, *now.clips])
    clips = judged(clips, ~pl.col("excluded"), ~pl.col("excluded"), then.clips, now.clips)
    sets = _sets(_with_video(clips, scan), "source", "resolution")
    amounts = _amounts(
        sets,
        clips=pl.lit(True),
        excluded=~pl.col("reaches"),
        not_scored=pl.col("unscored") != 0,
        selected_now="selected_now",
        selected="selected",
        entering=pl.col("selected") & ~pl.col("selected_now"),
        leaving=pl.col("selected_now") & ~pl.col("selected"),
    )
    return Preview(
        **amounts,
        effects=_effects(sets, then.clips, now.clips),
        overlap=_overlap(sets, len(then.clips)),
        by_source=_retention(sets, "source"),
        by_resolution=_retention(sets, "resolution", [*RESOLUTIONS.values()]),
        borders=_borders(clips, then.clips, nearest),
        samples=_samples(clips, scan, then.samples, now.samples, duplicates),
    )


def judged(
    clips: pl.DataFrame, reaches: pl.Expr, reaches_now: pl.Expr, then: Sequence[Filter], now: Sequence[Filter]
) -> pl.DataFrame:
    """Adds `selected` and `selected_now`, and why: whether the clip `reaches` the filters, and which remove it."""
    bits = clips.lazy().with_columns(
        reaches=reaches,
        reaches_now=reaches_now,
        removed=_bits(then, removes),
        removed_now=_bits(now, removes),
        unscored=_bits(then, lacks_score),
    )
    decided = bits.with_columns(
        selected=pl.col("reaches") & (pl.col("removed") == 0),
        selected_now=pl.col("reaches_now") & (pl.col("removed_now") == 0),
    )
    return decided.collect(engine="streaming")  # which evaluates a filter once where it is in force and stays


def _bits(filters: Sequence[Filter], holds: Callable[[Filter], pl.Expr]) -> pl.Expr:
    """Bit k: whether it holds for filter k."""
    return pl.sum_horizontal(
        pl.lit(0, pl.UInt64), *(holds(filter_).cast(pl.UInt64) * _bit(k) for k, filter_ in enumerate(filters))
    )


def _bit(k: int) -> pl.Expr:
    return pl.lit(1 << k, pl.UInt64)


def _with_video(clips: pl.DataFrame, scan: Scan) -> pl.DataFrame:
    """Adds what the clip's video says of it: `source`, and `resolution` by its shorter side as shown, px."""
    side = pl.min_horizontal("width", "height")
    resolution = pl.coalesce(pl.when(side >= lines).then(pl.lit(name)) for lines, name in RESOLUTIONS.items())
    videos = scan("raw_videos").select("video_id", source="source", resolution=resolution)
    runs = clips.select(pl.col("video_id").rle()).unnest("video_id").rename({"value": "video_id"})
    known = runs.lazy().join(videos, on="video_id", how="left", maintain_order="left")
    named = known.select(pl.col("source", "resolution").fill_null(UNKNOWN).cast(pl.Categorical), "len").collect()
    return clips.hstack(named.select(pl.col("source", "resolution").repeat_by("len").explode()))


def _sets(clips: pl.DataFrame, *by: str) -> pl.DataFrame:
    """One row for the clips that are alike in what is done with them, with their number and ms."""
    alike = ["removed", "removed_now", "unscored", "reaches", "reaches_now", "selected", "selected_now", *by]
    return clips.lazy().group_by(alike).agg(pl.len().alias("clips"), _MS.sum()).collect(engine="streaming")


def _amounts(sets: pl.DataFrame, **which: pl.Expr | str) -> dict[str, Amount]:
    sums = sets.select(
        pl.when(condition).then(pl.col(what)).otherwise(0).sum().alias(f"{what} {name}")
        for name, condition in which.items()
        for what in ("clips", "ms")
    ).row(0, named=True)
    return {name: Amount(sums[f"clips {name}"], round(sums[f"ms {name}"] / MS_PER_HOUR, 6)) for name in which}


def _effects(sets: pl.DataFrame, then: Sequence[Filter], now: Sequence[Filter]) -> list[Effect]:
    reaching, removed = sets.filter("reaches"), pl.col("removed")
    reaching_now, in_force = sets.filter("reaches_now"), [filter_.key for filter_ in now]
    effects = []
    for k, filter_ in enumerate(then):
        found = _amounts(
            reaching,
            alone=(removed & _bit(k)) != 0,
            in_order=_none_of_first(removed, k) & ((removed & _bit(k)) != 0),
            last=removed == _bit(k),
            remaining=_none_of_first(removed, k + 1),
            not_scored=(pl.col("unscored") & _bit(k)) != 0,
        )
        place = in_force.index(filter_.key) if filter_.key in in_force else None
        before = Bound() if place is None else now[place].bound
        kept_now = _none_of_first(pl.col("removed_now"), 0 if place is None else place + 1)
        remaining_now = None if place is None else _amounts(reaching_now, kept=kept_now)["kept"]
        effects.append(
            Effect(
                name=filter_.name,
                engine=filter_.engine,
                unit=filter_.unit,
                min=filter_.bound.min,
                max=filter_.bound.max,
                min_now=before.min,
                max_now=before.max,
                remaining_now=remaining_now,
                **found,
            )
        )
    return effects


def _none_of_first(removed: pl.Expr, k: int) -> pl.Expr:
    return (removed & pl.lit((1 << k) - 1, pl.UInt64)) == 0


def _overlap(sets: pl.DataFrame, filters: int) -> list[list[int]]:
    if not filters:
        return []
    both = [1 << i | 1 << j for i in range(filters) for j in range(filters)]
    counts = sets.filter("reaches").select(
        pl.col("clips").filter((pl.col("removed") & bits) == bits).sum().alias(str(k)) for k, bits in enumerate(both)
    )
    return [list(counts.row(0)[i * filters : (i + 1) * filters]) for i in range(filters)]


def _retention(sets: pl.DataFrame, by: str, order: Sequence[str] = ()) -> list[Retention]:
    """In that order; what isn't in it the largest first."""
    found = [
        Retention(str(name), **_amounts(group, clips=pl.lit(True), selected_now="selected_now", selected="selected"))
        for (name,), group in sets.group_by(by)
    ]
    places = {name: place for place, name in enumerate(order)}
    return sorted(found, key=lambda one: (places.get(one.name, len(order)), -one.clips.clips, one.name))


def _borders(clips: pl.DataFrame, filters: Sequence[Filter], nearest: int) -> list[Border]:
    """Of every bound there is, in the filters' order."""
    bounds: list[tuple[Filter, Side, float, pl.Expr]] = []
    for filter_ in filters:
        score, bound = pl.col(score_of(filter_)), filter_.bound
        if bound.min is not None:
            bounds.append((filter_, "min", bound.min, score - bound.min))
        if bound.max is not None:
            bounds.append((filter_, "max", bound.max, bound.max - score))
    if not bounds:
        return []
    margins = [pl.when(has_score(filter_)).then(margin) for filter_, _, _, margin in bounds]
    some = clips.gather_every(max(1, clips.height // SAMPLED))  # whose nearest are as near as those of all, or further
    reach = some.select(
        expression
        for k, margin in enumerate(margins)
        for expression in (
            _reach(margin.filter(margin >= 0), nearest).alias(f"inside {k}"),
            _reach(-margin.filter(margin < 0), nearest).alias(f"outside {k}"),
        )
    ).row(0, named=True)
    near = pl.collect_all(
        clips.lazy()
        .filter(margin.is_between(-reach[f"outside {k}"], reach[f"inside {k}"]))
        .select("clip_id", "reaches", "removed", score=score_of(filter_), margin=margin)
        .sort(pl.col("margin").abs(), "clip_id")
        for k, ((filter_, *_), margin) in enumerate(zip(bounds, margins, strict=True))
    )
    names = [score_of(filter_) for filter_ in filters]
    return [
        Border(
            *filter_.key,
            side,
            bound,
            inside=_neighbours(clips.filter(pl.col("margin") >= 0).head(nearest), names),
            outside=_neighbours(clips.filter(pl.col("margin") < 0).head(nearest), names),
        )
        for (filter_, side, bound, _), clips in zip(bounds, near, strict=True)
    ]


def _reach(distances: pl.Expr, nearest: int) -> pl.Expr:
    """The distance within which `nearest` of them lie."""
    return pl.when(distances.count() >= nearest).then(distances.bottom_k(nearest).max()).otherwise(math.inf)


def _neighbours(clips: pl.DataFrame, names: Sequence[str]) -> list[Neighbour]:
    return [
        Neighbour(
            clip["clip_id"],
            clip["score"],
            clip["margin"],
            [*([] if clip["reaches"] else ["excluded"]), *(n for k, n in enumerate(names) if clip["removed"] >> k & 1)],
        )
        for clip in clips.iter_rows(named=True)
    ]


def _samples(
    clips: pl.DataFrame, scan: Scan, then: Sequence[Filter], now: Sequence[Filter], duplicates: Duplicates | None
) -> Samples:
    """Of the clips that either selects, by the rules of `sample_selection`."""
    clips = _with_keepers(clips, duplicates)
    rewritten = (
        scan("rewritten_captions").select("shard", "clip_id", "status", caption_hash=hash_of("caption")).collect()
    )
    captions = scan("captions").select("shard", "clip_id", caption_status="status").collect()
    written = beside(in_order(captions), in_order(rewritten.with_columns(has_rewrite=True)))
    scored = with_scores(written.lazy(), scan, [*then, *now])
    samples = beside(scored, clips.select("shard", "clip_id", "duration_s", "chosen", "chosen_now"))
    failed = _failed("caption_status") | (pl.col("has_rewrite") & _failed("status"))
    has_words = pl.col("has_rewrite").fill_null(False) & ~failed
    samples = judged(samples, pl.col("chosen") & has_words, pl.col("chosen_now") & has_words, then, now)
    sets = _sets(samples.with_columns(failed=pl.col("chosen") & failed), "failed")
    amounts = _amounts(sets, failed="failed", captioned="reaches", selected_now="selected_now", selected="selected")
    one_by_one = clips.select(pl.lit(1).alias("clips"), _MS, "chosen", "duplicate", "not_compared")
    found = _amounts(one_by_one, chosen="chosen", duplicates="duplicate", not_compared="not_compared")
    chosen, done = found.pop("chosen"), [amounts["failed"], amounts["captioned"]]
    to_caption = Amount(
        chosen.clips - sum(amount.clips for amount in done),
        round(chosen.hours - sum(amount.hours for amount in done), 6),
    )
    of_duplicates = dict.fromkeys(found) if duplicates is None else found
    return Samples(to_caption=to_caption, effects=_effects(sets, then, now), **of_duplicates, **amounts)


def _with_keepers(clips: pl.DataFrame, duplicates: Duplicates | None) -> pl.DataFrame:
    """Adds `chosen` and `chosen_now`, the selected clips that give way to none, and why others aren't among them then:
    `duplicate` or `not_compared`."""
    if duplicates is None:
        no = pl.lit(False)
        return clips.with_columns(chosen="selected", chosen_now="selected_now", duplicate=no, not_compared=no)
    then = now = _keepers(clips["clip_id"], clips["selected"], duplicates)
    if not clips["selected"].equals(clips["selected_now"]):
        now = _keepers(clips["clip_id"], clips["selected_now"], duplicates)
    return clips.hstack(then).with_columns(chosen_now=now["chosen"])


def _keepers(clip_ids: pl.Series, selected: pl.Series, duplicates: Duplicates) -> pl.DataFrame:
    clips = pl.DataFrame({"clip_id": clip_ids, "selected": selected})
    gives_way = duplicates(clips).select("clip_id", gives_way=pl.col("duplicate_of").is_not_null())
    known = clips.join(gives_way, on="clip_id", how="left", maintain_order="left")
    return known.select(
        chosen=pl.col("selected") & ~pl.col("gives_way").fill_null(True),
        duplicate=pl.col("selected") & pl.col("gives_way").fill_null(False),
        not_compared=pl.col("selected") & pl.col("gives_way").is_null(),
    )


def _failed(status: str) -> pl.Expr:
    return pl.col(status).is_null() | (pl.col(status) == "failed")
