"""`exclusions`: what people leave out by hand, with their reasons; `clip_selection` reads it."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import dagster as dg
import polars as pl

from curation_assets.incremental.digests import data_version
from curation_assets.orchestration.stage_asset import told_spec
from curation_assets.tables import EXCLUSIONS, Row
from curation_assets.units import Frames
from resources.delta_store import DeltaStore

EXCLUDED = pl.format("excluded: {}", "exclusion")
"""The reason against clips that `with_exclusion` names; null for the rest."""


@dataclass(frozen=True)
class Excluded:
    """What is left out: a video, or one of its clips."""

    kind: Literal["video", "clip"]
    id: str
    video_id: str
    shard: str


@dataclass(frozen=True)
class Change:
    """What a decision did to the shard's exclusions; `changed` is false where it stood already."""

    shard: str
    changed: bool
    version: int
    data_version: str
    rows: int


def exclusion_specs() -> list[dg.AssetSpec]:
    """The decisions as an asset that nothing but people changes."""
    return [told_spec(EXCLUSIONS, "4_selection", "Written by `reelhouse exclude`; most shards have none.")]


def exclude(store: DeltaStore, what: Excluded, reason: str, by: str | None) -> Change:
    """Leave it out from the shard's next refresh on. The same reason again changes nothing, another replaces it."""

    def decided(rows: list[Row]) -> list[Row]:
        if any(row["excluded_id"] == what.id and row["reason"] == reason for row in rows):
            return rows
        now = dt.datetime.now(dt.UTC)
        row = {
            "excluded_id": what.id,
            "kind": what.kind,
            "video_id": what.video_id,
            "reason": reason,
            "excluded_on": now.date().isoformat(),
            "excluded_by": by,
            "shard": what.shard,
            "input_fingerprint": what.id,
            "computed_at": now,
        }
        return [*(other for other in rows if other["excluded_id"] != what.id), row]

    return _change(store, what.shard, decided)


def include_again(store: DeltaStore, what: Excluded) -> Change:
    """Take the decision back."""
    return _change(store, what.shard, lambda rows: [row for row in rows if row["excluded_id"] != what.id])


def exclusions(store: DeltaStore) -> pl.DataFrame:
    """All decisions that stand, oldest first."""
    return store.scan(store.open(EXCLUSIONS.name, EXCLUSIONS.schema)).sort("computed_at", "excluded_id").collect()


def with_exclusion(clips: pl.DataFrame, reads: Frames) -> pl.DataFrame:
    """Adds `exclusion`: "<reason> (<day>)" where a person left out the clip, else its video; null for the rest."""
    said = reads["exclusions"].select("kind", "excluded_id", exclusion=pl.format("{} ({})", "reason", "excluded_on"))
    of_clips = said.filter(kind="clip").select(pl.col("excluded_id").alias("clip_id"), of_clip="exclusion")
    of_videos = said.filter(kind="video").select(pl.col("excluded_id").alias("video_id"), of_video="exclusion")
    return (
        clips.join(of_clips, on="clip_id", how="left")
        .join(of_videos, on="video_id", how="left")
        .with_columns(exclusion=pl.coalesce("of_clip", "of_video"))
        .drop("of_clip", "of_video")
    )


def _change(store: DeltaStore, shard: str, decided: Callable[[list[Row]], list[Row]]) -> Change:
    def edit(rows: pl.DataFrame) -> pl.DataFrame:
        made = pl.DataFrame(decided(rows.to_dicts()), schema=EXCLUSIONS.schema, orient="row")
        return rows if made.equals(rows) else made.sort("excluded_id")

    done = store.change(EXCLUSIONS.name, EXCLUSIONS.schema, shard, edit, {"shard": shard})
    changed = done.after is not done.before
    return Change(shard, changed, done.version, data_version(done.after, EXCLUSIONS), done.after.height)
