"""What is cut off a clip's picture: bars and subtitles, found on its stored frames, px of the source kept even."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation_assets.settings import Crop
from resources.borders import inside_bars

Picture = NDArray[np.uint8]

MARGIN_PX = 1
"""Of the stored frames, further in on each side that is cut: scaling and JPEG mix the lines at an edge."""


def crop_row(
    pictures: Sequence[Picture], text_tops: Sequence[float], width: int, height: int, settings: Crop, min_area_px: int
) -> dict[str, Any]:
    """The `clip_crops` columns of a clip from its stored frames (RGB, of one size).

    `text_tops` are where texts begin, px from the frames' top; `width` and `height` are the source's, px. A picture of
    which less than `settings.min_area_share` or `min_area_px` is left stays whole, and `reason` says so.
    """
    stored_height, stored_width = pictures[0].shape[:2]
    end = subtitles_begin(text_tops, stored_height, settings.subtitle_band_share) if settings.subtitles else None
    rows, columns = slice(0, stored_height if end is None else end), slice(0, stored_width)
    if settings.borders:
        rows, columns = inside_bars([picture[rows] for picture in pictures])
    found = {
        "letterbox": rows.start > 0 or rows.stop < (stored_height if end is None else end),
        "pillarbox": columns != slice(0, stored_width),
        "subtitles": end is not None,
    }
    what = ", ".join(name for name, is_found in found.items() if is_found)
    if not what:
        return {"area_share": 1.0, "reason": "no borders or subtitles found"}
    left, box_width = even_span(columns, stored_width, width)
    top, box_height = even_span(rows, stored_height, height)
    area_px = box_width * box_height
    share = round(area_px / (width * height), 5)
    if share < settings.min_area_share:
        why = f"{share:g} of the picture is less than crop.min_area_share {settings.min_area_share:g}"
        return {"area_share": share, "reason": f"{what}, but {why}"}
    if area_px < min_area_px:
        why = f"{box_width}x{box_height} px is less than clips.min_source_area_px {min_area_px}"
        return {"area_share": share, "reason": f"{what}, but {why}"}
    frames_left, frames_width = within(left, box_width, width, stored_width)
    frames_top, frames_height = within(top, box_height, height, stored_height)
    return {
        "crop_box": [left, top, box_width, box_height],
        "frames_box": [frames_left, frames_top, frames_width, frames_height],
        "area_share": share,
        "reason": what,
    }


def subtitles_begin(text_tops: Sequence[float], height: int, band_share: float) -> int | None:
    """The line of the highest text that begins in the lower `band_share` of the picture; None where none does."""
    tops = [top for top in text_tops if top >= (1 - band_share) * height]
    return max(0, int(min(tops))) if tops else None


def even_span(kept: slice, stored_px: int, source_px: int) -> tuple[int, int]:
    """Begin and length, px of the source, of what is kept of a side of the stored frames; sides that are cut lose
    MARGIN_PX more, and both figures are even, as 4:2:0 needs."""
    begin, end = 0, source_px
    if kept.start > 0:
        begin = -(-(kept.start + MARGIN_PX) * source_px // stored_px)
    if kept.stop < stored_px:
        end = max(0, kept.stop - MARGIN_PX) * source_px // stored_px
    begin += begin % 2
    length = max(0, end - begin)
    return begin, length - length % 2


def within(begin: int, length: int, source_px: int, stored_px: int) -> tuple[int, int]:
    """Begin and length, px of the stored frames, of those that lie wholly in a span of the source; one at least."""
    first = min(-(-begin * stored_px // source_px), stored_px - 1)
    return first, max(1, (begin + length) * stored_px // source_px - first)
