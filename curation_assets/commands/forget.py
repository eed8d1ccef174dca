"""`reelhouse forget`: take a video down."""

import argparse
import sys

from rich.console import Console

from curation_assets.commands import FAILED, OK, failed, wrong_use
from curation_assets.commands.terminal import say, terminal
from curation_assets.home import existing_home
from curation_assets.inspection.lookup import find_item
from curation_assets.orchestration.headless import open_instance
from curation_assets.settings import home_path
from curation_assets.upkeep.takedown import Holdings, Takedown, forget, holdings


def run(options: argparse.Namespace) -> int:
    place = home_path()
    home = existing_home(place)
    video = find_item(home.store, options.video)
    if video.kind == "clip":
        return wrong_use(f"{video.id}: a clip; forget takes down its whole video {video.video_id}, name that")
    console = terminal()
    with open_instance(place) as instance:
        _print_holdings(console, video.id, holdings(home, video, instance))
        if not options.yes and not _confirmed(video.id):
            console.print("Nothing was removed.")
            return FAILED
        done = forget(home, video, options.reason, instance)
    _print_takedown(console, video.id, done)
    return FAILED if done.left else OK


def _confirmed(video_id: str) -> bool:
    if not sys.stdin.isatty():
        failed("there is nobody to ask; give --yes to remove it")
        return False
    return input(f"This can't be undone. Type the first four characters of {video_id} to go on: ") == video_id[:4]


def _print_holdings(console: Console, video_id: str, found: Holdings) -> None:
    rows = {table: count for table, count in found.rows.items() if count}
    facts = [
        f"video {video_id}: {', '.join(found.names) or 'no file of it is registered'}",
        f"  rows: {', '.join(f'{count} in {table}' for table, count in rows.items()) or 'none'}",
        *([f"  rows of other clips that name its clips: {found.named_by}"] if found.named_by else []),
        f"  files of frames and clips: {len(found.media_files)}",
        f"  data files of tables, old versions included: {found.old_data_files}",
        f"  exported files: {len(found.exports)}, of releases {', '.join(found.releases) or 'none'}",
        f"  Dagster runs whose records quote it, which are deleted: {len(found.runs)}",
    ]
    if found.runs_under_way:
        facts.append(f"  {len(found.runs_under_way)} runs are under way; wait for them first")
    for fact in facts:
        say(console, fact)


def _print_takedown(console: Console, video_id: str, done: Takedown) -> None:
    facts = [
        f"Taken down: {sum(done.rows.values())} rows, {done.media_files} files, {done.data_files} data files of tables "
        f"rewritten without it, statistics removed from {done.commits} commits, {done.exports} exported files "
        f"rewritten, {done.runs} Dagster runs deleted.",
        "Its source file is not touched: remove it there too, else each scan reports it as taken down.",
        "Copies outside this home, such as training sets and snapshots made of it, are not touched either.",
    ]
    if done.releases:
        facts.append(f"Releases that held it are marked, and can't be reproduced as made: {', '.join(done.releases)}")
    facts += [
        f"{table}: versions before {oldest} can't be opened any more, since the log no longer reaches back to the first"
        for table, oldest in done.shortened.items()
    ]
    for fact in (*facts, *(f"LEFT: {left}" for left in done.left)):
        say(console, fact)
