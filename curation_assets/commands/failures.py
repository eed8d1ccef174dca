"""`reelhouse failures`: what failed, newest first; `--retry` tries it again, and makes what is made from it."""

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table as TerminalTable

from curation_assets.commands import FAILED, OK, wrong_use
from curation_assets.commands.arguments import require_shards
from curation_assets.commands.live import Board, run_terminal, shown
from curation_assets.commands.making import make_shards
from curation_assets.commands.parser import closest
from curation_assets.commands.terminal import print_json, say, terminal
from curation_assets.home import OpenHome, existing_home
from curation_assets.inspection.failures import BLOCKED, KINDS, Failure, find_failures
from curation_assets.inspection.lookup import rows_of
from curation_assets.orchestration.headless import OF_PROMPTS, HeadlessRun, open_instance
from curation_assets.settings import Settings, home_path, load_settings
from curation_assets.tables import PROMPTS, SOURCE_FILES, TABLES, TRAINING_SET

LISTED = 100
REGISTERED = (SOURCE_FILES, PROMPTS)  # which have rows of every shard and prompt file
RECOVERED, AGAIN = "recovered", "failed again"
NOT_TRIED = "not tried"


@dataclass(frozen=True)
class Retried:
    """What became of a failure: recovered, failed again, blocked (by what it is made from) or not tried, and why."""

    failure: Failure
    outcome: str
    error: str | None


@dataclass(frozen=True)
class Retry:
    """`failed_anew` had not failed before, `step_failures` stopped whole steps."""

    retried: Sequence[Retried] = ()
    failed_anew: Sequence[Failure] = ()
    step_failures: Sequence[str] = ()

    @property
    def is_whole(self) -> bool:
        unwanted = self.failed_anew or self.step_failures
        return not unwanted and all(each.outcome == RECOVERED for each in self.retried)


def run(options: argparse.Namespace) -> int:
    if options.asset and options.asset not in TABLES:
        return wrong_use(f"--asset {options.asset}: no such asset{closest(options.asset, TABLES)}")
    home = existing_home(home_path())
    if options.shard:
        require_shards([options.shard], pl.concat(rows_of(home.store, table).select("shard") for table in REGISTERED))
    looked_at = [options.asset] if options.asset and not options.retry else TABLES
    found = find_failures(home.store, looked_at, [options.shard] if options.shard else None)
    found.sort(key=lambda failure: failure.failed_at, reverse=True)
    if options.retry:
        return _retry_and_print(home, found, options)
    counts = Counter((failure.asset, failure.kind) for failure in found)
    if options.json:
        counted = [{"asset": asset, "kind": kind, "count": count} for (asset, kind), count in counts.items()]
        print_json({"failures": found, "counts": counted})
    else:
        print_failures(terminal(), found, counts)
    return OK


def print_failures(console: Console, found: Sequence[Failure], counts: Counter[tuple[str, str]]) -> None:
    if not found:
        say(console, "Nothing failed.")
        return
    table = TerminalTable("failed", *KINDS, box=box.SIMPLE_HEAD)
    for asset in dict.fromkeys(asset for asset, _ in counts):
        table.add_row(asset, *(str(counts[asset, kind] or "") for kind in KINDS))
    console.print(table)
    for failure in found[:LISTED]:
        when = f"{failure.failed_at:%Y-%m-%d %H:%M:%S}"
        say(console, f"{when}  {failure.shard}  run {failure.run_id[:8]}  {failure.kind}")
        say(console, f"    {failure}")
    if len(found) > LISTED:
        say(console, f"and {len(found) - LISTED} more, which --json lists")
    say(console, "`--retry` tries them again; the next run does so for those of kind transient only.")


def _retry_and_print(home: OpenHome, known: Sequence[Failure], options: argparse.Namespace) -> int:
    console, settings = run_terminal(aside=options.json), load_settings()
    chosen = [failure for failure in known if options.asset in (None, failure.asset)]
    done = _retry(home, settings, chosen, known, console) if chosen else Retry()
    if options.json:
        print_json(done)
    else:
        print_retried(console, done)
    return OK if done.is_whole else FAILED


def _retry(
    home: OpenHome, settings: Settings, chosen: Sequence[Failure], known: Sequence[Failure], console: Console
) -> Retry:
    """Materialize the assets and shards that hold the failures, and what is made from them."""
    board, place = Board(), home.files.root
    failing: defaultdict[str, set[str]] = defaultdict(set)
    for failure in chosen:
        if _can_be_tried(failure, settings):
            failing[failure.shard].add(failure.asset)
    with open_instance(place) as instance:
        job = HeadlessRun(settings, place, instance, board.see)
        wanted = {shard: job.made_from(assets) for shard, assets in sorted(failing.items())}
        assets = [asset for asset in (*job.assets, *OF_PROMPTS) if any(asset in names for names in wanted.values())]
        job.require(assets)
        board.expect(assets)
        with shown(board, console):
            for source in sorted({_source(shard) for shard, names in failing.items() if SOURCE_FILES.name in names}):
                job.register({"name": source, **settings.sources[source].model_dump(mode="json")})
            make_shards(job, board, wanted, retry_failed=True)
            now = find_failures(home.store, TABLES, {failure.shard for failure in chosen}, (*KINDS, BLOCKED))
            retried = _what_became(chosen, now, settings)
            if TRAINING_SET.name in assets and any(each.outcome == RECOVERED for each in retried):
                job.release(assets)
    before = {failure.key for failure in known}
    anew = [failure for failure in now if failure.kind != BLOCKED and failure.key not in before]
    return Retry(retried, anew, job.outcome.step_failures)


def _can_be_tried(failure: Failure, settings: Settings) -> bool:
    """Not without what somebody named on the command line: the place of a source, or the file of prompts."""
    if failure.asset == SOURCE_FILES.name:
        return _source(failure.shard) in settings.sources
    return failure.asset != PROMPTS.name


def _source(shard: str) -> str:
    return shard.rpartition("-")[0]


def _what_became(chosen: Sequence[Failure], now: Sequence[Failure], settings: Settings) -> list[Retried]:
    failed_now = {failure.key: failure for failure in now}
    return [_became(failure, failed_now.get(failure.key), _can_be_tried(failure, settings)) for failure in chosen]


def _became(failure: Failure, now: Failure | None, tried: bool) -> Retried:
    if not tried:
        return Retried(failure, NOT_TRIED, "the settings don't name its source; run the command that registered it")
    if now is None:
        return Retried(failure, RECOVERED, None)
    return Retried(failure, BLOCKED if now.kind == BLOCKED else AGAIN, now.error)


def print_retried(console: Console, done: Retry) -> None:
    for each in done.retried:
        named = f"{each.failure.asset}  {each.failure.named}"
        say(console, f"{each.outcome}: {named}{f': {each.error}' if each.error else ''}")
    for failure in done.failed_anew:
        say(console, f"failed anew: {failure}")
    for message in done.step_failures:
        say(console, f"step failed: {message}")
    counts = Counter(each.outcome for each in done.retried)
    say(console, ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "Nothing failed.")
