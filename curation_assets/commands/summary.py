"""What a run did, for the terminal: counts per asset, clips by reason, failures, first samples."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as TerminalTable

from curation_assets.commands.terminal import say
from curation_assets.inspection.failures import Failure
from curation_assets.settings import Settings
from curation_assets.tables import TABLES
from curation_assets.training_set.history import departures
from curation_assets.training_set.reasons import dropped_by
from curation_assets.training_set.release import settings_text
from curation_assets.upkeep.releases import tables_now
from resources.delta_store import DeltaStore
from resources.text import printable

COUNTS = ("inputs", "computed", "reused", "failed", "blocked")
TIMES = ("seconds", "limit_seconds")
LISTED_FAILURES = 100
FIRST_SAMPLES = 5


def print_assets(console: Console, materialized: Sequence[tuple[str, str | None, dict[str, Any]]]) -> None:
    """A line an asset, shards added up; the limit is the seconds of what it can't do without, as in `views.speed`."""
    lines: dict[str, Counter[str]] = {}
    for asset, _, metadata in materialized:
        line = lines.setdefault(asset, Counter())
        line["rows"] += metadata.get("dagster/partition_row_count", metadata.get("dagster/row_count", 0))
        line.update({name: round(1000 * metadata.get(name, 0)) for name in TIMES})
        for name in COUNTS:
            line[name] += metadata.get(name, 0)
    table = TerminalTable("asset", box=box.SIMPLE_HEAD)
    for name in ("rows", *COUNTS, "seconds", "limit"):
        table.add_column(name, justify="right")
    for asset, line in lines.items():
        counts = [str(line[name]) for name in ("rows", *COUNTS)]
        table.add_row(asset, *counts, *(f"{line[name] / 1000:.1f}" if line[name] else "" for name in TIMES))
    console.print(table)


def print_reasons(console: Console, store: DeltaStore, shards: Sequence[str]) -> None:
    tables = replace(tables_now(store), shards=shards)
    samples, reasons = tables.read("training_manifest", ["clip_id"]).height, dropped_by(tables)
    table = TerminalTable("dropped by", box=box.SIMPLE_HEAD)
    table.add_column("spans", justify="right")
    for reason, count in reasons.most_common():
        table.add_row(reason, str(count))
    console.print(f"{samples} clips are in the training manifest.")
    if reasons:
        console.print(table)


def print_failures(console: Console, step_failures: Sequence[str], failures: Sequence[Failure]) -> None:
    lines = [*(f"step  {message}" for message in step_failures), *map(str, failures)]
    if lines:
        console.print(f"[bold]{len(lines)} failed:[/bold]")
    for line in lines[:LISTED_FAILURES]:
        say(console, f"  {line}")
    if len(lines) > LISTED_FAILURES:
        say(console, f"  and {len(lines) - LISTED_FAILURES} more; `reelhouse failures` lists them")


def print_samples(console: Console, store: DeltaStore) -> None:
    handle = store.open("training_manifest", TABLES["training_manifest"].schema)
    rows = store.scan(handle).sort("clip_id").head(FIRST_SAMPLES).collect()
    console.print("The first samples:")
    for row in rows.iter_rows(named=True):
        console.print(
            f"  {row['clip_id']}  {row['width']}x{row['height']}, {row['duration_s']:.2f} s, "
            f"motion {_figure(row['motion_score'])}, semantic {_figure(row['semantic_score'])}, {row['file_path']}\n"
            f"    {printable(row['text'])}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def _figure(score: float | None) -> str:
    return "off" if score is None else f"{score:.3g}"


def print_departures(console: Console, settings: Settings) -> None:
    """Settings whose value isn't the default; the defaults are EasyAnimate's rules on embedded engines."""
    found = departures(settings_text(settings))
    if found:
        console.print("Settings that depart from the defaults (EasyAnimate's rules):")
    for key, default, value in found or ():
        console.print(f"  {key}: {value} instead of {default}", markup=False, soft_wrap=True)
