"""Which filters the settings put in force."""

from dataclasses import dataclass

from curation_assets.media_types import media_type
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
    ("alignment", "label_similarity"): "centred cosine",
    ("alignment", "clip_similarity"): "cosine",
    ("alignment", "clip_score"): "100 x cosine",
    ("alignment", "videoclip_xl"): "cosine",
}


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
    def unit(self) -> str:
        """The score's unit, for people; empty when there is none to name."""
        return UNITS.get(self.key, "")


def clip_filters(settings: Settings) -> list[Filter]:
    """The filters of `clip_selection`: one an engine that is on, for `technical` one a measure."""
    filters: list[Filter] = []
    for slot in type(settings.selection).model_fields:
        for engine in getattr(settings, slot).engines:
            bounds = getattr(getattr(settings.selection, slot), engine)
            table = f"{slot}_scores"
            if isinstance(bounds, Bound):
                filters.append(Filter(slot, table, f"{slot}_score", engine, bounds))
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
    slot = getattr(bounds, filter_.table.removesuffix("_scores"))
    if filter_.engine not in slot.model_fields_set:
        return False
    of_engine = getattr(slot, filter_.engine)
    return isinstance(of_engine, Bound) or filter_.name in of_engine.model_fields_set
