"""Text area: the share of a frame that readable text covers (subtitles, titles, watermarks)."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation_assets.settings import FrameChoice, Text
from resources.errors import InputError
from resources.text_reader import TextReader


def text_row(pictures: Sequence[NDArray[np.uint8]], settings: Text, reader: TextReader) -> dict[str, Any]:
    """The `text_scores` columns of a clip from its stored frames (RGB, in order).

    Raises InputError when the clip lacks a frame that `settings.frames` asks for.
    """
    positions = frame_positions(settings.frames, len(pictures))
    shares: list[float] = []
    texts: dict[str, None] = {}
    for position in positions:
        picture = pictures[position]
        boxes = reader.read(picture, settings.longest_side_px, settings.min_confidence)
        boxes = [box for box in boxes if len(_printable(box.text)) >= settings.min_characters]
        shares.append(union_share([box.polygon for box in boxes], *picture.shape[:2]))
        texts.update(dict.fromkeys(_printable(box.text) for box in boxes))
    return {
        "engine": reader.engine,
        "model": reader.model,
        "revision": reader.revision,
        "unit": "share of the frame's area",
        "sampling": f"stored frame {', '.join(map(str, positions))} of 0..{len(pictures) - 1}",
        "text_score": round(float(np.mean(shares)), 5),
        "frame_scores": [round(share, 5) for share in shares],
        "texts": list(texts),
    }


def frame_positions(choice: FrameChoice, count: int) -> tuple[int, ...]:
    """Positions among `count` stored frames; `middle` is the clip's frame floor(N/2), EasyAnimate's choice.

    Raises InputError when a position lies beyond the stored frames.
    """
    positions = {"middle": (4,), "all": tuple(range(count))}[choice] if isinstance(choice, str) else choice
    if not positions or max(positions) >= count:
        raise InputError(f"text.frames asks for {list(positions)}, {count} frames are stored; make the frames again")
    return positions


def union_share(polygons: Sequence[NDArray[np.float32]], height: int, width: int) -> float:
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


def _printable(text: str) -> str:
    """Without control, format and unassigned characters, which could disturb where the text is shown."""
    return "".join(c for c in text if not unicodedata.category(c).startswith("C")).strip()
