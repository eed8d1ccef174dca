"""What a change of thresholds would do, worked out from stored scores."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from curation_assets.filters import Filter
from curation_assets.selection.decisions import Values, decide


@dataclass(frozen=True)
class ClipScores:
    """What `decide` needs to know of a clip."""

    clip_id: str
    video_id: str
    values: Values = field(default_factory=dict)
    extra_reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class FilterCounts:
    """Clips a filter drops.

    `dropped` fail it, `not_scored` of them for want of a score; `dropped_alone` fail nothing else and would
    be selected without it; `remaining` are left after it and every filter before it.
    """

    name: str
    engine: str
    dropped: int
    not_scored: int
    dropped_alone: int
    remaining: int


@dataclass(frozen=True)
class Preview:
    """`enters` and `leaves` are clip ids in order; the funnels follow the filters' order."""

    clips: int
    selected_now: int
    selected_then: int
    enters: list[str]
    leaves: list[str]
    funnel_now: list[FilterCounts]
    funnel_then: list[FilterCounts]


def preview(clips: Iterable[ClipScores], filters_now: Sequence[Filter], filters_then: Sequence[Filter]) -> Preview:
    """Compare the selection under two sets of filters. An engine without scores yet drops every clip."""
    clips = list(clips)
    now, funnel_now = _select(clips, filters_now)
    then, funnel_then = _select(clips, filters_then)
    return Preview(
        clips=len(clips),
        selected_now=len(now),
        selected_then=len(then),
        enters=sorted(then - now),
        leaves=sorted(now - then),
        funnel_now=funnel_now,
        funnel_then=funnel_then,
    )


def _select(clips: list[ClipScores], filters: Sequence[Filter]) -> tuple[set[str], list[FilterCounts]]:
    selected: set[str] = set()
    dropped, not_scored, alone, remaining = ([0] * len(filters) for _ in range(4))
    for clip in clips:
        row = decide(clip.clip_id, clip.video_id, clip.values, filters, clip.extra_reasons)
        if row["selected"]:
            selected.add(clip.clip_id)
        still_in = not clip.extra_reasons
        for k, measurement in enumerate(row["measurements"]):
            if measurement["passed"] is False:
                still_in = False
                dropped[k] += 1
                not_scored[k] += measurement["value"] is None
                alone[k] += len(row["reasons"]) == 1
            remaining[k] += still_in
    return selected, [
        FilterCounts(f.name, f.engine, dropped[k], not_scored[k], alone[k], remaining[k]) for k, f in enumerate(filters)
    ]
