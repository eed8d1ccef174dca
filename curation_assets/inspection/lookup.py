"""Which video or clip somebody means: by its id, the start of one, a path or a file's name."""

import os
import re
from dataclasses import dataclass
from typing import Literal

import polars as pl
from deltalake.exceptions import TableNotFoundError

from curation_assets.tables import CLIPS, EXCLUSIONS, SOURCE_FILES, TAKEDOWNS, Table
from resources.delta_store import DeltaStore
from resources.errors import Unknown

VIDEO_ID = re.compile(r"[0-9a-f]{16}")
CLIP_ID = re.compile(r"[0-9a-f]{16}-\d{8,}-\d{8,}")
_FILE_OF_CLIP = re.compile(rf"({CLIP_ID.pattern})(?:-[0-9a-f]{{8}})?\.[0-9a-z]+")
_BEGINS_AN_ID = re.compile(r"[0-9a-f]{4,16}(-\d*(-\d*)?)?")
LISTED = 20


@dataclass(frozen=True)
class Item:
    """A video or a clip. `shard` is null where nothing in the home knows the video."""

    kind: Literal["video", "clip"]
    id: str
    video_id: str
    shard: str | None
    shown_as: str


def find_item(store: DeltaStore, name: str) -> Item:
    """The one item that `name` means.

    `name` is a video_id or a clip_id, at least four characters of its start, the path or the file's name of a source
    video, or the path or name of a clip's file. Spans that were dropped have ids too; a clip_id whose clip is gone is
    found as long as its video is known. Raises Unknown, which lists what is called so.
    """
    found = find_items(store, name)
    if len(found) == 1:
        return found[0]
    if not found:
        raise Unknown(
            f"{name}: nothing is called so; name a clip_id, a video_id, at least four characters of the start of one, "
            "or the path of a source video or of a clip's file"
        )
    lines = [f"  {item.id}  {item.shown_as}".rstrip() for item in found[:LISTED]]
    rest = [f"  and {len(found) - LISTED} more"] if len(found) > LISTED else []
    raise Unknown("\n".join([f"{name}: {len(found)} are called so; name one of", *lines, *rest]))


def find_items(store: DeltaStore, name: str) -> list[Item]:
    """Everything that `name` may mean; an exact id or path wins over the start of one."""
    file = _FILE_OF_CLIP.fullmatch(name.replace(os.sep, "/").rpartition("/")[2])
    if file:
        name = file[1]
    if CLIP_ID.fullmatch(name):
        return _clips(store, pl.col("clip_id") == name) or _clip_of_known_video(store, name)
    if _BEGINS_AN_ID.fullmatch(name):
        by_id = _clips(store, pl.col("clip_id").str.starts_with(name)) if "-" in name else _videos_by_id(store, name)
        if by_id:
            return by_id
    return _videos_by_path(store, name)


def rows_of(store: DeltaStore, table: Table, which: pl.Expr | bool = True) -> pl.LazyFrame:
    """The rows that `which` holds for; none where the table isn't there yet."""
    try:
        return store.scan(store.snapshot(table.name)).filter(which)
    except TableNotFoundError:
        return pl.LazyFrame(schema=table.schema)


def _videos_by_id(store: DeltaStore, start: str) -> list[Item]:
    known = _videos(store, pl.col("video_id").str.starts_with(start))
    taken_down = (
        rows_of(store, TAKEDOWNS, pl.col("video_id").str.starts_with(start)).select("video_id", "shard").collect()
    )
    there = {item.id for item in known}
    gone = [Item("video", video, video, shard, "taken down") for video, shard in taken_down.iter_rows()]
    return [*known, *(item for item in gone if item.id not in there)]


def _videos_by_path(store: DeltaStore, path: str) -> list[Item]:
    absolute = os.path.abspath(path)
    named = (pl.col("source_uri").is_in([path, absolute])) | (pl.col("path") == path)
    return _videos(store, named) or _videos(store, pl.col("path").str.split("/").list.last() == path)


def _videos(store: DeltaStore, which: pl.Expr) -> list[Item]:
    rows = (
        rows_of(store, SOURCE_FILES, which)
        .sort("missing", "source", "path")
        .unique("video_id", keep="first", maintain_order=True)
        .select("video_id", "shard", "path")
        .collect()
    )
    return [Item("video", video, video, shard, path) for video, shard, path in rows.iter_rows()]


def _clips(store: DeltaStore, which: pl.Expr) -> list[Item]:
    rows = (
        rows_of(store, CLIPS, pl.col("clip_id").is_not_null() & which)
        .sort("clip_id")
        .select("clip_id", "video_id", "shard", "start_s", "end_s", "dropped")
        .collect()
    )
    return [
        Item("clip", clip, video, shard, f"{start:.3f}..{end:.3f} s" + (f", dropped: {dropped}" if dropped else ""))
        for clip, video, shard, start, end, dropped in rows.iter_rows()
    ]


def _clip_of_known_video(store: DeltaStore, clip_id: str) -> list[Item]:
    video_id = clip_id[:16]
    excluded = rows_of(store, EXCLUSIONS, pl.col("excluded_id") == clip_id).select("shard").collect()
    shards = [*excluded.get_column("shard"), *(item.shard for item in _videos_by_id(store, video_id))]
    return [Item("clip", clip_id, video_id, shards[0], "no such clip now")] if shards else []
