"""`takedowns`: the videos that were taken down and must not come back; registration and `raw_videos` read it."""

import datetime as dt
from typing import Any

import dagster as dg
import polars as pl

from curation_assets.orchestration.stage_asset import told_spec
from curation_assets.tables import TAKEDOWNS
from resources.delta_store import DeltaStore


def takedown_specs() -> list[dg.AssetSpec]:
    """The list as an asset that nothing but people changes."""
    return [told_spec(TAKEDOWNS, "1_sources", "Written by `reelhouse forget`; most shards have none.")]


def take_down(store: DeltaStore, video_id: str, shard: str, reason: str | None) -> None:
    """Note that the video must not come back; the first note of a video stands."""
    now = dt.datetime.now(dt.UTC)
    row = {
        "video_id": video_id,
        "reason": reason,
        "taken_down_on": now.date().isoformat(),
        "shard": shard,
        "input_fingerprint": video_id,
        "computed_at": now,
    }

    def noted(rows: pl.DataFrame) -> pl.DataFrame:
        if video_id in rows.get_column("video_id"):
            return rows
        return pl.concat([rows, pl.DataFrame([row], schema=TAKEDOWNS.schema)])

    store.change(TAKEDOWNS.name, TAKEDOWNS.schema, shard, noted, {"shard": shard})


def taken_down(store: DeltaStore) -> dict[str, dict[str, Any]]:
    """The takedowns by video_id."""
    handle = store.open(TAKEDOWNS.name, TAKEDOWNS.schema)
    return {row["video_id"]: row for row in store.read(handle, list(TAKEDOWNS.schema)).to_dicts()}
