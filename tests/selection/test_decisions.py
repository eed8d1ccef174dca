import math

import polars as pl
import pytest

from curation_assets.filters import Filter, clip_filters, sample_filters
from curation_assets.settings import Bound, SampleSelection, Selection, Settings
from curation_assets.tables import CLIP_SELECTION, TABLES
from tests.selection.clip_by_clip import Unscored
from tests.selection.one_clip import decide


def motion(minimum: float | None = 1.0, maximum: float | None = 100.0, engine: str = "dis") -> Filter:
    return Filter("motion", "motion_scores", "motion_score", engine, Bound(min=minimum, max=maximum))


DIS = ("motion", "dis")


@pytest.mark.parametrize(
    ("score", "bounds", "selected", "margin"),
    [
        (1.0, (1.0, 100.0), True, 0.0),
        (100.0, (1.0, 100.0), True, 0.0),
        (math.nextafter(1.0, 0.0), (1.0, 100.0), False, math.nextafter(1.0, 0.0) - 1.0),
        (31.0, (1.0, 100.0), True, 30.0),
        (90.0, (1.0, 100.0), True, 10.0),
        (0.25, (1.0, 100.0), False, -0.75),
        (130.0, (1.0, 100.0), False, -30.0),
        (-5.0, (None, 1.0), True, 6.0),
        (5.0, (2.0, None), True, 3.0),
        (1e9, (None, None), True, None),
        (0, (0.0, None), True, 0.0),
    ],
)
def test_bounds_are_inclusive_and_margins_are_signed(score, bounds, selected, margin):
    row = decide("c", "v", {DIS: score}, [motion(*bounds)])
    assert row["selected"] is selected
    (measurement,) = row["measurements"]
    assert measurement["passed"] is selected
    assert measurement["margin"] == margin
    assert measurement["value"] == score


@pytest.mark.parametrize("bounds", [(1.0, 100.0), (None, 1.0), (None, None)])
@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "motion: not scored: no row of dis in motion_scores"),
        ({("motion", "farneback"): 5.0}, "motion: not scored: no row of dis in motion_scores"),
        ({DIS: None}, "motion: not scored: motion_score of dis is null"),
        ({DIS: math.nan}, "motion: not scored: motion_score of dis is nan, which is no number"),
        ({DIS: math.inf}, "motion: not scored: motion_score of dis is inf, which is no number"),
        ({DIS: -math.inf}, "motion: not scored: motion_score of dis is -inf, which is no number"),
        ({DIS: Unscored("frames missing")}, "motion: not scored: frames missing"),
    ],
)
def test_a_score_that_is_not_there_never_passes(values, reason, bounds):
    row = decide("c", "v", values, [motion(*bounds)])
    assert row["selected"] is False
    assert row["reasons"] == [reason]
    assert row["measurements"][0]["value"] is None
    assert row["measurements"][0]["margin"] is None
    assert row["measurements"][0]["passed"] is False


def test_reasons_name_figure_bound_engine_and_unit():
    text = Filter("text", "text_scores", "text_score", "rapidocr", Bound(max=0.02))
    row = decide("c", "v", {DIS: 0.31, text.key: 0.061234567}, [motion(), text])
    assert row["reasons"] == [
        "motion: 0.31 is below the minimum 1.0 (dis, percent of the diagonal per second)",
        "text: 0.06123 is above the maximum 0.02 (rapidocr, share of the picture)",
    ]


def test_rounding_never_makes_a_reason_contradict_itself():
    (on_the_bound,) = decide("c", "v", {DIS: 0.99999999}, [motion()])["reasons"]
    assert on_the_bound.startswith("motion: 0.99999999 is below the minimum 1.0")
    (past_it,) = decide("c", "v", {DIS: 0.99996}, [motion(0.99998, None)])["reasons"]
    assert past_it.startswith("motion: 0.99996 is below the minimum 0.99998")


def test_every_engine_of_a_slot_must_pass():
    filters = [motion(), motion(2.0, 20.0, "farneback")]
    assert decide("c", "v", {DIS: 5.0, ("motion", "farneback"): 2.0}, filters)["selected"]
    row = decide("c", "v", {DIS: 5.0, ("motion", "farneback"): 1.0}, filters)
    assert [m["passed"] for m in row["measurements"]] == [True, False]
    assert not row["selected"]


def test_an_extra_reason_drops_a_clip_whose_scores_pass():
    row = decide("c", "v", {DIS: 5.0}, [motion()], ["caption: failed: server said no"])
    assert not row["selected"]
    assert row["reasons"] == ["caption: failed: server said no"]


def test_a_row_fits_its_table():
    row = decide("c", "v", {DIS: 0.5}, [motion(), motion(engine="farneback")])
    schema = {name: column.dtype for name, column in CLIP_SELECTION.stage_columns.items()}
    assert pl.DataFrame([row], schema=schema).to_dicts() == [row]


def test_filters_follow_the_engines_that_are_on():
    settings = Settings.model_validate(
        {"motion": {"engines": ["farneback"]}, "text": {"engines": []}, "alignment": {"engines": []}}
    )
    by_slot = {(f.table, f.engine) for f in clip_filters(settings)}
    assert ("motion_scores", "farneback") in by_slot
    assert ("motion_scores", "dis") not in by_slot
    assert not any(table == "text_scores" for table, _ in by_slot)
    assert sample_filters(settings) == []
    assert [f.name for f in sample_filters(Settings())] == ["alignment"]


def test_filters_read_columns_that_exist_and_have_units():
    bounds = Selection.model_fields | SampleSelection.model_fields
    engines = {slot: {"engines": list(type(section.default).model_fields)} for slot, section in bounds.items()}
    everything = Settings.model_validate(engines)
    filters = clip_filters(everything) + sample_filters(everything)
    assert len({f.key for f in filters}) == len(filters)
    assert {"motion", "semantic", "text", "sharpness", "colour", "alignment"} <= {f.name for f in filters}
    for filter_ in filters:
        assert filter_.column in TABLES[filter_.table].columns
        assert filter_.unit


def test_nothing_in_force_selects_everything():
    row = decide("c", "v", {}, [])
    assert row["selected"]
    assert row["reasons"] == []
    assert row["measurements"] == []


IMAGE = "00112233445566aa-00000000-00000000"


def test_a_filter_that_is_not_for_images_neither_passes_nor_fails_one_and_all_others_must_pass():
    of_videos = Filter("motion", "motion_scores", "motion_score", "dis", Settings().selection.motion.dis)
    of_both = Filter("luma", "technical_scores", "luma", "opencv", Bound(max=180.0))
    row = decide(IMAGE, "v", {of_both.key: 100.0}, [of_videos, of_both])
    assert row["selected"] is True
    assert [measurement["passed"] for measurement in row["measurements"]] == [None, True]

    row = decide(IMAGE, "v", {}, [of_videos, of_both])
    assert row["reasons"] == ["luma: not scored: no row of opencv in technical_scores"]

    row = decide(IMAGE.replace("-00000000-00000000", "-00000000-00002000"), "v", {of_both.key: 100.0}, [of_videos])
    assert row["reasons"] == ["motion: not scored: no row of dis in motion_scores"]
