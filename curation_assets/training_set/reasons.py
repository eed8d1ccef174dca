"""How many spans each rule and filter dropped."""

from collections import Counter

import polars as pl

from curation_assets.upkeep.releases import TablesAt

DECISIONS = ("clip_selection", "sample_selection")


def dropped_by(tables: TablesAt) -> Counter[str]:
    """Spans by table and reason; a clip counts once for each of its reasons."""
    reasons = Counter[str]()
    for dropped in tables.read("clips", ["dropped"], pl.col("dropped").is_not_null()).to_series():
        reasons[f"clips: {dropped.partition(':')[0]}"] += 1
    for table in DECISIONS:
        for listed in tables.read(table, ["reasons"], pl.col("reasons").is_not_null()).to_series():
            reasons.update(f"{table}: {kind_of(reason)}" for reason in listed)
    return reasons


def kind_of(reason: str) -> str:
    """The filter and the direction of a decision's reason, without the figures."""
    name, _, why = reason.partition(": ")
    for words in ("is below the minimum", "is above the maximum", "not scored"):
        if words in why:
            return f"{name} {words.removeprefix('is ')}"
    return name
