"""What a preview foretells, against `decide` clip by clip and against the stage itself."""

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import polars as pl
import pytest

from curation_assets.filters import Filter, clip_filters, sample_filters
from curation_assets.selection import assets as stage
from curation_assets.selection.decisions import decisions
from curation_assets.selection.exclusions import EXCLUDED, with_exclusion
from curation_assets.selection.preview import RESOLUTIONS, Amount, Effect, Preview, Thresholds, preview
from curation_assets.settings import parse_settings
from curation_assets.tables import CLIP_SELECTION, TABLES, Scan
from curation_assets.units import kept_clips
from tests.selection.clip_by_clip import Unscored, decide

Row = dict[str, Any]
ENGINES = {
    "motion": {"engines": ["dis", "farneback"]},
    "semantic": {"engines": ["efficientnet_lite0", "clip_l14"]},
    "aesthetic": {"engines": ["laion_v2"]},
}
BOUNDS: dict[str, Any] = {  # most scores are within, of 0..1
    "motion": {"dis": {"min": 0.05, "max": 0.9}, "farneback": {"min": 0.05, "max": None}},
    "semantic": {"efficientnet_lite0": {"min": 0.1}},
    "aesthetic": {"laion_v2": {"min": 0.05}},
    "text": {"rapidocr": {"max": 0.95}},
    "technical": {
        "opencv": {
            "sharpness": {"min": 0.05},
            "luma": {"min": 0.02, "max": 0.98},
            "black_share": {"max": 0.95},
            "white_share": {"max": 0.95},
            "border_share": {"max": 0.95},
            "frozen_share": {"max": 0.95},
            "colour": {"min": 0.05},
        }
    },
}
AS_NOW = "as now"
NEAREST = 3
SETTINGS = {
    AS_NOW: parse_settings({**ENGINES, "selection": BOUNDS}, "a test"),
    "other bounds": parse_settings(
        {
            **ENGINES,
            "selection": {
                **BOUNDS,
                "motion": {"dis": {"min": 0.25, "max": 0.75}, "farneback": {"min": None, "max": None}},
                "aesthetic": {"laion_v2": {"min": 0.2, "media_types": ["image"]}},
                "text": {"rapidocr": {"max": 0.75, "media_types": []}},
            },
            "sample_selection": {"alignment": {"label_similarity": {"min": 0.5}}},
        },
        "a test",
    ),
    "other engines": parse_settings(
        {
            "motion": {"engines": ["dis", "dis"]},
            "semantic": {"engines": []},
            "alignment": {"engines": []},
            "selection": {key: BOUNDS[key] for key in ("text", "technical")},
        },
        "a test",
    ),
}
WORDS = ("caption: ", "rewrite: ")
SEEDS = range(3)  # that of 0 has every score row
ON_ALL = pytest.mark.parametrize(("seed", "name"), [(seed, name) for seed in SEEDS for name in SETTINGS])
ODD = (None, math.nan, math.inf, -math.inf, 0.0, 0.25, 0.3, 0.5, 0.75, 0.9, 1e9)


@cache
def some_tables(seed: int, clips: int = 400) -> dict[str, pl.DataFrame]:
    """Tables of two shards: missing, failed and odd scores, exact bounds, images, dropped spans, exclusions."""
    chance, missing = random.Random(seed), 0.03 if seed else 0.0
    tables: dict[str, list[Row]] = {name: [] for name in TABLES}

    def add(table: str, shard: str, **row: Any) -> None:
        tables[table].append({"shard": shard, **row})

    def scores(table: str, shard: str, clip: str, engine: str, columns: Iterable[str], **more: Any) -> None:
        if chance.random() < missing:
            return
        error = chance.choice(["frames: gone", ""]) if chance.random() < 0.03 else None
        values = {c: chance.choice(ODD) if chance.random() < 0.05 else chance.random() for c in columns}
        add(table, shard, clip_id=clip, engine=engine, error=error, **values, **more)

    filters = {(f.table, f.engine) for each in SETTINGS.values() for f in [*clip_filters(each), *sample_filters(each)]}
    for number in range(clips // 10):
        video, shard = chance.randbytes(8).hex(), f"films-{number % 2:04d}"
        sizes = chance.choice([(640, 360), (1920, 1080), (1080, 1920), (4096, 2160), (None, None)])
        if number:  # a clip whose video has no row
            add("raw_videos", shard, video_id=video, source=f"s{number % 3}", width=sizes[0], height=sizes[1])
        for k in range(10):
            length = 0 if k == 0 else chance.randint(1, 9999)
            clip = f"{video}-{k * 10_000:08d}-{k * 10_000 + length:08d}"
            dropped = "trim: end of a scene" if k == 9 else None
            add("clips", shard, clip_id=clip, video_id=video, duration_s=length / 1000, dropped=dropped)
            for table, engine in sorted(filters):
                columns = sorted({f.column for s in SETTINGS.values() for f in clip_filters(s) if f.table == table})
                if table != "alignment_scores":
                    scores(table, shard, clip, engine, columns)
            words, states = chance.choice("abc"), ["ok", "ok", "long", "failed", None]
            if chance.random() < 0.8:
                add("captions", shard, clip_id=clip, status=chance.choice(states))
            if chance.random() < 0.8:
                add("rewritten_captions", shard, clip_id=clip, status=chance.choice(states), caption=words)
            own = words if chance.random() < 0.8 else None
            scores("alignment_scores", shard, clip, "label_similarity", ["alignment_score"], caption=own)
            if chance.random() < 0.03:
                kind = chance.choice(["clip", "video"])
                left_out = {"clip": clip, "video": video}[kind]
                add("exclusions", shard, kind=kind, excluded_id=left_out, reason="odd", excluded_on="2026-01-01")
    made = {name: pl.DataFrame(rows, schema=TABLES[name].schema) for name, rows in tables.items()}
    return (
        {  # files of shards in any order, rows of a shard by their keys
            name: rows.sort("shard", *TABLES[name].key[:1], descending=[bool(k % 2), False], maintain_order=True)
            for k, (name, rows) in enumerate(made.items())
        }
        | {"exclusions": made["exclusions"].unique("excluded_id", keep="first", maintain_order=True)}
    )


def scan_of(tables: Mapping[str, pl.DataFrame]) -> Scan:
    return lambda table: tables[table].lazy()


def thresholds(name: str) -> Thresholds:
    return Thresholds(clip_filters(SETTINGS[name]), sample_filters(SETTINGS[name]))


@cache
def previewed(seed: int, name: str, now: str = AS_NOW) -> Preview:
    return preview(scan_of(some_tables(seed)), thresholds(name), thresholds(now), NEAREST)


@cache
def decided(seed: int, name: str) -> dict[str, Row]:
    """The rows of `clip_selection`, clip by clip."""
    tables, filters = some_tables(seed), clip_filters(SETTINGS[name])
    scores = scores_of(tables, filters)
    clips = with_exclusion(kept_clips(tables), tables).to_dicts()
    return {
        c["clip_id"]: decide(
            c["clip_id"],
            c["video_id"],
            scores[c["clip_id"]],
            filters,
            [f"excluded: {c['exclusion']}"] if c["exclusion"] else [],
        )
        for c in clips
    }


@cache
def sampled(seed: int, name: str) -> dict[str, Row]:
    """The rows of `sample_selection`, likewise."""
    tables, filters = some_tables(seed), sample_filters(SETTINGS[name])
    written, rewritten = (rows_by_clip(tables[table]) for table in ("captions", "rewritten_captions"))
    scores = scores_of(tables, filters, {clip: row["caption"] for clip, row in rewritten.items()})
    return {
        clip: decide(
            clip, row["video_id"], scores[clip], filters, want_of_words(written.get(clip), rewritten.get(clip))
        )
        for clip, row in decided(seed, name).items()
        if row["selected"]
    }


def want_of_words(written: Row | None, rewritten: Row | None) -> list[str]:
    for what, row in (("caption", written), ("rewrite", rewritten)):
        if row is None or row["status"] in (None, "failed"):
            return [f"{what}: {(row or {}).get('error') or 'there is none'}"]
    return []


def rows_by_clip(rows: pl.DataFrame) -> dict[str, Row]:
    return {row["clip_id"]: row for row in rows.to_dicts()}


def scores_of(
    tables: Mapping[str, pl.DataFrame], filters: Sequence[Filter], captions: Mapping[str, str | None] | None = None
) -> dict[str, dict[tuple[str, str], float | Unscored | None]]:
    """Of each clip, as `decide` takes them; with `captions` those that are of a clip's present one, or errors."""
    found: dict[str, dict[tuple[str, str], float | Unscored | None]] = defaultdict(dict)
    for table in {filter_.table for filter_ in filters}:
        for row in tables[table].to_dicts():
            if captions is not None and row["error"] is None:
                present = captions.get(row["clip_id"])
                if present is None or row["caption"] != present:
                    continue
            for filter_ in filters:
                if (filter_.table, filter_.engine) == (table, row["engine"]):
                    score = Unscored(row["error"]) if row["error"] else row[filter_.column]
                    found[row["clip_id"]][filter_.key] = score
    return found


@ON_ALL
def test_the_stages_decide_as_one_would_clip_by_clip(seed: int, name: str) -> None:
    tables, filters = some_tables(seed), clip_filters(SETTINGS[name])
    clips = stage.with_scores(with_exclusion(kept_clips(tables), tables), tables, filters)
    made = decisions(clips, filters, [EXCLUDED])
    expect_rows(made, decided(seed, name))

    reads, sample = {**tables, "clip_selection": made}, sample_filters(SETTINGS[name])
    clips = stage.with_scores(stage.captioned_clips(reads), stage.scores_of_captions(reads, sample), sample)
    expect_rows(decisions(clips, sample, [stage.NOT_WRITTEN]), sampled(seed, name))


def expect_rows(made: pl.DataFrame, expected: Mapping[str, Row]) -> None:
    schema = {name: CLIP_SELECTION.schema[name] for name in made.columns}
    rows = pl.DataFrame(list(expected.values()), schema=schema)
    assert made.cast(schema).sort("clip_id").equals(rows.sort("clip_id"))
    assert made.height > 20


def dropped_by(row: Row) -> set[int]:
    return {k for k, measured in enumerate(row["measurements"]) if measured["passed"] is False}


def is_left_out(row: Row) -> bool:
    return bool(row["reasons"]) and row["reasons"][0].startswith("excluded")


def amount(clips: Iterable[str]) -> Amount:
    """By the ids, which hold the milliseconds."""
    ids = list(clips)
    ms = sum(int(end) - int(start) for _, start, end in (clip.split("-") for clip in ids))
    return Amount(len(ids), pytest.approx(ms / 3.6e6, abs=3e-6))


@ON_ALL
def test_what_stays_enters_and_leaves_is_what_decide_says(seed: int, name: str) -> None:
    now, then = decided(seed, AS_NOW), decided(seed, name)
    found = previewed(seed, name)
    before, after = ({clip for clip, row in rows.items() if row["selected"]} for rows in (now, then))
    assert before
    assert found.clips == amount(then)
    assert found.selected_now == amount(before)
    assert found.selected == amount(after)
    assert found.entering == amount(after - before)
    assert found.leaving == amount(before - after)
    assert found.excluded == amount([clip for clip, row in then.items() if is_left_out(row)])
    lacking = [clip for clip, row in then.items() if any(": not scored" in reason for reason in row["reasons"])]
    assert found.not_scored == amount(lacking)


@ON_ALL
def test_each_filter_costs_what_decide_says(seed: int, name: str) -> None:
    found = previewed(seed, name)
    expect_effects(found.effects, clip_filters(SETTINGS[name]), decided(seed, name))
    rows = [dropped_by(row) for row in decided(seed, name).values() if not is_left_out(row)]
    size = range(len(found.effects))
    assert found.overlap == [[sum({i, j} <= row for row in rows) for j in size] for i in size]


def expect_effects(effects: Sequence[Effect], filters: Sequence[Filter], rows: dict[str, Row]) -> None:
    reaching = {clip: dropped_by(row) for clip, row in rows.items() if not is_left_out(row)}

    def those(holds: Callable[[set[int]], bool]) -> Amount:
        return amount([clip for clip, dropped in reaching.items() if holds(dropped)])

    assert [(effect.name, effect.engine) for effect in effects] == [filter_.key for filter_ in filters]
    for k, effect in enumerate(effects):
        before = set(range(k))
        assert effect.alone == those(lambda dropped, k=k: k in dropped)
        assert effect.in_order == those(lambda dropped, k=k, before=before: k in dropped and not dropped & before)
        assert effect.remaining == those(lambda dropped, k=k, before=before: not dropped & {k, *before})
        assert effect.last == those(lambda dropped, k=k: dropped == {k})
        unscored = [c for c in reaching if k in reaching[c] and rows[c]["measurements"][k]["value"] is None]
        assert effect.not_scored == amount(unscored)


def test_the_funnel_in_force_stands_beside_the_new_one() -> None:
    found, before = previewed(1, "other bounds"), previewed(1, AS_NOW)
    assert [effect.remaining_now for effect in found.effects] == [effect.remaining for effect in before.effects]
    assert (found.effects[0].min, found.effects[0].min_now) == (0.25, 0.05)
    without = previewed(1, AS_NOW, "other engines").effects
    assert [effect.engine for effect in without if effect.remaining_now is None] == [
        "farneback",
        "efficientnet_lite0",
        "clip_l14",
        "laion_v2",
    ]


def test_retention_is_by_source_and_by_the_shorter_side() -> None:
    found, rows = previewed(1, AS_NOW), decided(1, AS_NOW)
    videos = {row["video_id"]: row for row in some_tables(1)["raw_videos"].to_dicts()}
    for retentions, kind in ((found.by_source, source_of), (found.by_resolution, resolution_of)):
        kinds = {clip: kind(videos.get(row["video_id"], {})) for clip, row in rows.items()}
        assert {one.name for one in retentions} == set(kinds.values())
        for one in retentions:
            of_kind = [clip for clip in rows if kinds[clip] == one.name]
            assert one.clips == amount(of_kind)
            assert one.selected == amount([clip for clip in of_kind if rows[clip]["selected"]])
    names = [one.name for one in found.by_resolution]
    assert names == [name for name in [*RESOLUTIONS.values(), "unknown"] if name in names]


def source_of(video: Row) -> str:
    return video.get("source", "unknown")


def resolution_of(video: Row) -> str:
    if not video or video["width"] is None:
        return "unknown"
    return next(name for lines, name in RESOLUTIONS.items() if min(video["width"], video["height"]) >= lines)


@ON_ALL
def test_borders_list_the_nearest_clips_on_both_sides(seed: int, name: str) -> None:
    found = previewed(seed, name)
    rows = decided(seed, name)
    filters = clip_filters(SETTINGS[name])
    sides = [(k, side) for k, f in enumerate(filters) for side in ("min", "max") if getattr(f.bound, side) is not None]
    assert [(border.name, border.side) for border in found.borders] == [(filters[k].name, side) for k, side in sides]
    for border, (k, side) in zip(found.borders, sides, strict=True):
        measured = {clip: row["measurements"][k] for clip, row in rows.items()}
        scores = {c: m["value"] for c, m in measured.items() if m["passed"] is not None and m["value"] is not None}
        margins = {c: s - border.bound if side == "min" else border.bound - s for c, s in scores.items()}
        inside = sorted((m, c) for c, m in margins.items() if m >= 0)[:NEAREST]
        outside = sorted((-m, c) for c, m in margins.items() if m < 0)[:NEAREST]
        assert [(n.margin, n.clip_id) for n in border.inside] == inside
        assert [(-n.margin, n.clip_id) for n in border.outside] == outside
        for near in [*border.inside, *border.outside]:
            row = rows[near.clip_id]
            reasons = [reason.partition(":")[0] for reason in row["reasons"]]
            assert [name.partition(".")[0] for name in near.removed_by] == reasons
            assert near.score == scores[near.clip_id]


def test_the_nearest_of_many_are_found_by_way_of_some(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = previewed(1, AS_NOW).borders
    monkeypatch.setattr("curation_assets.selection.preview.SAMPLED", 40)
    found = preview(scan_of(some_tables(1)), thresholds(AS_NOW), thresholds(AS_NOW), NEAREST)
    assert found.borders == wanted


@ON_ALL
def test_samples_are_what_the_stage_would_select(seed: int, name: str) -> None:
    found = previewed(seed, name).samples
    rows = sampled(seed, name)
    captions, rewrites = (set(some_tables(seed)[t]["clip_id"]) for t in ("captions", "rewritten_captions"))
    failed = [
        clip
        for clip, row in rows.items()
        if clip in captions
        and any(
            (reason.startswith("caption: ") or (reason.startswith("rewrite: ") and clip in rewrites))
            for reason in row["reasons"]
        )
    ]
    worded = {c: row for c, row in rows.items() if not any(r.startswith(WORDS) for r in row["reasons"])}
    assert found.selected == amount([clip for clip, row in rows.items() if row["selected"]])
    assert found.selected_now == amount([clip for clip, row in sampled(seed, AS_NOW).items() if row["selected"]])
    assert found.captioned == amount(worded)
    assert found.failed == amount(failed)
    assert found.to_caption == amount(set(rows) - set(worded) - set(failed))
    expect_effects(found.effects, sample_filters(SETTINGS[name]), worded)


def every_second(selected: pl.DataFrame) -> pl.DataFrame:
    """Of the selected clips each second one gives way to the one before it; those of the last video aren't compared."""
    clips = selected.filter("selected").sort("clip_id")["clip_id"].to_list()
    gives_way = {clip: before for k, (before, clip) in enumerate(pairwise(clips)) if k % 2 == 0}
    compared = [clip for clip in selected["clip_id"] if clip[:16] != max(clips)[:16]]
    return pl.DataFrame({"clip_id": compared, "duplicate_of": [gives_way.get(clip) for clip in compared]})


@ON_ALL
def test_samples_are_without_the_clips_that_would_give_way_to_others(seed: int, name: str) -> None:
    tables = scan_of(some_tables(seed))
    found = preview(tables, thresholds(name), thresholds(AS_NOW), NEAREST, every_second).samples
    given, kept = {}, {}
    for each in (name, AS_NOW):
        clips = [{"clip_id": clip, "selected": row["selected"]} for clip, row in decided(seed, each).items()]
        given[each] = dict(every_second(pl.DataFrame(clips)).iter_rows())
        kept[each] = {clip for clip in sampled(seed, each) if given[each].get(clip, "not compared") is None}
    selected = sampled(seed, name)
    assert found.duplicates == amount([clip for clip in selected if given[name].get(clip) is not None])
    assert found.not_compared == amount([clip for clip in selected if clip not in given[name]])
    assert found.selected == amount([clip for clip in kept[name] if selected[clip]["selected"]])
    assert found.selected_now == amount([clip for clip in kept[AS_NOW] if sampled(seed, AS_NOW)[clip]["selected"]])
    counted = (found.to_caption, found.failed, found.captioned, found.duplicates, found.not_compared)
    assert sum(each.clips for each in counted if each) == len(selected)
    assert min(found.duplicates.clips, found.not_compared.clips, found.selected_now.clips) > 0


def test_a_home_without_scores_loses_every_clip() -> None:
    bare = {t: rows if t in ("clips", "raw_videos") else rows.clear() for t, rows in some_tables(1).items()}
    found = preview(scan_of(bare), thresholds(AS_NOW), thresholds(AS_NOW))
    assert found.selected.clips == 0
    assert found.not_scored == found.clips == amount(decided(1, AS_NOW))
    assert found.samples.to_caption == Amount(0, 0.0)


def test_without_filters_all_clips_stay_that_people_do_not_leave_out() -> None:
    none = Thresholds([], [])
    found = preview(scan_of(some_tables(1)), none, none)
    assert found.selected.clips == found.clips.clips - found.excluded.clips
    assert (found.effects, found.overlap, found.borders) == ([], [], [])


def test_a_home_without_clips_is_an_empty_preview() -> None:
    found: Preview = preview(scan_of(some_tables(0, clips=0)), thresholds(AS_NOW), thresholds(AS_NOW))
    assert (found.clips, found.by_source) == (Amount(0, 0.0), [])
