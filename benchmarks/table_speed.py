"""Refreshes and queries of many rows: an unchanged shard, another threshold, ten million scores.

    python -m benchmarks.table_speed [--clips 1000000] [--shards 20 100 1000]

prints what another threshold costs with so many shards.
"""

import argparse
import multiprocessing as mp
import os
import random
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl

from benchmarks.job import Job
from benchmarks.measure import Cost, cost_of, peak_bytes, seconds_of
from benchmarks.report import Section, Target, show
from benchmarks.scored_home import SETTINGS, make_scored_home
from benchmarks.simulated_home import SimulatedHome, copied, shard_name
from benchmarks.stages import refresh_shard
from curation_assets.incremental.stage import Stage
from curation_assets.incremental.work import Done, Work
from curation_assets.orchestration.headless import HeadlessRun, open_instance
from curation_assets.orchestration.stage_asset import SHARDS, StageAsset
from curation_assets.settings import parse_settings
from curation_assets.tables import MOTION_SCORES, Row
from curation_assets.tools import Tools
from resources.delta_store import PARTITION, DeltaStore
from resources.files import Files
from resources.workers import available_cores

CLIPS, UNCHANGED_CLIPS, QUERIED_ROWS = 1_000_000, 10_000, 10_000_000
ROWS_A_COMMIT = 1_000_000
TARGET_SHARDS = 20
REPEATS = 3
DAGSTER_RUNS = 3
UNCHANGED_AIM_S, THRESHOLD_AIM_S, THRESHOLD_AIM_GIB, QUERY_AIM_S = 3.0, 15.0, 4.0, 1.0
SELECTION = "clip_selection"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--clips", type=int, default=CLIPS)
    arguments.add_argument("--shards", type=int, nargs="+", default=(20, 100, 1_000))
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="reelhouse-bench-") as folder:
        show([threshold_section(Path(folder), options.clips, options.shards)])


def unchanged_section(job: Job, folder: Path) -> Section:
    """Of copies of the demo's rows, made by refreshes that are handed what takes more than arithmetic."""
    home, shard, files = SimulatedHome(folder, job.settings), shard_name(0), Files(str(folder))
    there = [table for table in ("source_files", *home.assets) if (Path(job.home) / "tables" / table).exists()]
    copies = -(-UNCHANGED_CLIPS // job.rows("frames").height)
    rows = {table: copied(job.rows(table), copies, shard, random.Random(0)) for table in there}
    sources = rows["source_files"]
    home.store.replace(home.store.open("source_files", sources.schema), sources, shard, {})
    section = Section(f"An unchanged shard of {rows['frames'].height:,} clips")
    slowest = 0.0
    for table, asset in home.assets.items():
        tables = [stage.table.name for stage in asset.stages]
        if table != tables[0]:
            continue
        handed = replace(asset, compute=Handed(asset.stages, rows, folder)) if is_handed(asset) else asset
        refresh_shard(handed, home.settings, home.store, files, shard)
        unchanged = Timed(lambda: refresh_shard(handed, home.settings, home.store, files, shard))  # noqa: B023
        if computed := sum(report.computed + report.failed for report in unchanged.result):
            raise SystemExit(f"{tables}: {computed} units of an unchanged shard were computed again")
        read_s = seconds_of(lambda: [home.read(table, shard) for table in tables])  # noqa: B023
        section.add(", ".join(tables), f"{unchanged.seconds:.2f} s", f"{read_s:.2f} s", "one read of its own rows")
        slowest = max(slowest, unchanged.seconds)
    section.targets.append(
        Target(
            f"refresh of an unchanged shard of {UNCHANGED_CLIPS:,} clips: nothing decoded, no engine called",
            f"< {UNCHANGED_AIM_S:g} s an asset",
            f"{slowest:.2f} s the slowest",
            slowest < UNCHANGED_AIM_S,
        )
    )
    return section


def is_handed(asset: StageAsset) -> bool:
    return any(stage.effort != "arithmetic" for stage in asset.stages)


class Handed:
    """Answers a refresh with rows made before, whose files it lays out: empty, but of their size."""

    def __init__(self, stages: Iterable[Stage], rows: Mapping[str, pl.DataFrame], folder: Path) -> None:
        self._rows: defaultdict[tuple[str, tuple[str, str]], list[Row]] = defaultdict(list)
        for stage in stages:
            for row in rows[stage.table.name].iter_rows(named=True) if stage.table.name in rows else ():
                self._rows[stage.table.name, stage.key_of(row)].append(row)
                if stage.file and row[stage.file[0]]:
                    path = folder / row[stage.file[0]]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.touch()
                    os.truncate(path, row[stage.file[1]])

    def __call__(self, work: Sequence[Work], _: Tools) -> Iterable[Done]:
        for unit in work:
            for table, engines in unit.wanted.items():
                for engine in engines:
                    yield Done(unit.unit, self._rows[table, (unit.unit, engine)], engine, table)


class Timed:
    def __init__(self, function: Callable[[], Any]) -> None:
        started = time.perf_counter()
        self.result = function()
        self.seconds = time.perf_counter() - started


def threshold_section(folder: Path, clips: int, shard_counts: Sequence[int]) -> Section:
    cores = available_cores()
    headings = ("shards", "one after another", "CPU s", "peak memory", f"{cores} at once", "peak memory", "Dagster")
    section = Section(f"Another threshold for {clips:,} clips", headings)
    for count in shard_counts:
        home = SimulatedHome(folder / f"{count}", parse_settings(SETTINGS, "benchmark"))
        make_scored_home(home.folder, clips, captioned=False, shards=count)
        shards = [shard_name(k) for k in range(count)]
        select(home, shards, 1)
        alone, gib = select(with_bound(home, 15.0), shards, 1)
        at_once, gib_at_once = select(with_bound(home, 16.0), shards, cores)
        section.add(
            f"{count:,}",
            f"{alone.wall_s:.1f} s",
            f"{alone.cpu_s:.1f}",
            f"{gib:.2f} GiB",
            f"{at_once.wall_s:.1f} s",
            f"{gib_at_once:.2f} GiB",
            f"{dagster_s(home, shards):.1f} s",
        )
        if count == TARGET_SHARDS:
            section.targets.append(
                Target(
                    f"threshold change over {clips:,} clips in {count} shards, one after another: stage and Delta",
                    f"< {THRESHOLD_AIM_S:g} s, < {THRESHOLD_AIM_GIB:g} GiB",
                    f"{alone.wall_s:.1f} s ({alone.cpu_s:.1f} CPU s), {gib:.2f} GiB",
                    alone.wall_s < THRESHOLD_AIM_S and gib < THRESHOLD_AIM_GIB,
                )
            )
        shutil.rmtree(home.folder)
    section.remarks.append(
        "`clip_selection`, 12 filters; one shard after another as `reelhouse run` goes, or in a process a core. "
        f"Dagster: what its runs, events, checks and pictures add one after another, by {DAGSTER_RUNS} runs."
    )
    return section


def with_bound(home: SimulatedHome, max_motion: float) -> SimulatedHome:
    selection = {"selection": {"motion": {"dis": {"max": max_motion}}}}
    return replace(home, settings=parse_settings({**SETTINGS, **selection}, "benchmark"))


def select(home: SimulatedHome, shards: Sequence[str], processes: int) -> tuple[Cost, float]:
    """What it takes new processes that share the shards, once all have started; and their memory in GiB at the peak."""
    context = mp.get_context("spawn")
    threads = str(max(1, available_cores() // processes))
    with (
        patch.dict(os.environ, {"POLARS_MAX_THREADS": threads}),
        ProcessPoolExecutor(processes, context, take_part, (context.Barrier(processes),)) as pool,
    ):
        parts = list(pool.map(select_part, [home] * processes, [shards[k::processes] for k in range(processes)]))
    costs, peaks = zip(*parts, strict=True)
    return Cost(max(cost.wall_s for cost in costs), sum(cost.cpu_s for cost in costs)), sum(peaks) / 2**30


_barrier: Barrier


def take_part(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def select_part(home: SimulatedHome, shards: Sequence[str]) -> tuple[Cost, int]:
    home.assets  # noqa: B018  made before the clock starts
    _barrier.wait()
    return cost_of(lambda: [home.refresh(SELECTION, shard) for shard in shards]), peak_bytes()


def dagster_s(home: SimulatedHome, shards: Sequence[str]) -> float:
    """What Dagster adds to all shards' refreshes, by some; the first run, which imports and makes much, left out."""
    with open_instance(str(home.folder)) as instance:
        instance.add_dynamic_partitions(str(SHARDS.name), list(shards))
        run = HeadlessRun(with_bound(home, 14.0).settings, str(home.folder), instance)
        run.shard(shards[0], [SELECTION])
        counted = shards[1 : 1 + DAGSTER_RUNS]
        seconds = seconds_of(lambda: [run.shard(shard, [SELECTION]) for shard in counted])
    own_s = sum(float(metadata["seconds"]) for _, _, metadata in run.outcome.materialized[1:])
    return (seconds - own_s) * len(shards) / len(counted)


def query_section(folder: Path) -> Section:
    """Filter and aggregate, as README shows it, over a table of ten million scores."""
    store, schema, chance = DeltaStore(str(folder)), MOTION_SCORES.schema, np.random.default_rng(0)
    for number in range(QUERIED_ROWS // ROWS_A_COMMIT):
        first, shard = number * ROWS_A_COMMIT, shard_name(number)
        ids = pl.int_range(first, first + ROWS_A_COMMIT, eager=True).cast(pl.String).str.zfill(34)
        rows = pl.DataFrame({"clip_id": ids, "motion_score": chance.lognormal(2, 1.3, ROWS_A_COMMIT)}).with_columns(
            pl.lit(value).alias(name)
            for name, value in ((PARTITION, shard), ("engine", "dis"), ("run_id", "benchmark"))
        )
        nulls = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in rows.columns]
        store.replace(store.open("motion_scores", schema), rows.with_columns(nulls).select(list(schema)), shard, {})

    def query(rows: pl.LazyFrame) -> None:
        kept = rows.filter(pl.col("motion_score").is_between(0.95, 74))
        kept.group_by("engine").agg(pl.len(), pl.col("motion_score").mean().alias("mean")).collect()

    table = f"{folder}/tables/motion_scores"
    ours, plain = [], []
    for _ in range(REPEATS):
        ours.append(seconds_of(lambda: query(pl.scan_delta(table))))
        plain.append(seconds_of(lambda: query(pl.scan_parquet(f"{table}/{PARTITION}=*/*.parquet"))))
    seconds = statistics.median(ours)
    section = Section("Queries")
    what = f"filter and aggregate over {QUERIED_ROWS:,} score rows"
    section.add(what, f"{seconds:.2f} s", f"{statistics.median(plain):.2f} s", "the same by polars over the bare files")
    section.targets.append(Target(f"polars: {what}", f"< {QUERY_AIM_S:g} s", f"{seconds:.2f} s", seconds < QUERY_AIM_S))
    return section


if __name__ == "__main__":
    main()
