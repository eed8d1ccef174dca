"""The rules of both selections clip by clip, written apart from `decisions`, which is held against them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation_assets.filters import Filter


@dataclass(frozen=True)
class Unscored:
    """A score that isn't there, with the error of the row that should hold it."""

    reason: str


Values = Mapping[tuple[str, str], float | Unscored | None]
"""A clip's scores by `Filter.key`. A null score and an absent key count as not scored."""


def decide(
    clip_id: str, video_id: str, values: Values, filters: Sequence[Filter], extra_reasons: Sequence[str] = ()
) -> dict[str, Any]:
    """A row of `clip_selection`: selected when every filter for its media type passes and there is no extra reason.

    Bounds are inclusive. A score that is missing, null, NaN or infinite never passes, whatever the bound. A filter
    that isn't for the clip's media type is measured as neither passed nor failed.
    `extra_reasons` are causes outside the scores (`"caption: failed"`) and come first in `reasons`.
    """
    reasons = list(extra_reasons)
    measurements = []
    for filter_ in filters:
        score = _score(values, filter_)
        applies = filter_.is_for(clip_id)
        reason = _reason(score, filter_) if applies else None
        if reason:
            reasons.append(f"{filter_.name}: {reason}")
        bound = filter_.bound
        measurements.append(
            {
                "filter": filter_.name,
                "engine": filter_.engine,
                "value": None if isinstance(score, Unscored) else score,
                "min": bound.min,
                "max": bound.max,
                "margin": None if isinstance(score, Unscored) else _margin(score, bound.min, bound.max),
                "passed": reason is None if applies else None,
            }
        )
    return {
        "clip_id": clip_id,
        "video_id": video_id,
        "selected": not reasons,
        "reasons": reasons,
        "measurements": measurements,
    }


def _score(values: Values, filter_: Filter) -> float | Unscored:
    if filter_.key not in values:
        return Unscored(f"no row of {filter_.engine} in {filter_.table}")
    score = values[filter_.key]
    if score is None:
        return Unscored(f"{filter_.column} of {filter_.engine} is null")
    if isinstance(score, Unscored):
        return score
    if not math.isfinite(score):
        return Unscored(f"{filter_.column} of {filter_.engine} is {score}, which is no number")
    return float(score)


def _reason(score: float | Unscored, filter_: Filter) -> str | None:
    """Why the filter drops the clip; null when it passes."""
    if isinstance(score, Unscored):
        return f"not scored: {score.reason}"
    bound = filter_.bound
    measured_by = ", ".join(part for part in (filter_.engine, filter_.unit) if part)
    if bound.min is not None and score < bound.min:
        return f"{_figure(score, bound.min)} is below the minimum {bound.min} ({measured_by})"
    if bound.max is not None and score > bound.max:
        return f"{_figure(score, bound.max)} is above the maximum {bound.max} ({measured_by})"
    return None


def _figure(score: float, bound: float) -> str:
    """Four significant digits, or all where rounding would put the score on the bound or past it."""
    short = f"{score:.4g}"
    return short if (float(short) < bound) == (score < bound) and float(short) != bound else repr(score)


def _margin(score: float, minimum: float | None, maximum: float | None) -> float | None:
    """Distance to the nearest bound in the score's unit, negative outside; null without bounds."""
    inside = []
    if minimum is not None:
        inside.append(score - minimum)
    if maximum is not None:
        inside.append(maximum - score)
    return min(inside) if inside else None
