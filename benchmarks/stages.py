"""The stages as a run executes them, on videos of a folder and without Dagster."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from curation_assets.definitions import stage_assets
from curation_assets.incremental.committing import Report
from curation_assets.incremental.context import Context
from curation_assets.incremental.refresh import refresh
from curation_assets.orchestration.stage_asset import StageAsset
from curation_assets.settings import Settings, Shards, Source
from curation_assets.shards import register
from curation_assets.tables import TABLES
from curation_assets.tools import Tools
from resources.delta_store import PARTITION, DeltaStore
from resources.files import Files

SHARD = "videos-0000"
SURVIVORS = 0.3


def refresh_shard(asset: StageAsset, settings: Settings, store: DeltaStore, files: Files, shard: str) -> list[Report]:
    """A report for each stage of the asset."""
    tools = Tools(settings, files)
    context = Context(store, files, "benchmark")
    return refresh(asset.stages, shard, lambda work: asset.compute(work, tools), context)


@dataclass(frozen=True)
class Home:
    """A home whose videos were probed; its tables are made, and forgotten, one by one."""

    folder: Path
    settings: Settings

    @classmethod
    def of(cls, videos: Iterable[Path], folder: Path, settings: Settings) -> "Home":
        source = folder / "source"
        source.mkdir(parents=True)
        for video in videos:
            shutil.copyfile(video, source / video.name)
        home = cls(folder / "home", settings)
        register({"videos": Source(path=str(source))}, Shards(), home.store, "benchmark")
        home.make("raw_videos")
        return home

    @property
    def store(self) -> DeltaStore:
        return DeltaStore(str(self.folder))

    @cached_property
    def assets(self) -> dict[str, StageAsset]:
        """By table."""
        return {stage.table.name: asset for asset in stage_assets(self.settings) for stage in asset.stages}

    def rows(self, table: str) -> pl.DataFrame:
        return self.store.scan(self.store.snapshot(table)).collect()

    def make(self, *tables: str) -> None:
        """Tables, and those made with them, anew. Raises SystemExit where something has no result."""
        for table in tables:
            for stage in self.assets[table].stages:
                shutil.rmtree(self.folder / "tables" / stage.table.name, ignore_errors=True)
            self.refresh(table)

    def refresh(self, table: str) -> list[Report]:
        reports = refresh_shard(self.assets[table], self.settings, self.store, Files(str(self.folder)), SHARD)
        if lost := [report for report in reports if report.failed or report.blocked]:
            raise SystemExit(f"{table}: {lost}")
        return reports

    def clips(self, table: str) -> pl.DataFrame:
        """The rows of `clips` whose clips have one in `table`, with the `pixels` they show."""
        area = self.rows("raw_videos").select("video_id", pixels=pl.col("width") * pl.col("height"))
        clips = self.rows("clips").join(self.rows(table).select("clip_id"), on="clip_id").join(area, on="video_id")
        return clips.with_columns(pl.col("pixels") * pl.col("frame_count"))

    def select(self, share: float = SURVIVORS) -> None:
        """Write a `sample_selection` that keeps clips with this share of the pixels, of all sizes."""
        clips = self.clips("clips").filter(pl.col("dropped").is_null()).sort("pixels", "clip_id", descending=True)
        kept = pl.Series("selected", evenly_kept(clips["pixels"], share))
        self.write("sample_selection", clips.select("clip_id", "video_id", kept))

    def write(self, table: str, rows: pl.DataFrame) -> None:
        schema = TABLES[table].schema
        known = rows.with_columns(pl.lit(SHARD).alias(PARTITION))
        nulls = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in known.columns]
        self.store.replace(self.store.open(table, schema), known.with_columns(nulls).select(list(schema)), SHARD, {})


def frame_count(rows: pl.DataFrame) -> int:
    return int(rows.get_column("frame_count").sum())


def evenly_kept(sizes: Iterable[float], share: float) -> list[bool]:
    """Whether each is kept: it is while those kept hold less than `share` of what was met. The first one is."""
    kept, held, met = [], 0.0, 0.0
    for size in sizes:
        met += size
        kept.append(held < share * met)
        held += size * kept[-1]
    return kept
