"""Which filters the settings put in force."""

from dataclasses import dataclass

from curation_assets.settings import Bound, Settings

_UNITS = {
    ("motion", "dis"): "percent of the diagonal per second",
    ("motion", "farneback"): "px between compared frames",
    ("semantic", "efficientnet_lite0"): "cosine",
    ("text", "rapidocr"): "share of the picture",
    ("sharpness", "opencv"): "variance of the Laplacian",
    ("luma", "opencv"): "0..255",
    ("black_share", "opencv"): "share of pixels",
    ("white_share", "opencv"): "share of pixels",
    ("border_share", "opencv"): "share of the picture",
    ("frozen_share", "opencv"): "share of neighbouring frames",
    ("colour", "opencv"): "mean CIELAB chroma",
    ("alignment", "label_similarity"): "centred cosine",
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

    @property
    def unit(self) -> str:
        """The score's unit, for people; empty when there is none to name."""
        return _UNITS.get(self.key, "")


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
    """The filters of `sample_selection`: alignment, unless it is off."""
    engine = settings.alignment.engine
    if engine == "off":
        return []
    bound = getattr(settings.sample_selection.alignment, engine)
    return [Filter("alignment", "alignment_scores", "alignment_score", engine, bound)]
