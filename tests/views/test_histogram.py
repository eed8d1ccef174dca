"""The picture of how scores are spread."""

import re
from xml.etree import ElementTree

import polars as pl
import pytest

from curation_assets.filters import Filter
from curation_assets.settings import Bound
from curation_assets.views.histogram import DROPPED, HEIGHT_PX, PASSES, histogram
from curation_assets.views.scores import SCORES

MOTION = Filter("motion", "motion_scores", "motion_score", "dis", Bound(min=0.95, max=74.0))
LUMA = Filter("luma", "technical_scores", "luma", "opencv", Bound(min=23.0))
OFF = Filter("colour", "technical_scores", "colour", "opencv", Bound())
SVG = "{http://www.w3.org/2000/svg}"


def scored(filter_: Filter, *values: float | None) -> pl.DataFrame:
    low, high = filter_.bound.min, filter_.bound.max
    rows = [
        (f"c{k}", *filter_.key, v, None, v is not None and (low is None or v >= low) and (high is None or v <= high))
        for k, v in enumerate(values)
    ]
    return pl.DataFrame(rows, schema=SCORES, orient="row")


def words(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_bounds_and_counts_stand_in_the_picture() -> None:
    svg = histogram(scored(MOTION, 0.2, 0.9, 1.0, 5.0, 6.0, 7.0, 8.0, 74.0, 700.0, None), [MOTION])
    assert svg is not None
    said = words(svg)
    assert {"motion, dis", "min 0.95", "max 74", "percent of the diagonal per second", "passes", "dropped"} <= {*said}
    assert {"6 pass, 3 dropped, 1 not scored", "1 beyond the axis, in the bar at its end"} <= {*said}


def test_each_measure_has_a_panel_of_its_own() -> None:
    svg = histogram(pl.concat([scored(MOTION, 1.0, 2.0), scored(LUMA, 20.0, 30.0)]), [MOTION, LUMA, OFF])
    assert svg is not None
    said = words(svg)
    assert {"motion, dis", "luma, opencv", "2 pass, 0 dropped", "1 pass, 1 dropped"} <= {*said}
    assert "colour, opencv" not in said
    assert said.count("passes") == 1  # one legend


def test_scores_without_spread_or_bounds_are_drawn() -> None:
    for values in ((0.0,), (5.0, 5.0, 5.0), (1e-300, 1e300), (1e300, 1e300)):
        assert histogram(scored(OFF, *values), [OFF]) is not None


def test_without_a_score_there_is_no_picture() -> None:
    assert histogram(scored(MOTION, None, None), [MOTION]) is None
    assert histogram(SCORES.to_frame(), [MOTION]) is None
    assert histogram(SCORES.to_frame(), []) is None


def heights(svg: str, colour: str) -> list[float]:
    """Of the bars of a colour, in shares of the picture's highest."""
    (path,) = [p for p in ElementTree.fromstring(svg).iter(f"{SVG}path") if p.get("fill") == colour]
    return [float(height) / HEIGHT_PX for height in re.findall(r"v-([\d.]+)", path.get("d") or "")]


def test_a_bound_inside_a_bin_parts_its_bar() -> None:
    svg = histogram(scored(LUMA, 0.0, 22.9, 23.0, 23.1, 23.2, 100.0, 100.0), [LUMA])
    assert svg is not None
    assert heights(svg, PASSES) == pytest.approx([3 / 4, 2 / 4], abs=0.001)
    assert heights(svg, DROPPED) == pytest.approx([1 / 4, 1 / 4], abs=0.001)
