"""The whole job on a fresh home: what every other measurement starts from."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from dagster import DagsterEvent, DagsterEventType, DagsterInstance

from benchmarks.measure import cpu_s
from curation_assets.orchestration.headless import HeadlessRun
from curation_assets.settings import Settings
from resources.delta_store import DeltaStore

SOURCE = "samples"
SHARD = "samples-0000"


@dataclass
class Job:
    """The whole job on a fresh home: what every later measurement starts from."""

    home: str
    instance: DagsterInstance
    settings: Settings
    seconds: float = 0.0
    stages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    cpu_s: dict[str, float] = field(default_factory=dict)
    """of each asset's step, workers and what they started included; assets made together have one step"""

    @property
    def store(self) -> DeltaStore:
        return DeltaStore(self.home)

    def rows(self, table: str) -> pl.DataFrame:
        return self.store.scan(self.store.snapshot(table)).collect()


def run_whole_job(job: Job, samples: Path) -> None:
    """Register, refresh and release. Raises SystemExit unless everything has a result."""
    before_s = 0.0

    def watch(event: DagsterEvent) -> None:
        nonlocal before_s
        if event.event_type == DagsterEventType.STEP_START:
            before_s = cpu_s()
        elif event.is_step_materialization:
            (asset,) = event.step_materialization_data.materialization.asset_key.path
            job.cpu_s[asset] = cpu_s() - before_s

    started = time.monotonic()
    run = HeadlessRun(job.settings, job.home, job.instance, watch)
    if not run.register({"name": SOURCE, "path": str(samples.absolute()), "recursive": True}):
        raise SystemExit(f"registration failed: {run.outcome.step_failures}")
    run.shard(SHARD, run.up_to("training_set"))
    run.release()
    job.seconds = time.monotonic() - started
    job.stages = [(asset, metadata) for asset, _, metadata in run.outcome.materialized]
    failed = [(asset, metadata["failures"]) for asset, metadata in job.stages if metadata.get("failed")]
    if run.outcome.step_failures or failed:
        raise SystemExit(f"not everything has a result: {run.outcome.step_failures} {failed}")
