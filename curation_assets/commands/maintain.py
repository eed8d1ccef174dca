"""`reelhouse maintain`: take away what nobody needs any more."""

import argparse
import datetime as dt

from rich import box
from rich.console import Console
from rich.table import Table as TerminalTable

from curation_assets.commands import OK
from curation_assets.commands.terminal import print_json, say, terminal
from curation_assets.home import existing_home
from curation_assets.settings import home_path, load_settings
from curation_assets.upkeep.maintenance import MaintenanceReport, maintain


def run(options: argparse.Namespace) -> int:
    settings = load_settings().maintenance
    if options.grace_hours is not None:
        settings = settings.model_copy(update={"unreferenced_grace_hours": options.grace_hours})
    home = existing_home(home_path())
    report = maintain(home.store, home.files, settings, dt.datetime.now(dt.UTC), options.dry_run)
    if options.json:
        print_json(report)
    else:
        _print(terminal(), report)
    return OK


def _print(console: Console, report: MaintenanceReport) -> None:
    table = TerminalTable("table", box=box.SIMPLE_HEAD)
    for name in ("rows removed", "commits kept", "files", "MB"):
        table.add_column(name, justify="right")
    for upkeep in report.tables.values():
        table.add_row(
            upkeep.table,
            str(upkeep.rows_removed),
            _change(*upkeep.versions),
            _change(*upkeep.files),
            _change(*(f"{size / 1e6:.1f}" for size in upkeep.bytes)),
        )
    console.print(table)
    done = "would be" if report.dry_run else "were"
    lines = [
        f"{count} {kind} {'file' if count == 1 else 'files'}, {report.freed_bytes[kind] / 1e6:.1f} MB, {done} deleted"
        for kind, count in report.deleted.items()
    ]
    if report.vanished_videos:
        lines.append(f"rows of {len(report.vanished_videos)} vanished videos {done} removed")
    lines += [f"left: {what}" for what in report.left]
    for line in lines or ["Nothing to do."]:
        say(console, line)


def _change(before: object, after: object) -> str:
    return str(after) if before == after else f"{before} -> {after}"
