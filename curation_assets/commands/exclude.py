"""`reelhouse exclude`: leave a video or a clip out by hand, take that back, or list what is left out."""

import argparse
import getpass

import polars as pl
from rich.console import Console

from curation_assets.commands import OK, wrong_use
from curation_assets.commands.arguments import home_flags
from curation_assets.commands.terminal import print_json, say, terminal
from curation_assets.home import existing_home
from curation_assets.inspection.lookup import find_item
from curation_assets.orchestration.headless import open_instance
from curation_assets.orchestration.stage_asset import report_shards
from curation_assets.selection.exclusions import Change, Excluded, exclude, exclusions, include_again
from curation_assets.settings import home_path
from curation_assets.tables import EXCLUSIONS


def run(options: argparse.Namespace) -> int:
    if sum(map(bool, (options.list, options.undo, options.reason))) != 1:
        return wrong_use("say one of --reason TEXT, --undo and --list")
    if bool(options.item) == options.list:
        return wrong_use("name a video or a clip" if not options.item else "--list takes no video or clip")
    if options.json and not options.list:
        return wrong_use("--json is for --list")
    place = home_path()
    home = existing_home(place)
    console = terminal()
    if options.list:
        rows = exclusions(home.store)
        if options.json:
            print_json({"exclusions": rows.to_dicts()})
        else:
            _print_list(console, rows)
        return OK
    item = find_item(home.store, options.item)
    if item.shard is None:
        return wrong_use(f"{item.id}: belongs to no shard, so there is nothing to leave out")
    what = Excluded(item.kind, item.id, item.video_id, item.shard)
    change = include_again(home.store, what) if options.undo else exclude(home.store, what, options.reason, _account())
    _tell_dagster(place, change)
    if not change.changed:
        stood = "is not excluded" if options.undo else "is excluded for this reason already"
        console.print(f"{item.kind} {item.id} {stood}; nothing changed.", markup=False, soft_wrap=True)
        return OK
    did, then = ("no longer excluded", "comes back") if options.undo else ("excluded", "leaves the manifest")
    console.print(
        f"{item.kind} {item.id} is {did}. It {then} at the next refresh of shard {item.shard}; captions and files are "
        "kept.\nRefresh it in the UI, by its automation, or with the command that made it: reelhouse run SOURCE"
        f"{home_flags(options)}",
        markup=False,
        soft_wrap=True,
    )
    return OK


def _account() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account number without a name, as in containers
        return None


def _tell_dagster(home: str, change: Change) -> None:
    """The automation refreshes what is made from a shard whose exclusions changed."""
    with open_instance(home) as instance:
        report_shards(instance, EXCLUSIONS.name, {change.shard: change.data_version})


def _print_list(console: Console, rows: pl.DataFrame) -> None:
    for row in rows.iter_rows(named=True):
        by = f" by {row['excluded_by']}" if row["excluded_by"] else ""
        line = f"{row['excluded_on']}  {row['kind']} {row['excluded_id']}  shard {row['shard']}{by}: {row['reason']}"
        say(console, line)
    if rows.is_empty():
        console.print("Nothing is excluded.")
