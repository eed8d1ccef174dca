"""`reelhouse release`: which releases there are, what is in one, what two differ in and why, and one made again."""

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as TerminalTable

from curation_assets.commands import FAILED, OK, wrong_use
from curation_assets.commands.arguments import cannot_be_filled
from curation_assets.commands.terminal import print_json, say, terminal
from curation_assets.home import OpenHome, existing_home
from curation_assets.settings import home_path
from curation_assets.tables import DUPLICATES
from curation_assets.training_set.gaps import Gap
from curation_assets.training_set.history import Diff, departures, diff
from curation_assets.training_set.reasons import dropped_by
from curation_assets.training_set.release import released_samples
from curation_assets.training_set.reproduce import Reproduction, reproduce
from curation_assets.upkeep.releases import Release, TablesAt, all_releases, find_release, retire, versions_of
from resources.files import Files
from resources.text import printable

LISTED = 20
DECIDE_ANEW = (
    "duplicates: `reelhouse run` decides anew over all shards, as the job find_duplicates does, after which "
    "refresh_shard brings samples up to date."
)


def run(options: argparse.Namespace) -> int:
    return int(ACTIONS[options.action](terminal(), existing_home(home_path()), options))


def _list(console: Console, home: OpenHome, options: argparse.Namespace) -> int:
    releases = all_releases(home.store)
    if options.json:
        print_json({"releases": [_identity(release) for release in releases]})
        return OK
    table = TerminalTable("release", "made (UTC)", box=box.SIMPLE_HEAD)
    for name in ("samples", "gaps"):
        table.add_column(name, justify="right")
    table.add_column("settings")
    table.add_column("marks")
    for release in releases:
        made = f"{release['computed_at']:%Y-%m-%d %H:%M}"
        counts = (str(release["samples"]), "?" if release["gaps"] is None else str(len(release["gaps"])))
        table.add_row(release["release"], made, *counts, release["settings_hash"], ", ".join(_marks(release)))
    if releases:
        console.print(table)
    else:
        console.print("There is no release yet; `reelhouse run` makes one.")
    return OK


def _identity(release: Release) -> dict[str, Any]:
    """What tells releases apart, for programs."""
    return {
        "release": release["release"],
        "made_at": release["computed_at"],
        "samples": release["samples"],
        "gaps": release["gaps"],
        "settings_hash": release["settings_hash"],
        "retired_at": release["retired_at"],
        "forgotten": release["forgotten"] or [],
    }


def _marks(release: Release) -> list[str]:
    marks = []
    if release["retired_at"] is not None:
        marks.append(f"retired {release['retired_at']:%Y-%m-%d}")
    if release["forgotten"]:
        marks.append(f"videos taken down since: {len(release['forgotten'])}")
    return marks


def _show(console: Console, home: OpenHome, options: argparse.Namespace) -> int:
    release = find_release(home.store, options.release)
    tables = TablesAt(home.store, versions_of(release))
    settings = departures(release["settings"])
    samples = released_samples(tables)
    warnings = Counter(warning.partition(", ")[0] for listed in samples["warnings"] for warning in listed)
    counts = {"samples_of_source": Counter(samples["source"]), "dropped_by": dropped_by(tables), "warning": warnings}
    hashes = release["export_sha256"] or [None] * len(release["exports"])
    exports = list(zip(release["exports"], hashes, strict=True))
    if options.json:
        print_json(
            _identity(release)
            | counts
            | {
                "settings": _changes(settings),
                "table_versions": versions_of(release),
                "exports": [{"path": path, "sha256": sha} for path, sha in exports],
            }
        )
        return OK
    made = f"{release['computed_at']:%Y-%m-%d %H:%M}"
    say(console, f"{release['release']}, made {made} UTC: {release['samples']} samples")
    _lines(console, "Marks:", _marks(release))
    _lines(console, "Taken down since:", release["forgotten"] or ())
    _lines(console, f"Settings {release['settings_hash']}, beside the defaults:", _settings(settings))
    versions = versions_of(release).items()
    _lines(console, "Table versions:", [", ".join(f"{name} {version}" for name, version in versions)])
    _lines(console, "Files:", [f"{path}  {sha or ''}" for path, sha in exports])
    for what, counted in counts.items():
        _counts(console, what.replace("_", " "), counted)
    print_gaps(console, release["gaps"] or ())
    return OK


def _diff(console: Console, home: OpenHome, options: argparse.Namespace) -> int:
    before, after = find_release(home.store, options.before), find_release(home.store, options.after)
    found = diff(home.store, before, after)
    if options.json:
        settings = found.settings if found.settings is None else _changes(found.settings)
        print_json(asdict(found) | {"settings": settings})
    else:
        print_diff(console, found, None if options.all else LISTED)
    return OK


def _changes(changes: Sequence[tuple[str, Any, Any]] | None) -> list[dict[str, Any]]:
    return [{"key": key, "before": before, "after": after} for key, before, after in changes or ()]


def _reproduce(console: Console, home: OpenHome, options: argparse.Namespace) -> int:
    release = find_release(home.store, options.release)
    folder = Path(options.to or f"{release['release']}-again")
    if problem := cannot_be_filled(folder):
        return wrong_use(problem)
    found = reproduce(home.store, home.files, release, Files(str(folder)))
    print_reproduction(console, found, release, folder)
    return OK if found.is_whole else FAILED


def _retire(console: Console, home: OpenHome, options: argparse.Namespace) -> int:
    release = retire(home.store, options.release)
    say(console, f"{release['release']} is retired: `reelhouse maintain` may delete the table versions it pins.")
    return OK


ACTIONS = {"list": _list, "show": _show, "diff": _diff, "reproduce": _reproduce, "retire": _retire}


def print_gaps(console: Console, gaps: Sequence[Gap], count: int | None = None) -> None:
    """What a release lacks: totals of `gaps`, then shard by shard. `count` is of all where `gaps` are the first."""
    if not gaps:
        return
    more = (len(gaps) if count is None else count) - LISTED
    inputs, shards = Counter[str](), Counter[str]()
    for gap in gaps:
        what = f"{gap['table']}: {gap['kind']}"
        inputs[what] += gap["count"] or 0
        shards[what] += 1
    table = TerminalTable("gaps of the release", box=box.SIMPLE_HEAD)
    for name in ("shards", "inputs"):
        table.add_column(name, justify="right")
    for what, of_shards in shards.items():
        table.add_row(what, str(of_shards), str(inputs[what]) if inputs[what] else "")
    console.print(table)
    if any(gap["table"] == DUPLICATES.name for gap in gaps):
        say(console, f"  {DECIDE_ANEW}")
    listed = [f"{gap['shard']}  {gap['table']}: {_gap(gap)}" for gap in gaps]
    _lines(console, "", listed[:LISTED])
    if more > 0:
        console.print(f"  and {more} more, in the column `gaps` of training_set")


def _gap(gap: Gap) -> str:
    return gap["kind"] if gap["count"] is None else f"{gap['kind']} {gap['count']}"


def print_diff(console: Console, found: Diff, limit: int | None) -> None:
    """Counts by cause, then clips with their figures, at most `limit`."""
    counts = ", ".join(f"{found.count(how)} {how}" for how in ("entered", "left", "changed"))
    say(console, f"From {found.before} to {found.after}: {counts}, {found.unchanged} as they were.")
    for name, count in found.gone.items():
        say(console, f"{name}: {count} samples are gone with videos that were taken down, and aren't compared.")
    if found.settings is None:
        say(console, "One of them doesn't hold its settings.")
    _lines(console, "Settings that differ:", _settings(found.settings))
    _counts(console, "why", Counter({f"{how}: {what}": n for (how, what), n in found.causes().items()}))
    for change in found.changes[:limit]:
        say(console, f"{change.how:8} {change.clip_id}")
        for cause in change.causes:
            say(console, f"    {cause.what}" + (f"; {cause.detail}" if cause.detail else ""))
    if limit is not None and len(found.changes) > limit:
        console.print(f"and {len(found.changes) - limit} more; --all lists them")


def print_reproduction(console: Console, found: Reproduction, release: Release, folder: Path) -> None:
    for export in found.exports:
        state = {True: "as released", False: "OTHER BYTES than released", None: "no hash was recorded"}
        say(console, f"{folder / export.name}  {state[export.as_released]}  {export.sha256}")
    if any(export.as_released is False for export in found.exports) and not found.taken_down:
        say(console, f"Released with {release['written_by']}, made again with polars {pl.__version__}.")
    if found.taken_down:
        gone = release["samples"] - found.samples
        say(
            console,
            f"It can't be made whole again: {gone} of {release['samples']} samples are gone, since these videos were "
            f"taken down: {', '.join(found.taken_down)}",
        )
    states = Counter(file.state for file in found.clip_files)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    say(console, f"It needs {len(found.clip_files)} clip files of {_mb(found)} MB: {counts or 'none'}")
    wrong = [file for file in found.clip_files if file.state != "present"]
    lines = [f"{file.state}: {file.path}, {file.bytes} bytes in its row" for file in wrong]
    _lines(console, "", lines)


def _mb(found: Reproduction) -> str:
    return f"{sum(file.bytes or 0 for file in found.clip_files) / 1e6:,.1f}"


def _settings(changes: Sequence[tuple[str, object, object]] | None) -> list[str]:
    return [f"{key}: {old} -> {new}" for key, old, new in changes or ()]


def _counts(console: Console, what: str, counts: Counter[str]) -> None:
    if not counts:
        return
    table = TerminalTable(what, box=box.SIMPLE_HEAD)
    table.add_column("count", justify="right")
    for name, count in counts.most_common():
        table.add_row(escape(printable(name)), str(count))
    console.print(table)


def _lines(console: Console, title: str, lines: Iterable[str]) -> None:
    listed = list(lines)
    if listed and title:
        console.print(title)
    for line in listed:
        say(console, f"  {line}")
