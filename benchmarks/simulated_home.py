"""A home of very many shards: a demo job's rows with other keys and values, written by the product's store and refresh.

A few shards are distinct. The others are hard links to their files under other shards' names, so that every table has
the log, the number of files and the bytes of a home in which each shard was made.
"""

import json
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from benchmarks.stages import refresh_shard
from curation_assets.definitions import stage_assets
from curation_assets.incremental.committing import Report
from curation_assets.incremental.stage import Stage
from curation_assets.orchestration.stage_asset import StageAsset
from curation_assets.settings import Settings
from curation_assets.tables import TABLES, Row
from resources.delta_store import PARTITION, DeltaStore
from resources.files import Files

ARITHMETIC = ("clip_selection", "sample_selection", "training_manifest")
"""Refreshed from the copied tables, so that an unchanged refresh finds its own rows."""

NOT_PER_SHARD = ("training_set", "prompts", "beautified_prompts")
_TEXTS = {"caption", "original_caption"}
_EXACT = {"start_s", "end_s", "duration_s", "frames_per_s", "start_time_s"}
_NOISE = 0.01


def shard_name(number: int) -> str:
    return f"films-{number:04d}"


@dataclass(frozen=True)
class SimulatedHome:
    folder: Path
    settings: Settings

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process without the assets, which each makes for itself."""
        return SimulatedHome, (self.folder, self.settings)

    @property
    def store(self) -> DeltaStore:
        return DeltaStore(str(self.folder))

    @cached_property
    def assets(self) -> dict[str, StageAsset]:
        """By table, upstream first."""
        by_table = {stage.table.name: asset for asset in stage_assets(self.settings) for stage in asset.stages}
        return {table: asset for table, asset in by_table.items() if table not in NOT_PER_SHARD}

    @property
    def stages(self) -> list[Stage]:
        """As a release is given them."""
        return [stage for table, asset in self.assets.items() for stage in asset.stages if stage.table.name == table]

    @property
    def tables(self) -> list[str]:
        return sorted(os.listdir(self.folder / "tables"))

    def read(self, table: str, shard: str) -> pl.DataFrame:
        return self.store.read(self.store.snapshot(table), list(TABLES[table].schema), shard)

    def add_distinct(self, demo: Mapping[str, pl.DataFrame], copies: int, number: int) -> None:
        """A shard of `copies` times the demo's clips."""
        shard = shard_name(number)
        for name, table in TABLES.items():
            if name not in (*ARITHMETIC, *NOT_PER_SHARD):
                handle = self.store.open(name, table.schema)
                if name in demo:
                    rows = copied(demo[name], copies, shard, random.Random(number))
                    self.store.replace(handle, rows, shard, {"shard": shard})
        for name in ARITHMETIC:
            self.refresh(name, shard)

    def refresh(self, table: str, shard: str) -> Report:
        (report,) = refresh_shard(self.assets[table], self.settings, self.store, Files(str(self.folder)), shard)
        return report

    def grow(self, shards: int) -> None:
        """Every table to this many shards, in one commit each."""
        for name in self.tables:
            table = self.store.snapshot(name)
            files = pl.DataFrame(table.get_add_actions(flatten=True)).sort(f"partition.{PARTITION}").to_dicts()
            added = [_link(table, files[n % len(files)], shard_name(n)) for n in range(len(files), shards) if files]
            if added:
                table.create_write_transaction(added, "append", table.schema(), [PARTITION])


def _link(table: DeltaTable, file: Row, shard: str) -> AddAction:
    folder = Path(table.table_uri.removeprefix("file://"))
    path = f"{PARTITION}={shard}/{Path(file['path']).name}"
    (folder / path).parent.mkdir()
    os.link(folder / file["path"], folder / path)
    stats = json.dumps({"numRecords": file["num_records"]})
    return AddAction(path, file["size_bytes"], {PARTITION: shard}, int(time.time() * 1000), True, stats)


def copied(rows: pl.DataFrame, copies: int, shard: str, chance: random.Random) -> pl.DataFrame:
    """So many times the rows, of other videos each time."""
    made = [_copy(row, copy, shard, chance) for copy in range(copies) for row in rows.iter_rows(named=True)]
    return pl.DataFrame(made, schema=rows.schema, orient="row")


def _copy(row: Row, copy: int, shard: str, chance: random.Random) -> Row:
    """Of another video; scores a hundredth off, words in another order, so that files are no smaller for repetition."""
    old_video = row.get("video_id") or row["clip_id"].partition("-")[0]
    video = random.Random(f"{shard} {copy} {old_video}").randbytes(8).hex()
    old_shard = row[PARTITION]

    def other(name: str, value: Any) -> Any:
        if name == "input_fingerprint" or (name == "frames_sha256" and value):
            return chance.randbytes(len(value) // 2).hex()
        if name in _TEXTS and value:
            return _shuffled(value, f"{shard} {copy}")
        if isinstance(value, str):
            return value.replace(old_video, video).replace(old_shard, shard)
        if isinstance(value, float) and name not in _EXACT:
            return round(value * chance.uniform(1 - _NOISE, 1 + _NOISE), 5)
        if isinstance(value, list):
            return [other(name, item) for item in value]
        return value

    return {name: other(name, value) for name, value in row.items()}


def _shuffled(text: str, seed: str) -> str:
    """The same wherever the text stands in the same copy."""
    words = text.split()
    random.Random(seed + text).shuffle(words)
    return " ".join(words)
