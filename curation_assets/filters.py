"""Which filters the settings put in force."""

from dataclasses import dataclass

import polars as pl

from curation_assets.media_types import IS_IMAGE, media_type
from curation_assets.settings import (
    AestheticBounds,
    Bound,
    SampleSelection,
    Selection,
    SemanticBounds,
    Settings,
    TextBounds,
    Tier,
)

UNITS = {
    ("motion", "dis"): "percent of the diagonal per second",
    ("motion", "farneback"): "px between compared frames",
    ("camera_shake", "dis"): "percent of the diagonal per second",
    **{("semantic", engine): "cosine" for engine in SemanticBounds.model_fields},
    **{("aesthetic", engine): "roughly 1..10" for engine in AestheticBounds.model_fields},
    **{("text", engine): "share of the picture" for engine in TextBounds.model_fields},
    ("sharpness", "opencv"): "variance of the Laplacian",
    ("luma", "opencv"): "0..255",
    ("black_share", "opencv"): "share of pixels",
    ("white_share", "opencv"): "share of pixels",
    ("border_share", "opencv"): "share of the picture",
    ("frozen_share", "opencv"): "share of neighbouring frames",
    ("colour", "opencv"): "mean CIELAB chroma",
    ("safety", "opennsfw"): "probability",
    ("watermark", "static_overlay"): "share of the picture",
    ("alignment", "label_similarity"): "centred cosine",
    ("alignment", "clip_similarity"): "cosine",
    ("alignment", "clip_score"): "100 x cosine",
    ("alignment", "videoclip_xl"): "cosine",
}

_SLOTS = {*Selection.model_fields, *SampleSelection.model_fields}


def unit_of(name: str, engine: str) -> str:
    """The unit of a filter's score, for people; empty when there is none to name."""
    return UNITS.get((name, engine), "")


def slot_of(name: str) -> str:
    """The section of the settings of a filter's engine: some have several filters, named for their measures."""
    return name if name in _SLOTS else "motion" if name == "camera_shake" else "technical"


@dataclass(frozen=True)
class Filter:
    """One bound on one score: `column` of the rows of `table` that `engine` wrote.

    `name` is the model slot, or the measure where a slot has several; `(name, engine)` is unique.
    """

    name: str
    table: str
    column: str
    engine: str
    bound: Bound

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.engine

    def is_for(self, clip_id: str) -> bool:
        """Whether the clip is of a media type that the filter is for."""
        return media_type(clip_id) in self.bound.media_types

    @property
    def slot(self) -> str:
        return slot_of(self.name)

    @property
    def unit(self) -> str:
        return unit_of(self.name, self.engine)


def passes(filter_: Filter, score: pl.Expr) -> pl.Expr:
    """Whether a score is within the bounds, which are inclusive; one that is null, NaN or infinite never is."""
    bound, found = filter_.bound, score.is_finite()
    if bound.min is not None:
        found &= score >= bound.min
    if bound.max is not None:
        found &= score <= bound.max
    return found.fill_null(False)


def margin(filter_: Filter, score: pl.Expr) -> pl.Expr:
    """A score's distance to the nearest bound, in its unit; negative outside, null without score or bounds."""
    bound = filter_.bound
    inside = [score - bound.min] if bound.min is not None else []
    inside += [bound.max - score] if bound.max is not None else []
    return pl.min_horizontal(inside) if inside else pl.lit(None, pl.Float64)


def is_for_clips(filter_: Filter, is_image: pl.Expr = IS_IMAGE) -> pl.Expr:
    """Whether each clip is of a media type that the filter is for."""
    types = filter_.bound.media_types
    return (is_image & ("image" in types)) | (~is_image & ("video" in types))


def clip_filters(settings: Settings) -> list[Filter]:
    """The filters of `clip_selection`: one an engine that is on, for `technical` one a measure.

    Measures beside an engine's score have one where they have a bound.
    """
    filters: list[Filter] = []
    for slot in type(settings.selection).model_fields:
        for engine in getattr(settings, slot).engines:
            bounds = getattr(getattr(settings.selection, slot), engine)
            table = f"{slot}_scores"
            if isinstance(bounds, Bound):
                filters.append(Filter(slot, table, f"{slot}_score", engine, bounds))
                beside = ((name, bound) for name, bound in bounds if isinstance(bound, Bound) and bound.is_given)
                filters += [Filter(measure, table, measure, engine, bound) for measure, bound in beside]
            else:
                filters += [
                    Filter(measure, table, measure, engine, getattr(bounds, measure))
                    for measure in type(bounds).model_fields
                ]
    return filters


def sample_filters(settings: Settings) -> list[Filter]:
    """The filters of `sample_selection`: one an alignment engine that is on."""
    bounds = settings.sample_selection.alignment
    return [
        Filter("alignment", "alignment_scores", "alignment_score", engine, getattr(bounds, engine))
        for engine in settings.alignment.engines
    ]


def tier_filters(tier: Tier, settings: Settings) -> list[Filter]:
    """The filters of the bounds that a tier gives, beside those of the tiers before it."""
    bounds = {"selection": tier.selection, "sample_selection": tier.sample_selection}
    with_its_bounds = settings.model_copy(update=bounds)
    return [
        *(filter_ for filter_ in clip_filters(with_its_bounds) if _gives(tier.selection, filter_)),
        *(filter_ for filter_ in sample_filters(with_its_bounds) if _gives(tier.sample_selection, filter_)),
    ]


def _gives(bounds: Selection | SampleSelection, filter_: Filter) -> bool:
    slot = getattr(bounds, filter_.slot)
    if filter_.engine not in slot.model_fields_set:
        return False
    of_engine = getattr(slot, filter_.engine)
    return isinstance(of_engine, Bound) or filter_.name in of_engine.model_fields_set
