"""Watermarks, logos and captions laid over a clip: edges that stand still while what is around them changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resources.borders import content_rectangle

Picture = NDArray[np.uint8]
Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]
"""left, top, width, height"""

# All sizes are px of frames shrunk to MEASURED_SIDE_PX. What the figures find and miss: benchmarks/watermarks.md.
MEASURED_SIDE_PX = 512
EDGE_MIN = 8.0
"""Luma steps a px, median over frames, that make an edge: of 255, so weaker ones are hard to see."""
STILL_MIN = 0.85
"""Steadiness of the gradient of an edge that stands still; a mark of 30 % opacity lies over others that don't."""
STILL_CURVE_MIN = 0.8
"""Steadiness of the second derivative there, which changes its sign where an edge moves by its own width."""
CLOSED_PX = 9
"""Edges nearer than this are one thing, as letters are one text."""
THING_MIN_PX = 10
"""Pixels of still edges that are a thing."""
THING_MAX_SHARE = 0.05
"""Of the picture's pixels the share that a thing's edges may be; more are the scene before a camera that rests."""
CROSSWISE_MIN = 0.15
"""Of a thing's edges the energy across their main direction over that along it: one straight edge has none, and looks
still while it slides along itself."""
AROUND_PX = 12
"""How far around a thing is looked at."""
BLURRED_PX = 3
"""Around an edge: what shrinking, JPEG and the codec mix with it."""
CHANGING_MAX = 0.55
"""Share of the edges around a thing that may stay, where they change: median over mean of the gradients."""
MOVING_MAX = 0.45
"""The same of the whole picture but the thing, where it moves: a lamp post in a crowd isn't laid over it."""
TEXTURE_MIN = 1.0
"""Luma steps a px, mean over what is around a thing; below there is nothing that could change."""


def watermark_identity(engine: str) -> dict[str, str]:
    """`model` and `revision` of the one engine, `static_overlay`."""
    return {"model": "still edges", "revision": f"opencv {version('opencv-python-headless')}"}


def watermark_row(pictures: Sequence[Picture], engine: str, frames: str) -> dict[str, Any]:
    """The `watermark_scores` columns of a clip from frames of one size (RGB, in order); `frames` says which they are.

    `watermark_score` is the share of the picture's pixels that are edges of things laid over it; 0 where nothing
    changes around them, as before a fixed camera: there a mark can't be told from the scene.
    """
    import cv2

    cv2.setNumThreads(1)
    scale = min(1.0, MEASURED_SIDE_PX / max(pictures[0].shape[:2]))
    edges = edges_of(pictures, scale)
    things = [thing for thing in still_things(edges) if is_laid_over(thing, edges)]
    largest = max(things, key=lambda thing: thing.size_px, default=None)
    return {
        "engine": engine,
        **watermark_identity(engine),
        "unit": "share of the picture",
        "sampling": frames,
        "watermark_score": round(sum(thing.size_px for thing in things) / edges.strength.size, 5),
        "watermark_box": _enlarged(largest.box, scale, pictures[0]) if largest else None,
    }


@dataclass(frozen=True)
class Edges:
    """What the frames' luma does at each pixel; arrays are height x width, in luma steps a px."""

    across: Plane
    """Median over frames of the gradient to the right, which is what stays where all else changes: Dekel et al., "On
    the Effectiveness of Visible Watermarks", CVPR 2017."""
    down: Plane
    """The same downwards."""
    strength: Plane
    """Mean of the gradient's length."""
    steady: Plane
    """Length of the gradient's mean: that of an edge that keeps place, direction and sign is its strength."""
    curve: Plane
    """Mean of the second derivative's size (the Laplacian's)."""
    steady_curve: Plane
    """Size of its mean."""
    content: Mask
    """Where the picture is, without borders and their edges."""

    @cached_property
    def still(self) -> Mask:
        """Pixels whose edges have the same place and direction in all frames."""
        import cv2

        curve, steady_curve = (cv2.blur(plane, (3, 3)) for plane in (self.curve, self.steady_curve))
        is_edge = self.staying >= EDGE_MIN
        is_steady = (self.steady >= STILL_MIN * self.strength) & (steady_curve >= STILL_CURVE_MIN * curve)
        return np.asarray(is_edge & is_steady & self.content, bool)

    @cached_property
    def background(self) -> Mask:
        """The picture without edges that stand still."""
        return self.content & ~_grown(self.still, BLURRED_PX)

    @cached_property
    def staying(self) -> Plane:
        """What stays of the gradient's length."""
        return np.hypot(self.across, self.down)


@dataclass(frozen=True)
class Thing:
    """Still edges that lie close together."""

    box: Box
    region: Mask
    """of the box: what the thing covers"""
    still: Mask
    """of the box: its still edges"""

    @property
    def size_px(self) -> int:
        return int(np.count_nonzero(self.still))


def edges_of(pictures: Sequence[Picture], scale: float) -> Edges:
    import cv2

    height, width = pictures[0].shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    lumas = [_luma(picture, size) for picture in pictures]
    across = np.stack([cv2.Scharr(luma, cv2.CV_32F, 1, 0, scale=1 / 32) for luma in lumas])
    down = np.stack([cv2.Scharr(luma, cv2.CV_32F, 0, 1, scale=1 / 32) for luma in lumas])
    curves = np.stack([cv2.Laplacian(luma, cv2.CV_32F) for luma in lumas])
    return Edges(
        across=np.median(across, axis=0),
        down=np.median(down, axis=0),
        strength=np.hypot(across, down).mean(axis=0),
        steady=np.hypot(across.mean(axis=0), down.mean(axis=0)),
        curve=np.abs(curves).mean(axis=0),
        steady_curve=np.abs(curves.mean(axis=0)),
        content=_content(pictures, size, scale),
    )


def _luma(picture: Picture, size: tuple[int, int]) -> Plane:
    """Of an RGB picture, 0..255 (ITU-R BT.601), shrunk to `size` by area averaging."""
    import cv2

    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.float32)


def _content(pictures: Sequence[Picture], size: tuple[int, int], scale: float) -> Mask:
    """Pixels of shrunk frames that neither borders nor their edges reach."""
    rows, columns = content_rectangle(pictures)
    inside = np.zeros(size[::-1], bool)
    inside[_within(rows, scale), _within(columns, scale)] = True
    return inside


def _within(lines: slice, scale: float) -> slice:
    first, last = int(np.ceil(lines.start * scale)) + BLURRED_PX, int(lines.stop * scale) - BLURRED_PX
    return slice(first, max(first, last))


def still_things(edges: Edges) -> list[Thing]:
    import cv2

    margin = CLOSED_PX
    beside = np.pad(edges.still.astype(np.uint8), margin)  # closing would else join things to the picture's edge
    closed = cv2.morphologyEx(beside, cv2.MORPH_CLOSE, np.ones((CLOSED_PX, CLOSED_PX), np.uint8))
    closed = np.ascontiguousarray(closed[margin:-margin, margin:-margin])
    count, labels, found, _ = cv2.connectedComponentsWithStats(closed)
    things = []
    for label in range(1, count):
        left, top, width, height = (int(value) for value in found[label][:4])
        place = slice(top, top + height), slice(left, left + width)
        region = labels[place] == label
        thing = Thing((left, top, width, height), region, region & edges.still[place])
        if thing.size_px >= THING_MIN_PX:
            things.append(thing)
    return things


def is_laid_over(thing: Thing, edges: Edges) -> bool:
    """Whether it has edges in more than one direction, and what is around it changes, as most of the picture does."""
    left, top, width, height = thing.box
    place = slice(top, top + height), slice(left, left + width)
    across, down = edges.across[place][thing.still], edges.down[place][thing.still]
    least, most = np.linalg.eigvalsh([[across @ across, across @ down], [across @ down, down @ down]])
    if least < CROSSWISE_MIN * most or thing.size_px > THING_MAX_SHARE * edges.still.size:
        return False
    nearby = (
        slice(max(top - AROUND_PX, 0), top + height + AROUND_PX),
        slice(max(left - AROUND_PX, 0), left + width + AROUND_PX),
    )
    covered = np.zeros_like(edges.still)
    covered[place] = thing.region
    around = _grown(covered[nearby], AROUND_PX) & edges.background[nearby]
    has_texture = around.any() and edges.strength[nearby][around].mean() >= TEXTURE_MIN
    elsewhere = edges.content & ~_grown(covered, BLURRED_PX)
    return bool(
        has_texture
        and _share(edges.staying[nearby], edges.strength[nearby], around) <= CHANGING_MAX
        and _share(edges.staying, edges.strength, elsewhere) <= MOVING_MAX
    )


def _share(part: Plane, whole: Plane, where: Mask) -> float:
    return float(part[where].sum() / max(whole[where].sum(), 1e-6))


def _grown(mask: Mask, by_px: int) -> Mask:
    import cv2

    side = 2 * by_px + 1
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)), bool)


def _enlarged(box: Box, scale: float, picture: Picture) -> list[int]:
    """The box in px of the picture."""
    left, top, width, height = box
    right = min(int(np.ceil((left + width) / scale)), picture.shape[1])
    bottom = min(int(np.ceil((top + height) / scale)), picture.shape[0])
    left, top = int(left / scale), int(top / scale)
    return [left, top, right - left, bottom - top]
