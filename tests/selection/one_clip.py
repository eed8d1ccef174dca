"""One clip's decision, by way of tables with its scores."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from curation_assets.filters import Filter
from curation_assets.selection.assets import with_scores
from curation_assets.selection.decisions import decisions
from curation_assets.tables import CLIP_SELECTION, TABLES
from tests.selection.clip_by_clip import Unscored


def decide(
    clip_id: str,
    video_id: str,
    scores: Mapping[tuple[str, str], float | Unscored | None],
    filters: Sequence[Filter],
    extra_reasons: Sequence[str] = (),
) -> dict[str, Any]:
    """The row of `clip_selection`; `scores` by `Filter.key`, where none of an engine is named it has no row."""
    rows: dict[str, dict[str, dict[str, Any]]] = {filter_.table: {} for filter_ in filters}  # by table and engine
    for filter_ in filters:
        if filter_.key in scores:
            score = scores[filter_.key]
            is_there = not isinstance(score, Unscored)
            said = {filter_.column: score} if is_there else {"error": score.reason}
            about = {"clip_id": clip_id, "engine": filter_.engine}
            rows[filter_.table].setdefault(filter_.engine, about).update(said)
    reads = {
        table: pl.DataFrame(list(by_engine.values()), schema=TABLES[table].schema, orient="row")
        for table, by_engine in rows.items()
    }
    clip = pl.DataFrame({"clip_id": [clip_id], "video_id": [video_id]})
    schema = {name: column.dtype for name, column in CLIP_SELECTION.stage_columns.items()}
    decided = decisions(with_scores(clip, reads, filters), filters, [pl.lit(reason) for reason in extra_reasons])
    return decided.cast(schema).row(0, named=True)
