"""`reelhouse run`: register a source and materialize every asset, shard by shard."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich.console import Console

from curation_assets.commands import FAILED, OK, summary, wrong_use
from curation_assets.commands.arguments import cannot_be_named, home_flags, named_source, overridden
from curation_assets.commands.live import Board, run_terminal, shown
from curation_assets.commands.making import make_shards
from curation_assets.commands.release import print_gaps
from curation_assets.home import open_home
from curation_assets.inspection.failures import find_failures
from curation_assets.orchestration.headless import HeadlessRun, open_instance
from curation_assets.report.assets import REPORT
from curation_assets.settings import home_path, load_settings
from curation_assets.tables import SOURCE_FILES, TABLES
from curation_assets.upkeep.releases import report_path
from resources.delta_store import DeltaStore


def run(options: argparse.Namespace) -> int:
    settings = overridden(load_settings(), options)
    if problem := cannot_be_named(options.source):
        return wrong_use(problem)
    console, board = run_terminal(), Board()
    home = home_path()

    with open_instance(home) as instance:
        job = HeadlessRun(settings, home, instance, board.see)
        if options.until and options.until not in job.assets:
            return wrong_use(f"--until {options.until}: no such asset; choose one of {', '.join(job.assets)}")
        wanted = job.up_to(options.until) if options.until else set(job.assets)
        job.require(wanted)
        name, source = named_source(options)
        board.expect([asset for asset in job.assets if asset in wanted])
        with shown(board, console):
            registered = job.register({"name": name, **source.model_dump(mode="json")})
            store = open_home(home).store
            shards = _shards_of(name, store) if registered else []
            make_shards(job, board, dict.fromkeys(shards, wanted), options.retry_failed)
            if registered and "training_set" in wanted:
                job.release(wanted)

        summary.print_departures(console, settings)
        summary.print_assets(console, job.outcome.materialized)
        failures = find_failures(store, [asset for asset in TABLES if asset in wanted], shards)
        if shards and "training_set" in wanted:
            summary.print_reasons(console, store, shards)
            summary.print_samples(console, store)
        for released in (made for asset, _, made in job.outcome.materialized if asset == "training_set"):
            print_gaps(console, [record.data for record in released["gaps"].records], released["gap_count"])
        summary.print_failures(console, job.outcome.step_failures, failures)
        reports = [made for asset, _, made in job.outcome.materialized if asset == REPORT]
        _print_next_steps(console, home, options, [report_path(made["release"]) for made in reports])
        return FAILED if failures or job.outcome.step_failures else OK


def _shards_of(source: str, store: DeltaStore) -> list[str]:
    rows = store.scan(store.open(SOURCE_FILES.name, SOURCE_FILES.schema)).filter(pl.col("source") == source)
    return list(rows.select("shard").unique().sort("shard").collect().get_column("shard"))


def _print_next_steps(console: Console, home: str, options: argparse.Namespace, reports: Sequence[str]) -> None:
    program = sys.argv[0] if Path(sys.argv[0]).name == "reelhouse" else "reelhouse"
    table = options.until if options.until in TABLES else "clip_selection"
    steps = (
        *(f"Open the report:    {home}/{report}" for report in reports),
        f"Open the UI:        {program} ui{home_flags(options)}",
        f"Query with polars:  import polars as pl; print(pl.read_delta({f'{home}/tables/{table}'!r}))",
    )
    console.print("\n".join(steps), markup=False, highlight=False, soft_wrap=True)
