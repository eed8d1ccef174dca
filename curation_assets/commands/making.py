"""Runs assets shard by shard before a board that shows how far they are."""

from collections.abc import Collection, Mapping

from curation_assets.commands.live import Board
from curation_assets.orchestration.headless import HeadlessRun


def make_shards(job: HeadlessRun, board: Board, wanted: Mapping[str, Collection[str]], retry_failed: bool) -> None:
    """Make the assets wanted of each shard; `duplicates`, if among them, once all shards are compared.

    Shards whose clips it decides on otherwise are then made, too.
    """
    if not wanted:
        return
    first, *rest = job.parts({asset for assets in wanted.values() for asset in assets})
    for shard in board.each(list(wanted), first):
        job.shard(shard, first.intersection(wanted[shard]), retry_failed)
    for after in rest:
        changed = job.duplicates()
        for shard in board.each(sorted({*wanted, *changed}), after):
            job.shard(shard, after if shard in changed else after.intersection(wanted[shard]), retry_failed)
