"""Tiers: bounds that add up, samples that nest, and settings that change no result."""

import math
from typing import Any

import polars as pl
import pytest

from curation_assets.filters import clip_filters, sample_filters, tier_filters
from curation_assets.selection.tiers import tiers
from curation_assets.settings import Settings, SettingsError, declared, parse_settings, result_settings, settings_hash
from curation_assets.tables import TABLES

BROAD = {"name": "broad"}
CALM = {"name": "calm", "selection": {"motion": {"dis": {"max": 20}}}}
STRICT = {
    "name": "strict",
    "selection": {"motion": {"dis": {"max": 90.0, "min": 5}}, "technical": {"opencv": {"luma": {"max": 10}}}},
    "sample_selection": {"alignment": {"label_similarity": {"min": 0.5}}},
}


def settings(*listed: dict[str, Any], **sections: Any) -> Settings:
    return parse_settings({**sections, "tiers": list(listed)}, "a test")


def a_manifest(**motion: float | None) -> dict[str, pl.DataFrame]:
    """A sample a keyword, named and scored so; its luma is its motion, its alignment a tenth of it."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for number, (name, score) in enumerate(motion.items()):
        shared = {"clip_id": f"{name}-00000000-00001000", "shard": f"films-{number % 2:04d}"}
        tenth = None if score is None else score / 10
        rows.setdefault("training_manifest", []).append({**shared, "text": name})
        rows.setdefault("motion_scores", []).append({**shared, "engine": "dis", "motion_score": score})
        rows.setdefault("technical_scores", []).append({**shared, "engine": "opencv", "luma": score})
        alignment = {"engine": "label_similarity", "alignment_score": tenth, "caption": name}
        rows.setdefault("alignment_scores", []).append({**shared, **alignment})
    return {name: pl.DataFrame(rows.get(name, []), schema=table.schema) for name, table in TABLES.items()}


def names(tables: dict[str, pl.DataFrame], chosen: Settings) -> dict[str, list[str]]:
    found = tiers(tables["training_manifest"], lambda table: tables[table].lazy(), chosen)
    return {tier.name: samples["text"].to_list() for tier, samples in found}


def test_each_tier_adds_its_bounds_to_those_before_it() -> None:
    tables = a_manifest(still=1.0, edge=5.0, calm=9.0, wild=50.0)
    assert names(tables, settings(BROAD, CALM, STRICT)) == {
        "broad": ["calm", "edge", "still", "wild"],
        "calm": ["calm", "edge", "still"],
        "strict": ["calm", "edge"],
    }


def test_a_missing_score_passes_no_tier_that_bounds_it() -> None:
    tables = a_manifest(scored=9.0, null=None, nan=math.nan, inf=math.inf, gone=9.0, recaptioned=9.0)
    tables["motion_scores"] = tables["motion_scores"].filter(~pl.col("clip_id").str.starts_with("gone"))
    tables["alignment_scores"] = tables["alignment_scores"].with_columns(
        pl.col("caption").replace("recaptioned", "another caption")
    )
    assert names(tables, settings(BROAD, CALM, STRICT)) == {
        "broad": ["gone", "inf", "nan", "null", "recaptioned", "scored"],
        "calm": ["recaptioned", "scored"],
        "strict": ["scored"],
    }


def test_a_tier_has_the_bounds_it_gives_and_no_default() -> None:
    broad, calm, strict = (
        tier_filters(tier, settings(BROAD, CALM, STRICT)) for tier in settings(BROAD, CALM, STRICT).tiers
    )
    assert broad == []
    assert [(f.key, f.bound.min, f.bound.max) for f in calm] == [(("motion", "dis"), None, 20.0)]
    assert [(f.key, f.bound.min, f.bound.max) for f in strict] == [
        (("motion", "dis"), 5.0, 90.0),
        (("luma", "opencv"), None, 10.0),
        (("alignment", "label_similarity"), 0.5, None),
    ]


def test_tiers_change_no_result() -> None:
    plain, tiered = Settings(), settings(BROAD, CALM, STRICT)
    assert settings_hash(tiered) == settings_hash(plain)
    assert result_settings(tiered) == result_settings(plain)
    assert declared(tiered) == declared(plain)
    assert clip_filters(tiered) == clip_filters(plain)
    assert sample_filters(tiered) == sample_filters(plain)


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ([BROAD, BROAD], "several are named broad"),
        ([{"name": "../up"}], "tiers.0.name"),
        (
            [{**BROAD, "selection": {"motion": {"dis": {"maximum": 1}}}}],
            "tiers.0.selection.motion.dis.maximum: unknown key",
        ),
        ([{**BROAD, "selection": {"motion": {"dis": {"min": 2, "max": 1}}}}], "min 2.0 is above max 1.0"),
        (
            [{**BROAD, "selection": {"motion": {"farneback": {"max": 1}}}}],
            "tiers.broad.selection.motion.farneback is a",
        ),
        ([{**BROAD, "selection": ["motion"]}], "tiers.0.selection"),
    ],
)
def test_a_wrong_tier_is_named(listed: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(SettingsError) as problem:
        settings(*listed)
    assert said in str(problem.value)
