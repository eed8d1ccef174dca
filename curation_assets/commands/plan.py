"""`reelhouse plan`: what a run would do now, and why."""

import argparse
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as TerminalTable

from curation_assets.commands import FAILED, OK, wrong_use
from curation_assets.commands.arguments import cannot_be_named, named_source, overridden
from curation_assets.commands.terminal import print_json, say, terminal
from curation_assets.inspection.plan import Figure, Plan, make_plan
from curation_assets.settings import Source, home_path, load_settings

LISTED_REASONS = 3
COUNTS = {  # column -> field of a tally
    "compute": "units",
    "reuse": "reused",
    "decode videos": "video_decodes",
    "clips": "clip_decodes",
    "encode": "encodes",
    "call": "calls",
}


def run(options: argparse.Namespace) -> int:
    settings = overridden(load_settings(), options)
    name = None
    sources: Mapping[str, Source] = settings.sources
    if options.source:
        if problem := cannot_be_named(options.source):
            return wrong_use(problem)
        name, source = named_source(options)
        sources = {name: source}
    plan = make_plan(settings, home_path(), sources, name, options.until, options.retry_failed)
    if options.json:
        print_json(_document(plan))
    else:
        print_plan(terminal(), plan)
    return FAILED if plan.problems else OK


def _document(plan: Plan) -> dict[str, Any]:
    lines = [
        {
            "asset": line.asset,
            **{name: line.figure(name) for name in COUNTS.values()},
            "seconds": line.seconds,
            "reasons": line.reasons,
        }
        for line in plan.lines
    ]
    return {"shards": plan.shards, "assets": lines, "seconds": plan.seconds, "problems": plan.problems}


def print_plan(console: Console, plan: Plan) -> None:
    table = TerminalTable("asset", box=box.SIMPLE_HEAD, show_footer=True)
    for title, name in COUNTS.items():
        table.add_column(title, "" if name == "reused" else _shown(plan.figure(name)), justify="right")
    table.add_column("about s", _span(*plan.seconds), justify="right")
    for line in plan.lines:
        figures = [_shown(line.figure(name)) for name in COUNTS.values()]
        table.add_row(line.asset, *figures, "?" if line.seconds is None else _span(*line.seconds))
    console.print(table)
    for line in plan.lines:
        for reason, count in line.reasons.most_common(LISTED_REASONS):
            say(console, f"  {line.asset}: {count} {reason}")
    for problem in plan.problems:
        say(console, f"Can't be scanned: {problem}")
    for sentence in _notes(plan):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _shown(figure: Figure) -> str:
    return "" if figure == Figure(0, 0) else str(figure)


def _span(low: float, high: float) -> str:
    if high == 0:
        return ""
    return f"{low:.1f}" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} .. {high:.1f}"


def _notes(plan: Plan) -> list[str]:
    figures = [line.figure("units") for line in plan.lines]
    notes = []
    if plan.hashed_bytes:
        notes.append(f"{plan.hashed_bytes / 1e6:.1f} MB have to be hashed; until then a file's content is a guess.")
    if any(figure.low != figure.high for figure in figures):
        notes.append("a .. b: as many as a if recomputed results come out as they were, b if none does and all pass.")
    if any(figure.about for figure in figures):
        notes.append("about: by the home's averages, since nobody has seen the clips yet.")
    if plan.untimed:
        notes.append(f"?: {len(plan.untimed)} assets have computed nothing like it yet that tells how long it takes.")
    if not any(figure.high or figure.clipless for figure in figures):
        notes.append("Nothing has to be computed.")
    return [*notes, "Nothing was changed."]
