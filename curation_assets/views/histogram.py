"""How scores are spread and where their bounds cut them off, as one SVG."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation_assets.filters import Filter

BINS = 32
PANELS_A_ROW = 3
WIDTH_PX, HEIGHT_PX = 420, 130
PASSES, DROPPED = "#5b6ee1", "#c98a3b"
INK = "#767b87"  # as legible on white as on black: 4.2 and 5.0 to 1
BOUND = "#d64545"
FAR = 3.0  # interquartile ranges from the quartiles: Tukey's outer fences
ROOM = 0.04  # of the axis beyond a bound, so that what it drops has a bar at its other side
_OF_LIVE_VIEWS = re.compile(r' (?:class|role|aria-\w+|pointer-events)="[^"]*"| opacity="1"')  # half of the bytes

Spec = dict[str, Any]


def histogram(scores: pl.DataFrame, filters: Sequence[Filter]) -> str | None:
    """An SVG with a panel for each filter that has a score among `scores` (`views.scores.SCORES`); None without one.

    A bar's parts are exact: a bound inside a bin parts the clips that pass from those that don't.
    """
    import vl_convert

    of = scores.partition_by("filter", "engine", as_dict=True)
    shown = [(f, of[f.key]) for f in filters if f.key in of and of[f.key]["value"].count()]
    if not shown:
        return None
    narrow = len(shown) > 1
    spec = {
        "background": None,
        "concat": [_panel(filter_, group, narrow) for filter_, group in shown],
        "columns": min(len(shown), PANELS_A_ROW),
        "config": _CONFIG,
    }
    return _OF_LIVE_VIEWS.sub("", vl_convert.vegalite_to_svg(spec))


_CONFIG: Spec = {
    "aria": False,  # the picture is one element of the page, and its alternative text says what it shows
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {"labelColor": INK, "titleColor": INK, "domainColor": INK, "tickColor": INK, "grid": False},
    "title": {"color": INK, "subtitleColor": INK, "anchor": "start", "offset": 16, "subtitleFontSize": 11},
    "legend": {"labelColor": INK, "orient": "bottom", "title": None},
    "range": {"category": [PASSES, DROPPED]},
}


def _panel(filter_: Filter, group: pl.DataFrame, narrow: bool) -> Spec:
    scored = group.filter(pl.col("value").is_not_null())
    values, passed = scored["value"].to_numpy(), scored["passed"].to_numpy()
    bounds = filter_.bound.model_dump(include={"min", "max"}, exclude_none=True)
    first, last = _span(values, list(bounds.values()))
    edges = np.linspace(first, last, BINS + 1)
    outside = int(((values < first) | (values > last)).sum())
    return {
        "width": WIDTH_PX // 2 if narrow else WIDTH_PX,
        "height": HEIGHT_PX,
        "title": {"text": f"{filter_.name}, {filter_.engine}", "subtitle": _summary(group, outside)},
        "layer": [_bars(edges, values, passed, filter_.unit), *_rules(bounds)],
    }


def _bars(edges: NDArray[np.float64], values: NDArray[np.float64], passed: NDArray[np.bool_], unit: str) -> Spec:
    within = np.clip(values, edges[0], edges[-1])
    counts = {"passes": np.histogram(within[passed], edges)[0], "dropped": np.histogram(within[~passed], edges)[0]}
    bars = [
        {"from": float(edges[k]), "to": float(edges[k + 1]), "clips": int(count), "is": name}
        for name, of_bins in counts.items()
        for k, count in enumerate(of_bins)
        if count
    ]
    axis = {"title": unit or None, "tickCount": 4}
    return {
        "data": {"values": bars},
        "mark": {"type": "bar", "binSpacing": 1},
        "encoding": {
            "x": {"field": "from", "type": "quantitative", "bin": "binned", "axis": axis},
            "x2": {"field": "to"},
            "y": {"field": "clips", "type": "quantitative", "axis": {"tickCount": 3, "tickMinStep": 1}},
            "color": {"field": "is", "type": "nominal", "scale": {"domain": ["passes", "dropped"]}},
        },
    }


def _rules(bounds: Mapping[str, float]) -> list[Spec]:
    """A line a bound, with its figure above."""
    if not bounds:
        return []
    shared = {
        "data": {"values": [{"at": bound, "says": f"{name} {bound:g}"} for name, bound in bounds.items()]},
        "encoding": {"x": {"field": "at", "type": "quantitative"}, "text": {"field": "says"}},
    }
    line = {"type": "rule", "color": BOUND, "strokeDash": [4, 2]}
    return [{**shared, "mark": mark} for mark in (line, {"type": "text", "color": BOUND, "y": -9, "fontSize": 10})]


def _span(values: NDArray[np.float64], bounds: Sequence[float]) -> tuple[float, float]:
    """From the first bar to the last: the scores without far ones, which would press all others into one bar."""
    low, high = np.quantile(values, (0.25, 0.75))
    reach = FAR * (high - low)
    near = values[(values >= low - reach) & (values <= high + reach)]
    ends = [float(near.min()), float(near.max()), *bounds]
    first, last = min(ends), max(ends)
    if first == last:
        return first - 0.5, last + 0.5
    room = ROOM * (last - first)
    return first - room * (first in bounds), last + room * (last in bounds)


def _summary(group: pl.DataFrame, outside: int) -> str:
    counts = {
        "pass": int(group["passed"].sum()),
        "dropped": int((~group["passed"] & group["value"].is_not_null()).sum()),
        "not scored": group["value"].null_count(),
        "beyond the axis, in the bar at its end": outside,
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count or what in ("pass", "dropped"))
