"""Text area: the share of a frame that text covers (subtitles, titles, watermarks)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curation_assets.scores.sampling import ALL_STORED, Chosen, chosen_by
from curation_assets.settings import Craft, Text
from resources.checkpoints import WeightsFile
from resources.craft.boxes import TextBoxes
from resources.craft.detector import CraftDetector, found_text
from resources.networks import Arrays
from resources.text_reader import TextReader, read_text

Found = tuple[float, list[str]]
"""Share of a picture that text covers, and the texts in it."""


def found_in(picture: NDArray[np.uint8], settings: Text, reader: TextReader) -> Found:
    """What counts of the text in an RGB picture."""
    boxes = read_text(
        reader,
        picture,
        longest_side_px=settings.longest_side_px,
        min_confidence=settings.min_confidence,
        min_characters=settings.min_characters,
    )
    share = union_share([box.polygon for box in boxes], *picture.shape[:2])
    return share, [box.text for box in boxes]


def text_row(found: Sequence[Found], reader: TextReader, frames: str) -> dict[str, Any]:
    """The `text_scores` columns of a clip from what was found in its frames, in order; `frames` says which they are."""
    return {
        "engine": reader.engine,
        "model": reader.model,
        "revision": reader.revision,
        **_scores([share for share, _ in found], frames),
        "texts": list(dict.fromkeys(text for _, texts in found for text in texts)),
    }


def text_networks(settings: Text) -> dict[str, CraftDetector]:
    """The engines that run on a device and are on."""
    if "craft" not in settings.engines:
        return {}
    section = settings.craft
    published = Craft.model_fields["weights"].default
    weights = WeightsFile("text.craft.weights", section.weights, section.weights_md5, published)
    return {"craft": CraftDetector("text.craft", weights, section.precision, section.device, section.batch_frames)}


def detected_text_row(
    features: Arrays, settings: Text, engine: str, made_by: Mapping[str, str], frames: str
) -> dict[str, Any]:
    """The `text_scores` columns of a clip from what `CraftDetector` found in its frames.

    `made_by` holds `model` and `revision`, `frames` says which they are.
    """
    shares = [area_share(boxes, height, width, settings.craft.area) for boxes, height, width in found_text(*features)]
    return {
        "engine": engine,
        "model": made_by["model"],
        "revision": made_by["revision"],
        **_scores(shares, frames),
        "texts": [],
    }


def _scores(shares: Sequence[float], frames: str) -> dict[str, Any]:
    return {
        "unit": "share of the frame's area",
        "sampling": frames,
        "text_score": round(float(np.mean(shares)), 5),
        "frame_scores": [round(share, 5) for share in shares],
    }


def chosen_frames(settings: Text) -> Chosen:
    """`middle` is floor(N/2), EasyAnimate's choice."""
    if settings.sampling is not None:
        return chosen_by(settings.sampling)
    if isinstance(settings.frames, str):
        return (4,) if settings.frames == "middle" else ALL_STORED
    return settings.frames


def area_share(boxes: TextBoxes, height: int, width: int, area: Literal["union", "sum"]) -> float:
    """Share of a frame in boxes: what they cover of it, or the sum of EasyAnimate's `compute_text_score.py`.

    The sum counts overlaps twice and what lies outside the frame too, so it may exceed 1; slanted boxes, for which the
    original means to add two triangles and adds nothing, count 0.
    """
    if area == "sum":
        return sum(box.width * box.height for box in boxes.level) / (height * width)
    return union_share([*(box.corners for box in boxes.level), *boxes.slanted], height, width)


def union_share(polygons: Sequence[NDArray[np.floating[Any]]], height: int, width: int) -> float:
    """Share of a height x width px frame whose pixel centres lie in a convex polygon (K x 2: x, y in px).

    What several polygons cover counts once, what lies outside the frame not at all.
    """
    covered = np.zeros((height, width), bool)
    for polygon in polygons:
        left, top = np.maximum(np.floor(polygon.min(axis=0)).astype(int), 0)
        right, bottom = np.minimum(np.ceil(polygon.max(axis=0)).astype(int), (width, height))
        if left >= right or top >= bottom:
            continue
        y, x = np.mgrid[top:bottom, left:right] + 0.5
        sides = [
            (end[0] - start[0]) * (y - start[1]) - (end[1] - start[1]) * (x - start[0])
            for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True)
        ]
        inside = (np.min(sides, axis=0) > 0) | (np.max(sides, axis=0) < 0)  # either direction of turning
        covered[top:bottom, left:right] |= inside
    return float(covered.mean())
