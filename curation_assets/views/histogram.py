"""How scores are spread and where their bounds cut them off, as one SVG."""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation_assets.filters import Filter

BINS = 32
PANELS_A_ROW = 3
WIDTH_PX, NARROW_PX, HEIGHT_PX = 420, 240, 130  # of the bars' area in a picture of one panel, and of several
LEFT_PX, ABOVE_PX, BELOW_PX, BETWEEN_PX = 48, 68, 44, 24  # figures, words and ground around it
PASSES, DROPPED = "#5b6ee1", "#c98a3b"
INK = "#767b87"  # as legible on white as on black: 4.2 and 5.0 to 1
BOUND = "#d64545"
FAR = 3.0  # interquartile ranges from the quartiles: Tukey's outer fences
ROOM = 0.04  # of the axis beyond a bound, so that what it drops has a bar at its other side


def histogram(scores: pl.DataFrame, filters: Sequence[Filter]) -> str | None:
    """An SVG with a panel for each filter that has a score among `scores` (`views.scores.SCORES`); None without one.

    A bar's parts are exact: a bound inside a bin parts the clips that pass from those that don't.
    """
    of = scores.partition_by("filter", "engine", as_dict=True)
    shown = [(f, of[f.key]) for f in filters if f.key in of and of[f.key]["value"].count()]
    if not shown:
        return None
    width = WIDTH_PX if len(shown) == 1 else NARROW_PX
    across, down = LEFT_PX + width + BETWEEN_PX, ABOVE_PX + HEIGHT_PX + BELOW_PX
    columns = min(len(shown), PANELS_A_ROW)
    bottom = -(-len(shown) // columns) * down
    places = ((LEFT_PX + k % columns * across, ABOVE_PX + k // columns * down) for k in range(len(shown)))
    panels = [
        f'<g transform="translate({x},{y})">{"".join(_panel(filter_, group, width))}</g>'
        for (x, y), (filter_, group) in zip(places, shown, strict=True)
    ]
    legend = [
        _text(LEFT_PX, bottom + 9, "clips:"),
        *_legend(LEFT_PX + 40, bottom, "passes", PASSES),
        *_legend(LEFT_PX + 110, bottom, "dropped", DROPPED),
    ]
    size = f'width="{columns * across}" height="{bottom + 20}"'
    style = f'font-family="sans-serif" font-size="11" fill="{INK}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{"".join([*panels, *legend])}</svg>'


def _legend(x: int, y: int, name: str, colour: str) -> tuple[str, str]:
    return f'<rect x="{x}" y="{y}" width="10" height="10" fill="{colour}"/>', _text(x + 14, y + 9, name)


def _panel(filter_: Filter, group: pl.DataFrame, width: int) -> list[str]:
    """Elements, with 0, 0 at the upper left corner of the bars' area."""
    scored = group.filter(pl.col("value").is_not_null())
    values, passed = scored["value"].to_numpy(), scored["passed"].to_numpy()
    bounds = filter_.bound.model_dump(include={"min", "max"}, exclude_none=True)
    first, last = _span(values, list(bounds.values()))
    within = np.clip(values, first, last)
    passes, dropped = (np.histogram(within[those], BINS, (first, last))[0] for those in (passed, ~passed))
    highest = int((passes + dropped).max())
    outside = int((within != values).sum())

    def x(value: float) -> float:
        return (value - first) / (last - first) * width

    def y(count: float) -> float:
        return HEIGHT_PX * (1 - count / highest)

    drawn = [
        _text(0, -52, f"{filter_.name}, {filter_.engine}", weight="bold"),
        _text(0, -36, _summary(group)),
        _text(0, -22, f"{outside} beyond the axis, in the bar at its end" if outside else ""),
        _bars(passes, np.zeros_like(passes), highest, width, PASSES),
        _bars(dropped, passes, highest, width, DROPPED),
        f'<path d="M0,0V{HEIGHT_PX}H{width}" fill="none" stroke="{INK}"/>',
        *(_text(x(tick), HEIGHT_PX + 14, f"{tick:g}", anchor="middle") for tick in _ticks(first, last)),
        *(_text(-5, y(tick) + 4, f"{tick:g}", anchor="end") for tick in _ticks(0, highest, least_step=1)),
        _text(width / 2, HEIGHT_PX + 30, filter_.unit, anchor="middle", weight="bold"),
    ]
    for name, bound in bounds.items():
        line = f'<path d="M{x(bound):.1f},0v{HEIGHT_PX}" stroke="{BOUND}" stroke-dasharray="4,2"/>'
        drawn += [line, _text(x(bound), -6, f"{name} {bound:g}", anchor="middle", fill=BOUND)]
    return drawn


def _text(x: float, y: float, words: str, anchor: str = "", weight: str = "", fill: str = "") -> str:
    chosen = {"text-anchor": anchor, "font-weight": weight, "fill": fill}
    style = "".join(f' {name}="{value}"' for name, value in chosen.items() if value)
    return f'<text x="{x:.1f}" y="{y:.1f}"{style}>{escape(words)}</text>' if words else ""


def _bars(counts: NDArray[np.int64], below: NDArray[np.int64], highest: int, width: int, colour: str) -> str:
    """One path: a bar a bin on top of those `below`, a pixel apart."""
    across, up = width / BINS, HEIGHT_PX / highest
    path = "".join(
        f"M{k * across:.1f},{HEIGHT_PX - under * up:.1f}h{across - 1:.1f}v{-count * up:.1f}h{1 - across:.1f}z"
        for k, (count, under) in enumerate(zip(counts, below, strict=True))
        if count
    )
    return f'<path d="{path}" fill="{colour}"/>'


def _ticks(first: float, last: float, least_step: float = 0) -> list[float]:
    """Round figures, three to six."""
    rough = (last - first) / 4
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = max(least_step, magnitude * next(factor for factor in (5, 2, 1) if factor * magnitude <= rough))
    return [k * step for k in range(math.ceil(first / step), math.floor(last / step) + 1)]


def _span(values: NDArray[np.float64], bounds: Sequence[float]) -> tuple[float, float]:
    """From the first bar to the last: the scores without far ones, which would press all others into one bar."""
    low, high = np.quantile(values, (0.25, 0.75))
    reach = FAR * (high - low)
    near = values[(values >= low - reach) & (values <= high + reach)]
    ends = [float(near.min()), float(near.max()), *bounds]
    first, last = min(ends), max(ends)
    if first == last:
        half = max(0.5, abs(first) / 100)  # beside which a large figure's neighbours are told apart
        return first - half, last + half
    room = ROOM * (last - first)
    return first - room * (first in bounds), last + room * (last in bounds)


def _summary(group: pl.DataFrame) -> str:
    scored, passed = group["value"].is_not_null(), group["passed"]
    counts = {"pass": passed.sum(), "dropped": (~passed & scored).sum(), "not scored": (~scored).sum()}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count or what != "not scored")
