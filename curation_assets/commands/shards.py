"""`reelhouse shards`: how far each shard is."""

import argparse
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table as TerminalTable
from sqlalchemy.exc import SQLAlchemyError

from curation_assets.commands import OK
from curation_assets.commands.terminal import print_json, say, terminal
from curation_assets.definitions import video_stages
from curation_assets.duplicates.deciding import decision
from curation_assets.home import existing_home
from curation_assets.inspection.shard_status import LastRun, ShardStatus, last_runs, shard_statuses
from curation_assets.orchestration.headless import NoInstanceError, open_instance
from curation_assets.settings import home_path, load_settings
from curation_assets.upkeep.releases import tables_now

COUNTS = ("videos", "clips", "selected", "samples")


def run(options: argparse.Namespace) -> int:
    place = home_path()
    home = existing_home(place)
    settings = load_settings()
    found = shard_statuses(video_stages(settings), tables_now(home.store), decision(settings))
    try:
        with open_instance(place) as instance:
            runs = last_runs(instance, {status.shard for status in found})
    except (NoInstanceError, OSError, SQLAlchemyError) as problem:  # the tables tell the rest
        runs = {}
        say(terminal(aside=True), f"The last runs are unknown: {str(problem).splitlines()[0]}")
    for status in found:
        status.last_run = runs.get(status.shard)
    if options.json:
        print_json({"home": home.store.root, "shards": found})
    else:
        print_shards(terminal(), found)
    return OK


def print_shards(console: Console, found: Sequence[ShardStatus]) -> None:
    if not found:
        say(console, "There is no shard yet; `reelhouse run SOURCE` registers videos.")
        return
    table = TerminalTable("shard", box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for name in (*COUNTS, "failed", "blocked", "to do"):
        table.add_column(name, justify="right")
    table.add_column("last run (UTC)")
    for status in found:
        counts = [str(getattr(status, name)) for name in COUNTS]
        to_do = {"missing": len(status.missing), "out of date": len(status.out_of_date)}
        table.add_row(
            status.shard,
            *counts,
            _named(status.failed),
            str(status.blocked or ""),
            _named(to_do),
            _run(status.last_run),
        )
    console.print(table)
    if any(sum(status.failed.values()) for status in found):
        say(console, "`reelhouse failures` lists what failed, `reelhouse failures --retry` tries it again.")
    if any(status.missing or status.out_of_date for status in found):
        say(console, "to do: assets, which `reelhouse run` of the shard's source brings up to date.")


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _run(run: LastRun | None) -> str:
    if run is None:
        return ""
    when = run.ended_at or run.started_at
    return f"{when:%Y-%m-%d %H:%M} {run.status.lower()}" if when else run.status.lower()
