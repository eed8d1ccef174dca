"""`reelhouse preview`: how many clips and hours stay with other thresholds, and which filter costs what."""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import yaml
from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table as TerminalTable
from rich.text import Text

from curation_assets import open_tables
from curation_assets.commands import OK
from curation_assets.commands.arguments import require_shards
from curation_assets.commands.terminal import print_json, terminal
from curation_assets.duplicates.deciding import compared
from curation_assets.filters import clip_filters, sample_filters
from curation_assets.inspection.thresholds import with_thresholds
from curation_assets.selection.preview import Amount, Effect, Neighbour, Preview, Samples, Thresholds, preview
from curation_assets.settings import Settings, home_path, load_settings, settings_file
from resources.text import printable

WIDTH = 100
LISTED_PAIRS = 3
LISTED_GROUPS = 8
NEIGHBOURS = 2
LEGEND = "clips left: by it and those above; alone: dropped if it were the only one; last: by no other"


def run(options: argparse.Namespace) -> int:
    now = load_settings()
    then, part = with_thresholds(now, options.set)
    tables, shards = open_tables(home_path()), options.shards
    if shards:
        require_shards(shards, tables.scan("source_files"))
    duplicates = compared(tables.scan, then).decided if then.duplicates.kinds else None
    found = preview(lambda table: tables.scan(table, shards), thresholds(then), thresholds(now), duplicates=duplicates)
    if options.json:
        print_json({"set": part, **asdict(found)})
    else:
        terminal().print(shown(found, part, str(settings_file() or "a settings file")), width=WIDTH)
    return OK


def thresholds(settings: Settings) -> Thresholds:
    return Thresholds(clip_filters(settings), sample_filters(settings))


def shown(found: Preview, part: dict[str, Any], file: str) -> RenderableType:
    """For people; `part` of the settings file `file` is what differs from those in force."""
    if not found.clips.clips:
        return "There are no clips yet; `reelhouse run` makes them."
    parts: list[RenderableType] = [
        _totals(found, bool(part)),
        _filters(found.effects),
        Text(LEGEND, style="dim"),
        _overlap(found),
        _retention(found, bool(part)),
        _borders(found),
        _samples(found),
        _ending(part, file),
    ]
    return Group(*(line for one in parts for line in (one, "")))


def _totals(found: Preview, is_changed: bool) -> TerminalTable:
    lines = {"all": found.clips, "stay": found.selected}
    if is_changed:
        lines = {
            "all": found.clips,
            "stay now": found.selected_now,
            "stay then": found.selected,
            "enter": found.entering,
            "leave": found.leaving,
        }
    aside = {"left out by hand": found.excluded, "lack a score": found.not_scored}
    table = _table("", "clips", "", "length", "")
    for name, amount in (lines | {name: amount for name, amount in aside.items() if amount.clips}).items():
        shares = _share(amount.clips, found.clips.clips), _share(amount.hours, found.clips.hours)
        style = "bold" if name in ("stay", "stay then") else ""
        table.add_row(name, f"{amount.clips:,}", shares[0], _length(amount), shares[1], style=style)
    return table


def _filters(effects: Sequence[Effect]) -> TerminalTable:
    """The bounds in force and the clips without a score stand where there are some to name."""
    changed = any(map(_is_changed, effects))
    unscored = any(effect.not_scored.clips for effect in effects)
    now, missing = (["now"] if changed else []), (["no score"] if unscored else [])
    table = _table("filter", "passes", *now, "clips left", "length", "alone", "last", *missing, left=(1, 1 + changed))
    names = _names(effects)
    for effect in effects:
        counts = [effect.alone, effect.last, *([effect.not_scored] if unscored else [])]
        before = _within(effect.min_now, effect.max_now) if _is_changed(effect) else ""
        table.add_row(
            names[effect.name, effect.engine],
            _within(effect.min, effect.max),
            *([before] if changed else []),
            f"{effect.remaining.clips:,}",
            _length(effect.remaining),
            *(f"{amount.clips:,}" if amount.clips else "" for amount in counts),
            style="bold" if before else "",
        )
    return table


def _is_changed(effect: Effect) -> bool:
    return (effect.min, effect.max) != (effect.min_now, effect.max_now)


def _overlap(found: Preview) -> Text:
    """The pairs that share most of what they drop."""
    names = list(_names(found.effects).values())
    pairs = [(found.overlap[i][j], names[i], names[j]) for i, j in combinations(range(len(names)), 2)]
    most = [f"{a} and {b} {count:,}" for count, a, b in sorted(pairs, reverse=True)[:LISTED_PAIRS] if count]
    return Text("Dropped by both: " + ("; ".join(most) or "none"))


def _retention(found: Preview, is_changed: bool) -> TerminalTable:
    table = _table("source, resolution", "clips", *(["stay now", "", "stay then"] if is_changed else ["stay"]), "")
    for groups in (found.by_source, found.by_resolution):
        for group in groups[:LISTED_GROUPS]:
            amounts = (group.selected_now, group.selected) if is_changed else (group.selected,)
            shares = [cell for kept in amounts for cell in (f"{kept.clips:,}", _share(kept.clips, group.clips.clips))]
            table.add_row(escape(printable(group.name)), f"{group.clips.clips:,}", *shares)
        table.add_section()
    return table


def _borders(found: Preview) -> TerminalTable:
    """Those of changed filters with several clips on each side; where none is changed all, with the nearest."""
    changed = {(effect.name, effect.engine) for effect in found.effects if _is_changed(effect)}
    nearest = NEIGHBOURS if changed else 1
    table = _table("border", "", "score", "clip", "dropped by", left=(1, 3, 4))
    names = _names(found.effects)
    for border in found.borders:
        key = (border.name, border.engine)
        if changed and key not in changed:
            continue
        name = f"{names[key]} {'>=' if border.side == 'min' else '<='} {border.bound:g}"
        for side, neighbours in (("in", border.inside[:nearest][::-1]), ("out", border.outside[:nearest])):
            for neighbour in neighbours:
                table.add_row(name, side, f"{neighbour.score:.5g}", neighbour.clip_id, _dropped_by(neighbour))
                name = ""
    return table


def _dropped_by(neighbour: Neighbour) -> str:
    first, *others = [name.partition(".")[0] for name in neighbour.removed_by] or [""]
    return f"{first} and {len(others)} more" if others else first


def _samples(found: Preview) -> Text:
    samples = found.samples
    text, left = _duplicates(found.selected, samples)
    text += f"Captions: of the {left}, {samples.captioned.clips:,} have theirs"
    text += f", {samples.failed.clips:,} failed" if samples.failed.clips else ""
    text += f" and {samples.to_caption.clips:,} would still need one."
    for effect in samples.effects:
        bound = _within(effect.min, effect.max)
        text += f" Alignment {bound} ({effect.engine}) drops {effect.alone.clips:,} of those."
    return Text(f"{text} Samples: {samples.selected.clips:,}, now {samples.selected_now.clips:,}.")


def _duplicates(selected: Amount, samples: Samples) -> tuple[str, str]:
    """What there is to say of them, and what is left of the selected clips."""
    stay = f"{selected.clips:,} clips that stay"
    if samples.duplicates is None or samples.not_compared is None:
        return "", stay
    text = f"Duplicates, decided anew for these thresholds: of the {stay}, {samples.duplicates.clips:,} give way"
    if samples.not_compared.clips:
        text += f" and {samples.not_compared.clips:,} weren't compared with others yet, so aren't counted on"
    left = selected.clips - samples.duplicates.clips - samples.not_compared.clips
    return f"{text}. ", f"{left:,} clips left"


def _ending(part: dict[str, Any], file: str) -> Text:
    if not part:
        return Text("Nothing was changed. Try others: reelhouse preview --set selection.text.max=0.01")
    return Text(
        f"Nothing was changed. To make it so, put this into {printable(file)} and refresh, as with `reelhouse run`:\n\n"
        + yaml.safe_dump(part, sort_keys=False).rstrip()
    )


def _table(*titles: str, left: Sequence[int] = ()) -> TerminalTable:
    """Figures to the right, but for the first column and those at `left`."""
    table = TerminalTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for k, title in enumerate(titles):
        table.add_column(title, justify="left" if k in (0, *left) else "right", no_wrap=True)
    return table


def _names(effects: Sequence[Effect]) -> dict[tuple[str, str], str]:
    """A filter's name, with its engine where several have it."""
    times = Counter(effect.name for effect in effects)
    return {
        (effect.name, effect.engine): effect.name if times[effect.name] == 1 else f"{effect.name}.{effect.engine}"
        for effect in effects
    }


def _within(minimum: float | None, maximum: float | None) -> str:
    if minimum is None:
        return "any" if maximum is None else f"<= {maximum:g}"
    return f">= {minimum:g}" if maximum is None else f"{minimum:g} .. {maximum:g}"


def _length(amount: Amount) -> str:
    return f"{amount.hours:,.1f} h" if amount.hours >= 1 else f"{amount.hours * 60:.1f} min"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else ""
