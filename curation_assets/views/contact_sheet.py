"""Clips to look at: the best, those at a border, the dropped ones with their reasons; as Markdown with pictures in it.

Each picture stands with its clip's id: that is how `forget` finds the records that show a video.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from curation_assets.filters import Filter
from resources.text import one_line

CLIPS_A_ROW = 5
CLIPS = 15  # in all; 15 pictures of 160 px take some 55 kB
MAX_PICTURE_BYTES = 120_000
SAID_CHARACTERS = 160

Picture = Callable[[str], bytes | None]  # clip_id -> a JPEG, None where there is none


@dataclass(frozen=True)
class Seen:
    """A clip on the sheet and what is said of it."""

    clip_id: str
    says: str


Sheet = Mapping[str, Sequence[Seen]]  # heading -> clips


def contact_sheet(sheet: Sheet, picture: Picture) -> str | None:
    """Markdown: a table a heading, with pictures, ids and what is said; None where there is no clip to show."""
    left = MAX_PICTURE_BYTES
    parts = []
    for heading, clips in sheet.items():
        for first in range(0, len(clips), CLIPS_A_ROW):
            row = clips[first : first + CLIPS_A_ROW]
            cells = []
            for seen in row:
                jpeg = picture(seen.clip_id)
                jpeg = jpeg if jpeg and len(jpeg) <= left else None
                left -= len(jpeg or b"")
                cells.append(image(jpeg, "jpeg") if jpeg else "no picture")
            rows = [cells, ["---"] * len(row), [code(s.clip_id) for s in row], [code(s.says) for s in row]]
            title = [] if first else [f"#### {heading}", ""]
            parts.append("\n".join([*title, *("| " + " | ".join(line) + " |" for line in rows)]))
    return "\n\n".join(parts) or None


def image(data: bytes, kind: str, says: str = "") -> str:
    """Markdown of the picture itself; `says` is for those who can't see it."""
    return f"![{says}](data:image/{kind};base64,{base64.b64encode(data).decode()})"


def code(text: str) -> str:
    """Text from outside as Markdown's code in a table's cell, where nothing else of it means anything."""
    return "`" + (one_line(text, SAID_CHARACTERS).replace("`", "'").replace("|", "¦") or " ") + "`"


def of_scores(rows: pl.DataFrame, column: str, scores: pl.DataFrame, filters: Sequence[Filter]) -> Sheet:
    """Of each engine the clips with the highest and the lowest `column`, and those nearest to a bound, either side."""
    engines = list(dict.fromkeys(f.engine for f in filters))
    count = max(2, CLIPS // 3 // max(len(engines), 1))
    sheet: dict[str, list[Seen]] = {}
    for engine in engines:
        scored = rows.filter(pl.col(column).is_finite(), engine=engine)
        scored = scored.sort(column, "clip_id", descending=[True, False])
        by = f" ({engine})" if len(engines) > 1 else ""
        sheet |= {
            f"Highest{by}": _with_figure(scored.head(count), column),
            f"At a border{by}": _at_a_border(nearness(scores.filter(engine=engine)), count),
            f"Lowest{by}": _with_figure(scored.slice(count).tail(count).reverse(), column),
        }
    return {heading: clips for heading, clips in sheet.items() if clips}


def of_decisions(rows: pl.DataFrame, scores: pl.DataFrame) -> Sheet:
    """The selected clips farthest from every bound, those nearest to one, and dropped ones, of each reason in turn."""
    count = CLIPS // 3
    near = nearness(scores)
    border = _at_a_border(near, count)
    slack = near.group_by("clip_id").agg(pl.col("slack").min())
    others = (
        rows.filter(pl.col("error").is_null(), ~pl.col("clip_id").is_in([seen.clip_id for seen in border]))
        .select("clip_id", "selected", "reasons")
        .join(slack, on="clip_id", how="left", maintain_order="left")
        .sort("slack", "clip_id", nulls_last=True)
    )
    kind = pl.col("reasons").list.first().str.split(":").list.first()
    dropped = others.filter(~pl.col("selected")).sort(pl.int_range(pl.len()).over(kind), maintain_order=True)
    best = others.filter("selected").sort("slack", descending=True, nulls_last=True, maintain_order=True).head(count)
    sheet = {
        "Best: selected, far from every bound": [Seen(row["clip_id"], "selected") for row in best.to_dicts()],
        "At a border": border,
        "Dropped": [Seen(row["clip_id"], "; ".join(row["reasons"])) for row in dropped.head(count).to_dicts()],
    }
    return {heading: clips for heading, clips in sheet.items() if clips}


def of_clips(rows: pl.DataFrame, text: str | None) -> Sheet:
    """Clips spread evenly over the rows with a result, each with its `text` column where there is one."""
    found = rows.filter(pl.col("error").is_null()).unique("clip_id").sort("clip_id")
    count = min(found.height, 2 * CLIPS_A_ROW)
    spread = found[[k * found.height // count for k in range(count)]] if count else found
    seen = [Seen(row["clip_id"], str(row[text] or "") if text else "") for row in spread.to_dicts()]
    return {f"{count} of {found.height} clips": seen} if seen else {}


def nearness(scores: pl.DataFrame) -> pl.DataFrame:
    """`scores` with `slack`: the margin in standard deviations of its filter's values, comparable between filters."""
    spread = pl.col("value").std().over("filter", "engine")
    unit = pl.when(spread > 0).then(spread).otherwise(1.0)
    return scores.with_columns(slack=pl.col("margin") / unit)


def _at_a_border(near: pl.DataFrame, count: int) -> list[Seen]:
    distance = pl.col("slack").abs()
    of_a_clip = near["filter"].n_unique() * near["engine"].n_unique()  # rows at most
    nearest = (
        near.filter(distance <= distance.bottom_k(count * of_a_clip).max())  # to sort all would take long
        .sort(distance, "clip_id")
        .unique("clip_id", keep="first", maintain_order=True)
        .head(count)
    )
    return [
        Seen(row["clip_id"], f"{row['filter']} {row['value']:.4g}, {_side(row)} by {abs(row['margin']):.2g}")
        for row in nearest.to_dicts()
    ]


def _side(row: Mapping[str, object]) -> str:
    return "passes" if row["passed"] else "dropped"


def _with_figure(rows: pl.DataFrame, column: str) -> list[Seen]:
    return [Seen(row["clip_id"], f"{row[column]:.4g}") for row in rows.select("clip_id", column).to_dicts()]
