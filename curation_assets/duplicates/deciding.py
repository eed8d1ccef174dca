"""Writes `duplicates`: which clips are kept, decided over all shards at once."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

from curation_assets.duplicates.keepers import resolve
from curation_assets.incremental.digests import as_json, data_version, sha256
from curation_assets.inspection.lookup import rows_of
from curation_assets.settings import Settings
from curation_assets.tables import DUPLICATES, TABLES, Scan
from resources.delta_store import Conflict, DeltaStore
from resources.errors import TransientError

MADE_FROM = ("clip_neighbours", "clip_selection", "aesthetic_scores")
MAX_CONFLICTS = 20


@dataclass(frozen=True)
class Decided:
    """`rows` are the table's; `shard_versions` the data version of each shard's; `changed` the shards it changed."""

    rows: pl.DataFrame
    selected: int
    shard_versions: Mapping[str, str]
    changed: list[str]
    version: int

    @property
    def dropped(self) -> pl.DataFrame:
        return self.rows.filter(pl.col("duplicate_of").is_not_null())

    @property
    def data_version(self) -> str:
        return sha256(as_json(self.shard_versions))[:16]


@dataclass(frozen=True)
class Compared:
    """The clips that were compared, by id, whether they may be kept and what ranks them; `pairs` are near each other.

    `clips`: shard, clip_id, frames_sha256, selected, and what `resolve` takes. `pairs`: as it takes them.
    """

    clips: pl.DataFrame
    pairs: pl.DataFrame
    keep: Sequence[str]

    def decided(self, selected: pl.DataFrame | None = None) -> pl.DataFrame:
        """shard, clip_id, duplicate_of, kind and similarity of each clip.

        `selected`: clip_id and selected of clips that are taken to be selected or not, whatever `clip_selection` says.
        """
        clips = self.clips
        if selected is not None:
            supposed = selected.select("clip_id", supposed="selected")
            clips = clips.join(supposed, on="clip_id", how="left", maintain_order="left").with_columns(
                selected=pl.coalesce("supposed", "selected") & ~pl.col("missing")
            )
        return clips.select("shard").hstack(resolve(clips, self.pairs, self.keep))


def compared(scan: Scan, settings: Settings) -> Compared:
    """Of all shards, as the tables stand."""
    clips = _compared_clips(scan, next(iter(settings.aesthetic.engines), None))
    return Compared(clips.drop("neighbours"), _pairs(clips), settings.duplicates.keep)


def decision(settings: Settings) -> Callable[[Scan], pl.DataFrame] | None:
    """What gives the decisions that `decide` would take on some tables (`Compared.decided`); None while it is off."""
    return partial(_decision, settings) if settings.duplicates.kinds else None


def _decision(settings: Settings, scan: Scan) -> pl.DataFrame:
    return compared(scan, settings).decided()


def decide(store: DeltaStore, settings: Settings, run_id: str) -> Decided:
    """Bring `duplicates` up to date with neighbours, decisions and scores as they stand in the tables.

    One commit, of the shards that change. Where another run committed meanwhile it is decided again, on what stands
    then, so that older decisions never replace newer ones. Raises TransientError where others keep committing.
    """
    for _ in range(MAX_CONFLICTS):
        try:
            return _decided(store, settings, run_id)
        except Conflict:
            continue
    raise TransientError(f"duplicates: others changed it {MAX_CONFLICTS} times meanwhile; stop them and run again")


def _decided(store: DeltaStore, settings: Settings, run_id: str) -> Decided:
    handle = store.open(DUPLICATES.name, DUPLICATES.schema)
    stored = _by_shard(store.read(handle, DUPLICATES.schema.names()))
    found = compared(lambda table: rows_of(store, TABLES[table]), settings)
    made_by = {"run_id": run_id, "computed_at": dt.datetime.now(dt.UTC), "error": None, "error_kind": None}
    rows = (
        found.decided()
        .with_columns(input_fingerprint=found.clips["frames_sha256"].str.head(16))
        .with_columns(pl.lit(value, DUPLICATES.schema[name]).alias(name) for name, value in made_by.items())
        .select(DUPLICATES.schema.names())
    )
    parts, none = _by_shard(rows), rows.clear()
    versions = {shard: data_version(parts.get(shard, none), DUPLICATES) for shard in sorted({*stored, *parts})}
    changed = [shard for shard in versions if versions[shard] != data_version(stored.get(shard, none), DUPLICATES)]
    version = int(handle.version())
    if changed:
        version = store.replace(handle, rows.filter(pl.col("shard").is_in(changed)), changed, {})
    return Decided(rows, int(found.clips["selected"].sum()), versions, changed, version)


def _by_shard(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    parts = rows.partition_by("shard", as_dict=True, maintain_order=True)
    return {str(shard): part for (shard,), part in parts.items()}


def _compared_clips(scan: Scan, aesthetics: str | None) -> pl.DataFrame:
    """Every clip that was looked at, with its neighbours, whether it may be kept, and what ranks it.

    `aesthetics` is the engine whose scores rank, if any.
    """
    found = _sound(scan, "clip_neighbours", "shard", "clip_id", "frames_sha256", "neighbours")
    videos = _sound(scan, "raw_videos", "video_id", "width", "height", "missing")
    lengths = _sound(scan, "clips", "clip_id", "video_id", "duration_s")
    scores = _sound(scan, "aesthetic_scores", "clip_id", "engine", "aesthetic_score")
    scores = scores.filter(pl.col("engine") == pl.lit(aesthetics, pl.String))
    return (
        found.join(_sound(scan, "clip_selection", "clip_id", "selected"), on="clip_id", how="left")
        .join(lengths, on="clip_id")
        .join(videos, on="video_id")
        .join(scores.select("clip_id", aesthetic="aesthetic_score"), on="clip_id", how="left")
        .with_columns(selected=pl.col("selected").fill_null(False) & ~pl.col("missing"))
        .sort("clip_id")
        .collect()
    )


def _pairs(clips: pl.DataFrame) -> pl.DataFrame:
    """The neighbours that are there still, with the frames that were compared: clip_id, other_id, kind, similarity."""
    named = (
        clips.select("clip_id", other="neighbours")
        .explode("other", empty_as_null=False)
        .drop_nulls()
        .select("clip_id", pl.col("other").struct.rename_fields(["other_id", "frames_sha256", "kind", "similarity"]))
        .unnest("other")
    )
    there = clips.select(other_id="clip_id", frames_sha256="frames_sha256")
    return named.join(there, on=["other_id", "frames_sha256"], how="semi").drop("frames_sha256")


def _sound(scan: Scan, table: str, *columns: str) -> pl.LazyFrame:
    return scan(table).filter(pl.col("error").is_null()).select(columns)
