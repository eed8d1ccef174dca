"""Flat borders of pictures: letterbox, pillarbox, both."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BORDER_TOLERANCE = 24
"""Largest difference of a border pixel from the border's colour in any channel: room for JPEG's ringing."""
BORDER_MIN_SHARE = 0.98
"""Share of a line's pixels that must have the border's colour."""
BAR_EDGE_MIN_SHARE = 0.5
"""Share of a bar's edge at which the picture is of another colour, in some frame; a dark sky ends bit by bit."""
BLURRED_LINES = 2
"""On either side of a bar's edge: what scaling and JPEG mix."""


def content_rectangle(pictures: Sequence[NDArray[np.uint8]]) -> tuple[slice, slice]:
    """Rows and columns left inside the flat borders (letterbox, pillarbox, both) that all frames have.

    A line belongs to a border when in every frame at least BORDER_MIN_SHARE of its pixels are within
    BORDER_TOLERANCE of the border's colour, the median of the outermost line. Any colour will do.
    """
    frames = np.stack(pictures)
    height, width = frames.shape[1:3]
    top = _flat_lines(frames)
    bottom = height - _flat_lines(frames[:, top:][:, ::-1])
    middle = frames[:, top:bottom].swapaxes(1, 2)
    left = _flat_lines(middle)
    right = width - _flat_lines(middle[:, left:][:, ::-1])
    return slice(top, bottom), slice(left, right)


def inside_bars(pictures: Sequence[NDArray[np.uint8]]) -> tuple[slice, slice]:
    """Rows and columns inside letterbox and pillarbox bars. Flat edges that belong to the picture stay, since how much
    of them is found depends on how the video is encoded; and so do pictures that are flat all over."""
    frames = np.stack(pictures)
    rows, columns = content_rectangle(pictures)
    height, width = frames.shape[1:3]
    if not frames[:, rows, columns].size:
        return slice(0, height), slice(0, width)
    lines, across = frames[:, :, columns], frames[:, rows].swapaxes(1, 2)
    top, bottom = _bar(lines, rows.start), _bar(lines[:, ::-1], height - rows.stop)
    left, right = _bar(across, columns.start), _bar(across[:, ::-1], width - columns.stop)
    return slice(top, height - bottom), slice(left, width - right)


def _bar(lines: NDArray[np.uint8], count: int) -> int:
    """`count` if the first so many lines are a bar, else 0; lines is (frames, lines, pixels, RGB)."""
    if count == 0:
        return 0
    outside = lines[:, max(count - BLURRED_LINES, 0)].astype(np.int16)
    inside = lines[:, min(count + BLURRED_LINES, lines.shape[1] - 1)]
    is_edge = np.abs(inside - outside).max(axis=(0, 2)) > BORDER_TOLERANCE
    return count if is_edge.mean() >= BAR_EDGE_MIN_SHARE else 0


def _flat_lines(lines: NDArray[np.uint8]) -> int:
    """How many lines from the first are one colour in all frames; lines is (frames, lines, pixels, RGB)."""
    import cv2

    if not lines.size:
        return 0
    border_colour = np.median(lines[:, 0], axis=(0, 1))
    lowest, highest = np.ceil(border_colour - BORDER_TOLERANCE), np.floor(border_colour + BORDER_TOLERANCE)
    for count in range(lines.shape[1]):
        like_border = cv2.inRange(lines[:, count], lowest, highest) > 0
        if like_border.mean(axis=1).min() < BORDER_MIN_SHARE:
            return count
    return int(lines.shape[1])
