"""What a release is made of: sources, shapes and lengths, settings, gaps, and what the release before had otherwise."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import polars as pl

from curation_assets.training_set.history import Cause, departures, diff, setting_changes
from curation_assets.training_set.reasons import dropped_by
from curation_assets.upkeep.releases import Release, TablesAt
from resources.delta_store import DeltaStore
from resources.errors import InputError
from resources.text import one_line, without_login

LISTED = 12
MS_PER_HOUR = 3_600_000
LENGTHS_S = (2, 5, 10, 30, 60, 600, 3600)
LENGTHS = ("under 2 s", "2 to 5 s", "5 to 10 s", "10 to 30 s", "30 to 60 s", "1 to 10 min", "10 to 60 min", "over 1 h")
LISTED_CHANGES = 200
COMPARED_SAMPLES = 100_000  # beyond them reasons are left to `reelhouse release diff`: minutes, and memory for each
Facts = dict[str, Any]


def set_facts(tables: TablesAt, samples: pl.DataFrame) -> Facts:
    """`samples` are the released rows of `training_manifest`."""
    names = ["video_id", "source", "media_type", "width", "height", "frames_per_s", "duration_s", "size_bytes"]
    videos = tables.read("raw_videos", [*names, "error"], ~pl.col("missing").fill_null(False))
    readable = videos.filter(pl.col("error").is_null())
    spans = tables.read("clips", ["dropped", "duration_s"], pl.col("clip_id").is_not_null() & pl.col("error").is_null())
    cut = spans.filter(pl.col("dropped").is_not_null()).group_by(rule=pl.col("dropped").str.extract(r"^([^:]*)"))
    dropped = cut.agg(pl.len().alias("spans"), _hours().alias("hours")).sort("spans", "rule", descending=[True, False])
    return {
        "files": tables.read("source_files", ["video_id"], ~pl.col("missing").fill_null(False)).height,
        "videos": videos.height,
        "unreadable": videos.height - readable.height,
        "bytes": int(readable["size_bytes"].sum() or 0),
        "hours": _sum_hours(readable),
        "spans": spans.height,
        "dropped_spans": dropped.rows(),
        "samples": samples.height,
        "sample_hours": _sum_hours(samples),
        "warned": samples.filter(pl.col("warnings").list.len() > 0).height,
        "sources": _by_source(readable, samples),
        "shapes": {
            "Source videos": _shapes(readable),
            "Samples": _shapes(samples.rename({"type": "media_type"})),
        },
    }


def _hours() -> pl.Expr:
    """Summed in whole ms, so that the order of rows is no matter."""
    return (pl.col("duration_s").fill_null(0) * 1000).round().cast(pl.Int64).sum() / MS_PER_HOUR


def _sum_hours(rows: pl.DataFrame) -> float:
    return float(rows.select(_hours()).item())


def _by_source(videos: pl.DataFrame, samples: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Source, videos and their hours, samples and theirs."""
    read = videos.group_by("source").agg(pl.len().alias("videos"), _hours().alias("hours"))
    made = samples.group_by("source").agg(pl.len().alias("samples"), _hours().alias("sample_hours"))
    rows = read.join(made, on="source", how="full", coalesce=True).with_columns(pl.exclude("source").fill_null(0))
    return rows.sort("hours", "videos", "source", descending=[True, True, False]).rows()


def _shapes(rows: pl.DataFrame) -> dict[str, list[tuple[str, int, float]]]:
    """Name, count and hours of the commonest resolutions, lengths and frame rates."""
    length = pl.sum_horizontal(pl.col("duration_s") >= edge for edge in LENGTHS_S)
    kinds = {
        "resolution": pl.format("{}×{}", "width", "height"),
        "frames/s": pl.col("frames_per_s").round(2).cast(pl.String),
        "length": pl.when(pl.col("duration_s") > 0).then(length.replace_strict(range(len(LENGTHS)), LENGTHS)),
    }
    found = {}
    for name, kind in kinds.items():
        groups = rows.group_by(kind.fill_null("none").alias("kind"))
        listed = groups.agg(pl.len().alias("count"), _hours().alias("hours"))
        if name == "length":
            listed = listed.sort(pl.col("kind").replace_strict(LENGTHS, range(len(LENGTHS)), default=-1))
        else:
            listed = listed.sort("count", "kind", descending=[True, False])
        rest = listed.slice(LISTED)
        others = (f"{rest.height} others", int(rest["count"].sum()), float(rest["hours"].sum()))
        found[name] = [*listed.head(LISTED).rows(), *([others] if rest.height else [])]
    return found


def reason_counts(tables: TablesAt) -> list[tuple[str, int]]:
    """Spans and clips by what dropped them, most first; a clip counts once for each of its reasons."""
    return sorted(dropped_by(tables).items(), key=lambda item: (-item[1], item[0]))


def settings_facts(release: Release) -> list[tuple[str, str, str]] | None:
    """Key, default and value of the settings that differ from the defaults; null for a release that holds none."""
    return _settings(departures(release["settings"]))


def _settings(changes: Sequence[tuple[str, Any, Any]] | None) -> list[tuple[str, str, str]] | None:
    if changes is None:
        return None
    return [(key, _shown(before), _shown(after)) for key, before, after in changes]


def _shown(value: Any) -> str:
    return one_line(json.dumps(value, ensure_ascii=False))


def gap_facts(release: Release) -> list[tuple[str, str, int, int]]:
    """Table, kind, shards and inputs of what the release lacks."""
    shards, inputs = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for gap in release["gaps"] or ():
        key = gap["table"], gap["kind"]
        shards[key] += 1
        inputs[key] += gap["count"] or 0
    return [(*key, count, inputs[key]) for key, count in shards.items()]


def changes(store: DeltaStore, before: Release | None, release: Release) -> Facts | None:
    """What `release diff` tells of the two; null for the first release."""
    if before is None:
        return None
    told: Facts = {"before": before["release"], "samples": [before["samples"], release["samples"]]}
    if max(told["samples"]) > COMPARED_SAMPLES:
        settings = setting_changes(before["settings"], release["settings"])
        return {**told, "settings": _settings(settings)}
    try:
        found = diff(store, before, release)
    except InputError as failure:
        return {**told, "unknown": one_line(str(failure))}
    listed = [
        (change.how, change.clip_id, [_told(cause) for cause in change.causes])
        for change in found.changes[:LISTED_CHANGES]
    ]
    causes = sorted(found.causes().items(), key=lambda item: (-item[1], item[0]))
    return {
        **told,
        "settings": _settings(found.settings),
        "counts": {how: found.count(how) for how in ("entered", "left", "changed")} | {"unchanged": found.unchanged},
        "causes": [(how, one_line(what), count) for (how, what), count in causes],
        "listed": listed,
        "of": len(found.changes),
        "gone": found.gone,
    }


def _told(cause: Cause) -> str:
    return one_line(without_login(f"{cause.what}; {cause.detail}" if cause.detail else cause.what))
