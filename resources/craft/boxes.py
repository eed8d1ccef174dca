"""From CRAFT's maps to boxes around text, with the steps and default parameters of EasyOCR 1.7.1's `detect`.

Words are connected parts of the maps. Level words that stand close together in a line become one box, slanted words
stay as they are. Written anew after EasyOCR (https://github.com/JaidedAI/EasyOCR), which can't be imported without
torchvision.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TEXT_THRESHOLD = 0.7
LOW_TEXT = 0.4
LINK_THRESHOLD = 0.4
SLOPE_THRESHOLD = 0.1
Y_CENTRE_THRESHOLD = 0.5
HEIGHT_THRESHOLD = 0.5
WIDTH_THRESHOLD = 0.5
MARGIN = 0.1
MIN_SIZE_PX = 20
_MIN_WORD_AREA = 10
_SQUARE_TOLERANCE = 0.1
_MAP_STRIDE = 2  # a map has half of the sides of the network's picture

Map = NDArray[np.float32]
Quadrilateral = NDArray[np.float64]
"""(4, 2): x, y of the corners in px, clockwise from the upper left."""


class LevelBox(NamedTuple):
    """px"""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def y_centre(self) -> float:
        return (self.top + self.bottom) / 2

    @property
    def corners(self) -> Quadrilateral:
        left, top, right, bottom = self
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


@dataclass(frozen=True)
class TextBoxes:
    """Boxes may overlap and reach beyond the picture."""

    level: list[LevelBox]
    slanted: list[Quadrilateral]


def text_boxes(text: Map, link: Map, scale: float) -> TextBoxes:
    """Boxes in px of a picture, of its two maps; `scale`: sides of what the network saw over sides of the picture."""
    words = (_word_corners(text, link) * (_MAP_STRIDE / scale)).astype(np.float32).astype(np.int64)
    is_level = np.array([_slope(word) < SLOPE_THRESHOLD for word in words], bool)
    level = [LevelBox(*word.min(axis=0).tolist(), *word.max(axis=0).tolist()) for word in words[is_level]]
    slanted = [_with_margin(word) for word in words[~is_level]]
    return TextBoxes(
        [box for box in _joined(level) if max(box.width, box.height) > MIN_SIZE_PX],
        [box for box in slanted if np.ptp(box, axis=0).max() > MIN_SIZE_PX],
    )


def _word_corners(text: Map, link: Map) -> Quadrilateral:
    """(K, 4, 2): a rectangle around each word, in pixels of the maps."""
    import cv2

    is_text, is_link = text > LOW_TEXT, link > LINK_THRESHOLD
    only_link = is_link & ~is_text
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(
        (is_text | is_link).astype(np.uint8), connectivity=4
    )
    words = []
    for label, (left, top, width, height, area) in zip(range(1, count), statistics[1:].tolist(), strict=True):
        inside = slice(top, top + height), slice(left, left + width)
        if area < _MIN_WORD_AREA or text[inside][labels[inside] == label].max() < TEXT_THRESHOLD:
            continue
        growth = int(2 * math.sqrt(area * min(width, height) / (width * height)))
        top_left = np.maximum((left - growth, top - growth), 0)
        around = slice(top_left[1], top + height + growth + 1), slice(top_left[0], left + width + growth + 1)
        characters = ((labels[around] == label) & ~only_link[around]).astype(np.uint8)
        ys, xs = np.nonzero(cv2.dilate(characters, np.ones((growth + 1, growth + 1), np.uint8)))
        words.append(_rectangle(np.stack((xs, ys), axis=1) + top_left))
    return np.array(words, np.float64).reshape(-1, 4, 2)


def _rectangle(points: NDArray[np.int64]) -> Quadrilateral:
    """The smallest around the points; a nearly square one level, since the smallest is often a diamond."""
    import cv2

    corners = cv2.boxPoints(cv2.minAreaRect(points.astype(np.int32)))
    sides = np.linalg.norm(corners[:2] - corners[1:3], axis=1)
    if sides.max() / (sides.min() + 1e-5) - 1 <= _SQUARE_TOLERANCE:
        corners = LevelBox(*points.min(axis=0).tolist(), *points.max(axis=0).tolist()).corners
    return np.asarray(np.roll(corners, -int(corners.sum(axis=1).argmin()), axis=0), np.float64)


def _slope(word: NDArray[np.int64]) -> float:
    """The steeper of the upper and the lower side."""
    upper, lower = word[1] - word[0], word[2] - word[3]
    return float(max(abs(dy) / max(10, dx) for dx, dy in (upper, lower)))


def _with_margin(word: NDArray[np.int64]) -> Quadrilateral:
    """Each corner moved outwards by 0.144 of the shorter side."""
    margin = int(1.44 * MARGIN * min(np.linalg.norm(word[3] - word[0]), np.linalg.norm(word[1] - word[0])))
    angles = [abs(math.atan(dy / max(10, dx))) for dx, dy in (word[0] - word[2], word[1] - word[3])]
    (x1, y1), (x2, y2) = ((margin * math.cos(angle), margin * math.sin(angle)) for angle in angles)
    return np.asarray(word + np.array([[-x1, -y1], [x2, -y2], [x1, y1], [-x2, y2]]), np.float64)


def _joined(words: list[LevelBox]) -> list[LevelBox]:
    """One box, with its margin, for words of about one height that stand close together in a line."""

    def in_line(line: list[LevelBox], word: LevelBox) -> bool:
        distance = abs(fmean(box.y_centre for box in line) - word.y_centre)
        return distance < Y_CENTRE_THRESHOLD * fmean(box.height for box in line)

    def beside(group: list[LevelBox], word: LevelBox) -> bool:
        height = fmean(box.height for box in group)
        alike = abs(height - word.height) < HEIGHT_THRESHOLD * height
        return alike and word.left - group[-1].right < WIDTH_THRESHOLD * word.height

    lines = _runs(sorted(words, key=lambda word: word.y_centre), in_line)
    groups = (group for line in lines for group in _runs(sorted(line, key=lambda word: word.left), beside))
    return [_around(group) for group in groups]


def _runs(boxes: Iterable[LevelBox], belongs: Callable[[list[LevelBox], LevelBox], bool]) -> list[list[LevelBox]]:
    """The boxes in order, cut where one doesn't belong to the run before it."""
    runs: list[list[LevelBox]] = []
    for box in boxes:
        if runs and belongs(runs[-1], box):
            runs[-1].append(box)
        else:
            runs.append([box])
    return runs


def _around(group: list[LevelBox]) -> LevelBox:
    left, top = (min(box[side] for box in group) for side in (0, 1))
    right, bottom = (max(box[side] for box in group) for side in (2, 3))
    margin = int(MARGIN * min(right - left, bottom - top))
    return LevelBox(left - margin, top - margin, right + margin, bottom + margin)
