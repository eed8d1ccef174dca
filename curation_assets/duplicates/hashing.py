"""Perceptual hashes of a clip's stored frames."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resources.borders import inside_bars

Picture = NDArray[np.uint8]

SIDE_PX = 64
FREQUENCIES, LOWEST = 16, 8
"""Of the DCT, in each direction: all that are looked at, and those that make the first 64 bits."""
WORDS = FREQUENCIES**2 // 64
PLAIN_TOLERANCE = 6
"""Luma within which a pixel of the shrunk picture is like most others."""
PLAIN_SHARE = 0.85
"""Share of such pixels from which on a picture is too plain for its hash to tell it from others."""
_WINDOW = np.outer(*[np.hanning(SIDE_PX + 2)[1:-1].astype(np.float32)] * 2)
_IS_LOWEST = np.maximum(*np.indices((FREQUENCIES, FREQUENCIES))) < LOWEST


def hash_row(pictures: Sequence[Picture]) -> dict[str, Any]:
    """The `clip_hashes` columns of a clip from its stored frames (RGB, in order, of one size).

    `frame_hashes`: four signed integers a frame, its hash of 256 bits; None for those of a plain one (black, a title
    card), whose hash would be that of many others.
    """
    import cv2

    cv2.setNumThreads(1)
    return {"frame_hashes": [word for picture in without_bars(pictures) for word in frame_hash(picture)]}


def without_bars(pictures: Sequence[Picture]) -> NDArray[np.uint8]:
    """The frames inside their letterbox and pillarbox bars."""
    rows, columns = inside_bars(pictures)
    return np.stack(pictures)[:, rows, columns]


def frame_hash(picture: Picture) -> list[int] | list[None]:
    """Signs of the 16 x 16 lowest frequencies of the luma, the 8 x 8 lowest of them in the first word, whose lowest bit
    is always 1.

    The DCT hash of Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010, with 0 for
    the median, so that contrast and brightness change no sign; as many bits as Facebook's PDQ has; and under a Hann
    window, so that what a crop or a mark changes at the edges counts for little.
    """
    import cv2

    luma = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(luma, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    if np.mean(np.abs(small - np.median(small)) <= PLAIN_TOLERANCE) >= PLAIN_SHARE:
        return [None] * WORDS
    waves = cv2.dct((small - np.average(small, weights=_WINDOW)) * _WINDOW)[:FREQUENCIES, :FREQUENCIES]
    is_set = np.concatenate([waves[_IS_LOWEST], waves[~_IS_LOWEST]]) > 0
    is_set[0] = True  # that of the mean, which was taken away
    words: list[int] = np.packbits(is_set, bitorder="little").view("<i8").tolist()
    return words
