"""The scores that pictures show are judged as the selection judges them."""

import math
import random

import polars as pl

from curation_assets.filters import Filter
from curation_assets.settings import Bound, VideoBound
from curation_assets.tables import CLIP_SELECTION, TEXT_SCORES
from curation_assets.views.scores import SCORES, scores_of
from tests.selection.one_clip import decide

FILTERS = [
    Filter("text", "text_scores", "text_score", "rapidocr", Bound(min=0.25, max=0.75)),
    Filter("text", "text_scores", "text_score", "craft", VideoBound(max=0.5)),
    Filter("open", "text_scores", "text_score", "unbounded", Bound()),
]
VALUES = [None, math.nan, math.inf, -math.inf, 0.25, 0.75, math.nextafter(0.25, 0), math.nextafter(0.75, 1), 0.5, 0.0]


def clips() -> list[tuple[str, dict[str, float | None]]]:
    """Of both media types, with every mixture of odd values."""
    rng = random.Random(6)
    ends = ("-00000000-00000000", "-00000000-00002000")
    return [
        (f"{k:016x}{ends[k % 2]}", {f.engine: rng.choice([*VALUES, rng.random()]) for f in FILTERS}) for k in range(200)
    ]


def score_rows() -> pl.DataFrame:
    rows = [
        {"clip_id": clip, "engine": engine, "text_score": value, "error": None if k % 7 else "unreadable"}
        for k, (clip, values) in enumerate(clips())
        for engine, value in values.items()
    ]
    return pl.DataFrame(rows, schema={name: TEXT_SCORES.schema[name] for name in rows[0]}, strict=False)


def test_a_score_table_is_judged_as_the_selection_judges_it() -> None:
    decided = []
    for k, (clip, values) in enumerate(clips()):
        known = {f.key: None if k % 7 == 0 else values[f.engine] for f in FILTERS}
        for measured in decide(clip, "v", known, FILTERS)["measurements"]:
            if measured["passed"] is not None:
                decided.append({"clip_id": clip, **{name: measured[name] for name in SCORES if name in measured}})
    expected = pl.DataFrame(decided, schema=SCORES)
    order = ["clip_id", "filter", "engine"]
    judged = scores_of(score_rows(), FILTERS)
    assert judged.sort(order).equals(expected.sort(order))
    assert 0 < judged["passed"].sum() < judged.height
    assert judged["value"].null_count() > 50


def test_a_selection_s_scores_are_its_measurements() -> None:
    decided = [decide(clip, "v", {f.key: values[f.engine] for f in FILTERS}, FILTERS) for clip, values in clips()]
    rows = [{**dict.fromkeys(CLIP_SELECTION.schema), **row} for row in decided]
    selection = pl.DataFrame(rows, schema=CLIP_SELECTION.schema)
    sound = score_rows().with_columns(error=pl.lit(None, pl.String))
    order = ["clip_id", "filter", "engine"]
    assert scores_of(selection, FILTERS).sort(order).equals(scores_of(sound, FILTERS).sort(order))


def test_tables_without_rows_or_filters_have_no_scores() -> None:
    assert scores_of(score_rows().clear(), FILTERS).schema == SCORES
    assert scores_of(score_rows(), []).is_empty()
    assert scores_of(CLIP_SELECTION.schema.to_frame(), FILTERS).schema == SCORES
